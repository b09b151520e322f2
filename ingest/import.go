package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/earshot/earshot/ingest/hep"
	"github.com/earshot/earshot/ingest/pcap"
	"github.com/earshot/earshot/ingest/rtcp"
	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/ingest/rtp"
	"github.com/earshot/earshot/ingest/sip"
	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/internal/failpoint"
	"github.com/earshot/earshot/telemetry"
)

// ErrFileFormat is returned for a file that is no capture and no dump.
var ErrFileFormat = errors.New("ingest: neither pcap, pcapng, HEP, getStats lines nor a dump of webrtc-internals or rtcstats")

// ErrGzip is returned for a compressed file that is damaged or cut off. Of a
// capture, what is before the damage is imported.
var ErrGzip = errors.New("ingest: the gzip is damaged or cut off")

// ImportConfig says what to import.
type ImportConfig struct {
	Files    []string // pcap, pcapng, HEP dumps, getStats JSONL, dumps of webrtc-internals and rtcstats; gzip or plain
	Company  string   // empty: DefaultCompany
	Producer *Producer
	Resolver Resolver
	// Correlation says how legs of a call are recognised; the zero value as by default.
	Correlation CorrelationConfig
	Progress    func(ImportProgress) // may be nil
	// Warn is told of a file that is damaged and of which only the part before
	// the damage is imported; may be nil.
	Warn func(file string, err error)
	// Imported is told what became of each file; may be nil.
	Imported func(ImportedFile)
	Now      func() time.Time // nil: time.Now
}

// ImportProgress is where an import is.
type ImportProgress struct {
	File        string
	Done, Total int64 // bytes of the file; it may be read twice, Done counts the last reading
	Records     int
}

// ImportedFile is what became of a file.
type ImportedFile struct {
	File           string
	Calls, Records int
	// PassedOver counts by reason what looked like telemetry and could not be
	// used. The reasons are those of what comes live.
	PassedOver map[string]int
}

// ImportedCall is a call that a file holds.
type ImportedCall struct {
	File    string `json:"file"`
	CallID  string `json:"call_id"`
	CallKey string `json:"-"`
	Company string `json:"company"`
}

// Import reads files and writes their telemetry, each on a timeline of its own.
// The same file always gives the same records in the same order, so that
// importing it again, or after a kill, changes nothing.
func Import(ctx context.Context, cfg ImportConfig) ([]ImportedCall, error) {
	if cfg.Company == "" {
		cfg.Company = DefaultCompany
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Correlation.Legs == 0 {
		cfg.Correlation = defaultCorrelation()
	}
	var calls []ImportedCall
	for _, name := range cfg.Files {
		found, err := importFile(ctx, cfg, name)
		if err != nil {
			return calls, fmt.Errorf("cannot import %s: %w", name, err)
		}
		calls = append(calls, found...)
	}
	return calls, nil
}

func importFile(ctx context.Context, cfg ImportConfig, name string) ([]ImportedCall, error) {
	var failed atomic.Pointer[error]
	records := 0
	var end *telemetry.Record
	file := &importFileReader{name: name}
	f := fileImport{
		company: cfg.Company, resolver: cfg.Resolver, name: filepath.Base(name), open: file.open,
		receivedUs: cfg.Now().UnixMicro(), waiting: DefaultConfig().Waiting, bindings: DefaultConfig().Bindings, correlation: cfg.Correlation,
		warn: func(err error) {
			if cfg.Warn != nil {
				cfg.Warn(name, err)
			}
		},
		emit: func(r *telemetry.Record) error {
			failpoint.Hit("import.record")
			if err := failed.Load(); err != nil {
				return *err
			}
			if r.GetEnd() != nil {
				end = r
				return nil
			}
			cfg.Producer.Produce(ctx, r, func(err error) {
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			})
			if records++; records%256 == 0 && cfg.Progress != nil {
				cfg.Progress(ImportProgress{name, file.done.Load(), file.total, records})
			}
			return ctx.Err()
		},
	}
	calls, err := f.run()
	if err != nil {
		return nil, err
	}
	if err := cfg.Producer.Flush(ctx); err != nil {
		return nil, fmt.Errorf("cannot write to Kafka: %w", err)
	}
	if err := failed.Load(); err != nil {
		return nil, fmt.Errorf("cannot write to Kafka: %w", *err)
	}
	failpoint.Hit("import.end")
	// Only now: a timeline that has ended takes nothing more.
	if err := cfg.Producer.Everywhere(ctx, end); err != nil {
		return nil, fmt.Errorf("cannot end the timeline: %w", err)
	}
	if cfg.Progress != nil {
		cfg.Progress(ImportProgress{name, file.total, file.total, records})
	}
	if cfg.Imported != nil {
		cfg.Imported(ImportedFile{File: name, Calls: len(calls), Records: records, PassedOver: f.passed})
	}
	for i := range calls {
		calls[i].File = name
	}
	return calls, nil
}

type importFileReader struct {
	name  string
	total int64
	done  atomic.Int64
}

func (f *importFileReader) open() (io.ReadCloser, error) {
	file, err := os.Open(f.name)
	if err != nil {
		return nil, err
	}
	if info, err := file.Stat(); err == nil {
		f.total = info.Size()
	}
	f.done.Store(0)
	return plain(file, &f.done)
}

// plain unpacks gzip, known by its first bytes.
func plain(file io.ReadCloser, done *atomic.Int64) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(&countingReader{file, done}, 64<<10)
	if magic, err := b.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return &readCloser{b, file}, nil
	}
	z, err := gzip.NewReader(b)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%w: %w", ErrGzip, err)
	}
	return &readCloser{unpacked{z}, file}, nil
}

