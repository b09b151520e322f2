package apptest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// poll is what a page's browser said at one getStats().
type poll struct {
	AtMs            int64   `json:"at"`
	PacketsReceived *uint64 `json:"packetsReceived"`
	PacketsSent     *uint64 `json:"packetsSent"`
}

func (u *Up) samples(call string) ([]query.Sample, error) {
	var all []query.Sample
	for cursor := ""; ; {
		var page struct {
			Items      []query.Sample `json:"items"`
			NextCursor *string        `json:"next_cursor"`
		}
		if err := u.Get(company+"/calls/"+url.PathEscape(call)+"/samples?limit=1000"+cursor, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all, nil
		}
		cursor = "&cursor=" + url.QueryEscape(*page.NextCursor)
	}
}

// Calls between pages of Chromium with the real clients in them: the npm package
// rtcstats, and Jitsi's, whose connection breaks in the middle of the call.
// Beside them a recording of rtcstats 5 is sent as its client did.
func TestRTCStatsClients(t *testing.T) {
	u := StartUp(t)
	key, err := u.Earshot("keys", "create", "--role", "ingest", "--company", "default", "--name", "page")
	require.NoError(t, err)
	key = strings.TrimSpace(key)
	wire := startWire(t, u.Run.API)
	calls, err := json.Marshal([]map[string]any{
		{"client": "rtcstats", "call": "room-rtcstats", "users": []string{"alice", "bob"}, "earshot": "ws://" + u.Run.API},
		{"client": "jitsi", "call": "room-jitsi", "users": []string{"carol", "dave"}, "earshot": "ws" + strings.TrimPrefix(wire, "http"), "cut": wire},
	})
	require.NoError(t, err)
	recorded := make(chan error, 1)
	go func() {
		recorded <- sendRecording(t.Context(), "ws://"+u.Run.API+"/ingest/v1/rtcstats/room-5?rtcstats-token="+key)
	}()

	pages := exec.CommandContext(t.Context(), "node", "run.mjs")
	pages.Dir = filepath.Join(Root(), "internal", "apptest", "rtcstats")
	pages.Env = append(os.Environ(), "CALLS="+string(calls), "EARSHOT_KEY="+key)
	var out bytes.Buffer
	pages.Stdout, pages.Stderr = &out, os.Stderr
	require.NoError(t, pages.Run(), "the pages failed; what they said stands above")
	var held []struct {
		Call string            `json:"call"`
		Told map[string][]poll `json:"told"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &held))
	require.Len(t, held, 2)
	for _, h := range held {
		require.Len(t, h.Told, 2)
		for user, told := range h.Told {
			Eventually(t, 30*time.Second, h.Call+": what the browser of "+user+" said is in the API", func() error { return u.agrees(h.Call, user, told) })
		}
	}
	require.NoError(t, <-recorded)
	Eventually(t, 30*time.Second, "both ends of the recorded call", func() error {
		samples, err := u.samples("room-5")
		legs := map[string]uint32{}
		for _, s := range samples {
			if s.Side == "target" && s.Direction == "contact_to_target" || s.Side == "contact" && s.Direction == "target_to_contact" {
				if s.Packets != nil {
					legs[s.LegID] += *s.Packets
				}
			}
		}
		// From the first poll with packets to the last, as the reports of the recording have it.
		want := map[string]uint32{"recorded/PC_0": 503 - 25, "recorded/PC_1": 503 - 25}
		if err == nil && fmt.Sprint(legs) != fmt.Sprint(want) {
			err = fmt.Errorf("packets %v, want %v", legs, want)
		}
		return err
	})
}

// agrees says whether the API has what a user's browser said, poll by poll.
func (u *Up) agrees(id, user string, told []poll) error {
	var call query.Call
	if err := u.Get(company+"/calls/"+id, &call); err != nil {
		return err
	}
	side := ""
	for name, party := range map[string]query.Party{"target": call.Target, "contact": call.Contact} {
		if party.UserID != nil && *party.UserID == user {
			side = name
		}
	}
	heard := map[string]string{"target": "contact_to_target", "contact": "target_to_contact"}[side]
	if heard == "" {
		return fmt.Errorf("%s is no party of %+v", user, call)
	}
	samples, err := u.samples(id)
	if err != nil {
		return err
	}
	at := map[int64]int{} // by the millisecond, which one rounds and the other cuts off
	for i, p := range told {
		at[p.AtMs], at[p.AtMs-1] = i, i
	}
	compared, before := 0, -1
	for _, s := range samples {
		if s.Side != side || s.Direction != heard || s.Source != "webrtc" || s.Packets == nil {
			continue
		}
		i, ok := at[s.At.UnixMilli()]
		if !ok {
			return fmt.Errorf("a sample at %v that the browser did not give", s.At)
		}
		if before >= 0 && told[before].PacketsReceived != nil && told[i].PacketsReceived != nil {
			if want := *told[i].PacketsReceived - *told[before].PacketsReceived; uint64(*s.Packets) != want {
				return fmt.Errorf("%d packets at %v, want %d", *s.Packets, s.At, want)
			}
			compared++
		}
		before = i
	}
	var media int
	for _, p := range told {
		if p.PacketsReceived != nil && *p.PacketsReceived > 0 {
			media++
		}
	}
	// The first has none before it, and the last may have been on its way when the page ended.
	if compared < media-3 {
		return fmt.Errorf("%d of %d polls are there", compared, media)
	}
	return nil
}

// sendRecording sends what a page with rtcstats 5 once sent, in the time it took.
func sendRecording(ctx context.Context, address string) error {
	file, err := os.Open(filepath.Join(Root(), "ingest", "rtcstats", "testdata", "rtcstats5.jsonl.gz"))
	if err != nil {
		return err
	}
	defer file.Close()
	z, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	c, _, err := websocket.Dial(ctx, address+"&session=recorded", &websocket.DialOptions{Subprotocols: []string{"rtcstats#5.0"}})
	if err != nil {
		return err
	}
	defer c.CloseNow()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for first := true; lines.Scan(); {
		var line struct {
			Message string `json:"message"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Message == "" {
			if err != nil {
				return err
			}
			continue
		}
		comma := strings.LastIndexByte(line.Message, ',')
		if first {
			// The first has the time, the others how much later they are.
			line.Message = line.Message[:comma+1] + strconv.FormatInt(time.Now().UnixMilli(), 10) + "]"
		} else {
			ms, err := strconv.Atoi(strings.TrimSuffix(line.Message[comma+1:], "]"))
			if err != nil {
				return err
			}
			time.Sleep(time.Duration(ms) * time.Millisecond)
		}
		first = false
		if err := c.Write(ctx, websocket.MessageText, []byte(line.Message)); err != nil {
			return err
		}
	}
	return errors.Join(lines.Err(), c.Close(websocket.StatusNormalClosure, ""))
}
