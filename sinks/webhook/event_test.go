package webhook

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/earshot/earshot/telemetry"
)

func TestSignaturesAreThoseOfStandardWebhooks(t *testing.T) {
	// The example of the library, and what it makes of other texts.
	at := time.Unix(1614265330, 0)
	got, err := sign([]string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, "msg_p5jXN8AQM9LWM0D4loKWxJek", at, `{"test": 2432232314}`)
	require.NoError(t, err)
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
	secrets := []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + strings.Repeat("QUJD", 16)}
	for _, body := range []string{"", "{}", "\x00ü\n", strings.Repeat("x", 1<<16)} {
		now := time.Now()
		got, err := sign(secrets, "id-1", now, body)
		require.NoError(t, err)
		for _, s := range secrets {
			wh, err := standardwebhooks.NewWebhook(s)
			require.NoError(t, err)
			h := http.Header{"Webhook-Id": {"id-1"}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {got}}
			require.NoError(t, wh.Verify([]byte(body), h))
			require.Error(t, wh.Verify([]byte(body+" "), h))
		}
	}
	for _, bad := range []string{"", "whsec_", "whsec_???"} {
		_, err := sign([]string{bad}, "id", at, "{}")
		require.Error(t, err)
	}
}

func TestHoldsMoment(t *testing.T) {
	jitter := 3.5
	for _, c := range []struct {
		o    *telemetry.Outcome
		want bool
	}{
		{&telemetry.Outcome{Company: "a", CallId: "b", Seq: 3, AtUs: 9, Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{Id: "x"}}}, true},
		{&telemetry.Outcome{Body: &telemetry.Outcome_Moment{Moment: &telemetry.CallMoment{}}}, true},
		{&telemetry.Outcome{Company: "a", Body: &telemetry.Outcome_Sample{Sample: &telemetry.Sample{JitterMs: &jitter}}, AtUs: 1}, false},
		{&telemetry.Outcome{Company: "a", Body: &telemetry.Outcome_Rating{Rating: &telemetry.Rating{Id: "r"}}}, false},
		{&telemetry.Outcome{}, false},
	} {
		value, err := proto.Marshal(c.o)
		require.NoError(t, err)
		require.Equal(t, c.want, holdsMoment(value), "%v", c.o)
	}
	require.False(t, holdsMoment([]byte{0xff, 0xff}))
}

func TestClip(t *testing.T) {
	require.Equal(t, "abc", clip("abc", 3))
	require.Equal(t, "ab…", clip("abc", 2))
	require.Equal(t, "ö…", clip("öö", 3))
	require.Equal(t, "…", clip("ö", 1))
}

// Whatever stands in the topic: no panic, and a body that can be sent.
func FuzzReadEvent(f *testing.F) {
	for _, m := range []*telemetry.CallMoment{
		{Id: "a", Type: "held", AtUs: 1}, {}, {Id: "a.b"}, {Id: "x", Text: strings.Repeat("ö", 10_000), Agent: &telemetry.Identity{Name: strings.Repeat("n", 9_000)}},
		{Id: "v", Type: "verdict", Verdict: &telemetry.MomentVerdict{Overall: "bad"}},
	} {
		value, err := proto.Marshal(&telemetry.Outcome{Company: "c", CallId: "call", Body: &telemetry.Outcome_Moment{Moment: m}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(value)
	}
	f.Add([]byte{0x8a, 0x01, 0x00})
	p, err := DefaultConfig().plan()
	if err != nil {
		f.Fatal(err)
	}
	s := &Sink{plan: p, deps: Deps{Show: show}}
	f.Fuzz(func(t *testing.T, value []byte) {
		e, err := s.readEvent(value)
		if err != nil || e == nil {
			return
		}
		if e.id == "" || strings.Contains(e.id, ".") || !utf8.ValidString(e.body) || strings.Contains(e.body, "\x00") {
			t.Errorf("%+v", e)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "3600", "-1", "99999999999999", "Fri, 31 Dec 1999 23:59:59 GMT", "soon"} {
		f.Add(s)
	}
	now := time.Date(1999, 12, 31, 23, 0, 0, 0, time.UTC)
	if got := retryAfter("Fri, 31 Dec 1999 23:59:59 GMT", now); got != time.Hour-time.Second {
		f.Fatal(got)
	}
	if got := retryAfter("120", now); got != 2*time.Minute {
		f.Fatal(got)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryAfter(text, now); d < 0 || d > maxRetryAfter {
			t.Errorf("%q became %s", text, d)
		}
	})
}

func TestSettings(t *testing.T) {
	require.NoError(t, DefaultConfig().Check())
	for want, spoil := range map[string]func(*Config){
		"backoff": func(c *Config) { c.Backoff = []string{"5s", "soon"} }, "is empty": func(c *Config) { c.Backoff = nil },
		"allow_private": func(c *Config) { c.AllowPrivate = []string{"office"} }, "timeout": func(c *Config) { c.Timeout = 0 },
		"concurrency": func(c *Config) { c.Concurrency = 0 }, "retention": func(c *Config) { c.Retention.Dead = 0 }, "disable_after": func(c *Config) { c.DisableAfter = -1 },
		"max_pending": func(c *Config) { c.MaxPending = -1 }, "max_pending_company": func(c *Config) { c.MaxPendingCompany = -1 },
	} {
		c := DefaultConfig()
		spoil(&c)
		require.ErrorContains(t, c.Check(), want)
	}
}

// A day of back-off, as Standard Webhooks suggests it: the times at which a
// delivery is tried that never succeeds, and when it is given up.
func TestADayOfBackoff(t *testing.T) {
	p, err := DefaultConfig().plan()
	require.NoError(t, err)
	l := &lane{sender: &sender{Sink: &Sink{plan: p}}}
	first := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := first
	var d = delivery(first)
	wants := []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 10 * time.Hour}
	for i, want := range wants {
		r := l.judge(endpoint(first), d, answer{status: 500, err: http.ErrHandlerTimeout}, now, now)
		require.Equal(t, "pending", r.State, "attempt %d", i)
		require.InDelta(t, float64(want), float64(r.Next.Sub(now)), float64(want)/10+1)
		d.Tries, d.FirstTry = d.Tries+1, first
		now = r.Next
	}
	r := l.judge(endpoint(first), d, answer{status: 500, err: http.ErrHandlerTimeout}, now, now)
	require.Equal(t, "dead", r.State)
	require.Greater(t, now.Sub(first), 24*time.Hour)
	require.Equal(t, now.Add(30*24*time.Hour), r.Forget)
	// Between attempts at an endpoint that fails lie 5 s at first and 5 min at most.
	require.InDelta(t, float64(5*time.Minute), float64(r.Hold.Sub(now)), float64(30*time.Second)+1)
}
