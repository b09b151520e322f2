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

// A set of changes gives what a whole set gives.
func FuzzMerge(f *testing.F) {
	f.Add([]byte(`{"a":{"type":"inbound-rtp","packetsReceived":1}}`), []byte(`{"a":{"packetsReceived":2,"jitter":null},"b":{"type":"codec"}}`))
	f.Add([]byte(`{"a":{"packetsReceived":1},"v":{"kind":"video"}}`), []byte(`{"a":{"type":"inbound-rtp"},"v":{"type":"inbound-rtp","jitter":1}}`))
	f.Add([]byte(`[{"id":"a","type":"track","kind":"audio","audioLevel":1}]`), []byte(`[["a",{"audioLevel":"0.5"}]]`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var changes Stats
		for _, b := range [][]byte{first, second} {
			b = append([]byte(nil), b...)
			err := changes.Merge(b)
			if valid := json.Valid(b); err == nil && !valid {
				t.Fatalf("accepted %q", b)
			}
			clear(b) // it may change
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
