package api

import "time"

// Config of the HTTP side.
type Config struct {
	Listen     string        `koanf:"listen" doc:"address of the portal, the API and HTTP ingest"`
	PublicURL  string        `koanf:"public_url" doc:"where people reach the portal, such as https://earshot.example.com; empty: as each request was addressed"`
	SessionTTL time.Duration `koanf:"session_ttl" doc:"how long a sign-in to the portal lasts"`
	MaxExports int           `koanf:"max_exports" doc:"downloads of whole lists of calls, samples and rejections that may run at a time; each takes a connection to ClickHouse"`
}

// DefaultConfig is a Config that works on one machine.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8080", SessionTTL: 12 * time.Hour, MaxExports: 4}
}
