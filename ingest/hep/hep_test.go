package hep

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

const options = "OPTIONS sip:b@192.0.2.2 SIP/2.0\r\nCall-ID: x\r\n\r\n"

func packet() Packet {
	return Packet{
		Version:       3,
		Family:        FamilyIPv4,
		Protocol:      ProtocolUDP,
		Src:           netip.MustParseAddrPort("192.0.2.1:5060"),
		Dst:           netip.MustParseAddrPort("192.0.2.2:5062"),
		Time:          time.Date(2026, 11, 22, 4, 5, 6, 789_012_000, time.UTC),
		PayloadType:   TypeSIP,
		AgentID:       2001,
		AgentName:     []byte("edge-1"),
		AuthKey:       []byte("secret"),
		CorrelationID: []byte("call-1@192.0.2.1"),
		GroupID:       []byte("g"),
		VLAN:          42,
		KeepAlive:     30,
		TCPFlags:      0x18,
		TOS:           0xb8,
		MOS:           410,
		Payload:       []byte(options),
	}
}

func TestAppendThenParse(t *testing.T) {
	v6 := packet()
	v6.Family = FamilyIPv6
	v6.Src = netip.MustParseAddrPort("[2001:db8::1]:5060")
	v6.Dst = netip.MustParseAddrPort("[2001:db8::2]:5062")
	bare := Packet{Version: 3, Family: FamilyIPv4, Protocol: ProtocolTCP, PayloadType: TypeRTCPJSON,
		Src: packet().Src, Dst: packet().Dst, Payload: []byte("{}")}
	for name, want := range map[string]Packet{"all members": packet(), "IPv6": v6, "bare": bare} {
		b := Append([]byte("before"), &want)
		if !bytes.HasPrefix(b, []byte("before")) {
			t.Fatalf("%s: Append changed what was there before", name)
		}
		var got Packet
		if err := Parse(b[len("before"):], &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got, want)
		}
	}
}

func TestAppendTooLong(t *testing.T) {
	p := packet()
	p.Payload = make([]byte, MaxPacketBytes)
	if b := Append([]byte("x"), &p); string(b) != "x" {
		t.Errorf("a packet that cannot be written left %d bytes", len(b))
	}
}

// chunk builds one chunk as an agent would.
func chunk(vendor, typ uint16, v ...byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, vendor)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(6+len(v)))
	return append(b, v...)
}

func message(magic string, chunks ...[]byte) []byte {
	b := append([]byte(magic), 0, 0)
	for _, c := range chunks {
		b = append(b, c...)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)))
	return b
}

var (
	src4 = chunk(0, chunkIPv4Src, 192, 0, 2, 1)
	dst4 = chunk(0, chunkIPv4Dst, 192, 0, 2, 2)
	body = chunk(0, chunkPayload, []byte(options)...)
)

