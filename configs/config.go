package configs

import (
	"io/fs"
	"runtime"
	"time"

	"weir/configs/strict"
)

// Section is where a mapping of the file begins and where its keys are.
type Section struct {
	Pos  strict.Pos            `yaml:"-" json:"-"`
	Keys map[string]strict.Pos `yaml:"-" json:"-"`
}

// At returns where a key of the section stands, or the section if it has no
// such key, or zero if the file has no such section.
func (s Section) At(key string) strict.Pos {
	if at, ok := s.Keys[key]; ok {
		return at
	}
	return s.Pos
}

// Config is weir.yaml. Default has the values of what a file leaves out.
type Config struct {
	Section `yaml:",inline"`

	File     string        `yaml:"-" json:"-"` // name of the file, as given; "" for Default
	Warnings strict.Errors `yaml:"-" json:"-"` // what is allowed and probably not meant
	Notes    strict.Errors `yaml:"-" json:"-"` // what is in force and worth saying, e.g. a sink that is off
	Skipped  []string      `yaml:"-" json:"-"` // names of the optional sinks that are off

	DataDir  strict.String   `yaml:"data_dir"` // relative to the working directory
	Log      Log             `yaml:"log"`
	MQTT     MQTT            `yaml:"mqtt"`
	HTTP     HTTP            `yaml:"http"`
	Sources  []Source        `yaml:"sources"`
	Rules    []strict.String `yaml:"rules"` // globs; see RuleFiles
	Sinks    []Sink          `yaml:"sinks"` // those that are on
	Devices  Devices         `yaml:"devices"`
	Logging  Logging         `yaml:"logging"`
	Shutdown Shutdown        `yaml:"shutdown"`

	files fs.FS // where the files that it names are; nil: the file system
}

// Log is the event log.
type Log struct {
	Section    `yaml:",inline"`
	URL        URL           `yaml:"url"`        // "embedded", or NATS servers separated by commas
	Partitions int           `yaml:"partitions"` // 0: as the data directory has, or half the cores for a new one
	Replicas   int           `yaml:"replicas"`   // of each stream, in a cluster
	Linger     time.Duration `yaml:"linger"`     // how long an append waits for more
	Ring       strict.Size   `yaml:"ring"`       // of each partition: what is received and not appended yet
	Batch      strict.Size   `yaml:"batch"`      // the most that one append takes
	MinFree    strict.Size   `yaml:"min_free"`   // free disk space below which publishers are held back
	Tail       strict.Size   `yaml:"tail"`       // of each partition: newest batches kept in memory for consumers
	Retention  Retention     `yaml:"retention"`
}

// Embedded reports whether the log runs in this process.
func (l Log) Embedded() bool { return l.URL.Reveal() == embedded }

const embedded = "embedded"

// PartitionCount returns Partitions or, where that is 0, half the cores and at
// least 1, which is what a new data directory gets.
func (l Log) PartitionCount() int {
	if l.Partitions > 0 {
		return l.Partitions
	}
	return max(1, runtime.GOMAXPROCS(0)/2)
}

// Retention says when the log forgets. Zero is never.
type Retention struct {
	Section  `yaml:",inline"`
	MaxAge   time.Duration `yaml:"max_age"`
	MaxBytes strict.Size   `yaml:"max_bytes"` // of all partitions together
}

// MQTT is the broker.
type MQTT struct {
	Section   `yaml:",inline"`
	Listen    strict.String `yaml:"listen"` // "" for no plain listener
	TLS       TLS           `yaml:"tls"`
	WebSocket WebSocket     `yaml:"websocket"`
	Anonymous bool          `yaml:"anonymous"`
	UsersFile strict.String `yaml:"users_file"`
	Limits    Limits        `yaml:"limits"`
}

// The policies for certificates of clients.
const (
	ClientCertNone     = "none"
	ClientCertOptional = "optional" // checked if the client has one
	ClientCertRequired = "required"
)

// TLS is the listener with TLS; it is on if there is a certificate.
type TLS struct {
	Section    `yaml:",inline"`
	Listen     strict.String `yaml:"listen"`
	Cert       strict.String `yaml:"cert"` // PEM files
	Key        strict.String `yaml:"key"`
	ClientCA   strict.String `yaml:"client_ca"`
	ClientCert strict.String `yaml:"client_cert"` // default: required with ClientCA, else none
	CertUser   bool          `yaml:"cert_user"`   // the common name of a client's certificate is its user name
}

// On reports whether there is a TLS listener.
func (t TLS) On() bool { return t.Cert.Value != "" && t.Listen.Value != "" }

