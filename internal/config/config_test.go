package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

type rule struct {
	AgentID string `koanf:"agent_id"`
	Company string `koanf:"company"`
}

type example struct {
	Data string `koanf:"data" doc:"where it is kept"`
	API  struct {
		Listen string        `koanf:"listen" doc:"address"`
		TTL    time.Duration `koanf:"session_ttl"`
	} `koanf:"api"`
	Kafka struct {
		Brokers  []string `koanf:"brokers"`
		Password string   `koanf:"password" secret:"true"`
	} `koanf:"kafka"`
	Rules []rule `koanf:"rules"`
}

func defaults() *example {
	e := &example{Data: "./earshot-data"}
	e.API.Listen, e.API.TTL = "127.0.0.1:8080", time.Hour
	return e
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "earshot.yaml")
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestLaterSourcesWin(t *testing.T) {
	file := write(t, "data: /from/file\napi:\n  listen: file:1\n  session_ttl: 5m\nkafka:\n  brokers: [a:1, b:2]\nrules:\n- agent_id: \"7\"\n  company: acme\n")
	flags := pflag.NewFlagSet("t", pflag.ContinueOnError)
	AddFlags(flags, defaults())
	require.NoError(t, flags.Parse([]string{"--api.listen", "flag:3"}))
	e := defaults()
	settings, err := Load(e, file, []string{"EARSHOT_API_LISTEN=env:2", "EARSHOT_KAFKA_PASSWORD=hush", "PATH=/bin", "EARSHOT_FAILPOINT=x:1"}, flags, "FAILPOINT")
	require.NoError(t, err)
	require.Equal(t, "/from/file", e.Data)
	require.Equal(t, "flag:3", e.API.Listen)
	require.Equal(t, 5*time.Minute, e.API.TTL)
	require.Equal(t, []string{"a:1", "b:2"}, e.Kafka.Brokers)
	require.Equal(t, []rule{{AgentID: "7", Company: "acme"}}, e.Rules)
	sources := map[string]string{}
	for _, s := range settings {
		sources[s.Key] = s.Source + "=" + s.Shown()
	}
	require.Equal(t, "--api.listen=flag:3", sources["api.listen"])
	require.Equal(t, "EARSHOT_KAFKA_PASSWORD=********", sources["kafka.password"])
	require.Equal(t, file+"=a:1,b:2", sources["kafka.brokers"])
}

func TestListFromEnvironment(t *testing.T) {
	e := defaults()
	_, err := Load(e, write(t, "{}"), []string{"EARSHOT_KAFKA_BROKERS=a:1,b:2"}, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a:1", "b:2"}, e.Kafka.Brokers)
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file    string
		environ []string
		want    error
		text    string
	}{
		"key in the file":   {file: "api:\n  listten: x\n", want: ErrUnknownKey, text: `"api.listten"; did you mean api.listen?`},
		"key in a list":     {file: "rules:\n- agent: \"7\"\n", want: ErrBadValue, text: "a list of objects with agent_id, company"},
		"variable":          {file: "{}", environ: []string{"EARSHOT_API_LISTN=x"}, want: ErrUnknownKey, text: "EARSHOT_API_LISTN; did you mean EARSHOT_API_LISTEN?"},
		"value":             {file: "api:\n  session_ttl: soon\n", want: ErrBadValue, text: "api.session_ttl: want a duration such as 30s or 5m"},
		"nothing near":      {file: "zzzzzzzzzzzzzzzzzzzzz: 1\n", want: ErrUnknownKey, text: `"zzzzzzzzzzzzzzzzzzzzz"`},
		"value of variable": {file: "{}", environ: []string{"EARSHOT_API_SESSION_TTL=1 day"}, want: ErrBadValue, text: "EARSHOT_API_SESSION_TTL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(defaults(), write(t, c.file), c.environ, nil)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
		})
	}
}

func TestMissingFileIsAnErrorOnlyWhenNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	_, err := Load(defaults(), "", nil, nil)
	require.NoError(t, err)
	_, err = Load(defaults(), "no-such.yaml", nil, nil)
	require.ErrorContains(t, err, "no-such.yaml does not exist")
}
