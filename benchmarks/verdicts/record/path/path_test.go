package path

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/benchmarks/verdicts"
)

const msNs = int64(time.Millisecond)

// udp is an IPv4 packet from a to b.
func udp(payload []byte) Packet {
	a, b := netip.MustParseAddr(AddressA).As4(), netip.MustParseAddr(AddressB).As4()
	p := []byte{0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protoUDP, 0, 0}
	p = append(append(p, a[:]...), b[:]...)
	p = append(p, 0x13, 0xc4, 0x13, 0xc4, 0, 0, 0xab, 0xcd)
	p = append(p, payload...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-ipHeader))
	return p
}

// rtpPacket is 20 ms of PCMU.
func rtpPacket(sequence int, ssrc uint32) Packet {
	b := []byte{0x80, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(sequence))
	b = binary.BigEndian.AppendUint32(b, uint32(160*sequence))
	b = binary.BigEndian.AppendUint32(b, ssrc)
	return udp(append(b, make([]byte, 160)...))
}

func TestKinds(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    Kind
	}{
		"RTP":                      {"\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", RTP},
		"RTP with marker":          {"\x80\x88\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", RTP},
		"sender report":            {"\x81\xc8\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00", RTCP},
		"empty receiver report":    {"\x80\xc9\x00\x01\x00\x00\x00\x01", RTCP},
		"STUN":                     {"\x00\x01\x00\x00\x21\x12\xa4\x42\x00\x00\x00\x00", Other},
		"UDPTL":                    {"\x00\x01\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00", Other},
		"request":                  {"INVITE sip:b@10.66.0.2 SIP/2.0\r\n", SIP},
		"response":                 {"SIP/2.0 180 Ringing\r\n", SIP},
		"keep-alive of signalling": {"\r\n\r\n", Other},
		"nothing":                  {"", Other},
	} {
		require.Equal(t, c.want, udp([]byte(c.payload)).Kind(), name)
	}
	require.True(t, udp([]byte("SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n")).answers())
	require.False(t, udp([]byte("SIP/2.0 200 OK\r\nCSeq: 1 BYE\r\n\r\n")).answers())
	require.False(t, udp([]byte("SIP/2.0 183 Session Progress\r\nCSeq: 1 INVITE\r\n\r\n")).answers())
}

func TestCutKeepsLengthsAndHeaders(t *testing.T) {
	whole := rtpPacket(7, 9)
	short := whole.cut()
	require.Len(t, short, ipHeader+udpHeader+rtpHeader)
	require.Equal(t, whole[2:4], short[2:4], "length of the IP packet")
	require.Equal(t, whole[24:26], short[24:26], "length of the UDP datagram")
	require.Equal(t, whole.rtp(), short.rtp())
	var sum uint32
	for i := 0; i < ipHeader; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(short[i:]))
	}
	require.Equal(t, uint32(0xffff), sum&0xffff+sum>>16, "checksum of the IP header")
	extended := udp(append([]byte("\x90\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xbe\xde\x00\x01\x10\x7f\x00\x00"), make([]byte, 50)...))
	require.Len(t, extended.cut(), ipHeader+udpHeader+rtpHeader+8)
	report := udp([]byte("\x80\xc9\x00\x01\x00\x00\x00\x01"))
	require.Equal(t, report, report.cut())
}

func TestImpairments(t *testing.T) {
	const n = 20000
	type count struct{ lost, runs int }
	through := func(zero int64, impairments ...Impairment) (c count, outs []int64) {
		s := newStretch(impairments, rand.New(rand.NewPCG(1, 2)))
		before := false
		for i := range n {
			at := int64(i+1) * 20 * msNs
			out, lost := s.pass(RTP, at, zero)
			if lost {
				c.lost++
				if !before {
					c.runs++
				}
			} else {
				outs = append(outs, out-at)
			}
			before = lost
		}
		return c, outs
	}
	t.Run("delays add up", func(t *testing.T) {
		_, outs := through(0, Impairment{DelayMs: 10}, Impairment{DelayMs: 2.5}, Impairment{DelayMs: 100, Kinds: []string{"rtcp", "sip"}})
		require.Len(t, outs, n)
		require.Equal(t, 12500*int64(time.Microsecond), outs[n-1])
	})
	t.Run("random loss", func(t *testing.T) {
		c, _ := through(0, Impairment{LossPercent: 4, Kinds: []string{"media"}})
		require.InDelta(t, 0.04*n, c.lost, 0.004*n)
	})
	t.Run("bursts have their length", func(t *testing.T) {
		c, _ := through(0, Impairment{Burst: &Burst{ToBad: 1, ToGood: 20}})
		require.InDelta(t, 5, float64(c.lost)/float64(c.runs), 1)
		require.InDelta(t, 100.0/21, 100*float64(c.lost)/n, 1)
	})
	t.Run("a window counts from zero", func(t *testing.T) {
		c, _ := through(20*msNs, Impairment{From: 10, To: 20, LossPercent: 100})
		require.Equal(t, 500, c.lost)
	})
	t.Run("before zero what begins at once is in force", func(t *testing.T) {
		c, _ := through(0, Impairment{To: 20, LossPercent: 100})
		require.Equal(t, n, c.lost)
		c, _ = through(0, Impairment{From: 1, LossPercent: 100})
		require.Zero(t, c.lost)
	})
	t.Run("packets queue unless they may overtake", func(t *testing.T) {
		for _, reorder := range []bool{false, true} {
			_, outs := through(0, Impairment{DelayMs: 50, JitterMs: 40, Reorder: reorder})
			overtaken := 0
			for i := range outs[1:] {
				if outs[i] > outs[i+1]+20*msNs {
					overtaken++
				}
			}
			require.Equal(t, reorder, overtaken > 0)
		}
	})
}