// WebSocket is the listener for MQTT over WebSocket; "" as Listen is none.
type WebSocket struct {
	Section `yaml:",inline"`
	Listen  strict.String   `yaml:"listen"`
	Path    strict.String   `yaml:"path"`
	Origins []strict.String `yaml:"origins"` // of web pages that may connect; "*" is any, none is the same host only
	TLS     bool            `yaml:"tls"`     // with the certificate of the TLS listener
}

// Limits bound what clients can take. Where 0 means no limit it says so.
type Limits struct {
	Section               `yaml:",inline"`
	MaxPacket             strict.Size   `yaml:"max_packet"`
	MaxConnect            strict.Size   `yaml:"max_connect"` // of a CONNECT
	MaxConnections        int           `yaml:"max_connections"`
	ConnectionsPerAddress int           `yaml:"connections_per_address"` // 0: no limit
	MaxInflight           int           `yaml:"max_inflight"`            // QoS 1 and 2 messages to one client that are not acknowledged, queued ones too
	ReceiveMaximum        int           `yaml:"receive_maximum"`         // those from one client
	PendingWrites         int           `yaml:"pending_writes"`          // messages that wait to be written to one client
	KeepaliveMax          time.Duration `yaml:"keepalive_max"`           // the longest that an MQTT 5 client is granted
	ConnectTimeout        time.Duration `yaml:"connect_timeout"`         // for the TLS handshake and the CONNECT
	WriteBuffer           strict.Size   `yaml:"write_buffer"`            // of each slow subscriber
	WriteTimeout          time.Duration `yaml:"write_timeout"`
	SessionExpiry         time.Duration `yaml:"session_expiry"`
	PublishRate           int           `yaml:"publish_rate"` // messages a second from one client; 0: no limit
	TopicAliasMaximum     int           `yaml:"topic_alias_maximum"`
	AcceptRate            int           `yaml:"accept_rate"`       // new connections a second; 0: no limit
	RetainedMessages      int           `yaml:"retained_messages"` // in all
	Subscriptions         int           `yaml:"subscriptions"`     // of one client
}

// HTTP is the listener of the API, the metrics and the console.
type HTTP struct {
	Section `yaml:",inline"`
	Listen  strict.String `yaml:"listen"` // "" for none
	Pprof   bool          `yaml:"pprof"`  // Go's profiles under /debug/pprof/
}

// Devices is the registry.
type Devices struct {
	Section      `yaml:",inline"`
	OfflineAfter time.Duration `yaml:"offline_after"` // of silence
}

// Logging is weir's own log.
type Logging struct {
	Section `yaml:",inline"`
	Level   strict.String `yaml:"level"`  // debug, info, warn, error
	Format  strict.String `yaml:"format"` // text, json
}

// Shutdown is how weir stops.
type Shutdown struct {
	Section `yaml:",inline"`
	Timeout time.Duration `yaml:"timeout"` // after which it stops waiting for consumers
}

// Default returns the values of everything that a file may leave out.
func Default() *Config {
	return &Config{
		DataDir: text("./data"),
		Log: Log{
			URL: NewURL(embedded), Replicas: 1,
			Ring: 8 * strict.MiB, Batch: 256 * strict.KiB, MinFree: 256 * strict.MiB, Tail: 32 * strict.MiB,
			Retention: Retention{MaxAge: 7 * 24 * time.Hour, MaxBytes: 20 * strict.GiB},
		},
		MQTT: MQTT{
			Listen:    text(":1883"),
			TLS:       TLS{Listen: text(":8883")},
			WebSocket: WebSocket{Path: text("/mqtt")},
			Limits: Limits{
				MaxPacket: 1 * strict.MiB, MaxConnect: 64 * strict.KiB, MaxConnections: 50_000,
				MaxInflight: 8000, ReceiveMaximum: 8000, PendingWrites: 256,
				KeepaliveMax: time.Hour, ConnectTimeout: 10 * time.Second,
				WriteBuffer: 8 * strict.MiB, WriteTimeout: 10 * time.Second,
				SessionExpiry: 7 * 24 * time.Hour, TopicAliasMaximum: 32, AcceptRate: 5000,
				RetainedMessages: 1_000_000, Subscriptions: 1000,
			},
		},
		HTTP:     HTTP{Listen: text("127.0.0.1:8080")},
		Devices:  Devices{OfflineAfter: 5 * time.Minute},
		Logging:  Logging{Level: text("info"), Format: text("text")},
		Shutdown: Shutdown{Timeout: 10 * time.Second},
	}
}

func text(s string) strict.String { return strict.String{Value: s} }
