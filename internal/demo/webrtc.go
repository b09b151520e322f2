package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// peer is one side of a WebRTC call: a real RTCPeerConnection that speaks and
// listens, and says what it measured in the shape of getStats().
type peer struct {
	pc      *webrtc.PeerConnection
	track   *webrtc.TrackLocalStaticSample
	sender  *webrtc.RTPSender
	voice   *voice
	playout *playout
	first   bool // speaks first

	muted atomic.Bool

	mu           sync.Mutex
	sent         uint64 // packets
	sentBytes    uint64
	sourceEnergy float64
	sourceTime   float64
	sourceLevel  float64
	remote       map[string]any // last remote-inbound-rtp, from the other side's receiver reports
	measurements uint64
	totalRTT     float64
}

func newPeer(v *voice, first bool) (*peer, error) {
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: opusRate, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"},
		PayloadType:        111,
	}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("cannot register Opus: %w", err)
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.ConfigureRTCPReports(interceptors); err != nil {
		return nil, fmt.Errorf("cannot configure RTCP: %w", err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(interceptors), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("cannot make a peer connection: %w", err)
	}
	p := &peer{pc: pc, voice: v, first: first}
	if p.playout, err = newPlayout(); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	p.track, err = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: opusRate, Channels: 2}, "audio", "earshot")
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	if p.sender, err = pc.AddTrack(p.track); err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	pc.OnTrack(func(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		// Somebody has to read sender reports, or receiver reports cannot refer to them.
		go func() {
			for {
				if _, _, err := receiver.ReadRTCP(); err != nil {
					return
				}
			}
		}()
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				return
			}
			p.playout.receive(packet, time.Now())
		}
	})
	go p.readReports()
	return p, nil
}

// readReports turns the other side's receiver reports into a remote-inbound-rtp object.
func (p *peer) readReports() {
	for {
		packets, _, err := p.sender.ReadRTCP()
		if err != nil {
			return
		}
		now := time.Now()
		for _, packet := range packets {
			var reports []rtcp.ReceptionReport
			switch r := packet.(type) {
			case *rtcp.ReceiverReport:
				reports = r.Reports
			case *rtcp.SenderReport:
				reports = r.Reports
			}
			for _, report := range reports {
				p.remoteReport(report, now)
			}
		}
	}
}

func (p *peer) remoteReport(report rtcp.ReceptionReport, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	stats := map[string]any{
		"id": "RIA1", "type": "remote-inbound-rtp", "kind": "audio", "timestamp": milliseconds(now), "ssrc": report.SSRC,
		"localId": "OT01A1", "packetsLost": int32(report.TotalLost<<8) >> 8, "fractionLost": float64(report.FractionLost) / 256,
		"jitter": float64(report.Jitter) / opusRate,
	}
	// RFC 3550 §6.4.1: A − LSR − DLSR, in 1/65536 s.
	if report.LastSenderReport != 0 {
		rtt := float64(int32(uint32(ntp(now)>>16)-report.LastSenderReport-report.Delay)) / 65536
		if rtt > 0 && rtt < 10 {
			p.measurements++
			p.totalRTT += rtt
			stats["roundTripTime"] = rtt
		}
	}
	stats["roundTripTimeMeasurements"] = p.measurements
	stats["totalRoundTripTime"] = p.totalRTT
	p.remote = stats
}

