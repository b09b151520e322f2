package apptest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	chdriver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/earshot/earshot/deploy/engines"
	"github.com/earshot/earshot/directory/postgrestest"
	"github.com/earshot/earshot/query"
)

// tcpPort gives an address whose TCP port was free a moment ago.
func tcpPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// engineAlone is an `earshot up` of one engine and nothing else. It keeps its
// address when it is stopped and started again.
type engineAlone struct {
	*Process
	addr string
}

func startEngine(t *testing.T, name string, others ...string) *engineAlone {
	t.Helper()
	data := t.TempDir()
	e := &engineAlone{Process: Start(t, nil, append([]string{"up", "--roles=none", "--data", data, "--admin.listen=127.0.0.1:0", "--log.level=warn"}, others...)...)}
	Eventually(t, 90*time.Second, name+" runs", func() error {
		run, err := engines.ReadRun(data)
		if err != nil || !run.Alive {
			return fmt.Errorf("run.json is not there yet: %w", err)
		}
		engine := run.Engines.Kafka
		if name == engines.ClickHouse {
			engine = run.Engines.ClickHouse
		}
		if engine == nil {
			return fmt.Errorf("run.json does not name it yet")
		}
		e.addr = engine.Addr
		return nil
	})
	return e
}

// waiting is a role in a process of its own, and its admin page.
type waiting struct {
	*Process
	t     *testing.T
	name  string
	admin string
}

// page is an answer of the admin page.
func (w waiting) page(path string) (status int, body string, err error) {
	if w.Exited() {
		w.t.Fatalf("earshot %s ended: %v\n%s", w.name, w.err, w.Output())
	}
	res, err := http.Get("http://" + w.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// lacks waits until the role lives and is not ready because of an engine.
func (w waiting) lacks(engine, reason string) {
	w.t.Helper()
	Eventually(w.t, 30*time.Second, w.name+" waits for "+engine, func() error {
		status, body, err := w.page("/readyz")
		if err != nil {
			return err
		}
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `{"name":"`+engine+`","ready":false,"error":"`) || !strings.Contains(body, reason) {
			return fmt.Errorf("/readyz: %d %s", status, body)
		}
		return nil
	})
	status, _, err := w.page("/livez")
	require.NoError(w.t, err)
	require.Equal(w.t, http.StatusOK, status, "a role that waits is alive")
}

func (w waiting) ready() {
	w.t.Helper()
	Eventually(w.t, 60*time.Second, w.name+" is ready", func() error {
		status, body, err := w.page("/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz: %d %s", status, body)
		}
		return err
	})
}

// said counts the lines of the log that tell of waiting for an engine.
func (w waiting) said(engine string) (lines int) {
	for line := range strings.Lines(w.Output()) {
		if strings.Contains(line, "waiting for it") && strings.Contains(line, "engine="+engine+" ") {
			lines++
		}
	}
	return lines
}

