package events

import (
	"errors"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

func TestDecode(t *testing.T) {
	item, err := Decode([]byte(`{"specversion":"1.0","id":"e1","source":"/pbx/1","type":"earshot.call.rejected","time":"2026-03-01T10:00:00.5Z",
	 "data":{"call_id":"c1","sip_call_id":"s1@h","leg_id":"l","direction":"inbound","from":"+15551230001","to":{"number":"+15551230002","contact_center_id":"cc"},
	 "agent":{"user_id":"u1","name":"Ann","department_id":"d"},"reason":"after_hours","text":"closed","side":"system","endpoint":"web","description":"x"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &telemetry.CallEvent{Id: "e1", Type: "rejected", CallId: "c1", SipCallId: "s1@h", LegId: "l", Direction: "inbound",
		From: &telemetry.Identity{Number: "+15551230001"}, To: &telemetry.Identity{Number: "+15551230002", ContactCenterId: "cc"},
		Subject: &telemetry.Identity{UserId: "u1", Name: "Ann", DepartmentId: "d"}, Reason: "after_hours", Text: "closed",
		Side: "system", Endpoint: "web", Description: "x"}
	if !proto.Equal(item.Event, want) {
		t.Errorf("got  %v\nwant %v", item.Event, want)
	}
	if item.Source != "/pbx/1" || item.AtUs != 1772359200500000 {
		t.Errorf("source %q at %d", item.Source, item.AtUs)
	}
}

func TestDecodeShort(t *testing.T) {
	item, err := Decode([]byte(`{"specversion":"1.0","id":"e1","source":"x","type":"rated","subject":"c9","data":{"rating":4,"user":"ann"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &telemetry.CallEvent{Id: "e1", Type: "rated", CallId: "c9", Rating: 4, Subject: &telemetry.Identity{UserId: "ann"}}
	if !proto.Equal(item.Event, want) || item.AtUs != 0 {
		t.Errorf("%v at %d", item.Event, item.AtUs)
	}
}

func TestDecodeRefuses(t *testing.T) {
	const head = `{"specversion":"1.0","id":"e","source":"s","type":"`
	for in, field := range map[string]string{
		`7`:  "",
		`{}`: "specversion",
		`{"specversion":"0.3","id":"e","source":"s","type":"ended"}`: "specversion",
		`{"specversion":"1.0","source":"s","type":"ended"}`:          "id",
		`{"specversion":"1.0","id":"e","type":"ended"}`:              "source",
		`{"specversion":"1.0","id":7,"source":"s","type":"ended"}`:   "id",
		head + `exploded","data":{"call_id":"c"}}`:                   "type",
		head + `ended","time":"noon","data":{"call_id":"c"}}`:        "time",
		head + `ended","data":{}}`:                                   "data.call_id",
		head + `ended","data":[]}`:                                   "data",
		head + `ended","data":{"call_id":{}}}`:                       "data.call_id",
		head + `ended","data":{"call_id":"c","side":"left"}}`:        "data.side",
		head + `ended","data":{"call_id":"c","direction":"up"}}`:     "data.direction",
		head + `rejected","data":{"call_id":"c"}}`:                   "data.reason",
		head + `rejected","data":{"call_id":"c","reason":"bored"}}`:  "data.reason",
		head + `rated","data":{"call_id":"c","rating":6}}`:           "data.rating",
		head + `rated","data":{"call_id":"c","rating":"5"}}`:         "data.rating",
	} {
		_, err := Decode([]byte(in))
		var fe *FieldError
		if !errors.As(err, &fe) || !errors.Is(err, ErrEvent) || fe.Field != field {
			t.Errorf("%s: %v, want field %q", in, err, field)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"specversion":"1.0","id":"e1","source":"/pbx/1","type":"earshot.call.rejected","time":"2026-03-01T10:00:00.5Z","data":{"call_id":"c1","from":"+1555","to":{"number":"7"},"reason":"spam"}}`))
	f.Add([]byte(`{"specversion":"1.0","id":"\ud800","source":"s","type":"ended","subject":"c","data":{"user":null,"rating":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		item, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Fatalf("foreign error %v", err)
			}
			return
		}
		if item.Event.CallId+item.Event.SipCallId == "" || item.Event.Id == "" || item.Event.Rating > 5 {
			t.Fatalf("%v", item)
		}
		if _, err := proto.Marshal(item.Event); err != nil {
			t.Fatalf("cannot marshal: %v", err)
		}
	})
}
