package clickhouse

import (
	"math"
	"unicode/utf8"

	"github.com/ClickHouse/ch-go/proto"
	"google.golang.org/protobuf/encoding/protowire"
)

// wireSample is an outcome with a sample, read straight from its protobuf
// bytes: nearly all outcomes are samples, and the generic decoder costs more
// than all the rest that is done with one. Texts point into the record.
type wireSample struct {
	company, call, timeline             []byte
	leg, side, source, direction, codec []byte
	seq, received, at                   int64
	ssrc, clock                         uint32
	floats                              [21]float64 // by field number of Sample
	packets, discarded                  uint32
	lost                                int32
	has                                 uint32 // bit n: field n of Sample is present
}

// Field numbers of telemetry.Outcome and telemetry.Sample.
const (
	outcomeCompany, outcomeCallID, outcomeTimeline, outcomeSeq, outcomeReceived, outcomeSample, outcomeAtUs = 1, 2, 3, 4, 5, 10, 20

	sampleAt, sampleLeg, sampleSide, sampleSource, sampleDirection, sampleSSRC, sampleCodec, sampleClock = 1, 2, 3, 4, 5, 6, 7, 8

	samplePackets, sampleLost, sampleDiscarded, sampleLastField = 12, 13, 14, 20
)

// read decodes a value. False means that it is not plainly a sample: the
// generic decoder has to judge it.
func (w *wireSample) read(value []byte) bool {
	*w = wireSample{}
	var sample []byte
	for len(value) > 0 {
		number, kind, n := protowire.ConsumeTag(value)
		if n < 0 {
			return false
		}
		value = value[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return false
			}
			value = value[n:]
			switch number {
			case outcomeSeq:
				w.seq = int64(v)
			case outcomeReceived:
				w.received = int64(v)
			case outcomeAtUs:
			default:
				return false
			}
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(value)
			if n < 0 {
				return false
			}
			value = value[n:]
			switch number {
			case outcomeCompany:
				w.company = v
			case outcomeCallID:
				w.call = v
			case outcomeTimeline:
				w.timeline = v
			case outcomeSample:
				if sample != nil {
					return false // two bodies are merged
				}
				sample = v
				continue
			default:
				return false
			}
			if !utf8.Valid(v) {
				return false
			}
		default:
			return false
		}
	}
	return sample != nil && len(w.company) > 0 && len(w.call) > 0 && w.readSample(sample)
}

func (w *wireSample) readSample(value []byte) bool {
	for len(value) > 0 {
		number, kind, n := protowire.ConsumeTag(value)
		if n < 0 || number > sampleLastField {
			return false
		}
		value = value[n:]
		switch kind {
		case protowire.VarintType:
			v, n := protowire.ConsumeVarint(value)
			if n < 0 {
				return false
			}
			value = value[n:]
			switch number {
			case sampleAt:
				w.at = int64(v)
			case sampleSSRC:
				w.ssrc = uint32(v)
			case sampleClock:
				w.clock = uint32(v)
			case samplePackets:
				w.packets = uint32(v)
			case sampleLost:
				w.lost = int32(protowire.DecodeZigZag(v & math.MaxUint32))
			case sampleDiscarded:
				w.discarded = uint32(v)
			default:
				return false
			}
		case protowire.Fixed64Type:
			v, n := protowire.ConsumeFixed64(value)
			if n < 0 || number < 9 || number >= samplePackets && number <= sampleDiscarded {
				return false
			}
			value = value[n:]
			w.floats[number] = math.Float64frombits(v)
		case protowire.BytesType:
			v, n := protowire.ConsumeBytes(value)
			if n < 0 || !utf8.Valid(v) {
				return false
			}
			value = value[n:]
			switch number {
			case sampleLeg:
				w.leg = v
			case sampleSide:
				w.side = v
			case sampleSource:
				w.source = v
			case sampleDirection:
				w.direction = v
			case sampleCodec:
				w.codec = v
			default:
				return false
			}
		default:
			return false
		}
		w.has |= 1 << number
	}
	return true
}

// addWire appends what add would for the same outcome.
func (t *samplesTable) addWire(w *wireSample) {
	t.company.AppendBytes(w.company)
	t.call.AppendBytes(w.call)
	t.timeline.AppendBytes(w.timeline)
	t.at.append(w.at)
	t.leg.AppendBytes(w.leg)
	t.direction.AppendBytes(w.direction)
	t.source.AppendBytes(w.source)
	t.side.AppendBytes(w.side)
	t.ssrc.Append(w.ssrc)
	t.codec.AppendBytes(w.codec)
	t.clock.Append(w.clock)
	w.float(t.rtt, 9)
	w.float(t.jitter, 10)
	w.float(t.loss, 11)
	t.packets.Append(proto.Nullable[uint32]{Set: w.has&(1<<samplePackets) != 0, Value: w.packets})
	t.lost.Append(proto.Nullable[int32]{Set: w.has&(1<<sampleLost) != 0, Value: w.lost})
	t.discarded.Append(proto.Nullable[uint32]{Set: w.has&(1<<sampleDiscarded) != 0, Value: w.discarded})
	w.float(t.buffer, 15)
	w.float(t.preferred, 16)
	w.float(t.concealment, 17)
	w.float(t.silent, 18)
	w.float(t.level, 19)
	w.float(t.mos, 20)
	t.seq.Append(w.seq)
	t.received.append(w.received)
}

func (w *wireSample) float(c *nullColumn[float64, float32], field int) {
	c.Append(proto.Nullable[float32]{Set: w.has&(1<<field) != 0, Value: float32(w.floats[field])})
}
