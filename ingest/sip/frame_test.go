package sip

import (
	"bytes"
	"errors"
	"testing"
)

func TestFramer(t *testing.T) {
	options := crlf("OPTIONS sip:a SIP/2.0\nCall-ID: x\nCSeq: 1 OPTIONS\n\n")
	ok := crlf("SIP/2.0 200 OK\nCall-ID: x\nCSeq: 1 OPTIONS\nl: 5\n\nhello")
	lf := []byte("BYE sip:a SIP/2.0\nContent-Length:\n 2\n\n\r\n")
	stream := bytes.Join([][]byte{[]byte("\r\n\r\n"), invite[:len(invite)-len(crlf(offer))-len("Content-Length: 167\r\n\r\n")], []byte("\r\n"), options, []byte("\r\n"), ok, lf}, nil)
	want := [][]byte{append(invite[:len(invite)-len(crlf(offer))-len("Content-Length: 167\r\n\r\n")], '\r', '\n'), options, ok, lf}
	for _, size := range []int{1, 7, len(stream)} {
		var f Framer
		var got [][]byte
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			f.Push(rest[:n])
			rest = rest[n:]
			for {
				m, err := f.Next()
				if err != nil {
					t.Fatalf("chunks of %d: %v", size, err)
				}
				if m == nil {
					break
				}
				got = append(got, m)
			}
		}
		if len(got) != len(want) || f.Buffered() != 0 {
			t.Fatalf("chunks of %d: %d messages, %d bytes left", size, len(got), f.Buffered())
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Errorf("chunks of %d: message %d: %q", size, i, got[i])
			}
		}
	}
}

func TestFramerFindsTheNextMessage(t *testing.T) {
	options := crlf("OPTIONS sip:a SIP/2.0\nCall-ID: x\n\n")
	for name, junk := range map[string]string{
		"end of a message":  "ay: <sip:b>\r\nSubject: x\r\n\r\nv=0\r\n",
		"text":              "GET / HTTP/1.1\r\n",
		"binary":            "\x16\x03\x01\x02\x00\r\n",
		"length out of all": "SIP/2.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
	} {
		var f Framer
		f.Push(append([]byte(junk), options...))
		var got []byte
		var failed int
		for range 20 {
			m, err := f.Next()
			if err != nil {
				failed++
				continue
			}
			if got = m; got != nil {
				break
			}
		}
		if failed == 0 || !bytes.Equal(got, options) {
			t.Errorf("%s: %d errors, then %q", name, failed, got)
		}
	}
	var f Framer
	f.Push([]byte("OPTIONS sip:a SI"))
	f.Reset()
	f.Push(options)
	if m, err := f.Next(); err != nil || !bytes.Equal(m, options) {
		t.Errorf("after Reset: %q, %v", m, err)
	}
}

func TestSplit(t *testing.T) {
	options := "OPTIONS sip:a SIP/2.0\r\nCall-ID: x\r\nl: 2\r\n\r\nab"
	bye := "\r\nBYE sip:a SIP/2.0\r\nCall-ID: x\r\n\r\n"
	for _, tt := range []struct{ in, first, rest string }{
		{options + bye + options, options, bye + options},
		{bye + options, bye, options},
		{options, options, ""},
		{options + "junk", options + "junk", ""},
		{options[:len(options)-1], options[:len(options)-1], ""},
		{bye + "v=0\r\n", bye + "v=0\r\n", ""},
		{"OPTIONS sip:a SIP/2.0\r\nCall", "OPTIONS sip:a SIP/2.0\r\nCall", ""},
		{"", "", ""},
	} {
		first, rest := Split([]byte(tt.in))
		if string(first) != tt.first || string(rest) != tt.rest {
			t.Errorf("%q: %q and %q", tt.in, first, rest)
		}
	}
	b := []byte(options + bye)
	if n := testing.AllocsPerRun(100, func() { Split(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFrameErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		in   []byte
		want error
	}{
		"binary":             {[]byte("\x80\xc8\x00"), ErrNotSIP},
		"another protocol":   {[]byte("GET / HTTP/1.1\r\n"), ErrNotSIP},
		"endless first line": {bytes.Repeat([]byte("A"), maxStartLineBytes+1), ErrNotSIP},
		"endless header":     {append([]byte("OPTIONS sip:a SIP/2.0\r\nX: "), bytes.Repeat([]byte("A"), MaxMessageBytes)...), ErrTooLarge},
	} {
		if _, n, err := Frame(tt.in); n != 0 || !errors.Is(err, tt.want) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	for _, in := range []string{"", "\r\n", "S", "SIP/2.0", "INVITE", "INVITE sip:a", "INVITE sip:a SIP/2.0\r\nX: y\r\n", "SIP/2.0 200 OK\r\nl: 3\r\n\r\nab"} {
		if _, n, err := Frame([]byte(in)); n != 0 || err != nil {
			t.Errorf("%q: %d, %v", in, n, err)
		}
	}
}

func FuzzFramer(f *testing.F) {
	f.Add(append(invite, invite...), 100)
	f.Add([]byte("\r\nSIP/2.0 1\nl:1\n\nx\nGET\n\r\r\n"), 3)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if first, rest := Split(b); !bytes.Equal(append(bytes.Clone(first), rest...), b) || len(rest) > 0 && (len(first) == 0 || !IsSIP(rest)) {
			t.Fatalf("split into %q and %q", first, rest)
		}
		size = max(1, min(size, len(b)))
		var fr Framer
		given := 0
		for rest := b; len(rest) > 0; {
			n := min(size, len(rest))
			fr.Push(rest[:n])
			rest = rest[n:]
			for {
				before := fr.Buffered()
				m, err := fr.Next()
				if err == nil && m == nil {
					break
				}
				if fr.Buffered() >= before {
					t.Fatalf("no progress with %d bytes: %q, %v", before, m, err)
				}
				if given += len(m); m != nil && !IsSIP(m) {
					t.Fatalf("%q", m)
				}
			}
		}
		if given+fr.Buffered() > len(b) {
			t.Fatalf("%d given, %d left of %d", given, fr.Buffered(), len(b))
		}
	})
}
