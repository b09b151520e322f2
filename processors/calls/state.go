package calls

import (
	"github.com/earshot/earshot/processors/quality"
	"github.com/earshot/earshot/telemetry"
)

// Bounds of what one call may hold. A call that exceeds one forgets its oldest
// entry of that kind; it never grows further.
const (
	maxSeen      = 256 // hashes of messages and events, to know them again
	maxAddresses = 16
	maxStreams   = 8  // per direction
	maxReporters = 4  // per party
	maxTaps      = 4  // places where round trips are measured
	maxLegs      = 8  // getStats legs
	maxInvites   = 16 // INVITE transactions
	maxRejected  = 16
	maxPending   = 64 // RTCP and RTP that came before the SDP
	maxSRs       = 8  // sender reports kept per SSRC and tap (a receiver may answer an older one)
	fewSRs       = 4  // of them however old they are
	maxCodecs    = 8
	maxDeaths    = 8 // times that a direction was dead
)

// callID names a call among all that a partition holds.
type callID struct {
	company, timeline, key string
}

// phase is where a call is in its life.
type phase uint8

const (
	phaseNone  phase = iota // nothing yet says that this is a call
	phaseLive               // offered, ringing or answered
	phaseEnded              // over; reports of its end are still awaited
	phaseFinal              // final verdict given; late reports make new versions
	phaseGone               // remembered only so that a straggler does not open it again
)

// call is everything a partition knows of one call.
type call struct {
	id callID

	phase      phase
	receivedUs int64 // when the newest record was received
	lastUs     int64 // event time of the newest record
	phaseUs    int64 // event time at which the phase began
	versionUs  int64 // event time of the newest version
	version    uint32
	changed    bool // since the newest version

	direction   string
	description string
	startedUs   int64
	ringingUs   int64
	connectedUs int64
	endedUs     int64
	endBy       string
	endStatus   uint32
	endReason   string
	cancelled   bool  // ended by CANCEL; a 200 that crossed it revives the call
	transferUs  int64 // the newest transfer
	earlyUs     int64 // first media before an answer
	lateUs      int64 // when the first report is of that came after the final verdict

	hasSIP, hasStats, hasEvents, hasMedia bool
	sipCallIDs                            []string
	moments                               moments
	target                                uint8 // party that is the target
	targetFixed                           bool  // an outcome has said so
	callerParty                           uint8

	party [2]party
	dir   [2]direction // by sender

	addresses []address
	invites   []invite
	rejected  []rejection
	inviteTag string // From tag of the first INVITE
	cseq      uint32 // newest INVITE of the caller
	taps      []tap
	legs      []leg
	seen      []uint64 // ring of hashes
	seenNext  uint32
	pending   [][]byte // encoded records that wait for the SDP
	pendingUs int64

	rtt      quality.Histogram // after the settling time
	rttMaxUs int64             // when the longest was measured
	// The newest end-to-end round trip, for MOS of RTCP reports.
	rttMs float64
	rttUs int64

	codecName  string // negotiated
	codecClock uint32
	codecs     []codec // payload types of the newest SDPs

	// A back-to-back user agent makes one call of several dialogs. The first one
	// is the call's own, the others are held as calls within it: each has its own
	// parties, streams and transactions.
	sipCallID      string // of this dialog
	dialogs        []*call
	ordinal        uint8 // of a dialog, from 1; 0 is the call itself
	linkedBy       string
	linkConfidence float64
	linked         []*telemetry.LinkedCall

	publicID string // of id.key, once it was needed; not part of the state
}

type codec struct {
	payloadType uint32
	name        string
	clockRate   uint32
}

// address is one media address that signalling gave to a party.
type address struct {
	host      string
	rtp, rtcp uint16 // ports; 0: any port of the host (learned from signalling or packets)
	party     uint8
}

// invite is one INVITE transaction on one hop.
type invite struct {
	branch   uint64 // hash of branch, source and destination
	cseq     uint32
	from, to uint64 // hashes of the hosts it went between
	uri      string // user of the Request-URI
	initial  bool   // outside a dialog
	rang     bool
	status   uint32 // final; 0: none yet
	atUs     int64
	// The CANCEL of this transaction.
	cancelled     bool
	cancelReasons []string
	toTag         string
}