// unpacked is what is in a gzip.
type unpacked struct{ z *gzip.Reader }

func (u unpacked) Read(b []byte) (int, error) {
	n, err := u.z.Read(b)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("%w: %w", ErrGzip, err)
	}
	return n, err
}

// damaged says whether an error tells of damage before which a capture was read.
func damaged(err error) bool { return errors.Is(err, pcap.ErrCorrupt) || errors.Is(err, ErrGzip) }

type readCloser struct {
	io.Reader
	io.Closer
}

type countingReader struct {
	r io.Reader
	n *atomic.Int64
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// fileImport turns one file into records. It is a pure function of the file's
// content (and of the directory, where a resolver is given): emit gets the same
// records each time, the end of the timeline last.
type fileImport struct {
	company     string
	resolver    Resolver
	name        string
	open        func() (io.ReadCloser, error)
	emit        func(*telemetry.Record) error
	warn        func(error) // may be nil
	receivedUs  int64
	waiting     WaitingConfig
	bindings    BindingsConfig
	correlation CorrelationConfig
	history     *mediaHistory // what the first reading told

	timeline string
	seq      uint64
	lastUs   int64
	source   *telemetry.Source
	calls    []ImportedCall
	seen     map[string]bool
	passed   map[string]int // by reason
}

// format is how a file is read.
type format uint8

const (
	formatUnknown format = iota
	formatCapture
	formatHEP
	formatStats
	formatInternals
	formatRTCStats
)

func (f *fileImport) run() ([]ImportedCall, error) {
	f.source = &telemetry.Source{Kind: telemetry.Source_KIND_CAPTURE, Agent: validText(f.name)}
	f.seen, f.passed = map[string]bool{}, map[string]int{}
	sum := sha256.New()
	length := [4]byte{}
	binary.BigEndian.PutUint32(length[:], uint32(len(f.company)))
	sum.Write(length[:])
	sum.Write([]byte(f.company))
	kind, history, err := f.survey(sum)
	if err != nil {
		return nil, err
	}
	f.history = history
	if kind == formatStats || kind == formatInternals || kind == formatRTCStats {
		sum.Write([]byte(callName(f.name))) // the name is part of what such a file says
	}
	f.timeline = "import:" + hex.EncodeToString(sum.Sum(nil)[:16])
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	switch kind {
	case formatStats:
		err = f.stats(r)
	case formatInternals:
		err = f.internals(r)
	case formatRTCStats:
		err = f.rtcstats(r)
	default:
		err = f.capture(r, kind, history)
	}
	if err != nil {
		return nil, err
	}
	return f.calls, f.write(&telemetry.Record{AtUs: f.lastUs, EventId: telemetry.EventID(f.company, f.timeline, "end", f.lastUs),
		Body: &telemetry.Record_End{End: &telemetry.TimelineEnd{}}})
}

// passOver counts what could not be used.
func (f *fileImport) passOver(err error) { f.passed[reasonOf(err)]++ }

// write gives a record its ordinal and hands it on.
func (f *fileImport) write(r *telemetry.Record) error {
	f.seq++
	r.Timeline = &telemetry.Timeline{Id: f.timeline, Seq: f.seq}
	r.ReceivedUs = f.receivedUs
	f.lastUs = max(f.lastUs, r.AtUs)
	return f.emit(r)
}

func (f *fileImport) record(callKey string, atUs int64, payload ...[]byte) *telemetry.Record {
	return &telemetry.Record{EventId: telemetry.EventID(f.company, f.timeline, f.source.Agent, atUs, payload...),
		Company: f.company, CallKey: callKey, AtUs: atUs, Source: f.source}
}

func (f *fileImport) found(callKey string) {
	if !f.seen[callKey] {
		f.seen[callKey] = true
		f.calls = append(f.calls, ImportedCall{CallID: telemetry.CallID(callKey), CallKey: callKey, Company: f.company})
	}
}

// survey reads the whole file once: its hash, its format and what its
// signalling says about media.
func (f *fileImport) survey(sum hash.Hash) (format, *mediaHistory, error) {
	r, err := f.open()
	if err != nil {
		return formatUnknown, nil, err
	}
	defer r.Close()
	b := bufio.NewReaderSize(io.TeeReader(r, sum), 64<<10)
	kind := sniff(b)
	history := newMediaHistory(f.company, f.waiting, f.bindings, f.correlation)
	var damage error
	switch kind {
	case formatUnknown:
		return kind, nil, ErrFileFormat
	case formatCapture, formatHEP:
		if err := units(b, kind, func(u *unit) error {
			if u.kind == unitSIP {
				if m, err := sip.Parse(u.payload); err == nil {
					m.Src, m.Dst = u.src.String(), u.dst.String()
					history.sip(m, u.atUs)
				}
			}
			return nil
		}); damaged(err) {
			damage = err
		} else if err != nil {
			return kind, nil, err
		}
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		if kind != formatCapture && kind != formatHEP || !damaged(err) {
			return kind, nil, err
		}
		damage = err
	}
	if damage != nil && f.warn != nil {
		f.warn(damage)
	}
	return kind, history, nil
}

func sniff(b *bufio.Reader) format {
	head, _ := b.Peek(4096)
	if len(head) < 4 {
		return formatUnknown
	}
	switch binary.BigEndian.Uint32(head) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1, 0xa1b2cd34, 0x34cdb2a1, 0x0a0d0d0a:
		return formatCapture
	}
	if hep.IsHEP(head) {
		return formatHEP
	}
	head = bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	if webrtc.IsInternals(head) {
		return formatInternals
	}
	if bytes.HasPrefix(bytes.TrimLeft(head, " \t\r\n"), []byte("{")) {
		return formatStats
	}
	if rtcstats.IsDump(head) {
		return formatRTCStats
	}
	return formatUnknown
}

