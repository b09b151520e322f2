package quality

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const rulesText = `
default: strict
companies:
  globex: teams
  initech: built-on-strict
sets:
  built-on-strict:
    version: initech-7
    based_on: strict
    one_way:
      dead: 8s
  strict:
    version: strict-2   # a new one for every change
    based_on: twilio
    delay_good_ms: 80
    delay_acceptable_ms: 150.5
    settle: 10s
    one_way: {min_reports: 3, min_packets_sent: 100}
`

func TestRulesFile(t *testing.T) {
	b, err := ParseRules([]byte(rulesText))
	require.NoError(t, err)
	strict, _ := b.Set("twilio")
	want := strict.Rules
	want.Version, want.DelayGoodMs, want.DelayAcceptableMs, want.Settle = "strict-2", 80, 150.5, 10*time.Second
	want.OneWay.MinReports, want.OneWay.MinPacketsSent = 3, 100
	require.Equal(t, want, *b.For("anyone"))
	require.Equal(t, "strict", b.Default().Name)
	require.Equal(t, "teams-1", b.For("globex").Version)
	want.Version, want.OneWay.Dead = "initech-7", 8*time.Second
	require.Equal(t, want, *b.For("initech"))
	require.Equal(t, map[string]string{"globex": "teams", "initech": "built-on-strict"}, b.Companies())

	var names []string
	for _, set := range b.Sets() {
		names = append(names, set.Name)
	}
	require.Equal(t, []string{"built-on-strict", "strict", "earshot", "teams", "twilio", "webex"}, names)

	from := map[string]string{}
	set, err := b.Set("built-on-strict")
	require.NoError(t, err)
	for _, v := range set.Values() {
		from[v.Key] = v.Text + " " + v.From
		require.NotEmpty(t, v.May)
	}
	for key, value := range map[string]string{
		"version": "initech-7 built-on-strict", "one_way.dead": "8s built-on-strict", "delay_good_ms": "80 strict",
		"delay_bad_ms": "800 twilio", "one_way.grace": "3s earshot", "one_way.min_reports": "3 strict",
	} {
		require.Equal(t, value, from[key], key)
	}

	_, err = b.Set("strickt")
	require.ErrorIs(t, err, ErrUnknownSet)
	require.ErrorContains(t, err, "did you mean strict?")
	teams, err := b.In("teams")
	require.NoError(t, err)
	require.Equal(t, "teams-1", teams.For("initech").Version)
	_, err = b.In("none")
	require.ErrorIs(t, err, ErrUnknownSet)
}