// rejection is one refused leg, kept so that the same refusal seen on the next
// hop, or told by the platform, does not count again.
type rejection struct {
	leg     string
	byEvent bool
	tellUs  int64 // when its moment is due; 0: it was emitted
	out     *telemetry.Rejection
}

// sdpDirection is the direction attribute of RFC 4566 §6.
type sdpDirection uint8

const (
	sdpUnknown sdpDirection = iota
	sdpSendRecv
	sdpSendOnly
	sdpRecvOnly
	sdpInactive
)

// party is one of the two ends of a call.
type party struct {
	identity   *telemetry.Identity
	endpoint   string
	appVersion string
	platform   string
	userAgent  string
	tag        string // in the dialog
	media      string // media address

	hasSDP   bool
	sdp      sdpDirection
	held     bool // connection address 0.0.0.0 or ::
	noAudio  bool // no audio, or its port is 0
	fax      bool // T.38 (image) offered with a port
	secure   bool // RTP/SAVP: RTCP on the way cannot be read
	ptimeMs  uint32
	faxUs    int64  // since when it is T.38
	byDesign bool   // its direction is that of the first offer and answer: no hold
	sdpOf    uint32 // hash of the message that its SDP is of
	relayed  bool   // a media relay put an address of its own in place of this party's

	muted      bool
	mutedUs    int64
	everMuted  bool
	heldByApp  bool
	everHeld   bool
	heldUs     int64
	lastSeenUs int64 // newest RTCP or RTP from this party
	rtcpSeen   uint32
	rtpSeen    uint32

	reporters []reporter
	rtt       quality.Histogram // what this party measured itself, or a tap on its leg
	eventIDs  [8]uint64         // of the newest RTCP packets
	eventNext uint8
}

// reporter is one SSRC that sends reports, on the side of a party. It is judged
// apart from others of the same party: on the way through a media relay there
// are several, and each hears for itself.
type reporter struct {
	ssrc      uint32
	atUs      int64 // newest report
	reports   uint32
	lastBlock uint32 // ordinal of the newest report that had a block about the other party
	blockless uint32 // reports without a block since, that may yet turn out to say something
	// What the other party had sent when the newest report came.
	markSR, markRTP uint64
	ownPackets      uint32 // packet count of its own sender reports
	hasOwn          bool
	run             [3]run // by deadKind
}

// deadKind says in which way reports show that a direction is dead.
type deadKind uint8

const (
	deadNeverReceived deadKind = iota // reports without a block about the sender
	deadStopped                       // the extended highest sequence stalls
	deadSilent                        // nothing at all comes from the sender
)

// run is a row of agreeing observations.
type run struct {
	n       uint32
	sinceUs int64
	untilUs int64 // the newest of them that shows that steadily sent packets did not arrive
	// Sent by the other party meanwhile, by its reports and by RTP seen.
	packetsSR, packetsRTP uint64
}

// streamSR is a sender report as a tap saw it pass.
type streamSR struct {
	middle uint32 // middle 32 bits of its NTP timestamp
	tap    uint32
	atUs   int64
	ntp    uint64
}

// stream is one SSRC that a party sends.
type stream struct {
	ssrc        uint32
	hop         uint32
	atUs        int64
	srs         []streamSR
	packetCount uint32 // of the newest sender report
	hasCount    bool
	payloadType uint32
	hasPT       bool
	clockRate   uint32
	// The first sender report, and the clock that later ones tell by it; 0 unknown.
	firstNTP      uint64
	firstRTP      uint32
	measuredClock uint32

	rate    float64 // packets per second by its newest two sender reports
	countUs int64   // when packetCount was told
	// The least that the highest sequence number was ahead of what had been sent
	// when its block came, by packetCount and rate.
	base    int64
	hasBase bool
	// The least by which the highest sequence number that the receiver reports, and
	// the one that passed a capture point, was ever ahead of the packet count of the
	// sender's reports: what it falls behind of that is on its way, or lost.
	ahead, aheadRTP       int64
	hasAhead, hasAheadRTP bool

	// From RTP headers at a monitor.
	rtpBase    uint32 // first extended sequence number
	hasRTPBase bool
	rtpUs      int64 // newest packet
	rtpHighest uint32

	// From the receiver's report blocks.
	hasBlock   bool
	block      blockMark
	lost       int64
	expected   int64
	burst      float64 // worst interval, percent
	burstUs    int64
	intervalUs int64 // between the newest two blocks
	missingUs  int64 // how long what was lost in the newest interval would have lasted, where that was nearly all
}