// Roles are started before Kafka, PostgreSQL and ClickHouse, which then come one
// after the other. Each role says once what it waits for, and in the end a call
// goes through all of them. What waiting does not mend ends a role at once.
func TestRolesWaitForTheirEngines(t *testing.T) {
	postgres, err := postgrestest.Start()
	require.NoError(t, err)
	t.Cleanup(postgres.Stop)
	dsn, err := url.Parse(postgres.NewDatabase(t))
	require.NoError(t, err)
	// PostgreSQL is there when its socket is in this folder. Of a short path: that of a socket ends at 107 bytes.
	sockets, err := os.MkdirTemp("/tmp", "earshot-pg-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(sockets) })
	const socket = ".s.PGSQL.5432"
	real := filepath.Join(dsn.Query().Get("host"), socket)
	dsn.RawQuery = url.Values{"host": {sockets}}.Encode()

	// The engines are started to have addresses, and stopped.
	kafka := startEngine(t, engines.Kafka, "--clickhouse.addr=127.0.0.1:1")
	clickhouse := startEngine(t, engines.ClickHouse, "--kafka.brokers="+kafka.addr)
	clickhouse.Stop()
	kafka.Stop()

	data, hep, api := t.TempDir(), udpPort(t), tcpPort(t)
	stores := []string{"--data", data, "--kafka.brokers=" + kafka.addr, "--clickhouse.addr=" + clickhouse.addr, "--directory.dsn=" + dsn.String()}
	role := func(name string, more ...string) waiting {
		w := waiting{t: t, name: name, admin: tcpPort(t)}
		w.Process = Start(t, nil, append(append([]string{name, "--admin.listen=" + w.admin, "--directory.feed_secret=0123456789abcdef0123456789abcdef"}, stores...), more...)...)
		return w
	}
	process, sink := role("process"), role("sink")
	ingest := role("ingest", "--ingest.hep.listen="+hep, "--ingest.rtcp.listen=", "--ingest.sip.listen=")
	web := role("api", "--api.listen="+api)
	for _, w := range []waiting{process, sink, ingest, web} {
		w.lacks("kafka", "connect")
	}
	// One that is told to stop while it waits goes without a complaint.
	stopped := role("process", "--processors.instance=stopped")
	stopped.lacks("kafka", "connect")
	stopped.Stop()
	require.NoError(t, stopped.Wait(), stopped.Output())

	kafka.Restart()
	process.ready()
	sink.lacks("clickhouse", "connect")
	ingest.lacks("directory", socket)
	web.lacks("directory", socket)

	require.NoError(t, os.Symlink(real, filepath.Join(sockets, socket)))
	web.lacks("clickhouse", "connect")
	ingest.ready()
	sink.lacks("clickhouse", "connect")

	clickhouse.Restart()
	sink.ready()
	web.ready()
	for _, w := range []struct {
		waiting
		engine string
	}{{process, "kafka"}, {sink, "kafka"}, {sink, "clickhouse"}, {ingest, "kafka"}, {ingest, "directory"}, {web, "directory"}} {
		require.Equal(t, 1, w.said(w.engine), "%s says once that it waits for %s:\n%s", w.name, w.engine, w.Output())
	}

	conn, err := net.Dial("udp4", hep)
	require.NoError(t, err)
	defer conn.Close()
	phone{t: t, conn: conn}.send(append(begin("late-engines"), finish("late-engines")...))
	key, err := os.ReadFile(filepath.Join(data, "admin.key"))
	require.NoError(t, err)
	u := &Up{Process: web.Process, Data: data, URL: "http://" + api, Key: strings.TrimSpace(string(key))}
	Eventually(t, 60*time.Second, "the call is there", func() error {
		var calls query.List[query.Call]
		if err := u.Get(company+"/calls", &calls); err != nil {
			return err
		}
		if len(calls.Items) != 1 {
			return fmt.Errorf("%d calls, want 1", len(calls.Items))
		}
		return nil
	})

	t.Run("what is wrong ends a role at once", func(t *testing.T) {
		elsewhere := *dsn
		elsewhere.Path = "/nobody-made-it"
		nobody := *dsn
		nobody.User = url.User("nobody")
		refused := func(role, says string, wrong ...string) {
			t.Helper()
			flags := append([]string{role, "--admin.listen=127.0.0.1:0", "--api.listen=127.0.0.1:0", "--ingest.hep.listen=", "--ingest.rtcp.listen=", "--ingest.sip.listen="}, stores...)
			p := Start(t, nil, append(flags, wrong...)...)
			select {
			case <-p.done:
			case <-time.After(60 * time.Second):
				t.Fatalf("earshot %s %s does not end:\n%s", role, wrong, p.Output())
			}
			require.Error(t, p.err)
			require.Contains(t, p.Output(), says)
			require.NotContains(t, p.Output(), "waiting for it")
		}
		refused("sink", "missing port", "--clickhouse.addr=127.0.0.1")
		refused("sink", "authentication failed", "--clickhouse.password=wrong")
		guarded, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser("PLAIN", "earshot", "right"))
		require.NoError(t, err)
		defer guarded.Close()
		brokers := "--kafka.brokers=" + guarded.ListenAddrs()[0]
		refused("process", "check kafka.sasl", brokers, "--kafka.sasl.mechanism=plain", "--kafka.sasl.user=earshot", "--kafka.sasl.password=wrong")
		refused("process", "check kafka.sasl", brokers)
		refused("api", "kafka.tls.ca", "--kafka.tls.enabled", "--kafka.tls.ca=/nobody-made-it")
		refused("ingest", "does not exist", "--directory.dsn="+elsewhere.String())
		refused("api", "does not exist", "--directory.dsn="+nobody.String())
		conn, err := chdriver.Open(&chdriver.Options{Addr: []string{clickhouse.addr}, Auth: chdriver.Auth{Database: "earshot"}})
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.Exec(context.Background(), "INSERT INTO schema_migrations VALUES (9999, '9999_of_tomorrow.sql', '', now64(3))"))
		refused("sink", "newer than this program")
	})

	t.Run("a command does not wait", func(t *testing.T) {
		require.NoError(t, os.Remove(filepath.Join(sockets, socket)))
		for _, command := range [][]string{{"keys", "list"}, {"doctor"}, {"migrate"}} {
			p := Start(t, nil, append(command, stores...)...)
			select {
			case <-p.done:
			case <-time.After(60 * time.Second):
				t.Fatalf("earshot %v does not end:\n%s", command, p.Output())
			}
			require.Error(t, p.err, p.Output())
			require.Contains(t, p.Output(), "cannot reach the directory")
		}
	})
}
