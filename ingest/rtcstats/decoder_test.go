package rtcstats

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/earshot/earshot/ingest/webrtc"
	"github.com/earshot/earshot/telemetry"
)

// entry is a line of a recording; see testdata/README.md.
type entry struct {
	Message string                    `json:"message"`
	Report  map[string]map[string]any `json:"report"`
}

func recording(t testing.TB, name string) []entry {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name+".jsonl.gz"))
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	var entries []entry
	for lines.Scan() {
		var e entry
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		if e.Message != "" {
			entries = append(entries, e)
		}
	}
	require.NoError(t, lines.Err())
	return entries
}

var testLimits = Limits{StateBytes: 1 << 20}

func decode(t testing.TB, d *Decoder, message string) Event {
	t.Helper()
	var e Event
	var err error
	if d.dialect == Jitsi && message[0] == '{' {
		e, err = d.DecodeJitsi([]byte(message), 0)
	} else {
		e, err = d.Decode([]byte(message))
	}
	require.NoError(t, err, message)
	return e
}

// What the decoder makes of differences is what the browser gave to the client.
func TestDecodeGivesWhatTheBrowserGave(t *testing.T) {
	for _, c := range []struct {
		name    string
		dialect Dialect
		polls   int
	}{{"rtcstats5", Numbered, 42}, {"rtcstats2", Named, 42}, {"jitsi", Jitsi, 42}} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(c.dialect, testLimits)
			polls := 0
			for _, entry := range recording(t, c.name) {
				e := decode(t, d, entry.Message)
				if e.Kind != Stats {
					require.Nil(t, entry.Report, entry.Message)
					continue
				}
				polls++
				require.False(t, e.Full)
				want, err := json.Marshal(entry.Report)
				require.NoError(t, err)
				require.Empty(t, differences(sample(t, want), given(&e)), "poll %d", polls)
			}
			require.Equal(t, c.polls, polls)
			require.Empty(t, d.peers, "closed peer connections are forgotten")
			require.Zero(t, d.room.used)
		})
	}
}

func sample(t testing.TB, report []byte) *telemetry.WebRTCSample {
	var stats webrtc.Stats
	require.NoError(t, stats.Read(report), "%s", report)
	s := &telemetry.WebRTCSample{}
	stats.Sample(s)
	return proto.Clone(s).(*telemetry.WebRTCSample)
}

// given is what the decoder makes of a report.
func given(e *Event) *telemetry.WebRTCSample {
	s := &telemetry.WebRTCSample{}
	e.Statistics.Sample(s)
	return proto.Clone(s).(*telemetry.WebRTCSample)
}

// differences compares samples without the ids that rtcstats 5 renames.
func differences(want, got *telemetry.WebRTCSample) string {
	for _, s := range []*telemetry.WebRTCSample{want, got} {
		for _, v := range s.Inbound {
			v.Id = ""
		}
		for _, v := range s.Outbound {
			v.Id, v.MediaSourceId = "", ""
		}
		for _, v := range s.RemoteInbound {
			v.Id = ""
		}
		for _, v := range s.RemoteOutbound {
			v.Id = ""
		}
		for _, v := range s.MediaSources {
			v.Id = ""
		}
		if s.Pair != nil {
			s.Pair.Id = ""
		}
	}
	if proto.Equal(want, got) {
		return ""
	}
	return "want " + want.String() + "\n got " + got.String()
}

func TestDecodeFollowsTheMicrophone(t *testing.T) {
	d := NewDecoder(Numbered, testLimits)
	var said []string
	for _, entry := range recording(t, "rtcstats5") {
		e := decode(t, d, entry.Message)
		if e.Kind != Stats || e.PC != "PC_0" {
			require.False(t, e.HasMuted, "the other track is a clone, whose property nobody watches")
			continue
		}
		now := map[[2]bool]string{{false, false}: "unsaid", {true, true}: "muted", {true, false}: "on"}[[2]bool{e.HasMuted, e.Muted}]
		if len(said) == 0 || said[len(said)-1] != now {
			said = append(said, now)
		}
	}
	require.Equal(t, []string{"unsaid", "muted", "on"}, said)
}