// blockMark is the newest report block about a stream.
type blockMark struct {
	atUs             int64
	highest          uint32
	cumulativeLost   int32
	jitter           uint32
	lsr, dlsr        uint32
	reporter         uint32
	highestMovedAtUs int64
}

// tap is a place where RTCP of both parties passes, and what it measured of
// the way to each.
type tap struct {
	id    uint32
	legMs [2]float64 // way to party 0, 1
	legUs [2]int64   // 0: not yet
	hist  [2]quality.Histogram
}

// witness is who says that a direction lives or is dead.
type witness uint8

const (
	byReceiver witness = iota // getStats of the receiver: inbound-rtp
	byRemote                  // getStats of the sender: remote-inbound-rtp
	byRTCP                    // the receiver's report blocks
	bySilence                 // nothing comes from the sender
	byHeader                  // what both phones told in BYE and its 200
	byMonitor                 // RTP headers at a capture point
	witnesses
)

// life is what one witness saw of a direction being alive, after the gate.
type life struct {
	count      uint32
	lastUs     int64
	aliveUs    int64 // sum of the intervals
	lastFromUs int64 // since when the newest observation saw it
}

// death is a time in which one witness saw a direction dead.
type death struct {
	w                witness
	sinceUs, untilUs int64
	confidence       float64
	kind             deadKind
	reports          uint32
	packets          uint64 // that the sender sent meanwhile
	senderHeard      bool   // the sender's own getStats show speech going out
	contra           bool   // another witness saw packets arrive meanwhile
	contraBy         witness
	noInbound        bool // the receiver had no inbound statistics at all
	noConnection     bool // ICE showed no life either
	senderCounts     bool // the sender's RTCP reports count packets sent meanwhile
}

// lossSource is where a loss figure comes from, the best first.
type lossSource uint8

const (
	lossInbound lossSource = iota // getStats of the receiver
	lossRTCP                      // kept per stream
	lossVQ                        // RFC 6035 or XR: a percentage
	lossHeader                    // what the phone told in BYE or its 200
	lossRemote                    // getStats of the sender: remote-inbound
	lossMonitor                   // RTP headers, up to the monitor
	lossSources
)

// lossAcc adds up packets of a direction.
type lossAcc struct {
	lost, received, discarded int64
	runs                      int64 // of lost packets, of lossMonitor
	reports                   uint32
	burst                     float64
	burstUs                   int64
	percent                   float64 // of lossVQ
	discardPercent            float64
}

// direction is one way of audio, by the party that sends.
type direction struct {
	streams []stream
	loss    [lossSources]lossAcc

	jitter          quality.Histogram
	jitterRTP       quality.Histogram // at the monitor, used only where nobody reports
	jitterRemote    quality.Histogram // of the receiver's reports, as the sender's getStats tell them
	moments, choppy uint32
	choppyUs        int64 // first choppy moment
	choppyLastUs    int64
	concealed       float64
	silentConcealed float64
	samples         float64
	bufferMs        float64 // sums over polls
	preferredMs     float64
	bufferPolls     uint32

	// Scores of intervals; the call's own is made of its totals. Where mosReported,
	// they are the endpoint's own (XR, RFC 6035).
	mosMin, mosSum float64
	mosN           uint32
	mosReported    bool
	mosBuffer      float64 // sum of the jitter buffers
	mosAssumed     bool    // jitter buffer assumed, not measured
	mosCodec       string
	xrBufferMs     float64 // jitter buffer that the receiver reported last, and when
	xrBufferUs     int64
	burstR         float64 // burst ratio that the receiver reported; 0 unknown
	packetMs       float64 // what one packet holds, of its timestamps; 0 unknown
	// Intervals with media, and those with so few packets that it was comfort noise.
	rated, sparse uint32
	srAtRTP       uint64 // srSent when the newest RTP was seen
	reportsOnly   uint32 // reports of the sender, one after the other, that say that it sent nothing
	sentUs        int64  // when its own reports last counted more packets

	srSent, rtpSent    uint64
	rtpFirst, rtpLast  int64
	gapUs, gapEndUs    int64 // the longest time in which no RTP passed the capture point
	blocked            bool
	blockedUs          int64
	clearUs            int64 // since when nothing blocks it: the answer, or the end of a hold
	life               [witnesses]life
	deaths             []death // by since, the oldest first
	quietSinceUs       int64   // the sender says itself that it sends nothing
	quietUntilUs       int64
	silentSinceUs      int64 // packets flow and carry silence
	silentUntilUs      int64
	silentSenderSpeaks bool
	sourceSamples      [sources]uint32 // samples by the receiver's witness, per kind

	// Packets of the whole call by the statistics headers of its two ends.
	headerSent, headerReceived       uint64
	hasHeaderSent, hasHeaderReceived bool
}

