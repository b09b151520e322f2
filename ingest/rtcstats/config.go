package rtcstats

import "time"

// Config is the section `ingest.rtcstats` of the settings.
type Config struct {
	Token             TokenConfig   `koanf:"token"`
	Connections       int           `koanf:"connections" doc:"most connections at a time"`
	MessageBytes      int64         `koanf:"message_bytes" doc:"largest message, in bytes"`
	MessagesPerSecond float64       `koanf:"messages_per_second" doc:"messages read of one connection; what comes faster waits"`
	MessagesBurst     int           `koanf:"messages_burst" doc:"messages of one connection read at once, above the rate: a backlog after a cut"`
	InFlight          int           `koanf:"in_flight" doc:"messages of one connection that wait for Kafka before no more is read of it"`
	StateBytes        int           `koanf:"state_bytes" doc:"memory for the statistics of one sender, in bytes"`
	TotalStateBytes   int64         `koanf:"total_state_bytes" doc:"memory for the statistics of all senders, in bytes"`
	Ping              time.Duration `koanf:"ping" doc:"interval of pings; a connection that does not answer one in that time is closed"`
	Resume            time.Duration `koanf:"resume" doc:"how long a Jitsi client may go on after a cut"`
}

// TokenConfig is what tokens of browsers are checked with.
type TokenConfig struct {
	Secret    string `koanf:"secret" secret:"true" doc:"shared secret of JSON Web Tokens (HS256, HS384, HS512)"`
	PublicKey string `koanf:"public_key" doc:"PEM file of the public key of JSON Web Tokens (RSA, ECDSA, Ed25519)"`
	Company   string `koanf:"company" doc:"company whose calls are told of with these tokens"`
}

// DefaultConfig takes ten thousand browsers.
func DefaultConfig() Config {
	return Config{
		Token: TokenConfig{Company: "default"}, Connections: 10_000, MessageBytes: 1 << 20,
		MessagesPerSecond: 100, MessagesBurst: 2000, InFlight: 256,
		StateBytes: 4 << 20, TotalStateBytes: 1 << 30, Ping: 30 * time.Second, Resume: 11 * time.Minute,
	}
}