// call is a capture of two streams of n packets, each 20 ms after the other, from
// a to b and back, of which what fate says becomes.
func call(n int, fate func(from Node, i int) (transit int64, lost bool)) *Capture {
	c := &Capture{Zero: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()}
	for i := range n {
		for _, from := range []Node{A, B} {
			h := &Hop{From: from, To: A + B - from, Kind: RTP, Packet: rtpPacket(i, uint32(from)), In: c.Zero + int64(i+1)*20*msNs}
			if transit, lost := fate(from, i); !lost {
				h.Out = h.In + transit
			}
			c.Hops = append(c.Hops, h)
		}
	}
	return c
}

func TestMeasureOfWhatWasDone(t *testing.T) {
	c := call(1500, func(from Node, i int) (int64, bool) {
		if from == B {
			return 15 * msNs, i >= 500 && i < 1000
		}
		return (30 + int64(i%2)*8) * msNs, i%50 == 49 || i%50 == 48 // 4 % in twos
	})
	truth := verdicts.Truth{ClockRate: 8000}
	c.Measure(&truth)
	require.InDelta(t, 30, truth.TalkS, 0.1)
	require.Equal(t, 1500, *truth.AToB.Sent)
	require.Equal(t, 1440, *truth.AToB.Received)
	require.InDelta(t, 4, *truth.AToB.LossPercent, 1e-9)
	require.InDelta(t, 2*0.96, *truth.AToB.BurstR, 1e-3)
	require.Equal(t, 38.0, truth.AToB.Transit.Max)
	require.Empty(t, truth.AToB.Dead)
	require.InDelta(t, 8, truth.AToB.Jitter.P50, 0.5, "each packet is 8 ms off its neighbour: what A.8 converges to")
	require.InDelta(t, 0, truth.BToA.Jitter.P50, 1e-6)
	require.Equal(t, []verdicts.Span{{FromS: 10.02, ToS: 20.02}}, truth.BToA.Dead)
	require.InDelta(t, 49, truth.RTT.P50, 4.1, "of RTP, for there are no reports")
}

// Through a server a packet is seen twice: it is one.
func TestMeasureThroughAServer(t *testing.T) {
	c := call(500, func(Node, int) (int64, bool) { return 10 * msNs, false })
	var hops []*Hop
	for i, h := range c.Hops {
		first, second := *h, *h
		first.To, second.From = Server, Server
		second.In, second.Out = first.Out+msNs, first.Out+21*msNs
		hops = append(hops, &first)
		if i%10 != 0 { // every fifth of a's is lost in the server
			hops = append(hops, &second)
		}
	}
	c.Hops = hops
	truth := verdicts.Truth{ClockRate: 8000}
	c.Measure(&truth)
	require.Equal(t, 400, *truth.AToB.Received)
	require.Equal(t, 500, *truth.BToA.Received)
	require.Equal(t, 31.0, truth.AToB.Transit.P50)
}

func TestAnUnansweredCallHasNoMeasure(t *testing.T) {
	c := call(10, func(Node, int) (int64, bool) { return 0, false })
	c.Zero = 0
	var truth verdicts.Truth
	c.Measure(&truth)
	require.Zero(t, truth)
}

// The round trip is that of a sender report and the report that answers it, and
// what the end itself needs to read one.
func TestRoundTripOfReports(t *testing.T) {
	c := call(500, func(Node, int) (int64, bool) { return 0, false })
	at := c.Zero + int64(7*time.Second)
	sr := func(ssrc byte, ntp uint64) Packet {
		b := binary.BigEndian.AppendUint64([]byte{0x80, 200, 0, 6, 0, 0, 0, ssrc}, ntp)
		return udp(append(b, make([]byte, 12)...))
	}
	rr := func(ssrc, of byte, ntp uint64, delay uint32) Packet {
		b := append([]byte{0x81, 201, 0, 7, 0, 0, 0, ssrc, 0, 0, 0, of}, make([]byte, 12)...)
		b = binary.BigEndian.AppendUint32(b, uint32(ntp>>16))
		return udp(binary.BigEndian.AppendUint32(b, delay))
	}
	const ofA, ofB = 0x1234567890abcdef, 0x1234577890abcdef
	c.Hops = append(c.Hops,
		// B says that it took a second; it took 1010 ms.
		&Hop{From: A, To: B, Kind: RTCP, Packet: sr(1, ofA), In: at, Out: at + 70*msNs},
		&Hop{From: B, To: A, Kind: RTCP, Packet: rr(2, 1, ofA, 65536), In: at + 1080*msNs, Out: at + 1110*msNs},
		// A says half a second; it took 506 ms.
		&Hop{From: B, To: A, Kind: RTCP, Packet: sr(2, ofB), In: at, Out: at + 30*msNs},
		&Hop{From: A, To: B, Kind: RTCP, Packet: rr(1, 2, ofB, 32768), In: at + 536*msNs, Out: at + 606*msNs})
	var truth verdicts.Truth
	c.Measure(&truth)
	require.Equal(t, &verdicts.Measured{P50: 116, P95: 116, Max: 116}, truth.RTT)
}