// source is the kind of telemetry that a sample came from.
type source uint8

const (
	fromWebRTC source = iota
	fromRTCP
	fromXR
	fromVQ
	fromHeader
	fromRTP
	sources
)

var sourceNames = [sources]string{"webrtc", "rtcp", "rtcp_xr", "vq_rtcpxr", "sip", "rtp"}

// inbound is the newest poll of one inbound-rtp.
type inbound struct {
	id   uint64
	poll quality.Inbound
}

// leg is one RTCPeerConnection that reports getStats.
type leg struct {
	id       string
	party    uint8
	userID   string
	deviceID string
	codec    string
	clock    uint32
	firstUs  int64
	atUs     int64
	polls    uint32

	inbound []inbound

	outID       uint64
	outSent     float64
	hasOut      bool
	sentDelta   float64
	micID       uint64
	micEnergy   float64
	micDuration float64
	micLevel    float64 // RMS of the newest poll, NaN where not known
	micPolls    uint32  // after the answer and not muted, where the level was known
	micQuiet    uint32  // of them without any sound
	heard       float64 // RMS of what arrives

	remoteStampUs int64 // its own timestamp of the newest remote-inbound
	remoteSeenUs  int64 // when that changed
	remoteCount   uint32
	remoteLost    int64
	remoteBaseSet bool
	sentSinceRIN  float64 // packets sent since remote-inbound last changed

	pairBytes     float64
	pairResponses float64
	iceUs         int64 // ICE last seen alive

	// The run of polls in which nothing arrived.
	zeroSinceUs int64
	// What the sender's reports counted, as remote-outbound tells it: the newest of
	// them, how many came in the run, and the count of the first of these.
	reportUs    int64
	reportCount uint32
	reportBase  float64
	reportSent  float64
	// How far the sender's count was ahead of what had arrived at its newest report,
	// and the beginning of a time without packets that the next one is to judge.
	reportAhead float64
	hasAhead    bool
	judgeUs     int64
	judged      bool // the run has been: it was sent
	senderSpoke uint32
	senderSent  uint32

	// The run of polls in which packets arrived and carried silence.
	silentSinceUs int64
	silentSpoke   uint32
}

func newLeg() leg {
	return leg{micLevel: nan, heard: nan, micEnergy: nan, micDuration: nan, pairBytes: nan, pairResponses: nan}
}

// --- the walk over the fields ---

const stateVersion = 12

