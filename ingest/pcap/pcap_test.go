package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"
	"time"
)

var (
	phone  = netip.MustParseAddrPort("192.0.2.1:5060")
	proxy  = netip.MustParseAddrPort("192.0.2.2:5070")
	phone6 = netip.MustParseAddrPort("[2001:db8::1]:5060")
	proxy6 = netip.MustParseAddrPort("[2001:db8::2]:5070")
	start  = time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC)
)

// file writes a pcap of one link type, one packet a millisecond.
func file(order binary.AppendByteOrder, magic, linkType uint32, packets ...[]byte) []byte {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	b = order.AppendUint64(b, 0)
	b = order.AppendUint32(b, snapLength)
	b = order.AppendUint32(b, linkType)
	for i, p := range packets {
		at := start.Add(time.Duration(i) * time.Millisecond)
		fraction := at.Nanosecond()
		if magic == magicMicros {
			fraction /= 1000
		}
		b = order.AppendUint32(b, uint32(at.Unix()))
		b = order.AppendUint32(b, uint32(fraction))
		b = order.AppendUint32(b, uint32(len(p)))
		b = order.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

func raw(packets ...[]byte) []byte {
	return file(binary.LittleEndian, magicMicros, linkRaw, packets...)
}

func udp(payload string) []byte { return appendUDP(nil, phone, proxy, []byte(payload)) }

// block writes a block of pcapng.
func block(order binary.AppendByteOrder, typ uint32, body []byte) []byte {
	for len(body)%4 != 0 {
		body = append(body, 0)
	}
	b := order.AppendUint32(nil, typ)
	b = order.AppendUint32(b, uint32(len(body)+12))
	b = append(b, body...)
	return order.AppendUint32(b, uint32(len(body)+12))
}

func section(order binary.AppendByteOrder) []byte {
	b := order.AppendUint32(nil, byteOrderMagic)
	b = order.AppendUint32(b, 1)
	b = order.AppendUint64(b, ^uint64(0))
	return block(order, blockSection, b)
}

func iface(order binary.AppendByteOrder, linkType uint16, options ...byte) []byte {
	b := order.AppendUint16(nil, linkType)
	b = order.AppendUint16(b, 0)
	b = order.AppendUint32(b, 0)
	return block(order, blockInterface, append(b, options...))
}

func enhanced(order binary.AppendByteOrder, index uint32, ts uint64, original int, p []byte) []byte {
	b := order.AppendUint32(nil, index)
	b = order.AppendUint32(b, uint32(ts>>32))
	b = order.AppendUint32(b, uint32(ts))
	b = order.AppendUint32(b, uint32(len(p)))
	b = order.AppendUint32(b, uint32(original))
	return block(order, blockEnhanced, append(b, p...))
}

func read(t testing.TB, b []byte) ([]Datagram, Stats, error) {
	t.Helper()
	r, err := Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var ds []Datagram
	for {
		d, err := r.Next()
		if err != nil {
			if err == io.EOF {
				err = nil
			}
			return ds, r.Stats(), err
		}
		ds = append(ds, d)
	}
}

func TestFormats(t *testing.T) {
	p := udp("hello")
	want := Datagram{At: start, Src: phone, Dst: proxy, Transport: "udp", Payload: []byte("hello"), Frame: 1}
	le, be := binary.LittleEndian, binary.BigEndian
	micros, nanos := uint64(start.UnixMicro()), uint64(start.UnixNano())
	options := func(order binary.AppendByteOrder, code uint16, v ...byte) []byte {
		b := order.AppendUint16(nil, code)
		b = order.AppendUint16(b, uint16(len(v)))
		b = append(b, v...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return append(b, 0, 0, 0, 0)
	}
	offset := be.AppendUint64(nil, 1_000_000_000)

	for name, b := range map[string][]byte{
		"pcap, µs, little-endian": file(le, magicMicros, linkRaw, p),
		"pcap, µs, big-endian":    file(be, magicMicros, linkRaw, p),
		"pcap, ns, little-endian": file(le, magicNanos, linkRaw, p),
		"pcap, ns, big-endian":    file(be, magicNanos, linkRaw, p),
		"pcap, with FCS bits":     file(le, magicMicros, 0x50000000|linkRaw, p),
		"pcapng":                  slices.Concat(section(le), iface(le, linkRaw), enhanced(le, 0, micros, len(p), p)),
		"pcapng, big-endian":      slices.Concat(section(be), iface(be, linkRaw), enhanced(be, 0, micros, len(p), p)),
		"pcapng, ns":              slices.Concat(section(le), iface(le, linkRaw, options(le, optionTSResol, 9)...), enhanced(le, 0, nanos, len(p), p)),
		"pcapng, offset":          slices.Concat(section(be), iface(be, linkRaw, options(be, optionTSOffset, offset...)...), enhanced(be, 0, micros-1_000_000_000_000_000, len(p), p)),
		"pcapng, other blocks": slices.Concat(section(le), block(le, 10, make([]byte, 70_000)), iface(le, 147), iface(le, linkRaw),
			block(le, 5, make([]byte, 8)), enhanced(le, 1, micros, len(p), p)),
		"pcapng, two sections": slices.Concat(section(le), iface(le, 147), section(be), iface(be, linkRaw), enhanced(be, 0, micros, len(p), p)),
	} {
		got, stats, err := read(t, b)
		if err != nil || len(got) != 1 || stats.Frames != 1 || stats.Truncated {
			t.Errorf("%s: %v, %v, %+v", name, got, err, stats)
			continue
		}
		if !reflect.DeepEqual(got[0], want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, got[0], want)
		}
	}
}

func TestPowerOfTwoResolution(t *testing.T) {
	i := ngInterface{perSecond: resolution(0x80 | 16)}
	if at := i.time(0, 3<<16|1<<15); !at.Equal(time.Unix(3, 500_000_000)) {
		t.Errorf("%v", at)
	}
	i.perSecond = resolution(0xff) // the finest that fits
	if at := i.time(1<<31, 0); !at.Equal(time.Unix(1, 0)) {
		t.Errorf("%v", at)
	}
}

func TestLinkTypes(t *testing.T) {
	v4, v6 := udp("hello"), appendUDP(nil, phone6, proxy6, []byte("hello"))
	mac := make([]byte, 12)
	gre := func(inner []byte) []byte {
		outer := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protoGRE, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x20, 0, 8, 0, 1, 2, 3, 4}
		binary.BigEndian.PutUint16(outer[2:], uint16(len(outer)+len(inner)))
		return append(outer, inner...)
	}
	hopByHop := func() []byte {
		b := append(slices.Clone(v6[:40]), protoUDP, 0, 0, 0, 0, 0, 0, 0)
		b[6] = protoHopByHop
		binary.BigEndian.PutUint16(b[4:], uint16(len(v6)-40+8))
		return append(b, v6[40:]...)
	}
	tests := map[string]struct {
		linkType uint32
		packet   []byte
		v6       bool
	}{
		"Ethernet":                       {linkEthernet, slices.Concat(mac, []byte{8, 0}, v4), false},
		"Ethernet, padded":               {linkEthernet, slices.Concat(mac, []byte{8, 0}, v4, make([]byte, 20)), false},
		"Ethernet, IPv6":                 {linkEthernet, slices.Concat(mac, []byte{0x86, 0xdd}, v6), true},
		"VLAN":                           {linkEthernet, slices.Concat(mac, []byte{0x81, 0, 0, 5, 8, 0}, v4), false},
		"QinQ":                           {linkEthernet, slices.Concat(mac, []byte{0x88, 0xa8, 0, 5, 0x81, 0, 0, 6, 8, 0}, v4), false},
		"PPPoE":                          {linkEthernet, slices.Concat(mac, []byte{0x88, 0x64, 0x11, 0, 0, 1, 0, 35, 0, 0x21}, v4), false},
		"MPLS":                           {linkEthernet, slices.Concat(mac, []byte{0x88, 0x47, 0, 1, 0, 64, 0, 2, 1, 64}, v4), false},
		"Linux cooked":                   {linkSLL, slices.Concat(make([]byte, 14), []byte{8, 0}, v4), false},
		"Linux cooked 2":                 {linkSLL2, slices.Concat([]byte{0x86, 0xdd}, make([]byte, 18), v6), true},
		"null":                           {linkNull, slices.Concat([]byte{2, 0, 0, 0}, v4), false},
		"null, IPv6 of macOS":            {linkNull, slices.Concat([]byte{30, 0, 0, 0}, v6), true},
		"loop":                           {linkLoop, slices.Concat([]byte{0, 0, 0, 2}, v4), false},
		"raw 12":                         {linkRaw12, v4, false},
		"raw 14":                         {linkRaw14, v6, true},
		"raw":                            {linkRaw, v6, true},
		"IPv4":                           {linkIPv4, v4, false},
		"IPv6":                           {linkIPv6, v6, true},
		"PPP":                            {linkPPP, slices.Concat([]byte{0xff, 3, 0, 0x57}, v6), true},
		"IPv6, hop-by-hop options":       {linkRaw, hopByHop(), true},
		"GRE":                            {linkRaw, gre(v4), false},
		"length 0, for the card to fill": {linkRaw, slices.Concat([]byte{0x45, 0, 0, 0}, v4[4:]), false},
	}
	for name, tt := range tests {
		got, stats, err := read(t, file(binary.LittleEndian, magicMicros, tt.linkType, tt.packet))
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v, %v, %+v", name, got, err, stats)
			continue
		}
		src, dst := phone, proxy
		if tt.v6 {
			src, dst = phone6, proxy6
		}
		if d := got[0]; d.Src != src || d.Dst != dst || string(d.Payload) != "hello" || d.Truncated {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestLeftOut(t *testing.T) {
	mac := make([]byte, 12)
	icmp := slices.Clone(udp("x"))
	icmp[9] = 1
	ihl := slices.Clone(udp("x"))
	ihl[0] = 0x44
	short := slices.Clone(udp("x"))
	binary.BigEndian.PutUint16(short[24:], 7)
	nested := udp("x")
	for range maxTunnels {
		outer := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protoIPv4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
		binary.BigEndian.PutUint16(outer[2:], uint16(20+len(nested)))
		nested = append(outer, nested...)
	}
	for name, tt := range map[string]struct {
		linkType uint32
		packet   []byte
		reason   string
	}{
		"USB":                 {189, udp("x"), LeftOutLinkType},
		"ARP":                 {linkEthernet, slices.Concat(mac, []byte{8, 6}, make([]byte, 28)), LeftOutNotIP},
		"ICMP":                {linkRaw, icmp, LeftOutProtocol},
		"IP header too short": {linkRaw, ihl, LeftOutMalformed},
		"UDP length 7":        {linkRaw, short, LeftOutMalformed},
		"cut in UDP header":   {linkRaw, udp("x")[:24], LeftOutTruncated},
		"cut in IP header":    {linkRaw, udp("x")[:12], LeftOutTruncated},
		"cut in Ethernet":     {linkEthernet, mac, LeftOutTruncated},
		"empty datagram":      {linkRaw, udp(""), LeftOutEmpty},
		"tunnels in tunnels":  {linkRaw, nested, LeftOutTunnel},
	} {
		got, stats, err := read(t, file(binary.LittleEndian, magicMicros, tt.linkType, tt.packet))
		if err != nil || len(got) != 0 || !reflect.DeepEqual(stats.LeftOut, map[string]int{tt.reason: 1}) {
			t.Errorf("%s: %v, %v, %+v", name, got, err, stats)
		}
	}
}

func TestSnapLength(t *testing.T) {
	p := udp("hello, world")
	b := slices.Concat(section(binary.LittleEndian), iface(binary.LittleEndian, linkRaw),
		enhanced(binary.LittleEndian, 0, 0, len(p), p[:len(p)-7]))
	got, _, err := read(t, b)
	if err != nil || len(got) != 1 || !got[0].Truncated || string(got[0].Payload) != "hello" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTruncatedFileKeepsWhatWasBefore(t *testing.T) {
	for name, whole := range map[string][]byte{
		"pcap":   raw(udp("one"), udp("two")),
		"pcapng": slices.Concat(section(binary.LittleEndian), iface(binary.LittleEndian, linkRaw), enhanced(binary.LittleEndian, 0, 0, 31, udp("one")), enhanced(binary.LittleEndian, 0, 0, 31, udp("two"))),
	} {
		for cut := 1; cut < 40; cut++ {
			got, stats, err := read(t, whole[:len(whole)-cut])
			if err != nil || len(got) != 1 || string(got[0].Payload) != "one" || !stats.Truncated {
				t.Errorf("%s without its last %d bytes: %v, %v, %+v", name, cut, got, err, stats)
			}
		}
	}
}

func TestBrokenFiles(t *testing.T) {
	for name, b := range map[string][]byte{"empty": {}, "text": []byte("INVITE sip:a"), "half a header": raw()[:20]} {
		if _, err := Open(bytes.NewReader(b)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := append(raw(udp("one")), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(b[len(b)-8:], 1<<30)
	if got, _, err := read(t, b); len(got) != 1 || !errors.Is(err, ErrCorrupt) {
		t.Errorf("record of a gigabyte: %v, %v", got, err)
	}
	broken := errors.New("broken")
	r, err := Open(io.MultiReader(bytes.NewReader(raw(udp("one"))), iotest.ErrReader(broken)))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := r.Next(); err != nil || string(d.Payload) != "one" {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := r.Next(); !errors.Is(err, broken) {
		t.Errorf("reader's error: %v", err)
	}
}

// split cuts an IPv4 packet into fragments of n bytes of payload.
func split(p []byte, id uint16, n int) [][]byte {
	var out [][]byte
	for at, body := 0, p[20:]; at < len(body); at += n {
		piece := body[at:min(len(body), at+n)]
		f := append(slices.Clone(p[:20]), piece...)
		binary.BigEndian.PutUint16(f[2:], uint16(len(f)))
		binary.BigEndian.PutUint16(f[4:], id)
		flags := uint16(at / 8)
		if at+n < len(body) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(f[6:], flags)
		out = append(out, f)
	}
	return out
}

// split6 does so with an IPv6 packet.
func split6(p []byte, id uint32, n int) [][]byte {
	var out [][]byte
	for at, body := 0, p[40:]; at < len(body); at += n {
		piece := body[at:min(len(body), at+n)]
		f := append(slices.Clone(p[:40]), protoUDP, 0)
		more := uint16(0)
		if at+n < len(body) {
			more = 1
		}
		f = binary.BigEndian.AppendUint16(f, uint16(at)|more)
		f = binary.BigEndian.AppendUint32(f, id)
		f = append(f, piece...)
		f[6] = protoFragment
		binary.BigEndian.PutUint16(f[4:], uint16(len(f)-40))
		out = append(out, f)
	}
	return out
}

func TestFragments(t *testing.T) {
	payload := bytes.Repeat([]byte("0123456789"), 200)
	v4 := split(appendUDP(nil, phone, proxy, payload), 7, 800)
	v6 := split6(appendUDP(nil, phone6, proxy6, payload), 7, 800)
	other := split(appendUDP(nil, proxy, phone, payload), 7, 800)
	for name, tt := range map[string]struct {
		packets [][]byte
		whole   int
		leftOut int
	}{
		"in order":          {v4, 1, 0},
		"IPv6":              {v6, 1, 0},
		"last first":        {[][]byte{v4[2], v4[0], v4[1]}, 1, 0},
		"twice":             {[][]byte{v4[0], v4[0], v4[1], v4[2]}, 1, 1},
		"two at once":       {[][]byte{v4[0], other[0], v6[0], v4[1], other[1], v6[1], v4[2], v6[2], other[2]}, 3, 0},
		"one never came":    {[][]byte{v4[0], v4[2]}, 0, 2},
		"the id used again": {slices.Concat(v4, v4), 2, 0},
	} {
		got, stats, err := read(t, raw(tt.packets...))
		if err != nil || len(got) != tt.whole || stats.LeftOut[LeftOutFragment] != tt.leftOut {
			t.Errorf("%s: %d whole, %v, %+v", name, len(got), err, stats)
		}
		for _, d := range got {
			if !bytes.Equal(d.Payload, payload) || d.Truncated {
				t.Errorf("%s: payload of %d bytes", name, len(d.Payload))
			}
		}
		if tt.whole == 1 && (got[0].Frame != len(tt.packets) || !got[0].At.Equal(start.Add(time.Duration(len(tt.packets)-1)*time.Millisecond))) {
			t.Errorf("%s: frame %d at %v is not that of the last fragment", name, got[0].Frame, got[0].At)
		}
	}
}

func TestFragmentsAreBounded(t *testing.T) {
	var packets [][]byte
	for id := range uint16(3 * maxFragmentedAtOnce) {
		packets = append(packets, split(udp("0123456789abcdef"), id, 8)[0])
	}
	r, err := Open(bytes.NewReader(raw(packets...)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if got := r.Stats().LeftOut[LeftOutFragment]; got != len(packets) || len(r.fragments.open) != 0 || r.fragments.bytes != 0 {
		t.Errorf("%d of %d counted, %d open with %d bytes", got, len(packets), len(r.fragments.open), r.fragments.bytes)
	}
}

// segmentOf writes a TCP segment from the phone.
func segmentOf(seq uint32, flags byte, payload string) []byte {
	p := appendUDP(nil, phone, proxy, nil)[:20]
	p[9] = protoTCP
	binary.BigEndian.PutUint16(p[2:], uint16(40+len(payload)))
	p = binary.BigEndian.AppendUint16(p, phone.Port())
	p = binary.BigEndian.AppendUint16(p, proxy.Port())
	p = binary.BigEndian.AppendUint32(p, seq)
	p = binary.BigEndian.AppendUint32(p, 0)
	p = append(p, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(p, payload...)
}

func TestStreams(t *testing.T) {
	const ack = 0x10
	type chunk struct {
		payload string
		gap     bool
		frame   int
	}
	s := func(seq uint32, payload string) []byte { return segmentOf(seq, ack, payload) }
	syn := segmentOf(99, tcpSYN, "")
	for name, tt := range map[string]struct {
		packets [][]byte
		want    []chunk
	}{
		"in order":          {[][]byte{syn, s(100, "abc"), s(103, "def")}, []chunk{{"abc", true, 2}, {"def", false, 3}}},
		"begun before":      {[][]byte{s(100, "abc"), s(103, "def")}, []chunk{{"abc", true, 1}, {"def", false, 2}}},
		"out of order":      {[][]byte{syn, s(103, "def"), s(106, "ghi"), s(100, "abc")}, []chunk{{"abcdefghi", true, 4}}},
		"retransmission":    {[][]byte{syn, s(100, "abc"), s(100, "abc"), s(103, "def")}, []chunk{{"abc", true, 2}, {"def", false, 4}}},
		"overlap":           {[][]byte{syn, s(100, "abc"), s(101, "bcdef"), s(104, "ef")}, []chunk{{"abc", true, 2}, {"def", false, 3}}},
		"overlap when held": {[][]byte{syn, s(103, "def"), s(105, "fgh"), s(100, "abcd")}, []chunk{{"abcdefgh", true, 4}}},
		"keep-alive":        {[][]byte{syn, s(100, "abc"), s(102, "c"), s(103, "def")}, []chunk{{"abc", true, 2}, {"def", false, 4}}},
		"hole to the end":   {[][]byte{syn, s(100, "abc"), s(106, "ghi"), s(109, "jkl")}, []chunk{{"abc", true, 2}, {"ghi", true, 3}, {"jkl", false, 4}}},
		"sequence wraps":    {[][]byte{segmentOf(0xfffffffd, tcpSYN, ""), s(0xfffffffe, "abc"), s(4, "ghi"), s(1, "def")}, []chunk{{"abc", true, 2}, {"defghi", false, 4}}},
		"SYN sent again":    {[][]byte{syn, syn, s(100, "abc")}, []chunk{{"abc", true, 3}}},
		"ports used again": {[][]byte{syn, s(100, "abc"), segmentOf(103, tcpFIN|ack, ""), segmentOf(5000, tcpSYN, ""), s(5001, "xyz")},
			[]chunk{{"abc", true, 2}, {"xyz", true, 5}}},
		"another connection without its SYN": {[][]byte{syn, s(100, "abc"), s(1<<30, "xyz"), s(1<<30+3, "uvw")}, []chunk{{"abc", true, 2}, {"xyz", true, 3}, {"uvw", false, 4}}},
		"reset":                              {[][]byte{syn, s(103, "def"), segmentOf(100, tcpRST, "")}, []chunk{{"def", true, 2}}},
		"data on FIN":                        {[][]byte{syn, segmentOf(100, tcpFIN|ack, "abc")}, []chunk{{"abc", true, 2}}},
	} {
		got, stats, err := read(t, raw(tt.packets...))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var chunks []chunk
		for _, d := range got {
			chunks = append(chunks, chunk{string(d.Payload), d.Gap, d.Frame})
			if d.Transport != "tcp" || d.Src != phone || d.Dst != proxy || !d.At.Equal(start.Add(time.Duration(d.Frame-1)*time.Millisecond)) {
				t.Errorf("%s: %+v", name, d)
			}
		}
		if !reflect.DeepEqual(chunks, tt.want) {
			t.Errorf("%s: %+v, want %+v; %+v", name, chunks, tt.want, stats)
		}
	}
}

func TestStreamGivesUpOnAHole(t *testing.T) {
	packets := [][]byte{segmentOf(99, tcpSYN, "")}
	for i := range uint32(maxSegmentsHeld + 10) {
		packets = append(packets, segmentOf(200+i, 0x10, "x"))
	}
	r, err := Open(bytes.NewReader(raw(packets...)))
	if err != nil {
		t.Fatal(err)
	}
	d, err := r.Next()
	if err != nil || !d.Gap || d.Frame == len(packets) {
		t.Errorf("%+v, %v", d, err)
	}
	if held := r.streams.bytes; held > maxSegmentsHeld {
		t.Errorf("%d bytes held", held)
	}
}

func TestStreamAfterACutSegment(t *testing.T) {
	cut := segmentOf(100, 0x10, "abcdef")
	b := slices.Concat(section(binary.LittleEndian), iface(binary.LittleEndian, linkRaw),
		enhanced(binary.LittleEndian, 0, 0, len(cut), cut[:len(cut)-2]),
		enhanced(binary.LittleEndian, 0, 0, 43, segmentOf(106, 0x10, "ghi")))
	got, _, err := read(t, b)
	if err != nil || len(got) != 2 || string(got[0].Payload) != "abcd" || !got[0].Truncated || string(got[1].Payload) != "ghi" || !got[1].Gap {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWriteThenRead(t *testing.T) {
	want := []Datagram{
		{At: start, Src: phone, Dst: proxy, Transport: "udp", Payload: []byte("hello"), Frame: 1},
		{At: start.Add(time.Second), Src: phone6, Dst: proxy6, Transport: "udp", Payload: []byte("odd"), Frame: 2},
		{At: start.Add(2 * time.Second), Src: proxy, Dst: phone6, Transport: "udp", Payload: []byte("families mixed"), Frame: 3},
	}
	var b bytes.Buffer
	if err := WriteUDP(&b, want); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(t, b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want[2].Src = netip.MustParseAddrPort("[::ffff:192.0.2.2]:5070")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	// The sum over a packet with its checksum in it is 0 (RFC 1071 §1).
	p := udp("hello")
	if fold(sum(0, p[:20])) != 0 || fold(sum(sum(protoUDP+uint32(len(p)-20), p[12:20]), p[20:])) != 0 {
		t.Error("checksum wrong")
	}
	if err := WriteUDP(io.Discard, []Datagram{{Payload: make([]byte, 1<<20)}}); err != nil {
		t.Errorf("without addresses, too long: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	le := binary.LittleEndian
	f.Add(raw(udp("hello"), segmentOf(99, tcpSYN, ""), segmentOf(103, 0x10, "def"), segmentOf(100, 0x10, "abc")))
	f.Add(raw(split(udp("0123456789abcdef"), 3, 8)...))
	f.Add(slices.Concat(section(le), iface(le, linkEthernet, 9, 0, 1, 0, 9, 0, 0, 0), enhanced(le, 0, 1<<60, 60, make([]byte, 60))))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		n := 0
		for ; ; n++ {
			d, err := r.Next()
			if err != nil {
				break
			}
			if len(d.Payload) == 0 || !d.Src.IsValid() || d.Frame < 1 || d.Frame > r.Stats().Frames {
				t.Fatalf("%+v", d)
			}
		}
		if r.Stats().Datagrams != n || r.streams.bytes != 0 || r.fragments.bytes != 0 {
			t.Fatalf("%+v after %d; %d and %d bytes held", r.Stats(), n, r.streams.bytes, r.fragments.bytes)
		}
	})
}

func BenchmarkReader(b *testing.B) {
	packets := make([][]byte, 1000)
	for i := range packets {
		packets[i] = udp(string(make([]byte, 172)))
	}
	whole := raw(packets...)
	b.SetBytes(int64(len(whole)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := Open(bytes.NewReader(whole))
		if err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
	}
}
