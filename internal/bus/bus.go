// Package bus opens Kafka clients the same way for every role and makes the
// topics of package telemetry exist.
package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/earshot/earshot/telemetry"
)

// Config says where the brokers are and how topics are made.
type Config struct {
	Brokers     []string `koanf:"brokers" doc:"bootstrap brokers, host:port; empty: the embedded broker"`
	Partitions  int32    `koanf:"partitions" doc:"partitions of topics that Earshot creates"`
	Replication int16    `koanf:"replication" doc:"replicas of topics that Earshot creates; -1: the cluster's default"`
	TLS         TLS      `koanf:"tls"`
	SASL        SASL     `koanf:"sasl"`
}

// TLS secures the connection to the brokers.
type TLS struct {
	Enabled bool   `koanf:"enabled" doc:"connect with TLS"`
	CA      string `koanf:"ca" doc:"PEM file of the authority; empty: the system's"`
	Cert    string `koanf:"cert" doc:"PEM file of the client certificate"`
	Key     string `koanf:"key" doc:"PEM file of the client key"`
}

// SASL authenticates the client.
type SASL struct {
	Mechanism string `koanf:"mechanism" doc:"plain, scram-sha-256 or scram-sha-512; empty: none"`
	User      string `koanf:"user" doc:"user name"`
	Password  string `koanf:"password" doc:"password" secret:"true"`
}

// DefaultConfig is the embedded broker with eight partitions.
func DefaultConfig() Config { return Config{Partitions: 8, Replication: -1} }

// Options are the client options that every role shares.
func (c Config) Options() ([]kgo.Opt, error) {
	if len(c.Brokers) == 0 {
		return nil, errors.New("kafka.brokers is empty")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.Brokers...), kgo.ClientID("earshot"),
		// A broker that was restarted is found again in moments; the library's
		// defaults would wait for seconds each time.
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.RetryBackoffFn(backoff),
	}
	if c.TLS.Enabled {
		t := &tls.Config{MinVersion: tls.VersionTLS12}
		if c.TLS.CA != "" {
			pem, err := os.ReadFile(c.TLS.CA)
			if err != nil {
				return nil, fmt.Errorf("cannot read kafka.tls.ca: %w", err)
			}
			t.RootCAs = x509.NewCertPool()
			if !t.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("kafka.tls.ca %s holds no certificate", c.TLS.CA)
			}
		}
		if c.TLS.Cert != "" {
			cert, err := tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key)
			if err != nil {
				return nil, fmt.Errorf("cannot load kafka.tls.cert: %w", err)
			}
			t.Certificates = []tls.Certificate{cert}
		}
		opts = append(opts, kgo.DialTLSConfig(t))
	}
	switch c.SASL.Mechanism {
	case "":
	case "plain":
		opts = append(opts, kgo.SASL(plain.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsMechanism()))
	case "scram-sha-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha256Mechanism()))
	case "scram-sha-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: c.SASL.User, Pass: c.SASL.Password}.AsSha512Mechanism()))
	default:
		return nil, fmt.Errorf("kafka.sasl.mechanism %q is none of plain, scram-sha-256, scram-sha-512", c.SASL.Mechanism)
	}
	return opts, nil
}

// backoff grows from 50 ms to 2 s.
func backoff(tries int) time.Duration {
	return min(50*time.Millisecond<<min(tries, 6), 2*time.Second)
}

// EnsureTopics creates what is missing and refuses a cluster whose
// co-partitioned topics disagree in their number of partitions.
func EnsureTopics(ctx context.Context, c Config) error {
	opts, err := c.Options()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("cannot make a Kafka client: %w", err)
	}
	defer client.Close()
	adm := kadm.NewClient(client)
	compact, forever := "compact", "-1"
	// Older bindings help nobody. No key replaces another's: each is the ingester's.
	day := "86400000"
	for topic, configs := range map[string]map[string]*string{
		telemetry.TopicTelemetry:     nil,
		telemetry.TopicRegistrations: nil,
		telemetry.TopicOutcomes:      nil,
		telemetry.TopicDeadLetter:    {"retention.ms": &forever},
		telemetry.TopicCheckpoints:   {"cleanup.policy": &compact},
		telemetry.TopicDirectory:     {"cleanup.policy": &compact},
		telemetry.TopicBindings:      {"retention.ms": &day},
	} {
		partitions := c.Partitions
		if topic == telemetry.TopicDirectory {
			partitions = 1 // one writer, one order
		}
		_, err := adm.CreateTopic(ctx, partitions, c.Replication, configs, topic)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return fmt.Errorf("cannot create topic %s: %w", topic, err)
		}
	}
	co := []string{telemetry.TopicTelemetry, telemetry.TopicRegistrations, telemetry.TopicOutcomes, telemetry.TopicCheckpoints}
	details, err := listed(ctx, adm, co)
	if err != nil {
		return err
	}
	want := len(details[co[0]].Partitions)
	for _, topic := range co[1:] {
		if n := len(details[topic].Partitions); n != want {
			return fmt.Errorf("topic %s has %d partitions but %s has %d: they must be equal", topic, n, co[0], want)
		}
	}
	return nil
}

// listed waits until brokers show the topics: what a controller has created
// reaches their metadata a little later.
func listed(ctx context.Context, adm *kadm.Client, topics []string) (kadm.TopicDetails, error) {
	for tries := 0; ; tries++ {
		details, err := adm.ListTopics(ctx, topics...)
		if err != nil {
			return nil, fmt.Errorf("cannot list topics: %w", err)
		}
		shown := 0
		for _, topic := range topics {
			if len(details[topic].Partitions) > 0 {
				shown++
			}
		}
		if shown == len(topics) || tries == 100 {
			return details, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot list topics: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