// unit is one message or packet of a capture.
type unit struct {
	kind          unitKind
	atUs          int64
	frame         int
	src, dst      netip.AddrPort
	transport     string
	payload       []byte
	correlationID string
	err           error // of unitRefused
}

type unitKind uint8

const (
	unitMedia unitKind = iota // RTP, or nothing of ours
	unitSIP
	unitRTCP
	unitRTCPJSON
	unitVQ
	unitRefused // HEP that cannot be read
)

func classify(b []byte) unitKind {
	switch {
	case sip.IsSIP(b):
		return unitSIP
	case rtcp.IsRTCP(b):
		return unitRTCP
	default:
		return unitMedia
	}
}

// duplicateWindow is how far apart two captures of the same packet are, as seen
// on two interfaces of one machine.
const duplicateWindow = 5 * time.Millisecond

type packetHash struct {
	src, dst netip.AddrPort
	sum      uint64
	size     int
}

// duplicates knows the packets of the last moments.
type duplicates struct {
	last   map[packetHash]int64
	recent queue[packetHash]
}

// seen reports whether the same packet was captured within the window.
func (d *duplicates) seen(dg *pcap.Datagram) bool {
	if d.last == nil {
		d.last = map[packetHash]int64{}
	}
	us := dg.At.UnixMicro()
	for d.recent.len() > 0 {
		oldest := d.recent.front()
		if abs(us-d.last[oldest]) <= duplicateWindow.Microseconds() {
			break
		}
		d.recent.pop()
		delete(d.last, oldest)
	}
	key := packetHash{dg.Src, dg.Dst, xxhash.Sum64(dg.Payload), len(dg.Payload)}
	if at, ok := d.last[key]; ok {
		return abs(us-at) <= duplicateWindow.Microseconds()
	}
	d.last[key] = us
	d.recent.push(key)
	return false
}

