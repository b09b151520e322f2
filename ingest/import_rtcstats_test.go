package ingest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/ingest/rtcstats"
	"github.com/earshot/earshot/telemetry"
)

// dump makes of a recording (rtcstats/testdata) what its server would keep.
func dump(t *testing.T, name, head string) []byte {
	t.Helper()
	file, err := os.Open(filepath.Join("rtcstats", "testdata", name+".jsonl.gz"))
	require.NoError(t, err)
	defer file.Close()
	z, err := gzip.NewReader(file)
	require.NoError(t, err)
	out := bytes.NewBufferString(head)
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Message string `json:"message"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &line))
		if name == "jitsi" && line.Message != "" {
			// The server writes the array alone, without its number.
			var m struct{ Data json.RawMessage }
			require.NoError(t, json.Unmarshal([]byte(line.Message), &m))
			var text string
			if json.Unmarshal(m.Data, &text) == nil {
				m.Data = json.RawMessage(text)
			}
			line.Message = ""
			if i := bytes.LastIndexByte(m.Data, ','); i > 0 {
				line.Message = string(m.Data[:i]) + "]"
			}
		}
		if line.Message != "" {
			out.WriteString(line.Message + "\n")
		}
	}
	require.NoError(t, lines.Err())
	return out.Bytes()
}

func TestImportRTCStatsDumps(t *testing.T) {
	for _, c := range []struct{ name, head string }{
		{"rtcstats5", "RTCStatsDump\n{\"fileFormat\":3,\"url\":\"/call\"}\n"},
		{"rtcstats2", "RTCStatsDump\n{\"fileFormat\":2}\n"},
		{"jitsi", `["connectionInfo",null,{"path":"/room-7","clientProtocol":"3.1_STANDARD"},1795362480900]` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			whole := dump(t, c.name, c.head)
			records, calls, err := importBytes(t, "room-7.jsonl", whole)
			require.NoError(t, err)
			require.Len(t, calls, 1)
			require.Equal(t, "room-7", calls[0].CallID)
			legs := map[string][]*telemetry.WebRTCSample{}
			for _, r := range records[:len(records)-1] {
				w := r.GetWebrtc()
				require.Equal(t, "target", w.Side)
				legs[w.LegId] = append(legs[w.LegId], w)
			}
			require.NotNil(t, records[len(records)-1].GetEnd())
			require.Len(t, legs, 2)
			for leg, samples := range legs {
				require.Len(t, samples, (len(records)-1)/2, leg)
				last := samples[len(samples)-1]
				require.Len(t, last.Inbound, 1)
				require.Greater(t, *last.Inbound[0].PacketsReceived, uint64(400))
				require.Equal(t, "audio/opus", last.Inbound[0].MimeType)
				require.NotEmpty(t, last.RemoteInbound)
			}
			if c.name != "rtcstats5" {
				require.Equal(t, "alice", legs["PC_0"][0].UserId)
			}

			// Gzip changes nothing, nor do lines that cannot be read.
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			_, _ = z.Write(whole)
			require.NoError(t, z.Close())
			again, _, err := importBytes(t, "room-7.jsonl.gz", packed.Bytes())
			require.NoError(t, err)
			require.Len(t, again, len(records))
			damaged := bytes.Replace(whole, []byte("\n["), []byte("\n{\"of\":\"the server\"}\n[\"torn\",null,{\"\n[]\n["), 1)
			again, _, err = importBytes(t, "room-7.jsonl", damaged)
			require.NoError(t, err)
			require.Len(t, again, len(records))
		})
	}
}

func TestImportRTCStatsRefuses(t *testing.T) {
	for _, c := range []struct {
		content string
		want    error
	}{
		{"RTCStatsDump\n{\"fileFormat\":9}\n[\"create\",null,{},1795362426063]\n", rtcstats.ErrDump},
		{"RTCStatsDump\n", rtcstats.ErrDump},
		{"RTCStatsDump\n{\"fileFormat\":3}\n[39,null,{},1795362426063]\n", rtcstats.ErrNoStatistics},
		{"[\"something\",null,{},1795362426063]\n", ErrFileFormat},
	} {
		_, _, err := importBytes(t, "x", []byte(c.content))
		require.True(t, errors.Is(err, c.want), "%v for %q", err, c.content)
	}
}