func TestRulesFileErrors(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		kind error
		says []string
	}{
		"no YAML":           {"sets: [", ErrRules, []string{"it is no YAML"}},
		"empty":             {"# nothing\n", ErrRules, []string{"the file is empty"}},
		"null":              {"~", ErrRules, []string{"the file is empty"}},
		"a list":            {"- earshot", ErrBadValue, []string{"line 1", "the file must be keys with values"}},
		"a wrong key":       {"default: teams\ncompany: {}", ErrUnknownKey, []string{"line 2", `"company"; did you mean companies?`}},
		"a wrong default":   {"default: teems", ErrUnknownSet, []string{"line 1", `default names "teems"; did you mean teams?`}},
		"no default":        {"default:", ErrBadValue, []string{"line 1", "default must be the name of a set"}},
		"a wrong company":   {"companies:\n  acme: zzzzzzzzz", ErrUnknownSet, []string{"line 2", `company acme names "zzzzzzzzz"; there are earshot, teams, twilio, webex`}},
		"company a mapping": {"companies:\n  acme: {a: b}", ErrBadValue, []string{"line 2", "company acme must be the name of a set of rules"}},
		"a company twice":   {"companies:\n  acme: teams\n  acme: webex", ErrBadValue, []string{"line 3", "companies has acme twice"}},
		"a company of ''":   {"companies:\n  '': teams", ErrBadValue, []string{"line 2", "a company has no name"}},
		"a set of ''":       {"sets:\n  '': {version: a}", ErrBadValue, []string{"line 2", "a set has no name"}},
		"a key that is a list": {
			"sets:\n  ? [a]\n  : {version: a}", ErrUnknownKey, []string{"line 2", "a key of sets must be a text"}},
		"an unknown threshold": {
			"sets:\n  s:\n    version: s-1\n    delay_god_ms: 5", ErrUnknownKey, []string{"line 4", `set s has "delay_god_ms"; did you mean delay_good_ms?`}},
		"an unknown threshold of one-way audio": {
			"sets:\n  s:\n    version: s-1\n    one_way:\n      ded: 5s", ErrUnknownKey, []string{"line 5", `set s has "one_way.ded"; did you mean dead?`}},
		"a threshold at the wrong place": {
			"sets:\n  s: {version: s-1, one_way: {delay_good_ms: 5}}", ErrUnknownKey, []string{"line 2", `"one_way.delay_good_ms"`}},
		"a dotted key": {
			"sets:\n  s: {version: s-1, one_way.dead: {a: 5}}", ErrBadValue, []string{"one_way.dead of set s is not one value"}},
		"one_way is a number": {
			"sets:\n  s: {version: s-1, one_way: 5}", ErrBadValue, []string{"one_way of set s must be keys with values"}},
		"a text for a number": {
			"sets:\n  s: {version: s-1, delay_good_ms: fast}", ErrBadValue, []string{`delay_good_ms of set s is "fast": want milliseconds from 1 to 10000`}},
		"a number with its unit": {
			"sets:\n  s: {version: s-1, loss_bad_percent: 5%}", ErrBadValue, []string{`loss_bad_percent of set s is "5%": want a percentage from 0.01 to 100`}},
		"a list for a number": {
			"sets:\n  s: {version: s-1, delay_good_ms: [1]}", ErrBadValue, []string{"is not one value: want milliseconds"}},
		"nothing for a number": {
			"sets:\n  s: {version: s-1, delay_good_ms: }", ErrBadValue, []string{"is empty: want milliseconds"}},
		"not a number":  {"sets:\n  s: {version: s-1, delay_bad_ms: .nan}", ErrBadValue, []string{"want milliseconds"}},
		"NaN":           {"sets:\n  s: {version: s-1, delay_bad_ms: NaN}", ErrBadValue, []string{"want milliseconds"}},
		"infinite":      {"sets:\n  s: {version: s-1, delay_bad_ms: Inf}", ErrBadValue, []string{"want milliseconds"}},
		"below zero":    {"sets:\n  s: {version: s-1, loss_good_percent: -1}", ErrBadValue, []string{"want a percentage from 0.01 to 100"}},
		"a share of 50": {"sets:\n  s: {version: s-1, choppy_share_bad: 50}", ErrBadValue, []string{"want a share of moments from 0.0001 to 1"}},
		"a duration without unit": {
			"sets:\n  s: {version: s-1, settle: 5}", ErrBadValue, []string{`settle of set s is "5": want a duration such as 5s, from 0s to 1m`}},
		"half a report": {
			"sets:\n  s: {version: s-1, one_way: {min_reports: 1.5}}", ErrBadValue, []string{"want a whole number from 1 to 100"}},
		"a long value": {
			"sets:\n  s: {version: s-1, settle: " + strings.Repeat("x", 100) + "}", ErrBadValue, []string{strings.Repeat("x", 40) + "…"}},
		"bands that fall": {
			"sets:\n  s: {version: s-1, delay_good_ms: 250}", ErrBadValue, []string{"line 2", "delay_good_ms, delay_acceptable_ms and delay_bad_ms are 250, 200, 300: none may be below the one before it"}},
		"no version":      {"sets:\n  s: {delay_good_ms: 50}", ErrBadValue, []string{"set s: version is empty"}},
		"the base's name": {"sets:\n  teams: {version: t}", ErrBadValue, []string{"set teams is a preset: give yours another name, with based_on: teams"}},
		"the base's version": {
			"sets:\n  s: {version: earshot-1, delay_good_ms: 50}", ErrBadValue, []string{"set s has the version earshot-1, which is that of earshot"}},
		"two of one version": {
			"sets:\n  a: {version: v}\n  b: {version: v, settle: 1s}", ErrBadValue, []string{"line 3", "set b has the version v, which is that of a"}},
		"an unknown base": {
			"sets:\n  s: {version: s-1, based_on: webx}", ErrUnknownSet, []string{`based_on of set s names "webx"; did you mean webex?`}},
		"a base that is a list": {
			"sets:\n  s: {version: s-1, based_on: [webex]}", ErrBadValue, []string{"based_on of set s must be the name of a set"}},
		"a circle": {
			"sets:\n  a: {version: a, based_on: b}\n  b: {version: b, based_on: a}", ErrBadValue, []string{"set a builds on itself"}},
		"itself": {"sets:\n  a: {version: a, based_on: a}", ErrBadValue, []string{"line 2", "set a builds on itself"}},
		"all at once": {
			"default: x\ncompanies: {acme: s}\nsets:\n  s:\n    version: s-1\n    setle: 5s\n    loss_good_percent: high", ErrBadValue,
			[]string{"line 1", "line 6", "did you mean settle?", "line 7"}},
		"too long": {strings.Repeat("#", maxRulesBytes+1), ErrRules, []string{"more than 1048576"}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := ParseRules([]byte(c.text))
			require.Nil(t, b)
			require.ErrorIs(t, err, ErrRules)
			require.ErrorIs(t, err, c.kind)
			for _, part := range c.says {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "%!")
		})
	}
}

