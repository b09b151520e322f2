package calls

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// notWalked are the fields of a call that its state does not hold, or that this
// test cannot fill.
var notWalked = map[string]bool{
	"call.id": true, "call.publicID": true, // of the entry
	"call.seenNext": true, // 0 until seen is full
	"call.rejected": true, "call.linked": true, "call.dialogs": true,
	"streamSR.middle": true, // follows from ntp
}

// fill sets every field to something that is not zero.
func fill(v reflect.Value) {
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
	switch to := v.Addr().Interface().(type) {
	case *quality.Histogram:
		to.Add(12.5)
		return
	case **telemetry.Identity:
		*to = &telemetry.Identity{UserId: "alice", Name: "Alice", Number: "+1", DeviceId: "d", DepartmentId: "sales", OfficeId: "o", ContactCenterId: "c"}
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		v.SetInt(1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(1)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	case reflect.String:
		v.SetString("text")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if !notWalked[v.Type().Name()+"."+v.Type().Field(i).Name] {
				fill(v.Field(i))
			}
		}
	}
}

// different names the fields in which two values differ.
func different(path string, a, b reflect.Value) (names []string) {
	if a.Kind() == reflect.Struct && a.Type() != reflect.TypeFor[quality.Histogram]() {
		for i := range a.NumField() {
			names = append(names, different(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))...)
		}
		return names
	}
	if (a.Kind() == reflect.Slice || a.Kind() == reflect.Array) && a.Len() == b.Len() {
		for i := range a.Len() {
			names = append(names, different(path, a.Index(i), b.Index(i))...)
		}
		return names
	}
	open := func(v reflect.Value) any {
		return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem().Interface()
	}
	if !reflect.DeepEqual(open(a), open(b)) {
		names = append(names, path)
	}
	return names
}

// TestStateHoldsEveryField: a call rests as what code writes; a field that is
// not walked is lost with the next record.
func TestStateHoldsEveryField(t *testing.T) {
	var c, back call
	fill(reflect.ValueOf(&c).Elem())
	w := coder{writing: true, room: &room{}}
	c.code(&w)
	r := coder{in: string(w.out), room: &room{}}
	back.code(&r)
	if w.err != nil || r.err != nil || r.in != "" {
		t.Fatalf("written: %v, read: %v, %d bytes left", w.err, r.err, len(r.in))
	}
	for i := range c.dir {
		for j := range c.dir[i].streams {
			for k := range c.dir[i].streams[j].srs {
				sr := &c.dir[i].streams[j].srs[k]
				sr.middle = quality.MiddleNTP(sr.ntp)
			}
		}
	}
	if names := different("call", reflect.ValueOf(&c).Elem(), reflect.ValueOf(&back).Elem()); len(names) > 0 {
		t.Errorf("not in the state, or not as they were: %v", names)
	}
}
