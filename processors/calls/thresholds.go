package calls

import "github.com/earshot/earshot/telemetry"

// thresholds are the figures of the rules that a reader of the verdict needs to
// see why a band is what it is. They go with the verdict: under the same name
// another installation, or this one later, may know other rules.
func thresholds(r *Rules) *telemetry.Thresholds {
	return &telemetry.Thresholds{
		DelayGoodMs: r.DelayGoodMs, DelayAcceptableMs: r.DelayAcceptableMs, DelayBadMs: r.DelayBadMs,
		LossGoodPercent: r.LossGoodPercent, LossAcceptablePercent: r.LossAcceptablePercent, LossBadPercent: r.LossBadPercent,
		JitterChoppyMs: r.JitterChoppyMs, ConcealmentChoppyPercent: r.ConcealmentChoppyPercent,
		ConcealmentBufferPercent: r.ConcealmentBufferPercent, BufferOverPreferredRatio: r.BufferOverPreferredRatio,
		ChoppyShareGood: r.ChoppyShareGood, ChoppyShareAcceptable: r.ChoppyShareAcceptable, ChoppyShareBad: r.ChoppyShareBad,
		SettleS: r.Settle.Seconds(), OneWayGraceS: r.OneWay.Grace.Seconds(), OneWayDeadS: r.OneWay.Dead.Seconds(),
		OneWayMinPacketsSent: r.OneWay.MinPacketsSent, OneWayMinReports: r.OneWay.MinReports,
		OneWaySuspected: r.OneWay.Suspected, OneWayConfirmed: r.OneWay.Confirmed,
	}
}
