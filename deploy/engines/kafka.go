package engines

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
)

// KafkaArgs says how the Kafka child serves; they are the flags of `earshot engine kafka`.
type KafkaArgs struct {
	Dir  string // where the log is kept
	Port int    // Kafka protocol, on loopback
}

// ServeKafka serves the Kafka protocol until end of file on stdin, SIGTERM, SIGINT or the end of ctx.
func ServeKafka(ctx context.Context, args KafkaArgs, stdin io.Reader) error {
	if err := os.MkdirAll(args.Dir, 0o700); err != nil {
		return fmt.Errorf("cannot create the Kafka directory: %w", err)
	}
	unlock, err := lockEngineDir(ctx, args.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := checkPort(args.Port); err != nil {
		return err
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(args.Port), kfake.DataDir(args.Dir), kfake.SyncWrites(),
		kfake.WithLogger(kfake.BasicLogger(os.Stderr, kfake.LogLevelWarn)))
	if err != nil {
		return fmt.Errorf("cannot start the Kafka broker: %w", err)
	}
	waitForStop(ctx, stdin, nil)
	cluster.Close()
	return nil
}
