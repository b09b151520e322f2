package sip

import (
	"slices"
	"strings"
	"testing"
)

func TestHeaders(t *testing.T) {
	const message = "INVITE sip:b@h SIP/2.0\r\nX-CID : a@h\r\nSubject: one\r\n two\r\n\tthree\r\nnonsense\nEmpty:\nP-Charging-Vector: icid-value=\"1:2\";x=y\r\n\r\nX-CID: body\r\n"
	var got []string
	for name, value := range Headers([]byte(message)) {
		got = append(got, name+"="+value)
	}
	want := []string{"X-CID=a@h", "Subject=one two three", "Empty=", `P-Charging-Vector=icid-value="1:2";x=y`}
	if !slices.Equal(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
	for name := range Headers([]byte(message)) {
		if name != "X-CID" {
			t.Errorf("went on to %s", name)
		}
		break
	}
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte("OPTIONS sip:h SIP/2.0\r\nA: b\r\n c\r\n\r\nbody: x"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		size := 0
		for name, value := range Headers(raw) {
			size += len(name) + len(value)
			if strings.ContainsAny(name+value, "\n") {
				t.Fatalf("a line end in %q: %q", name, value)
			}
		}
		if size > len(raw) {
			t.Fatalf("%d bytes of headers in %d bytes", size, len(raw))
		}
	})
}