// units reads a capture from beginning to end.
func units(r io.Reader, kind format, yield func(*unit) error) error {
	if kind == formatHEP {
		return hepUnits(r, yield)
	}
	rd, err := pcap.Open(r)
	if err != nil {
		return err
	}
	var dup duplicates
	type direction struct{ src, dst netip.AddrPort }
	framers := map[direction]*sip.Framer{}
	for {
		dg, err := rd.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err // ErrCorrupt comes after all that could be read
		}
		u := unit{atUs: dg.At.UnixMicro(), frame: dg.Frame, src: dg.Src, dst: dg.Dst, transport: dg.Transport, payload: dg.Payload}
		if dg.Transport == "tcp" {
			way := direction{dg.Src, dg.Dst}
			framer := framers[way]
			if framer == nil {
				framer = &sip.Framer{}
				framers[way] = framer
			}
			if dg.Gap {
				framer.Reset()
			}
			framer.Push(dg.Payload)
			for {
				raw, err := framer.Next()
				if err == nil && raw == nil {
					break
				}
				if raw == nil {
					continue // other protocols run over TCP too
				}
				u.kind, u.payload = unitSIP, raw
				if err := yield(&u); err != nil {
					return err
				}
			}
			continue
		}
		if dup.seen(&dg) {
			continue
		}
		if hep.IsHEP(dg.Payload) {
			inner := unwrap(dg.Payload, dg.At)
			inner.frame = dg.Frame
			if err := inner.messages(yield); err != nil {
				return err
			}
			continue
		}
		if u.kind = classify(dg.Payload); dg.Truncated && u.kind == unitRTCP {
			continue
		}
		if err := yield(&u); err != nil {
			return err
		}
	}
}

// unwrap takes what a captured or dumped HEP packet carries. outer is when the
// packet itself was captured, zero if that is not known.
func unwrap(b []byte, outer time.Time) unit {
	var p hep.Packet
	if err := hep.Parse(b, &p); err != nil {
		return unit{kind: unitRefused, err: err}
	}
	at := p.Time
	if !outer.IsZero() && (at.IsZero() || at.Unix() <= 0) {
		at = outer
	}
	u := unit{atUs: at.UnixMicro(), src: p.Src, dst: p.Dst, transport: transportName(p.Protocol),
		payload: bytes.Clone(p.Payload), correlationID: correlationID(p.CorrelationID)}
	switch {
	case looksJSON(p.Payload) && (p.PayloadType == hep.TypeRTCPJSON || p.PayloadType == hep.TypeRTCP):
		u.kind = unitRTCPJSON
	case (p.PayloadType == hep.TypeVQ || p.PayloadType == hep.TypeMOS) && !sip.IsSIP(p.Payload):
		u.kind = unitVQ
	default:
		u.kind = classify(p.Payload)
	}
	return u
}

// messages gives the unit, or each SIP message of one that was taken off TCP.
func (u *unit) messages(yield func(*unit) error) error {
	if u.kind != unitSIP || u.transport == "udp" {
		return yield(u)
	}
	for rest := u.payload; len(rest) > 0; {
		one := *u
		one.payload, rest = sip.Split(rest)
		if err := yield(&one); err != nil {
			return err
		}
	}
	return nil
}

func hepUnits(r io.Reader, yield func(*unit) error) error {
	scanner := hep.NewScanner(r, DefaultConfig().HEP.MaxBytes)
	for frame := 1; ; frame++ {
		b, err := scanner.Next()
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return hepRest(scanner, err, yield)
		}
		if err != nil {
			return err
		}
		u := unwrap(b, time.Time{})
		u.frame = frame
		if err := u.messages(yield); err != nil {
			return err
		}
	}
}

// hepRest tells of what of a HEP dump was no packet: bytes that were passed over,
// and a last packet that is cut off.
func hepRest(scanner *hep.Scanner, end error, yield func(*unit) error) error {
	var err error
	if scanner.Skipped() > 0 {
		err = yield(&unit{kind: unitRefused, err: hep.ErrNotHEP})
	}
	if err == nil && end == io.ErrUnexpectedEOF {
		err = yield(&unit{kind: unitRefused, err: hep.ErrTruncated})
	}
	return err
}

