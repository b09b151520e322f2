package engines

import (
	"context"
	"flag"
	"fmt"
	"io"
)

// Serve runs one engine in this process until stdin ends. args are those of the hidden subcommand `earshot engine`:
//
//	clickhouse --dir DIR --tcp-port N [--http-port N] --library PATH
//	kafka --dir DIR --port N
func Serve(ctx context.Context, args []string, stdin io.Reader) error {
	if len(args) == 0 {
		return fmt.Errorf("cannot serve an engine: name %s or %s", ClickHouse, Kafka)
	}
	flags := flag.NewFlagSet("earshot engine "+args[0], flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the engine's data")
	switch args[0] {
	case ClickHouse:
		c := ClickHouseArgs{}
		flags.IntVar(&c.TCPPort, "tcp-port", 0, "port of the native protocol, on loopback")
		flags.IntVar(&c.HTTPPort, "http-port", 0, "port of the HTTP interface, on loopback; 0: off")
		flags.StringVar(&c.Library, "library", "", "path of libchdb")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		c.Dir = *dir
		return ServeClickHouse(ctx, c, stdin)
	case Kafka:
		k := KafkaArgs{}
		flags.IntVar(&k.Port, "port", 0, "port of the Kafka protocol, on loopback")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		k.Dir = *dir
		return ServeKafka(ctx, k, stdin)
	default:
		return fmt.Errorf("cannot serve engine %q: it is none of %s, %s", args[0], ClickHouse, Kafka)
	}
}