func (c *call) code(x *coder) {
	v := uint8(stateVersion)
	x.u8(&v)
	if v != stateVersion { // what an older build left is read again from the input
		x.fail()
		return
	}
	x.u8((*uint8)(&c.phase))
	x.i64(&c.lastUs)
	x.baseUs = c.lastUs
	x.time(&c.receivedUs)
	x.time(&c.phaseUs)
	x.time(&c.versionUs)
	x.u32(&c.version)
	if c.phase == phaseGone {
		return
	}
	x.flag(&c.changed)
	x.str(&c.direction)
	x.str(&c.description)
	x.time(&c.startedUs)
	x.time(&c.ringingUs)
	x.time(&c.connectedUs)
	x.block(func() {
		x.time(&c.endedUs)
		x.str(&c.endBy)
		x.u32(&c.endStatus)
		x.str(&c.endReason)
		x.flag(&c.cancelled)
		x.time(&c.transferUs)
		x.time(&c.earlyUs)
		x.time(&c.lateUs)
	})
	x.flag(&c.hasSIP)
	x.flag(&c.hasStats)
	x.flag(&c.hasEvents)
	x.flag(&c.hasMedia)
	x.strs(&c.sipCallIDs)
	c.moments.code(x)
	x.u8(&c.target)
	x.flag(&c.targetFixed)
	x.u8(&c.callerParty)
	for i := range c.party {
		c.party[i].code(x)
	}
	for i := range c.dir {
		c.dir[i].code(x)
	}
	shelved(x, &c.addresses, &x.room.addresses, func(a *address) {
		x.str(&a.host)
		x.u16(&a.rtp)
		x.u16(&a.rtcp)
		x.u8(&a.party)
		a.party &= 1
	})
	shelved(x, &c.invites, &x.room.invites, func(t *invite) {
		x.hash(&t.branch)
		x.u32(&t.cseq)
		x.hash(&t.from)
		x.hash(&t.to)
		x.str(&t.uri)
		x.flag(&t.initial)
		x.flag(&t.rang)
		x.u32(&t.status)
		x.time(&t.atUs)
		x.flag(&t.cancelled)
		x.strs(&t.cancelReasons)
		x.str(&t.toTag)
	})
	list(x, &c.rejected, func(r *rejection) {
		x.str(&r.leg)
		x.flag(&r.byEvent)
		x.time(&r.tellUs)
		message(x, &r.out)
		if r.out == nil {
			x.fail()
		}
	})
	x.str(&c.inviteTag)
	x.u32(&c.cseq)
	shelved(x, &c.taps, &x.room.taps, func(t *tap) {
		x.u32(&t.id)
		for i := range t.legMs {
			x.f64(&t.legMs[i])
			x.time(&t.legUs[i])
			histogram(x, &t.hist[i])
		}
	})
	list(x, &c.legs, func(l *leg) { l.code(x) })
	x.hashes(&c.seen)
	x.u32(&c.seenNext)
	if len(c.seen) > maxSeen || (len(c.seen) < maxSeen && c.seenNext != 0) || c.seenNext >= maxSeen {
		x.fail()
	}
	list(x, &c.pending, x.bytes)
	x.time(&c.pendingUs)
	histogram(x, &c.rtt)
	x.time(&c.rttMaxUs)
	x.f64(&c.rttMs)
	x.time(&c.rttUs)
	x.str(&c.codecName)
	x.u32(&c.codecClock)
	shelved(x, &c.codecs, &x.room.codecs, func(k *codec) {
		x.u32(&k.payloadType)
		x.str(&k.name)
		x.u32(&k.clockRate)
	})
	c.target &= 1
	c.callerParty &= 1
	x.str(&c.sipCallID)
	x.u8(&c.ordinal)
	x.block(func() {
		x.str(&c.linkedBy)
		x.f64(&c.linkConfidence)
	})
	list(x, &c.linked, func(l **telemetry.LinkedCall) {
		message(x, l)
		if *l == nil {
			x.fail()
		}
	})
	list(x, &c.dialogs, func(d **call) {
		if !x.writing {
			*d = &call{id: c.id}
		}
		(*d).code(x)
		if (*d).phase == phaseGone || len((*d).dialogs) > 0 {
			x.fail()
		}
	})
}

func (p *party) code(x *coder) {
	x.identity(&p.identity)
	x.str(&p.endpoint)
	x.str(&p.appVersion)
	x.str(&p.platform)
	x.str(&p.userAgent)
	x.str(&p.tag)
	x.str(&p.media)
	x.flag(&p.hasSDP)
	x.u8((*uint8)(&p.sdp))
	x.flag(&p.held)
	x.flag(&p.noAudio)
	x.flag(&p.fax)
	x.flag(&p.secure)
	x.u32(&p.ptimeMs)
	x.u32(&p.sdpOf)
	x.flag(&p.relayed)
	x.block(func() {
		x.time(&p.faxUs)
		x.flag(&p.byDesign)
		x.flag(&p.muted)
		x.time(&p.mutedUs)
		x.flag(&p.everMuted)
		x.flag(&p.heldByApp)
		x.flag(&p.everHeld)
		x.time(&p.heldUs)
	})
	x.time(&p.lastSeenUs)
	x.u32(&p.rtcpSeen)
	x.u32(&p.rtpSeen)
	shelved(x, &p.reporters, &x.room.reporters, func(r *reporter) {
		x.u32(&r.ssrc)
		x.time(&r.atUs)
		x.u32(&r.reports)
		x.u32(&r.lastBlock)
		x.u32(&r.blockless)
		x.u64(&r.markSR)
		x.u64(&r.markRTP)
		x.u32(&r.ownPackets)
		x.flag(&r.hasOwn)
		for i := range r.run {
			x.block(func() {
				x.u32(&r.run[i].n)
				x.time(&r.run[i].sinceUs)
				x.time(&r.run[i].untilUs)
				x.u64(&r.run[i].packetsSR)
				x.u64(&r.run[i].packetsRTP)
			})
		}
	})
	histogram(x, &p.rtt)
	x.block(func() {
		for i := range p.eventIDs {
			x.hash(&p.eventIDs[i])
		}
	})
	x.u8(&p.eventNext)
	p.eventNext %= uint8(len(p.eventIDs))
}