// ntp is the 64-bit NTP timestamp of t (RFC 3550 §4).
func ntp(t time.Time) uint64 {
	const epoch = 2208988800 // 1900 to 1970, s
	return uint64(t.Unix()+epoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func milliseconds(t time.Time) float64 { return float64(t.UnixMicro()) / 1000 }

// talk speaks and plays until ctx ends.
func (p *peer) talk(ctx context.Context) {
	pace(ctx, func(n int, now time.Time) {
		f := p.voice.talk(n, p.first)
		if p.muted.Load() {
			f = p.voice.silence
		}
		p.mu.Lock()
		p.sourceLevel = f.rms
		p.sourceEnergy += f.rms * f.rms * frameDuration.Seconds()
		p.sourceTime += frameDuration.Seconds()
		p.mu.Unlock()
		if err := p.track.WriteSample(media.Sample{Data: f.opus, Duration: frameDuration}); err == nil {
			p.mu.Lock()
			p.sent++
			p.sentBytes += uint64(len(f.opus))
			p.mu.Unlock()
		}
		p.playout.play(now)
	})
}

// pace calls step for every frame of the clock until ctx ends. Frames that a
// busy machine missed are made up for at once, as a sound card's would be.
func pace(ctx context.Context, step func(n int, now time.Time)) {
	ticker := time.NewTicker(frameDuration)
	defer ticker.Stop()
	start, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for now := time.Now(); now.Sub(start) >= time.Duration(n+1)*frameDuration; n++ {
			step(n, now)
		}
	}
}

// stats is what getStats() would give.
func (p *peer) stats(now time.Time) map[string]any {
	ms := milliseconds(now)
	out := map[string]any{
		"CIT01": map[string]any{"id": "CIT01", "type": "codec", "timestamp": ms, "mimeType": "audio/opus", "payloadType": 111, "clockRate": opusRate, "channels": 2},
	}
	if inbound := p.playout.report(ms); inbound != nil {
		out["IT01A1"] = inbound
	}
	p.mu.Lock()
	out["SA1"] = map[string]any{
		"id": "SA1", "type": "media-source", "kind": "audio", "timestamp": ms, "trackIdentifier": "audio",
		"audioLevel": p.sourceLevel, "totalAudioEnergy": p.sourceEnergy, "totalSamplesDuration": p.sourceTime,
	}
	if encodings := p.sender.GetParameters().Encodings; len(encodings) > 0 {
		out["OT01A1"] = map[string]any{
			"id": "OT01A1", "type": "outbound-rtp", "kind": "audio", "timestamp": ms, "ssrc": uint32(encodings[0].SSRC),
			"codecId": "CIT01", "mediaSourceId": "SA1", "packetsSent": p.sent, "bytesSent": p.sentBytes,
		}
	}
	if p.remote != nil {
		out["RIA1"] = p.remote
	}
	p.mu.Unlock()
	for _, report := range p.pc.GetStats() {
		if s, ok := report.(webrtc.ICECandidatePairStats); ok && s.Nominated {
			out[s.ID] = map[string]any{
				"id": s.ID, "type": "candidate-pair", "timestamp": ms, "state": string(s.State), "nominated": true,
				"currentRoundTripTime": s.CurrentRoundTripTime, "totalRoundTripTime": s.TotalRoundTripTime,
				"responsesReceived": s.ResponsesReceived, "bytesSent": s.BytesSent, "bytesReceived": s.BytesReceived,
			}
			out["T01"] = map[string]any{"id": "T01", "type": "transport", "timestamp": ms, "selectedCandidatePairId": s.ID, "dtlsState": "connected"}
		}
	}
	return out
}

var hostCandidate = regexp.MustCompile(`(?m)^(a=candidate:\S+ \d+ udp \d+ )127\.0\.0\.1 (\d+)( typ host.*)$`)

// describe waits for the candidates and gives the local description with the
// address of the relay in place of the peer's own, which it returns.
func (p *peer) describe(seenAt netip.AddrPort) (webrtc.SessionDescription, netip.AddrPort, error) {
	<-webrtc.GatheringCompletePromise(p.pc)
	desc := *p.pc.LocalDescription()
	match := hostCandidate.FindStringSubmatch(desc.SDP)
	if match == nil {
		return desc, netip.AddrPort{}, errors.New("no candidate on loopback")
	}
	port, err := strconv.ParseUint(match[2], 10, 16)
	if err != nil {
		return desc, netip.AddrPort{}, fmt.Errorf("cannot read the candidate's port: %w", err)
	}
	desc.SDP = hostCandidate.ReplaceAllString(desc.SDP, fmt.Sprintf("${1}%s %d${3}", seenAt.Addr(), seenAt.Port()))
	return desc, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), nil
}

// connect joins two peers through a relay (RFC 8829 offer and answer).
func connect(ctx context.Context, a, b *peer, r *relay) error {
	connected := make(chan struct{})
	var once sync.Once
	a.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	offer, err := a.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("cannot offer: %w", err)
	}
	if err := a.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("cannot offer: %w", err)
	}
	// Each finds the other at the relay's socket that faces it.
	described, addr, err := a.describe(r.facing(1))
	if err != nil {
		return err
	}
	r.setParty(0, addr)
	if err := b.pc.SetRemoteDescription(described); err != nil {
		return fmt.Errorf("cannot take the offer: %w", err)
	}
	answer, err := b.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("cannot answer: %w", err)
	}
	if err := b.pc.SetLocalDescription(answer); err != nil {
		return fmt.Errorf("cannot answer: %w", err)
	}
	if described, addr, err = b.describe(r.facing(0)); err != nil {
		return err
	}
	r.setParty(1, addr)
	if err := a.pc.SetRemoteDescription(described); err != nil {
		return fmt.Errorf("cannot take the answer: %w", err)
	}
	select {
	case <-connected:
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("the peers did not connect in 20 s")
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *peer) close() { _ = p.pc.Close() }