// maxImportStreams is how many RTP streams are followed at a time.
const maxImportStreams = 10_000

// capture is the second reading: every unit in file order becomes a record.
func (f *fileImport) capture(r io.Reader, kind format, history *mediaHistory) error {
	streams := rtp.NewAggregator(maxImportStreams)
	var nextFlush int64
	err := units(r, kind, func(u *unit) error {
		f.lastUs = max(f.lastUs, u.atUs)
		if u.atUs >= nextFlush {
			nextFlush = u.atUs + time.Second.Microseconds()
			for _, interval := range streams.Flush(time.UnixMicro(u.atUs - 2*time.Second.Microseconds())) {
				if err := f.rtpInterval(history, interval); err != nil {
					return err
				}
			}
		}
		switch u.kind {
		case unitSIP:
			return f.sip(u)
		case unitRTCP, unitRTCPJSON:
			return f.rtcp(history, u)
		case unitVQ:
			read := sip.ParseVQ
			if looksJSON(u.payload) {
				read = rtcp.DecodeRTPReport
			}
			vq, err := read(u.payload)
			if err != nil {
				f.passOver(err)
				return nil
			}
			return f.vq(u, u.payload, vq)
		case unitRefused:
			f.passOver(u.err)
			return nil
		default:
			return f.rtp(history, streams, u)
		}
	})
	if err != nil && !damaged(err) {
		return err
	}
	for _, interval := range streams.Flush(time.Time{}) {
		if err := f.rtpInterval(history, interval); err != nil {
			return err
		}
	}
	return nil
}

// ids are what makes a packet of a capture this one.
func (u *unit) ids() [][]byte {
	return [][]byte{[]byte(u.src.String()), []byte(u.dst.String()), binary.BigEndian.AppendUint32(nil, uint32(u.frame)), u.payload}
}

func (f *fileImport) sip(u *unit) error {
	m, err := sip.Parse(u.payload)
	if err != nil {
		f.passOver(err)
		return nil
	}
	m.Src, m.Dst, m.Transport = u.src.String(), u.dst.String(), u.transport
	resolveParties(f.resolver, f.company, m, &parties{}, u.atUs)
	key, by := f.history.callOf(m.CallId)
	m.LinkedBy, m.LinkConfidence = by, linkConfidence(by)
	if isCall(m.Method) {
		f.found(key)
	}
	r := f.record(key, u.atUs, u.ids()...)
	r.Body = &telemetry.Record_Sip{Sip: m}
	if err := f.write(r); err != nil {
		return err
	}
	if body := vqBody(m); body != nil {
		vq, err := sip.ParseVQFrom(body, m.UserAgent)
		if err != nil {
			f.passOver(err)
			return nil
		}
		vq.Identity = m.Caller
		return f.vq(u, body, vq)
	}
	return nil
}

func (f *fileImport) vq(u *unit, body []byte, vq *telemetry.VQReport) error {
	if vq.Identity == nil {
		vq.Identity = vqIdentity(f.resolver, f.company, vq, u.atUs)
	}
	name := vq.CallId
	if name == "" {
		name = u.correlationID
	}
	key, _ := f.history.callOf(name)
	if key == "" {
		p := vqMedia(vq)
		key = OwnCallKey(p.Src, p.Dst)
	}
	f.found(key)
	r := f.record(key, u.atUs, append(u.ids(), body)...)
	r.Body = &telemetry.Record_Vq{Vq: vq}
	return f.write(r)
}

func (f *fileImport) rtcp(history *mediaHistory, u *unit) error {
	var p *telemetry.RTCPPacket
	var err error
	if u.kind == unitRTCPJSON {
		p, _, err = new(rtcp.Decoder).DecodeJSON(u.payload)
	} else {
		p, err = new(rtcp.Decoder).Decode(u.payload)
	}
	encrypted := errors.Is(err, rtcp.ErrEncrypted)
	if err != nil && !encrypted {
		f.passOver(err) // of which more may be left
	}
	if p == nil {
		return nil
	}
	p.Src, p.Dst = u.src.String(), u.dst.String()
	span, _, _ := history.place(MediaPacket{u.src, u.dst, ssrcsOf(p)}, u.atUs)
	key := ""
	switch {
	case u.correlationID != "" && history.calls[u.correlationID] != nil:
		key = history.calls[u.correlationID].key()
	case span != nil && span.kind != "" && span.kind != "audio":
		return nil
	case span != nil:
		key = span.call.key()
	case u.correlationID != "" && u.kind == unitRTCPJSON && !isChannel(u.correlationID):
		key = u.correlationID
	case encrypted:
		return nil // nearly any bytes look like SRTCP; without a call it says nothing
	default:
		key = OwnCallKey(u.src, u.dst)
	}
	f.found(key)
	r := f.record(key, u.atUs, u.ids()...)
	r.Body = &telemetry.Record_Rtcp{Rtcp: p}
	return f.write(r)
}