func (d *direction) code(x *coder) {
	shelved(x, &d.streams, &x.room.streams, func(s *stream) {
		x.u32(&s.ssrc)
		x.u32(&s.hop)
		x.time(&s.atUs)
		shelved(x, &s.srs, &x.room.srs, func(r *streamSR) {
			x.u32(&r.tap)
			x.time(&r.atUs)
			x.hash(&r.ntp)
			r.middle = quality.MiddleNTP(r.ntp)
		})
		x.u32(&s.packetCount)
		x.flag(&s.hasCount)
		x.u32(&s.payloadType)
		x.flag(&s.hasPT)
		x.u32(&s.clockRate)
		x.hash(&s.firstNTP)
		x.u32(&s.firstRTP)
		x.u32(&s.measuredClock)
		x.f64(&s.rate)
		x.time(&s.countUs)
		x.i64(&s.base)
		x.flag(&s.hasBase)
		x.i64(&s.ahead)
		x.i64(&s.aheadRTP)
		x.flag(&s.hasAhead)
		x.flag(&s.hasAheadRTP)
		x.u32(&s.rtpHighest)
		x.block(func() {
			x.u32(&s.rtpBase)
			x.flag(&s.hasRTPBase)
			x.time(&s.rtpUs)
		})
		x.flag(&s.hasBlock)
		x.time(&s.block.atUs)
		x.u32(&s.block.highest)
		x.i32(&s.block.cumulativeLost)
		x.u32(&s.block.jitter)
		x.u32(&s.block.lsr)
		x.u32(&s.block.dlsr)
		x.u32(&s.block.reporter)
		x.time(&s.block.highestMovedAtUs)
		x.i64(&s.lost)
		x.i64(&s.expected)
		x.f64(&s.burst)
		x.time(&s.burstUs)
		x.i64(&s.intervalUs)
		x.i64(&s.missingUs)
	})
	for i := range d.loss {
		x.block(func() {
			l := &d.loss[i]
			x.i64(&l.lost)
			x.i64(&l.received)
			x.i64(&l.discarded)
			x.i64(&l.runs)
			x.u32(&l.reports)
			x.f64(&l.burst)
			x.time(&l.burstUs)
			x.f64(&l.percent)
			x.f64(&l.discardPercent)
		})
	}
	histogram(x, &d.jitter)
	histogram(x, &d.jitterRTP)
	histogram(x, &d.jitterRemote)
	x.u32(&d.moments)
	x.u32(&d.choppy)
	x.time(&d.choppyUs)
	x.time(&d.choppyLastUs)
	x.block(func() {
		x.f64(&d.concealed)
		x.f64(&d.silentConcealed)
		x.f64(&d.samples)
		x.f64(&d.bufferMs)
		x.f64(&d.preferredMs)
		x.u32(&d.bufferPolls)
	})
	x.f64(&d.mosMin)
	x.f64(&d.mosSum)
	x.u32(&d.mosN)
	x.flag(&d.mosReported)
	x.f64(&d.mosBuffer)
	x.flag(&d.mosAssumed)
	x.str(&d.mosCodec)
	x.block(func() {
		x.f64(&d.xrBufferMs)
		x.time(&d.xrBufferUs)
		x.f64(&d.burstR)
		x.f64(&d.packetMs)
	})
	x.u32(&d.rated)
	x.u32(&d.sparse)
	x.u64(&d.srAtRTP)
	x.u32(&d.reportsOnly)
	x.time(&d.sentUs)
	x.u64(&d.srSent)
	x.u64(&d.rtpSent)
	x.time(&d.rtpFirst)
	x.time(&d.rtpLast)
	x.time(&d.gapUs)
	x.time(&d.gapEndUs)
	x.flag(&d.blocked)
	x.time(&d.blockedUs)
	x.time(&d.clearUs)
	for i := range d.life {
		x.block(func() {
			l := &d.life[i]
			x.u32(&l.count)
			x.time(&l.lastUs)
			x.i64(&l.aliveUs)
			x.time(&l.lastFromUs)
		})
	}
	list(x, &d.deaths, func(e *death) {
		x.u8((*uint8)(&e.w))
		e.w %= witnesses
		x.time(&e.sinceUs)
		x.time(&e.untilUs)
		x.f64(&e.confidence)
		x.u8((*uint8)(&e.kind))
		x.u32(&e.reports)
		x.u64(&e.packets)
		x.flag(&e.senderHeard)
		x.flag(&e.noInbound)
		x.flag(&e.noConnection)
		x.flag(&e.senderCounts)
		x.flag(&e.contra)
		x.u8((*uint8)(&e.contraBy))
		e.contraBy %= witnesses
	})
	x.block(func() {
		x.time(&d.quietSinceUs)
		x.time(&d.quietUntilUs)
		x.time(&d.silentSinceUs)
		x.time(&d.silentUntilUs)
		x.flag(&d.silentSenderSpeaks)
	})
	for i := range d.sourceSamples {
		x.u32(&d.sourceSamples[i])
	}
	x.block(func() {
		x.u64(&d.headerSent)
		x.u64(&d.headerReceived)
		x.flag(&d.hasHeaderSent)
		x.flag(&d.hasHeaderReceived)
	})
}

