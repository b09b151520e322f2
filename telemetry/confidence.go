package telemetry

// Confidence (0–1) of each kind of evidence that a direction is dead. Verdicts are
// made with it, and explanations of them quote it.
const (
	ConfidenceBothSides = 0.98 // the sender's source speaks, the receiver gets no packet
	ConfidenceReports   = 0.95 // the receiver's reports show it
	ConfidenceMonitor   = 0.95 // the sender counts packets, none passes the capture point
	ConfidenceGap       = 0.90 // the same of a time that had ended when enough of them had come
	ConfidenceReceiver  = 0.90 // the receiver's getStats show it
	ConfidenceHeaders   = 0.85 // the phones' own counts of the whole call
	ConfidenceNoStream  = 0.75 // the receiver has no inbound statistics at all
	ConfidenceRemote    = 0.75 // the sender's getStats: nobody acknowledges
	ConfidenceSilent    = 0.70 // nothing at all comes from the sender
	// Both directions were seen alive.
	ConfidenceAlive = 0.90
	// What contradicting evidence leaves of a confidence.
	Contradicted = 0.6
)

// How sure a part of the way is known to be the one at fault.
const (
	FaultMeasured = 0.9 // the other parts were measured and are sound
	FaultSplit    = 0.8 // a capture point splits the loss or the delay
	FaultUnsplit  = 0.6 // the end systems are sound, the way was not split
	// FaultShare is the share of the loss or delay that a part must have.
	FaultShare = 0.7
)
