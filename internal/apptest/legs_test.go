package apptest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/earshot/earshot/query"
)

// hidingConfig goes on as a Kamailio that hides the caller's side from the callee's, as
// a back-to-back user agent does: on the second leg topoh gives the Call-ID and
// all that tells of the first another form. To numbers that begin with 1 it adds
// a header that names the first leg.
const hidingConfig = `loadmodule "topoh.so"
modparam("topoh", "mask_key", "earshot")
modparam("topoh", "mask_ip", "127.0.0.9")
modparam("topoh", "mask_callid", 1)
request_route {
  if (has_totag()) {
    if (!loose_route()) $du = "sip:%s"; # SIPp's own scenario follows no Record-Route
    t_relay();
    exit;
  }
  if (is_method("CANCEL")) { t_relay(); exit; }
  record_route();
  if (is_method("INVITE") && $rU =~ "^1") append_hf("X-CID: $ci\r\n");
  $du = "sip:%s";
  t_relay();
}
`

// Calls of SIPp through a server that gives the second leg another Call-ID are
// one call each, found by either Call-ID, and say why.
func TestLegsBehindAHidingServer(t *testing.T) {
	u := StartUp(t)
	server, uas, uac := udpPort(t), udpPort(t), udpPort(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "kamailio.cfg")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, tracedKamailio+hidingConfig, server, u.Run.Ingest["hep"], 2003, uas, uas), 0o600))
	listens(t, server, run(t, "kamailio", "-f", config, "-DD", "-E", "-Y", dir, "-P", filepath.Join(dir, "pid")))
	_, port, err := net.SplitHostPort(uas)
	require.NoError(t, err)
	listens(t, uas, run(t, "sipp", "-sn", "uas", "-i", "127.0.0.1", "-p", port, "-nostdin"))
	_, port, err = net.SplitHostPort(uac)
	require.NoError(t, err)
	for _, number := range []string{"14155550199", "24155550199"} {
		out, err := exec.CommandContext(t.Context(), "sipp", "-sn", "uac", "-i", "127.0.0.1", "-p", port, "-s", number, "-m", "1", "-d", "500", "-nostdin", "-timeout", "20", server).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	var calls query.List[query.Call]
	Eventually(t, 60*time.Second, "both calls have their final verdict", func() error {
		if err := u.Get(company+"/calls", &calls); err != nil {
			return err
		}
		if len(calls.Items) != 2 {
			return fmt.Errorf("%d calls, want 2", len(calls.Items))
		}
		for _, c := range calls.Items {
			if !c.Verdict.Final {
				return fmt.Errorf("call to %s is not final", c.Contact.Number)
			}
		}
		return nil
	})
	for _, listed := range slices.Clone(calls.Items) {
		want := "header"
		if listed.Contact.Number[0] == '2' {
			want = "guess"
		}
		var call query.Call
		require.NoError(t, u.Get(company+"/calls/"+listed.ID, &call))
		require.Equal(t, "ended", call.State)
		require.False(t, call.ConnectedAt.IsZero())
		require.Len(t, call.SIPCallIDs, 2)
		require.Len(t, call.Legs, 4)
		for i, leg := range call.Legs {
			require.Equal(t, call.SIPCallIDs[i/2], leg.SIPCallID)
			require.Equal(t, []string{"", want}[i/2], leg.LinkedBy, "%+v", leg)
		}
		require.NoError(t, u.Get(company+"/calls?q="+call.SIPCallIDs[1], &calls))
		require.Len(t, calls.Items, 1)
		require.Equal(t, call.ID, calls.Items[0].ID)
		var messages query.List[query.Message]
		require.NoError(t, u.Get(company+"/calls/"+call.ID+"/messages", &messages))
		of := map[string]int{}
		for _, m := range messages.Items {
			if m.Method == "INVITE" && m.Status == 0 || m.Method == "BYE" && m.Status == 200 {
				of[m.CallID+" "+m.Method]++
			}
		}
		require.Len(t, of, 4, "the ladder has both legs: %v", of)
	}
}