func TestDecodeOther(t *testing.T) {
	find := func(name string, dialect Dialect, kind Kind) Event {
		d := NewDecoder(dialect, testLimits)
		for _, entry := range recording(t, name) {
			if e := decode(t, d, entry.Message); e.Kind == kind {
				return e
			}
		}
		t.Fatal("not in the recording")
		return Event{}
	}
	rated := find("rtcstats5", Numbered, Rated)
	require.Equal(t, uint32(4), rated.Rating)
	require.Equal(t, "fine", rated.Text)
	require.Equal(t, "custom", rated.Label())
	told := find("rtcstats2", Named, Identified)
	require.Equal(t, []string{"alice", "room-7"}, []string{told.User, told.Conference})
	who := find("jitsi", Jitsi, Identified)
	require.Equal(t, []string{"alice", "Alice", "device-1", "meeting-42"}, []string{who.User, who.Name, who.Device, who.Conference})
	require.Equal(t, int64(1), who.Seq)
}

func TestDecodeTimes(t *testing.T) {
	d := NewDecoder(Numbered, testLimits)
	for _, c := range []struct {
		message string
		ms      int64
		prompt  bool
	}{
		{`[39,null,{},1795362426063]`, 1795362426063, true},
		{`[60,null,{"audio":true},"60-0",0]`, 1795362426063, false},
		{`["websocket",null,{"connectionTime":21},21]`, 1795362426084, true},
		{`[36,"PC_0",null,-84]`, 1795362426000, false},
		{`[39,null,{},1795362430000]`, 1795362430000, true},
	} {
		e := decode(t, d, c.message)
		require.Equal(t, c.ms*1000, e.AtUs)
		require.Equal(t, c.prompt, e.Prompt)
	}
}