func TestAWrongSetIsSaidOnce(t *testing.T) {
	_, err := ParseRules([]byte("default: s\ncompanies: {acme: s}\nsets:\n  s: {version: s-1, settle: 5}\n  more: {version: m, based_on: s}"))
	require.Equal(t, 1, strings.Count(err.Error(), "line "), "%v", err)
}

func TestLoadRules(t *testing.T) {
	b, err := LoadRules("")
	require.NoError(t, err)
	require.Equal(t, DefaultRules(), *b.For("acme"))
	b, err = LoadRules("webex")
	require.NoError(t, err)
	require.Equal(t, "webex-1", b.For("acme").Version)

	_, err = LoadRules(filepath.Join(t.TempDir(), "none.yaml"))
	require.ErrorIs(t, err, os.ErrNotExist)

	file := filepath.Join(t.TempDir(), "rules.yaml")
	require.NoError(t, os.WriteFile(file, []byte("default: nobody"), 0o600))
	_, err = LoadRules(file)
	require.ErrorContains(t, err, file)
	require.True(t, errors.Is(err, ErrUnknownSet))
	require.NoError(t, os.WriteFile(file, []byte(rulesText), 0o600))
	b, err = LoadRules(file)
	require.NoError(t, err)
	require.Equal(t, "strict-2", b.For("acme").Version)
}

// What the vendors call poor is bad or unacceptable, what they call good is not.
func TestPresets(t *testing.T) {
	for _, c := range []struct {
		preset                         string
		rttMs, lossPercent, jitterMs   float64
		delayBelow, lossBelow, lossTop string
	}{
		{"teams", 500, 10, 30, Good, Good, Unacceptable},
		{"twilio", 400, 5, 30, Good, Acceptable, Unacceptable},
		{"webex", 400, 5, 150, Good, Good, Unacceptable},
	} {
		set, err := BuiltInRules().Set(c.preset)
		require.NoError(t, err)
		require.True(t, set.Preset)
		r := set.Rules
		require.NoError(t, r.Validate())
		require.Equal(t, c.preset+"-1", r.Version)
		require.Equal(t, c.delayBelow, r.DelayBand(c.rttMs-0.1))
		require.Equal(t, Bad, r.DelayBand(c.rttMs+0.1))
		require.Equal(t, Unacceptable, r.DelayBand(2*c.rttMs+0.1))
		require.Equal(t, c.lossBelow, r.LossBand(c.lossPercent-0.1))
		require.Equal(t, Bad, r.LossBand(c.lossPercent+0.1))
		require.Equal(t, c.lossTop, r.LossBand(2*c.lossPercent+0.1))
		require.False(t, r.Choppy(c.jitterMs, 0, 0, 0))
		require.True(t, r.Choppy(c.jitterMs+0.1, 0, 0, 0))
		require.Equal(t, DefaultRules().OneWay, r.OneWay)
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add([]byte(rulesText))
	f.Add(presetsFile)
	f.Add([]byte("sets:\n  a: &x {version: a, based_on: b}\n  b: *x\n  c: {<<: *x}"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := ParseRules(text)
		if err != nil {
			if b != nil || !errors.Is(err, ErrRules) {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, set := range b.Sets() {
			if err := set.Rules.Validate(); err != nil {
				t.Fatalf("%s: %v", set.Name, err)
			}
			for _, v := range set.Values() {
				if v.From == "" {
					t.Fatalf("%s of %s is nobody's", v.Key, set.Name)
				}
			}
		}
		if b.For("acme").Version == "" {
			t.Fatal("no rules for a company")
		}
	})
}
