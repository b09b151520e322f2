package quality

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// field is one threshold of rules, or their version.
type field struct {
	key    string // as in a rules file, one_way.grace for what is nested
	value  reflect.Value
	bounds string // least..most in the unit of the value, empty: any
}

var durationType = reflect.TypeFor[time.Duration]()

// fieldsOf lists the fields of rules in their order; their values can be set.
func fieldsOf(r *Rules) []field {
	var out []field
	var walk func(v reflect.Value, prefix string)
	walk = func(v reflect.Value, prefix string) {
		for i := range v.NumField() {
			t := v.Type().Field(i)
			key := prefix + t.Tag.Get("yaml")
			if t.Type.Kind() == reflect.Struct {
				walk(v.Field(i), key+".")
				continue
			}
			out = append(out, field{key: key, value: v.Field(i), bounds: t.Tag.Get("range")})
		}
	}
	walk(reflect.ValueOf(r).Elem(), "")
	return out
}

// text is the value as it would stand in a file.
func (f field) text() string {
	switch {
	case f.value.Type() == durationType:
		return time.Duration(f.value.Int()).String()
	case f.value.Kind() == reflect.Float64:
		return strconv.FormatFloat(f.value.Float(), 'g', -1, 64)
	}
	return fmt.Sprint(f.value.Interface())
}

// set takes a value as it stands in a file.
func (f field) set(text string) bool {
	switch {
	case f.value.Type() == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return false
		}
		f.value.SetInt(int64(d))
	case f.value.Kind() == reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return false
		}
		f.value.SetFloat(x)
	case f.value.Kind() == reflect.Uint32:
		x, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return false
		}
		f.value.SetUint(x)
	default:
		f.value.SetString(text)
	}
	return true
}

func (f field) limits() (least, most string) {
	least, most, _ = strings.Cut(f.bounds, "..")
	return least, most
}

// inRange says whether the value is one that makes sense. NaN never is.
func (f field) inRange() bool {
	least, most := f.limits()
	number := func(text string) float64 {
		if f.value.Type() == durationType {
			d, _ := time.ParseDuration(text)
			return float64(d)
		}
		x, _ := strconv.ParseFloat(text, 64)
		return x
	}
	var x float64
	switch f.value.Kind() {
	case reflect.Float64:
		x = f.value.Float()
	case reflect.Uint32:
		x = float64(f.value.Uint())
	default:
		x = float64(f.value.Int())
	}
	return x >= number(least) && x <= number(most)
}

// wants says what the value may be.
func (f field) wants() string {
	least, most := f.limits()
	what := "a number"
	switch {
	case f.value.Type() == durationType:
		what = "a duration such as 5s,"
	case f.value.Kind() == reflect.String:
		return "a text"
	case f.value.Kind() == reflect.Uint32:
		what = "a whole number"
	case strings.HasSuffix(f.key, "_ms"):
		what = "milliseconds"
	case strings.HasSuffix(f.key, "_percent"):
		what = "a percentage"
	case strings.Contains(f.key, "_share_"):
		what = "a share of moments"
	}
	return fmt.Sprintf("%s from %s to %s", what, least, most)
}
