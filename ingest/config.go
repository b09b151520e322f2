package ingest

import (
	"time"

	"github.com/earshot/earshot/ingest/rtcstats"
)

// Config is the section `ingest` of the settings.
type Config struct {
	HEP      HEPConfig       `koanf:"hep"`
	RTCP     RTCPConfig      `koanf:"rtcp"`
	SIP      SIPConfig       `koanf:"sip"`
	HTTP     HTTPConfig      `koanf:"http"`
	UDP      UDPConfig       `koanf:"udp"`
	RTCStats rtcstats.Config `koanf:"rtcstats"`
	Waiting  WaitingConfig   `koanf:"waiting"`
	Bindings BindingsConfig  `koanf:"bindings"`
	Clock    ClockConfig     `koanf:"clock"`
	Buffer   BufferConfig    `koanf:"buffer"`

	Correlation CorrelationConfig `koanf:"correlation"`
}

// HEPConfig sets up the HEP listener.
type HEPConfig struct {
	Listen       string    `koanf:"listen" doc:"address for HEP over UDP and TCP; empty: none"`
	TLS          TLSConfig `koanf:"tls"`
	MaxBytes     int       `koanf:"max_bytes" doc:"largest HEP packet taken, in bytes"`
	ReceiveBytes int       `koanf:"receive_bytes" doc:"kernel receive buffer of UDP sockets (SO_RCVBUF), in bytes"`
	Connections  int       `koanf:"connections" doc:"most TCP connections at a time"`
	Allow        []string  `koanf:"allow" doc:"addresses and networks (10.0.0.0/8) that may send; empty: all"`
	AuthKeys     []string  `koanf:"auth_keys" doc:"authentication keys (chunk 0x0e), of which packets must carry one; empty: none is needed" secret:"true"`
	Agents       []string  `koanf:"agents" doc:"numbers or names of the agents that may send; empty: all"`
}

// TLSConfig secures HEP over TCP.
type TLSConfig struct {
	Cert     string `koanf:"cert" doc:"PEM file of the certificate; empty: TCP without TLS"`
	Key      string `koanf:"key" doc:"PEM file of the certificate's key"`
	ClientCA string `koanf:"client_ca" doc:"PEM file of authorities whose certificate an agent must show; empty: it needs none"`
}

// RTCPConfig sets up the listener for plain RTCP.
type RTCPConfig struct {
	Listen string   `koanf:"listen" doc:"address for plain RTCP over UDP; empty: none"`
	Allow  []string `koanf:"allow" doc:"addresses and networks (10.0.0.0/8) that may send; empty: all"`
}

// UDPConfig says how the UDP sockets of HEP and RTCP are read.
type UDPConfig struct {
	Batch       int           `koanf:"batch" doc:"datagrams that one system call reads at most (Linux)"`
	Pause       time.Duration `koanf:"pause" doc:"while datagrams come fast, how long some may gather before they are read; 0: no time"`
	SourceBytes int           `koanf:"source_bytes" doc:"most bytes that wait of one source, which is one remote address and port; what comes beyond is dropped"`
	QueueBytes  int           `koanf:"queue_bytes" doc:"most bytes that wait of all sources of a socket"`
	Sources     int           `koanf:"sources" doc:"most sources known at a time; datagrams of others are dropped"`
}

// HTTPConfig bounds what is posted.
type HTTPConfig struct {
	BodyBytes  int64         `koanf:"body_bytes" doc:"largest request body, as it is sent, in bytes"`
	PlainBytes int64         `koanf:"plain_bytes" doc:"largest request body after decompression, in bytes"`
	ItemBytes  int           `koanf:"item_bytes" doc:"largest item in a body, in bytes"`
	AckTimeout time.Duration `koanf:"ack_timeout" doc:"how long a request waits for Kafka before it is answered 503"`
	Origins    []string      `koanf:"origins" doc:"origins whose web pages may send telemetry (https://app.example.com, *); empty: Earshot's own"`
	Sockets    int           `koanf:"sockets" doc:"most WebSocket connections at a time; more are answered 503"`
}

// WaitingConfig bounds the room where RTCP waits for the SDP that names its call.
type WaitingConfig struct {
	For     time.Duration `koanf:"for" doc:"how long RTCP waits for its SDP before it becomes a call of its own"`
	Records int           `koanf:"records" doc:"most records that wait; the oldest make room"`
}

// BindingsConfig bounds what is known about media addresses.
type BindingsConfig struct {
	Calls     int           `koanf:"calls" doc:"most calls whose media addresses are kept"`
	AfterCall time.Duration `koanf:"after_call" doc:"how long addresses stay bound after their call"`
	Idle      time.Duration `koanf:"idle" doc:"how long addresses of a call stay bound without anything from it"`
	Share     bool          `koanf:"share" doc:"share media addresses with other ingesters through Kafka"`
}

// ClockConfig says what is made of agents whose clock differs.
type ClockConfig struct {
	Tolerance time.Duration `koanf:"tolerance" doc:"difference of capture and reception time that is taken as it is"`
	Replay    time.Duration `koanf:"replay" doc:"difference from which on packets are a replayed capture, not a clock that is off"`
	Silence   time.Duration `koanf:"silence" doc:"silence of an agent that ends the capture it replays"`
}

// BufferConfig bounds what waits for Kafka.
type BufferConfig struct {
	Records int           `koanf:"records" doc:"most records that wait for Kafka"`
	Bytes   int           `koanf:"bytes" doc:"most bytes that wait for Kafka"`
	Linger  time.Duration `koanf:"linger" doc:"how long a record waits for others to be sent with"`
	Drain   time.Duration `koanf:"drain" doc:"how long the end of the program waits for Kafka to take what is buffered"`
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config {
	return Config{
		HEP:      HEPConfig{Listen: "127.0.0.1:9060", MaxBytes: 65535, ReceiveBytes: 16 << 20, Connections: 1024},
		RTCP:     RTCPConfig{Listen: "127.0.0.1:5005"},
		SIP:      defaultSIP(),
		HTTP:     HTTPConfig{BodyBytes: 8 << 20, PlainBytes: 32 << 20, ItemBytes: 1 << 20, AckTimeout: 10 * time.Second, Sockets: 10_000},
		RTCStats: rtcstats.DefaultConfig(),
		UDP:      UDPConfig{Batch: 64, Pause: 2 * time.Millisecond, SourceBytes: 16 << 20, QueueBytes: 64 << 20, Sources: 65_536},
		Waiting:  WaitingConfig{For: 30 * time.Second, Records: 50_000},
		Bindings: BindingsConfig{Calls: 1_000_000, AfterCall: 3 * time.Minute, Idle: 4 * time.Hour, Share: true},
		Clock:    ClockConfig{Tolerance: 2 * time.Second, Replay: 10 * time.Minute, Silence: 10 * time.Second},
		Buffer:   BufferConfig{Records: 500_000, Bytes: 128 << 20, Linger: 10 * time.Millisecond, Drain: 10 * time.Second},

		Correlation: defaultCorrelation(),
	}
}