func TestParseDialects(t *testing.T) {
	var zipped bytes.Buffer
	w := zlib.NewWriter(&zipped)
	w.Write([]byte(options))
	w.Close()

	tests := map[string]struct {
		in    []byte
		check func(p *Packet) bool
	}{
		"EEP magic":            {message("EEP3", src4, dst4, body), func(p *Packet) bool { return p.Version == 3 }},
		"vendor chunk skipped": {message("HEP3", src4, dst4, chunk(7, chunkPayload, 'n', 'o'), body), func(p *Packet) bool { return string(p.Payload) == options }},
		"unknown chunk":        {message("HEP3", src4, dst4, chunk(0, 0x7fff, 1, 2, 3), body), func(p *Packet) bool { return string(p.Payload) == options }},
		"compressed payload":   {message("HEP3", src4, dst4, chunk(0, chunkCompressed, zipped.Bytes()...)), func(p *Packet) bool { return string(p.Payload) == options }},
		"IPv4-mapped in an IPv4 chunk": {message("HEP3",
			chunk(0, chunkIPv4Src, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 9), dst4, body),
			func(p *Packet) bool {
				return p.Src.Addr() == netip.MustParseAddr("192.0.2.9") && p.Family == FamilyIPv4
			}},
		"family as macOS numbers it": {message("HEP3", chunk(0, chunkFamily, 30),
			chunk(0, chunkIPv6Src, bytes.Repeat([]byte{0x20}, 16)...), chunk(0, chunkIPv6Dst, bytes.Repeat([]byte{0x21}, 16)...), body),
			func(p *Packet) bool { return p.Family == FamilyIPv6 }},
		"agent id in the upper half": {message("HEP3", src4, dst4, chunk(0, chunkAgentID, 0x07, 0xd2, 0, 0), body), func(p *Packet) bool { return p.AgentID == 2002 }},
		"bytes after the packet":     {append(message("HEP3", src4, dst4, body), 0, 0, 0), func(p *Packet) bool { return string(p.Payload) == options }},
	}
	for name, tt := range tests {
		var p Packet
		if err := Parse(tt.in, &p); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !tt.check(&p) {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestParseGzippedMessage(t *testing.T) {
	want := packet()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Write(Append(nil, &want))
	w.Close()
	var got Packet
	if err := Parse(zipped.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if !IsHEP(zipped.Bytes()) {
		t.Error("gzip not recognised")
	}
}

func TestParseErrors(t *testing.T) {
	whole := message("HEP3", src4, dst4, body)
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	w.Write(make([]byte, maxInflatedBytes+1))
	w.Close()
	tests := map[string]struct {
		in   []byte
		want error
	}{
		"empty":               {nil, ErrNotHEP},
		"SIP":                 {[]byte(options), ErrNotHEP},
		"cut":                 {whole[:len(whole)-1], ErrTruncated},
		"length below header": {[]byte("HEP3\x00\x05"), ErrTruncated},
		"chunk length 0":      {message("HEP3", src4, dst4, []byte{0, 0, 0, 1, 0, 0}), ErrChunk},
		"chunk beyond end":    {message("HEP3", src4, dst4, []byte{0, 0, 0, 1, 0, 9, 1}), ErrChunk},
		"half a chunk header": {message("HEP3", src4, dst4, []byte{0, 0, 0}), ErrChunk},
		"no addresses":        {message("HEP3", body), ErrFamily},
		"keep-alive":          {message("HEP3", src4, dst4, chunk(0, chunkKeepAlive, 0, 30)), ErrNoPayload},
		"broken gzip":         {append([]byte{0x1f, 0x8b, 8}, make([]byte, 30)...), ErrCompressed},
		"bomb":                {bomb.Bytes(), ErrTooLarge},
		"HEP 1 cut":           {[]byte{1, 16, 2, 17, 0, 1, 0, 2, 10, 0}, ErrTruncated},
		"HEP 1 empty":         {[]byte{1, 16, 2, 17, 0, 1, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2}, ErrNoPayload},
	}
	for name, tt := range tests {
		var p Packet
		if err := Parse(tt.in, &p); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestParseLegacy(t *testing.T) {
	head := func(version, length byte) []byte {
		return []byte{version, length, 2, 17, 0x13, 0xc4, 0x13, 0xc6, 192, 0, 2, 1, 192, 0, 2, 2}
	}
	little := []byte{0x2e, 0x6f, 0xa7, 0x5d, 0x94, 0xad, 0, 0}
	big := []byte{0x5d, 0xa7, 0x6f, 0x2e, 0, 0, 0xad, 0x94}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	captured := time.Date(2019, 10, 16, 19, 27, 42, 44_436_000, time.UTC)

	tests := map[string]struct {
		in      []byte
		at      time.Time
		agentID uint32
	}{
		"HEP 1":                      {join(head(1, 16), []byte(options)), time.Time{}, 0},
		"HEP 2, all little-endian":   {join(head(2, 16), little, []byte{0xd1, 0x07, 0, 0}, []byte(options)), captured, 2001},
		"HEP 2, id big-endian":       {join(head(2, 16), little, []byte{0x07, 0xd1, 0, 0}, []byte(options)), captured, 2001},
		"HEP 2, all big-endian":      {join(head(2, 16), big, []byte{0x07, 0xd1, 0, 0}, []byte(options)), captured, 2001},
		"HEP 2, not padded":          {join(head(2, 16), little, []byte{1, 0}, []byte(options)), captured, 1},
		"HEP 2, length counts time":  {join(head(2, 28), little, []byte{1, 0, 0, 0}, []byte(options)), captured, 1},
		"HEP 2, length, not padded":  {join(head(2, 26), little, []byte{1, 0}, []byte(options)), captured, 1},
		"HEP 2, padding not cleared": {join(head(2, 28), little, []byte{1, 0, 'A', 'B'}, []byte(options)), captured, 1},
	}
	for name, tt := range tests {
		var p Packet
		if err := Parse(tt.in, &p); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !p.Time.Equal(tt.at) || p.AgentID != tt.agentID || string(p.Payload) != options ||
			p.Src.String() != "192.0.2.1:5060" || p.Dst.String() != "192.0.2.2:5062" {
			t.Errorf("%s: %+v, payload %q", name, p, p.Payload)
		}
	}
}

func TestParseKeepsNoBytes(t *testing.T) {
	want := packet()
	b := Append(nil, &want)
	var p Packet
	if n := testing.AllocsPerRun(100, func() {
		if err := Parse(b, &p); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Parse allocates %v times", n)
	}
}

func TestScanner(t *testing.T) {
	p := packet()
	one := Append(nil, &p)
	p.Payload = bytes.Repeat([]byte("y"), 20_000)
	two := Append(nil, &p)
	stream := bytes.Join([][]byte{[]byte("junk HE HEP HEP3\x00\x01EEP"), one, two, []byte("HEP3\xff\xff\x00\x00\x00\x0f\x00\x00"), one}, nil)
	junk := int64(len(stream) - 2*len(one) - len(two))

	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		s := NewScanner(r, 0)
		for i, want := range [][]byte{one, two, one} {
			got, err := s.Next()
			if err != nil {
				t.Fatalf("%s: packet %d: %v", name, i, err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: packet %d: %d bytes, want %d", name, i, len(got), len(want))
			}
		}
		if _, err := s.Next(); err != io.EOF {
			t.Errorf("%s: after the last packet: %v", name, err)
		}
		if s.Skipped() != junk {
			t.Errorf("%s: skipped %d bytes, want %d", name, s.Skipped(), junk)
		}
	}
}

func TestScannerBoundsAndCuts(t *testing.T) {
	p := packet()
	one := Append(nil, &p)
	p.Payload = bytes.Repeat([]byte("y"), 5000)
	long := Append(nil, &p)

	s := NewScanner(bytes.NewReader(append(long, one...)), 1000)
	if got, err := s.Next(); err != nil || !bytes.Equal(got, one) {
		t.Errorf("after a packet beyond the bound: %d bytes, %v", len(got), err)
	}
	if s.Skipped() != int64(len(long)) {
		t.Errorf("skipped %d, want %d", s.Skipped(), len(long))
	}

	s = NewScanner(bytes.NewReader(one[:len(one)-1]), 0)
	if _, err := s.Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("stream that ends in a packet: %v", err)
	}

	broken := errors.New("broken")
	s = NewScanner(io.MultiReader(bytes.NewReader(one), iotest.ErrReader(broken)), 0)
	if _, err := s.Next(); err != nil {
		t.Errorf("packet before the error: %v", err)
	}
	if _, err := s.Next(); err != broken {
		t.Errorf("reader's error: %v", err)
	}
}

func gzipped(t testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// heplify packs each packet, also in a stream.
func TestScannerGzip(t *testing.T) {
	p := packet()
	one := Append(nil, &p)
	p.Payload = bytes.Repeat([]byte("y"), 60_000)
	large := Append(nil, &p)
	bomb := gzipped(t, make([]byte, 10<<20))
	lookalike := []byte("\x1f\x8b\x08\x08no end of this name")
	stream := bytes.Join([][]byte{gzipped(t, one), []byte("junk\x1f\x8b"), one, gzipped(t, large), lookalike, one, bomb, gzipped(t, one), gzipped(t, []byte("no HEP"))}, nil)
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(stream),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(stream)),
	} {
		s := NewScanner(r, 0)
		for i, want := range [][]byte{one, one, large, one, one, []byte("no HEP")} {
			got, err := s.Next()
			if err != nil {
				t.Fatalf("%s: packet %d: %v", name, i, err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%s: packet %d: %d bytes, want %d", name, i, len(got), len(want))
			}
		}
		if _, err := s.Next(); err != io.EOF {
			t.Errorf("%s: after the last packet: %v", name, err)
		}
	}
}

func TestScannerGzipBoundsAndCuts(t *testing.T) {
	p := packet()
	one := Append(nil, &p)
	cut := gzipped(t, one)
	s := NewScanner(bytes.NewReader(cut[:len(cut)-1]), 0)
	if _, err := s.Next(); err != io.ErrUnexpectedEOF {
		t.Errorf("stream that ends in a member: %v", err)
	}
	if _, err := s.Next(); err != io.EOF {
		t.Errorf("after that: %v", err)
	}
	broken := errors.New("broken")
	s = NewScanner(io.MultiReader(bytes.NewReader(cut[:20]), iotest.ErrReader(broken)), 0)
	if _, err := s.Next(); err != broken {
		t.Errorf("reader's error: %v", err)
	}
	// What only begins like gzip costs no more than a few tries.
	s = NewScanner(bytes.NewReader(append(bytes.Repeat([]byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x00\xff\xff"), 20_000), one...)), 0)
	if got, err := s.Next(); err != nil || !bytes.Equal(got, one) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestPayloadName(t *testing.T) {
	for typ, want := range map[uint8]string{TypeSIP: "sip", TypeLog: "log", TypeSIPJSON: "sip_json", 0: "0", 255: "255"} {
		if got := PayloadName(typ); got != want {
			t.Errorf("%d: %s", typ, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	p := packet()
	f.Add(Append(nil, &p))
	f.Add(message("EEP3", src4, dst4, body))
	f.Add([]byte("\x02\x10\x02\x11\x13\xc4\x13\xc6\x0a\x00\x00\x04\x0a\x00\x00\x04\x2e\x6f\xa7\x5d\x94\xad\x00\x00\x01\x00\x00\x00SIP/2.0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Packet
		if Parse(b, &p) != nil {
			return
		}
		if len(p.Payload) == 0 || !p.Src.IsValid() || !p.Dst.IsValid() {
			t.Fatalf("accepted without payload or addresses: %+v", p)
		}
		again := Append(nil, &p)
		if len(again) == 0 {
			return // a legacy payload may be too long for HEP 3
		}
		var q Packet
		if err := Parse(again, &q); err != nil {
			t.Fatalf("cannot read what Append wrote: %v", err)
		}
		if !bytes.Equal(p.Payload, q.Payload) || p.Src.Port() != q.Src.Port() || !bytes.Equal(p.CorrelationID, q.CorrelationID) {
			t.Fatalf("changed:\n%+v\n%+v", p, q)
		}
	})
}

func FuzzScanner(f *testing.F) {
	p := packet()
	one := Append(nil, &p)
	f.Add(append([]byte("HEP3\x00\x00"), one...), 1000)
	f.Add([]byte(strings.Repeat("HEP3\x00\x0c", 4)), 0)
	f.Add(append(gzipped(f, one), one...), 0)
	f.Add([]byte("\x1f\x8b\x08\x1f\x8b\x08\x08HEP3"), 0)
	f.Fuzz(func(t *testing.T, b []byte, maxBytes int) {
		s := NewScanner(bytes.NewReader(b), maxBytes)
		packets := 0
		for {
			packet, err := s.Next()
			if err != nil {
				break
			}
			if packets++; len(packet) > MaxPacketBytes || packets > len(b) {
				t.Fatalf("packet %d of %d bytes out of %d", packets, len(packet), len(b))
			}
		}
		if s.Skipped() > int64(len(b)) {
			t.Fatalf("skipped %d of %d bytes", s.Skipped(), len(b))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	p := packet()
	wire := Append(nil, &p)
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if err := Parse(wire, &p); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	p := packet()
	buf := make([]byte, 0, 2048)
	b.ReportAllocs()
	for b.Loop() {
		buf = Append(buf[:0], &p)
	}
}
