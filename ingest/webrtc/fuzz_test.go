package webrtc

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/telemetry"
)

// What encoding/json accepts gives the same item; what it does not, gives none.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(specItem))
	f.Add([]byte(legacyItem))
	f.Add([]byte(`{"call_id":"\ud83d\ude00\u00e9\ud800","stats":[{"type":"ssrc","ssrc":"1","audioOutputLevel":"-1"}]}`))
	f.Add([]byte(`{"call_id":"c","at":1772359200250,"stats":{"a":{"type":"track","kind":"audio","audioLevel":1e400}}}`))
	f.Add([]byte(`{"call_id":"c","stats":[["a",{"timestamp":"2018-03-01T10:00:00.5Z","type":"inboundrtp","isRemote":true,"mozRtt":41}],["b"],[]]}`))
	f.Add([]byte(`{"call_id":"c","stats":{"v":{"type":"inbound-rtp","kind":"video","x":{"y":[1,{}]}},"a":{"jitter":1,"type":"codec","type":"inbound-rtp"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Decoder
		for _, before := range []string{specItem, legacyItem} { // of which nothing may be left
			if _, err := d.Decode([]byte(before)); err != nil {
				t.Fatal(err)
			}
		}
		got, err := d.Decode(b)
		want, wantErr := refItem(b)
		var field, wantField *FieldError
		switch {
		case errors.Is(wantErr, errDeep):
			if !errors.Is(err, ErrSyntax) {
				t.Fatalf("nested too deep, and got %v", err)
			}
			return
		case wantErr != nil && !errors.As(wantErr, &wantField):
			if err == nil || !errors.Is(err, ErrSyntax) && !errors.Is(err, ErrTruncated) {
				t.Fatalf("encoding/json says %v, got %v", wantErr, err)
			}
			return
		case wantErr != nil:
			if !errors.As(err, &field) || !errors.Is(err, ErrItem) || field.Field != wantField.Field || errors.Is(err, ErrSyntax) {
				t.Fatalf("got %v, want a refusal of %q", err, wantField.Field)
			}
			return
		case err != nil:
			t.Fatalf("refused: %v", err)
		}
		if !proto.Equal(got.Sample, want.Sample) || got.AtUs != want.AtUs {
			t.Fatalf("got  %d %v\nwant %d %v", got.AtUs, got.Sample, want.AtUs, want.Sample)
		}
		// Its protobuf is written without a look at UTF-8 and must be readable.
		wire, err := got.Sample.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(wire, &telemetry.WebRTCSample{}); err != nil {
			t.Fatalf("not UTF-8: %v", err)
		}
	})
}

// unbounded is room without end, counted.
type unbounded int

func (u *unbounded) Take(n int) bool { *u += unbounded(n); return true }
func (u *unbounded) Give(n int)      { *u -= unbounded(n) }

// Changes leave nothing that could not be, and what is kept is counted.
func FuzzApply(f *testing.F) {
	numbers := NumberedChanges([]string{1: "inbound-rtp", 2: "codec"}, []string{1: "packetsReceived", 2: "codecId", 4: "kind"})
	f.Add([]byte(`{"a":{"type":"inbound-rtp","packetsReceived":1}}`), []byte(`{"a":{"packetsReceived":2,"jitter":null},"b":{"type":"codec"}}`), uint8(0))
	f.Add([]byte(`{"a":{"packetsReceived":1},"v":{"kind":"video"}}`), []byte(`{"a":{"type":"inbound-rtp"},"v":{"type":"inbound-rtp","jitter":1}}`), uint8(1))
	f.Add([]byte(`{"a":{"type":1,"1":3,"2":"b"},"b":{"type":2},"t":1795362426063}`), []byte(`{"b":null,"a":{"2":"cc","t":1795362426000}}`), uint8(2))
	f.Fuzz(func(t *testing.T, first, second []byte, how uint8) {
		var changes Stats
		var used unbounded
		for _, b := range [][]byte{first, second} {
			b = append([]byte(nil), b...)
			_, err := changes.Apply(b, []*Changes{{}, {Sweep: true}, numbers}[how%3], &used)
			if valid := json.Valid(b); err == nil && !valid {
				t.Fatalf("accepted %q", b)
			}
			clear(b) // it may change
			size := 0
			for i := range changes.list {
				size += changes.list[i].size()
			}
			if size != changes.Used() || size != int(used) {
				t.Fatalf("%d bytes are kept, %d and %d are counted", size, changes.Used(), used)
			}
		}
		sample := &telemetry.WebRTCSample{}
		changes.Sample(sample)
		wire, err := sample.MarshalVT()
		if err != nil {
			t.Fatal(err)
		}
		if err := proto.Unmarshal(wire, &telemetry.WebRTCSample{}); err != nil {
			t.Fatalf("not UTF-8: %v", err)
		}
		for _, in := range sample.Inbound {
			if l := in.AudioLevel; l != nil && (*l < 0 || *l > 1 || math.IsNaN(*l)) || !utf8.ValidString(in.Id) {
				t.Fatalf("inbound %v", in)
			}
		}
	})
}