func (f *fileImport) rtp(history *mediaHistory, streams *rtp.Aggregator, u *unit) error {
	span, local, remote := history.place(MediaPacket{Src: u.src, Dst: u.dst}, u.atUs)
	if span == nil || span.kind != "" && span.kind != "audio" {
		return nil
	}
	var h rtp.Header
	if rtp.Parse(u.payload, &h) != nil {
		return nil
	}
	interval := streams.Observe(time.UnixMicro(u.atUs), u.src, u.dst, &h, clockRate(local, remote, h.PayloadType))
	if interval == nil {
		return nil
	}
	return f.rtpInterval(history, interval)
}

func (f *fileImport) rtpInterval(history *mediaHistory, i *telemetry.RTPInterval) error {
	src, _ := netip.ParseAddrPort(i.Src)
	dst, _ := netip.ParseAddrPort(i.Dst)
	span, _, _ := history.place(MediaPacket{Src: src, Dst: dst}, i.FirstUs)
	if span == nil {
		return nil
	}
	r := f.record(span.call.key(), i.LastUs, []byte(i.Src), []byte(i.Dst), binary.BigEndian.AppendUint32(nil, i.Ssrc), binary.BigEndian.AppendUint64(nil, uint64(i.FirstUs)))
	r.Body = &telemetry.Record_Rtp{Rtp: i}
	return f.write(r)
}

// callName is the key of the call that a getStats file holds: its name.
func callName(name string) string {
	name = strings.TrimSuffix(name, ".gz")
	for _, ext := range []string{".jsonl", ".ndjson", ".json", ".txt"} {
		name = strings.TrimSuffix(name, ext)
	}
	return validText(name)
}

// sides of the two peers in a getStats file.
var sides = map[string]string{"A": "target", "B": "contact", "target": "target", "contact": "contact"}

// maxStatsLine bounds one report in a getStats file, in bytes.
const maxStatsLine = 16 << 20

// stats reads a getStats file: one JSON object per line, of which
// {"meta": …} is passed over and {"t", "side", "report"} is a sample.
func (f *fileImport) stats(r io.Reader) error {
	key := callName(f.name)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), maxStatsLine)
	samples := 0
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(bytes.TrimPrefix(lines.Bytes(), []byte("\xef\xbb\xbf")))
		if len(line) == 0 {
			continue
		}
		var entry struct {
			Meta   json.RawMessage `json:"meta"`
			T      float64         `json:"t"`
			Side   string          `json:"side"`
			Muted  *bool           `json:"muted"`
			Report json.RawMessage `json:"report"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if len(entry.Report) == 0 {
			if entry.Meta == nil && samples == 0 {
				return fmt.Errorf("line %d: %w", number, ErrFileFormat)
			}
			continue
		}
		sample := &telemetry.WebRTCSample{CallId: key, LegId: entry.Side, Side: sides[entry.Side]}
		if sample.LegId == "" {
			sample.LegId = "A"
		}
		if entry.Muted != nil {
			sample.Muted, sample.HasMuted = *entry.Muted, true
		}
		stats := &webrtc.Stats{} // the record belongs to whom it is handed to
		if err := stats.Read(entry.Report); err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		at := stats.Sample(sample)
		if at == 0 {
			at = int64(entry.T * 1e6)
		}
		samples++
		f.found(key)
		record := f.record(key, at, []byte(entry.Side), binary.BigEndian.AppendUint32(nil, uint32(number)), entry.Report)
		record.Body = &telemetry.Record_Webrtc{Webrtc: sample}
		if err := f.write(record); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if samples == 0 {
		return ErrFileFormat
	}
	return nil
}
