// Package ingest takes telemetry from the wire to Kafka: it decodes, stamps the
// company and the call that each observation belongs to, and accounts for every
// packet.
//
// The way of one RTCP packet: a listener reads it (hep_listener.go,
// rtcp_listener.go), package rtcp decodes it, the clock of its agent puts it on
// a timeline (clock.go, timeline.go), the Correlator finds its call by the media
// addresses that SDP announced (correlator.go), the Producer writes it under
// the call's key (producer.go), and the Accounting has counted it as received,
// then as produced, rejected or dropped (accounting.go).
package ingest
