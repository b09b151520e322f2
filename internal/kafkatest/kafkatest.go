// Package kafkatest runs one real Apache Kafka broker (KRaft, no ZooKeeper) for
// tests, from the jars that `make kafka` fetches.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Broker is a running Kafka process.
type Broker struct {
	Addr string // host:port of the bootstrap listener

	dir, jars string
	cmd       *exec.Cmd
	exited    chan struct{}
}

// Jars is where `make kafka` puts the jars, found from the module's root.
func Jars() (string, error) {
	_, self, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(self), "..", "..", ".engines", "kafka")
	if found, _ := filepath.Glob(filepath.Join(dir, "kafka_2.13-*.jar")); len(found) == 0 {
		return "", errors.New("the Kafka jars are missing: run `make kafka`")
	}
	return dir, nil
}

// Start runs a broker until the test ends. It fails the test where Kafka
// cannot run: a test that claims Kafka must not pass without it.
func Start(t testing.TB) *Broker {
	t.Helper()
	jars, err := Jars()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("java"); err != nil {
		t.Fatal("java is missing: Apache Kafka needs a Java runtime, 17 or later")
	}
	client, controller := freePort(t), freePort(t)
	b := &Broker{Addr: fmt.Sprintf("127.0.0.1:%d", client), dir: t.TempDir(), jars: jars}
	properties := strings.Join([]string{
		"process.roles=broker,controller", "node.id=1",
		fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", controller),
		fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", b.Addr, controller),
		"controller.listener.names=CONTROLLER",
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs=" + filepath.Join(b.dir, "logs"),
		"offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "transaction.state.log.num.partitions=4",
		"default.replication.factor=1", "group.initial.rebalance.delay.ms=0",
		"auto.create.topics.enable=false", "log.cleaner.dedupe.buffer.size=4194304",
	}, "\n")
	if err := os.WriteFile(b.file("server.properties"), []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	format := b.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", b.file("server.properties"))
	if out, err := format.CombinedOutput(); err != nil {
		t.Fatalf("cannot format Kafka's storage: %v\n%s", err, out)
	}
	t.Cleanup(b.Kill)
	if err := b.Run(); err != nil {
		t.Fatal(err)
	}
	return b
}

// Run starts the process, also again after Kill, and waits until it answers.
func (b *Broker) Run() error {
	log, err := os.OpenFile(b.file("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the broker's log: %w", err)
	}
	defer log.Close()
	b.cmd = b.java("kafka.Kafka", b.file("server.properties"))
	b.cmd.Stdout, b.cmd.Stderr = log, log
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("cannot start Kafka: %w", err)
	}
	exited := make(chan struct{})
	b.exited = exited
	cmd := b.cmd
	go func() { _ = cmd.Wait(); close(exited) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Addr))
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	deadline := time.After(90 * time.Second)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		err := client.Ping(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("the broker exited at once:\n%s", b.tail())
		case <-deadline:
			return fmt.Errorf("the broker did not answer: %w\n%s", err, b.tail())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (b *Broker) Kill() {
	if b.cmd == nil || b.cmd.Process == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.exited
}

func (b *Broker) java(class string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		"-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-cp", filepath.Join(b.jars, "*"), class,
	}, args...)...)
}

func (b *Broker) file(name string) string { return filepath.Join(b.dir, name) }

func (b *Broker) tail() string {
	text, _ := os.ReadFile(b.file("broker.log"))
	if len(text) > 4000 {
		text = text[len(text)-4000:]
	}
	return string(text)
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