// The rules by which differences of each dialect are told, one by one.
func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name     string
		dialect  Dialect
		messages []string
		want     string
	}{
		{"5: absent is unchanged, t is everybody's", Numbered, []string{
			`["g","P",{"0":{"type":1,"10":7,"12":"1","14":50,"15":0},"1":{"type":14,"6":"audio/opus"},"2":{"type":3,"75":0.1},"t":1795362426063},1795362426063]`,
			`["g","P",{"0":{"14":60},"2":{"75":0.2},"t":1795362427063},1000]`,
		}, `{"0":{"id":"0","type":"inbound-rtp","ssrc":7,"codecId":"1","packetsReceived":60,"packetsLost":0,"timestamp":1795362427063},"1":{"id":"1","type":"codec","mimeType":"audio/opus"},
			"2":{"id":"2","type":"remote-inbound-rtp","roundTripTime":0.2,"timestamp":1795362427063}}`},
		{"5: null is removed, and may come again", Numbered, []string{
			`[1,"P",{"0":{"type":1,"14":50},"1":{"type":2,"79":9,"80":4},"2":{"type":3,"75":0.1},"t":1795362426063},1795362426063]`,
			`[1,"P",{"1":null,"t":1795362427063},1000]`,
			`[1,"P",{"1":{"type":2,"79":1},"0":{"14":51},"2":{"75":0.2},"t":1795362428063},1000]`,
		}, `{"0":{"id":"0","type":"inbound-rtp","packetsReceived":51},"2":{"id":"2","type":"remote-inbound-rtp","roundTripTime":0.2,"timestamp":1795362428063},"1":{"id":"1","type":"outbound-rtp","packetsSent":1,"timestamp":1795362428063}}`},
		{"5: RTCP keeps its time until there is more", Numbered, []string{
			`["g","P",{"0":{"type":3,"75":0.1,"t":1795362425063},"1":{"type":1,"14":1},"2":{"type":4,"79":5,"75":1},"t":1795362426063},1795362426063]`,
			`["g","P",{"1":{"14":2},"2":{"75":2},"t":1795362427063},1000]`,
			`["g","P",{"1":{"14":3},"t":1795362428063},1000]`,
		}, `{"0":{"id":"0","type":"remote-inbound-rtp","roundTripTime":0.1,"timestamp":1795362425063},"1":{"id":"1","type":"inbound-rtp","packetsReceived":3,"timestamp":1795362428063},
			"2":{"id":"2","type":"remote-outbound-rtp","packetsSent":5,"timestamp":1795362426063}}`},
		{"5: RTCP that arrives has a new time", Numbered, []string{
			`["g","P",{"0":{"type":4,"79":5},"t":1795362426063},1795362426063]`,
			`["g","P",{"0":{"103":2},"t":1795362427063},1000]`,
		}, `{"0":{"id":"0","type":"remote-outbound-rtp","packetsSent":5,"timestamp":1795362427063}}`},
		{"5: names in full, whole reports, video and null members", Numbered, []string{
			`["getStats","P",{"a":{"id":"a","type":"inbound-rtp","kind":"audio","timestamp":1795362426063,"jitter":0.1,"packetsLost":3},"v":{"id":"v","type":"inbound-rtp","kind":"video"}},1795362426063]`,
			`["getStats","P",{"v":{"id":"v","type":"inbound-rtp","kind":"video"},"a":{"id":"a","type":"inbound-rtp","kind":"audio","timestamp":1795362427063,"jitter":0.2,"packetsLost":null}},1000]`,
		}, `{"a":{"id":"a","type":"inbound-rtp","kind":"audio","timestamp":1795362427063,"jitter":0.2}}`},
		{"5: of changes that are cut off nothing counts", Numbered, []string{
			`["g","P",{"0":{"type":1,"14":50,"12":"c"},"1":{"type":14,"6":"audio/opus"},"t":1795362426063},1795362426063]`,
			`!["g","P",{"0":{"14":51,"12":"d"},"1":null,"2":{"type":1,"14":9},"t":1795362427063,},1000]`,
			`["g","P",{},1000]`,
		}, `{"0":{"id":"0","type":"inbound-rtp","packetsReceived":50,"codecId":"c","timestamp":1795362426063},"1":{"id":"1","type":"codec","mimeType":"audio/opus"}}`},
		{"jitsi: a report that is absent is gone, a member that is absent is not", Jitsi, []string{
			`["getstats","P",{"a":{"type":"inbound-rtp","ssrc":7,"codecId":"b","jitter":1,"timestamp":0},"b":{"type":"codec","mimeType":"audio/opus","timestamp":5},"timestamp":1795362426063},1795362426063]`,
			`["getstats","P",{"a":{"jitter":2,"timestamp":0},"timestamp":1795362427063},1795362426063]`,
		}, `{"a":{"id":"a","type":"inbound-rtp","ssrc":7,"jitter":2,"timestamp":1795362427063}}`},
		{"2: what is absent stays", Named, []string{
			`["getstats","P",{"a":{"type":"inbound-rtp","jitter":1,"codecId":"b","timestamp":0},"b":{"type":"codec","mimeType":"audio/opus"},"c":{"type":"remote-inbound-rtp","timestamp":1795362425063},"timestamp":1795362426063},1795362426063]`,
			`["getstats","P",{"a":{"jitter":2,"timestamp":0},"timestamp":1795362427063},1795362426063]`,
		}, `{"a":{"id":"a","type":"inbound-rtp","jitter":2,"codecId":"b","timestamp":1795362427063},"b":{"id":"b","type":"codec","mimeType":"audio/opus"},"c":{"id":"c","type":"remote-inbound-rtp","timestamp":1795362425063}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(c.dialect, testLimits)
			var e Event
			for _, m := range c.messages {
				if bad, ok := strings.CutPrefix(m, "!"); ok {
					used := d.room.used
					_, err := d.Decode([]byte(bad))
					require.ErrorIs(t, err, ErrJSON)
					require.Equal(t, used, d.room.used)
					continue
				}
				e = decode(t, d, m)
			}
			require.Equal(t, Stats, e.Kind)
			want, got := sample(t, []byte(c.want)), given(&e)
			require.True(t, proto.Equal(want, got), "want %v\n got %v", want, got)
			d.Close()
			require.Zero(t, d.room.used)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ message, reason string }{
		{``, "json"}, {`[`, "json"}, {`["g","P",{},1] 2`, "json"}, {strings.Repeat("[", 100) + strings.Repeat("]", 100), "json"},
		{`{}`, "shape"}, {`[]`, "shape"}, {`["g","P"]`, "shape"}, {`["g",7,{},1795362426063]`, "shape"},
		{`[null,null,{},1795362426063]`, "shape"}, {`["g","P",{},"soon"]`, "shape"}, {`["g","P",{},-5]`, "shape"}, {`["g","P",{},1e300]`, "shape"},
	} {
		_, err := NewDecoder(Numbered, testLimits).Decode([]byte(c.message))
		require.Error(t, err, c.message)
		require.Equal(t, c.reason, Reason(err), c.message)
	}
	for _, c := range []struct{ message, reason string }{
		{`[]`, "shape"}, {`{"type":"else"}`, "shape"}, {`{"type":"stats-entry"}`, "shape"}, {`{"type":"stats-entry","data":"["}`, "json"},
		{`{"type":"stats-entry","data":"[\"a\",null,1795362426063]"}`, "shape"}, {`{"type":"stats-entry","data":"[\"a\",null,null,1795362426063,0]"}`, "shape"},
		{`{"type":"stats-entry","data":"[\"a\",null,null,1795362426063,3]"}`, "duplicate"},
	} {
		_, err := NewDecoder(Jitsi, testLimits).DecodeJitsi([]byte(c.message), 3)
		require.Error(t, err, c.message)
		require.Equal(t, c.reason, Reason(err), c.message)
	}
}

// A sender has its bound and all senders together have one; what is over is
// left out, and all of it comes back.
func TestStateIsBounded(t *testing.T) {
	all := NewBudget(4000)
	a, b := NewDecoder(Numbered, Limits{StateBytes: 3000, Total: all}), NewDecoder(Numbered, Limits{StateBytes: 3000, Total: all})
	grow := func(d *Decoder) (full bool) {
		for i := range 30 {
			report := `["g","P",{"` + strings.Repeat("x", i+1) + `":{"type":1,"14":50},"t":5},1795362426063]`
			full = decode(t, d, report).Full
		}
		return full
	}
	require.True(t, grow(a))
	require.LessOrEqual(t, a.room.used, 3000)
	require.True(t, grow(b))
	require.LessOrEqual(t, all.Used(), int64(4000))
	require.Positive(t, all.Used())
	require.False(t, decode(t, a, `["g","P",{"x":{"14":51}},1]`).Full, "what is known goes on")
	a.Close()
	b.Close()
	require.Zero(t, all.Used())
	many := NewDecoder(Jitsi, Limits{StateBytes: 1 << 20, Total: all})
	for i := range 3 * maxPeers {
		decode(t, many, `["getstats","P`+strings.Repeat("y", i)+`",{"a":{"n":1}},1795362426063]`)
	}
	require.Len(t, many.peers, maxPeers)
	long := decode(t, many, `["getstats","Q",{"a":{"type":"inbound-rtp","codecId":"`+strings.Repeat("z", maxValue)+`","jitter":1}},1795362426063]`)
	require.True(t, long.Full)
	require.True(t, proto.Equal(sample(t, []byte(`{"a":{"type":"inbound-rtp","jitter":1}}`)), given(&long)))
}

func TestTablesHaveNoNameTwice(t *testing.T) {
	for _, table := range [][]string{methods[:], types[:], members[:]} {
		seen := map[string]bool{}
		for _, name := range table {
			require.False(t, name != "" && seen[name], name)
			seen[name] = true
		}
	}
}

func TestClock(t *testing.T) {
	const tolerance, replay, s = 2_000_000, 600_000_000, 1_000_000
	type step struct {
		at, received int64
		prompt       bool
		offset       int64
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"right", []step{{100 * s, 100 * s, false, 0}, {101 * s, 101*s + 500, false, 0}, {120 * s, 121 * s, false, 0}}},
		{"a backlog after the connection opened", []step{{70 * s, 100 * s, false, 0}, {90 * s, 100 * s, false, 0}, {101 * s, 101 * s, false, 0}}},
		{"a slow clock, known from a message that did not wait", []step{{70 * s, 100 * s, true, 30 * s}, {71 * s, 101 * s, false, 30 * s}, {72 * s, 102*s + 100, false, 30 * s}}},
		{"a slow clock, known in time", []step{{70 * s, 100 * s, false, 0}, {80 * s, 110 * s, false, 30 * s}, {81 * s, 112 * s, false, 30 * s}}},
		{"a fast clock", []step{{160 * s, 100 * s, false, -60 * s}, {161 * s, 101 * s, false, -60 * s}}},
		{"a clock of another year", []step{{1 * s, 4000 * s, false, 3999 * s}}},
		{"set right meanwhile", []step{{70 * s, 100 * s, true, 30 * s}, {131 * s, 131 * s, false, 0}, {132 * s, 132 * s, false, 0}}},
	} {
		k := clock{toleranceUs: tolerance, replayUs: replay}
		for i, st := range c.steps {
			opened := max(100*s, 0)
			if c.name == "a clock of another year" {
				opened = 4000 * s
			}
			require.Equal(t, st.offset, k.offset(st.at, st.received, int64(opened), st.prompt), "%s, step %d", c.name, i)
		}
	}
}

// What one getStats message costs until its sample is there.
func BenchmarkStats(b *testing.B) {
	for _, c := range []struct {
		name    string
		dialect Dialect
	}{{"rtcstats5", Numbered}, {"jitsi", Jitsi}} {
		b.Run(c.name, func(b *testing.B) {
			var messages []string
			d := NewDecoder(c.dialect, testLimits)
			for _, e := range recording(b, c.name) {
				if e.Report == nil {
					continue
				}
				decode(b, d, e.Message)
				messages = append(messages, e.Message)
			}
			s := &telemetry.WebRTCSample{}
			b.ReportAllocs()
			b.SetBytes(int64(len(strings.Join(messages, ""))) / int64(len(messages)))
			for i := 0; b.Loop(); i++ {
				e := decode(b, d, messages[2+i%(len(messages)-2)])
				e.Statistics.Sample(s)
			}
		})
	}
}
