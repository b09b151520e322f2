package main

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/pion/rtp"

	"github.com/earshot/earshot/benchmarks/verdicts/record/path"
)

//go:embed sipp/*.xml
var sippScenarios embed.FS

// SIPp does what no phone at hand can be made to do. It sends RTP, PCMA, and no
// RTCP, and hangs up by itself if it calls.
type SIPp struct {
	Scenario string // of sipp/, without .xml
	// Spoken is the length of each stream it plays, one after the other, each with
	// an SSRC of its own; none: 60 s.
	Spoken []float64
	// LaterS is when it goes on with the last stream, for scenarios that play
	// rtp-later.pcap.
	LaterS float64
	// VAD sends comfort noise (RFC 3389) instead of speech for 5 s of every 8.
	VAD bool
}

// Made names the program.
func (SIPp) Made() string { return "SIPp 3.6.1" }

type sipp struct {
	*program
	dial  func(to string) (*program, error)
	sinks []net.PacketConn
}

const sippMedia = 6000 // its media port; 4 higher what it moves to

// Start writes what it is to play and runs it, or waits for Dial if it calls.
func (p SIPp) Start(s *set) (running, error) {
	text, err := sippScenarios.ReadFile("sipp/" + p.Scenario + ".xml")
	if err != nil {
		return nil, err
	}
	spoken := p.Spoken
	if spoken == nil {
		spoken = []float64{speechS}
	}
	err = os.WriteFile(filepath.Join(s.dir, "scenario.xml"), text, 0o644)
	first := rtp.Header{Version: 2, PayloadType: 8, SSRC: uint32(s.user[0]) << 16, Marker: true}
	later := first
	later.SequenceNumber, later.Timestamp = uint16(spoken[0]*50), uint32(p.LaterS*8000)
	if err == nil {
		err = playable(filepath.Join(s.dir, "rtp.pcap"), rtpStreams(spoken, first, p.VAD))
	}
	if err == nil {
		err = playable(filepath.Join(s.dir, "rtp-later.pcap"), rtpStreams([]float64{speechS}, later, p.VAD))
	}
	if err == nil {
		err = playable(filepath.Join(s.dir, "udptl.pcap"), udptl(24))
	}
	if err != nil {
		return nil, err
	}
	phone := &sipp{}
	for _, port := range []int{sippMedia + 1, sippMedia + 4, sippMedia + 5} { // where it does not listen itself
		err := s.path.In(s.node, func() error {
			sink, err := net.ListenPacket("udp4", fmt.Sprintf("%s:%d", s.address, port))
			phone.sinks = append(phone.sinks, sink)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	run := func(more ...string) (*program, error) {
		args := append([]string{"-sf", "scenario.xml", "-i", s.address, "-p", "5060", "-mi", s.address, "-mp", fmt.Sprint(sippMedia), "-m", "1", "-nostdin", "-trace_err"}, more...)
		return start(s.path.Command(s.node, "sipp", args...), s.dir)
	}
	if s.user == "a" {
		phone.dial = func(to string) (*program, error) { return run("-s", "b", s.other+":5060") }
		return phone, nil
	}
	if phone.program, err = run(); err != nil {
		return nil, err
	}
	return phone, ready(s.path, s.node, s.address+":5060")
}

func (p *sipp) Dial(to string) (err error) {
	p.program, err = p.dial(to)
	return err
}
func (p *sipp) Hangup() error   { return nil } // its scenario does
func (p *sipp) Do(string) error { return nil }
func (p *sipp) Stop() {
	if p.program != nil {
		p.program.Stop()
	}
	for _, s := range p.sinks {
		s.Close()
	}
}

// timed is a payload and when it is to be sent.
type timed struct {
	at      time.Duration
	payload []byte
}

const comfortNoise = 13 // its payload type

const frame = 20 * time.Millisecond

// rtpStreams are streams of so many seconds each, of PCMA, the first of which
// begins with a header.
func rtpStreams(lengths []float64, header rtp.Header, vad bool) []timed {
	var all []timed
	at := time.Duration(0)
	for i, length := range lengths {
		if i > 0 {
			header.SSRC, header.SequenceNumber, header.Marker = header.SSRC+1, header.SequenceNumber+1000, true
		}
		for end := at + seconds(length); at < end; at += frame {
			payload := bytes.Repeat([]byte{0xd5}, 160) // silence
			header.PayloadType = 8
			if since := at%(8*time.Second) - 3*time.Second; vad && since >= 0 {
				if since%(8*frame) != 0 { // a descriptor every 160 ms
					header.Timestamp += 160
					continue
				}
				payload, header.PayloadType = []byte{78}, comfortNoise // -78 dBov
			}
			packet, _ := (&rtp.Packet{Header: header, Payload: payload}).Marshal() // cannot fail
			all = append(all, timed{at, packet})
			header.SequenceNumber, header.Timestamp, header.Marker = header.SequenceNumber+1, header.Timestamp+160, false
		}
	}
	return all
}

// udptl are UDPTL packets (T.38 §9) with an indicator or some data in each, and
// no redundancy.
func udptl(lengthS int) []timed {
	var all []timed
	for i := range lengthS * 25 {
		packet := []byte{byte(i >> 8), byte(i), 1, byte(i%16) << 1, 0, 0}
		if i > 50 {
			packet = append([]byte{byte(i >> 8), byte(i), 40}, make([]byte, 42)...)
		}
		all = append(all, timed{time.Duration(i) * 40 * time.Millisecond, packet})
	}
	return all
}

// playable writes a capture that SIPp can play: it sends the payloads from and to
// the ports that it agreed on.
func playable(file string, packets []timed) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		return err
	}
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.ParseIP(path.AddressA), DstIP: net.ParseIP(path.AddressB)}
	udp := &layers.UDP{SrcPort: sippMedia, DstPort: sippMedia}
	if err := udp.SetNetworkLayerForChecksum(ip); err != nil {
		return err
	}
	began := time.Unix(1e9, 0)
	buffer := gopacket.NewSerializeBuffer()
	for _, p := range packets {
		err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
			&layers.Ethernet{SrcMAC: mac, DstMAC: mac, EthernetType: layers.EthernetTypeIPv4}, ip, udp, gopacket.Payload(p.payload))
		if err != nil {
			return err
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: began.Add(p.at), CaptureLength: len(buffer.Bytes()), Length: len(buffer.Bytes())}, buffer.Bytes()); err != nil {
			return err
		}
	}
	return f.Close()
}