func (l *leg) code(x *coder) {
	x.str(&l.id)
	x.u8(&l.party)
	l.party &= 1
	x.str(&l.userID)
	x.str(&l.deviceID)
	x.str(&l.codec)
	x.u32(&l.clock)
	x.time(&l.firstUs)
	x.time(&l.atUs)
	x.u32(&l.polls)
	list(x, &l.inbound, func(in *inbound) {
		x.hash(&in.id)
		p := &in.poll
		x.u32(&p.SSRC)
		for _, f := range []*float64{
			&p.PacketsReceived, &p.PacketsLost, &p.PacketsDiscarded,
			&p.BufferDelayS, &p.BufferTargetDelayS, &p.BufferEmitted,
			&p.Concealed, &p.SilentConcealed, &p.Samples, &p.Energy, &p.DurationS,
			&p.JitterMs, &p.BufferMs, &p.BufferPreferredMs, &p.LevelGauge,
		} {
			x.f64(f)
		}
	})
	x.hash(&l.outID)
	x.f64(&l.outSent)
	x.flag(&l.hasOut)
	x.f64(&l.sentDelta)
	x.hash(&l.micID)
	x.f64(&l.micEnergy)
	x.f64(&l.micDuration)
	x.f64(&l.micLevel)
	x.u32(&l.micPolls)
	x.u32(&l.micQuiet)
	x.f64(&l.heard)
	x.time(&l.remoteStampUs)
	x.time(&l.remoteSeenUs)
	x.u32(&l.remoteCount)
	x.i64(&l.remoteLost)
	x.flag(&l.remoteBaseSet)
	x.f64(&l.sentSinceRIN)
	x.f64(&l.pairBytes)
	x.f64(&l.pairResponses)
	x.time(&l.iceUs)
	x.block(func() {
		x.time(&l.zeroSinceUs)
		x.i64(&l.reportUs)
		x.u32(&l.reportCount)
		x.f64(&l.reportBase)
		x.f64(&l.reportSent)
		x.f64(&l.reportAhead)
		x.flag(&l.hasAhead)
		x.time(&l.judgeUs)
		x.flag(&l.judged)
		x.u32(&l.senderSpoke)
		x.u32(&l.senderSent)
		x.time(&l.silentSinceUs)
		x.u32(&l.silentSpoke)
	})
}
