package broker

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// Config says where the broker listens, who may connect and how much anybody
// may take. Start from Default.
type Config struct {
	Listen    string    `yaml:"listen"` // TCP address; "" for none
	TLS       TLS       `yaml:"tls"`
	WebSocket WebSocket `yaml:"websocket"`
	Anonymous bool      `yaml:"anonymous"`  // clients without a user name may connect
	UsersFile string    `yaml:"users_file"` // see package access; "" for no users
	Limits    Limits    `yaml:"limits"`
	FastPath  bool      `yaml:"-"` // read plain PUBLISH frames without mochi; off only in tests
}

// TLS configures the TLS listener.
type TLS struct {
	Listen     string `yaml:"listen"` // "" for none
	Cert       string `yaml:"cert"`   // PEM file, read again when it changes
	Key        string `yaml:"key"`    // PEM file
	ClientCA   string `yaml:"client_ca"`
	ClientCert string `yaml:"client_cert"` // none, optional or required; default required with client_ca
	CertUser   bool   `yaml:"cert_user"`   // a verified certificate's common name is the user name
}

// WebSocket configures the WebSocket listener.
type WebSocket struct {
	Listen  string   `yaml:"listen"`  // "" for none
	Path    string   `yaml:"path"`    // e.g. /mqtt
	Origins []string `yaml:"origins"` // allowed Origin headers; empty: same host only; "*": any
	TLS     bool     `yaml:"tls"`     // serve wss with the certificate of tls
}

// Limits bound what clients may take. Sizes are bytes.
type Limits struct {
	MaxPacket         int           `yaml:"max_packet"`              // largest packet from a client
	MaxConnect        int           `yaml:"max_connect"`             // largest CONNECT
	Connections       int           `yaml:"max_connections"`         // clients at a time
	PerAddress        int           `yaml:"connections_per_address"` // connections of one address; 0: no limit
	AcceptRate        int           `yaml:"accept_rate"`             // new connections a second; 0: no limit
	ConnectTimeout    time.Duration `yaml:"connect_timeout"`         // from accept to CONNECT, TLS handshake included
	KeepAliveMax      time.Duration `yaml:"keepalive_max"`           // longest keep alive that an MQTT 5 client is granted
	ReceiveMaximum    int           `yaml:"receive_maximum"`         // unacknowledged publishes of one client
	MaxInflight       int           `yaml:"max_inflight"`            // unacknowledged messages to one client, queued ones included
	PendingWrites     int           `yaml:"pending_writes"`          // messages waiting to be written to one client
	WriteBuffer       int           `yaml:"write_buffer"`            // bytes waiting to be written to one client before it is dropped
	WriteTimeout      time.Duration `yaml:"write_timeout"`           // how long a client may take nothing before it is dropped
	SessionExpiry     time.Duration `yaml:"session_expiry"`          // how long the session of an absent client is kept at most
	TopicAliasMaximum int           `yaml:"topic_alias_maximum"`     // topic aliases of one client
	PublishRate       int           `yaml:"publish_rate"`            // publishes a second of one client; 0: no limit
	RetainedMessages  int           `yaml:"retained_messages"`       // retained messages in all
	Subscriptions     int           `yaml:"subscriptions"`           // subscriptions of one client
}

// Default returns the configuration of a broker that listens nowhere, with
// limits that suit tens of thousands of devices.
func Default() Config {
	return Config{
		WebSocket: WebSocket{Path: "/mqtt"},
		FastPath:  true,
		Limits: Limits{
			MaxPacket:         1 << 20,
			MaxConnect:        64 << 10,
			Connections:       50_000,
			PerAddress:        0,
			AcceptRate:        5_000,
			ConnectTimeout:    10 * time.Second,
			KeepAliveMax:      time.Hour,
			ReceiveMaximum:    8_000,
			MaxInflight:       8_000,
			PendingWrites:     128,
			WriteBuffer:       4 << 20,
			WriteTimeout:      10 * time.Second,
			SessionExpiry:     7 * 24 * time.Hour,
			TopicAliasMaximum: 32,
			RetainedMessages:  1_000_000,
			Subscriptions:     1_000,
		},
	}
}

// Validate returns every problem of the configuration, joined.
func (c Config) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	addr := func(key, a string) {
		if a == "" {
			return
		}
		if _, _, err := net.SplitHostPort(a); err != nil {
			add("%s: %q is not host:port, e.g. \":1883\"", key, a)
		}
	}
	addr("mqtt.listen", c.Listen)
	addr("mqtt.tls.listen", c.TLS.Listen)
	addr("mqtt.websocket.listen", c.WebSocket.Listen)
	if c.TLS.Listen != "" || c.WebSocket.TLS {
		if c.TLS.Cert == "" || c.TLS.Key == "" {
			add("mqtt.tls: cert and key are needed, each the name of a PEM file")
		}
	}
	switch c.TLS.ClientCert {
	case "", "none":
	case "optional", "required":
		if c.TLS.ClientCA == "" {
			add("mqtt.tls.client_cert: %s needs client_ca, the PEM file of the authority that signs client certificates", c.TLS.ClientCert)
		}
	default:
		add("mqtt.tls.client_cert: %q is not none, optional or required", c.TLS.ClientCert)
	}
	if c.WebSocket.Listen != "" && (c.WebSocket.Path == "" || c.WebSocket.Path[0] != '/') {
		add("mqtt.websocket.path: %q does not begin with /", c.WebSocket.Path)
	}
	l := c.Limits
	in := func(key string, v, lo, hi int) {
		if v < lo || v > hi {
			add("mqtt.limits.%s: %d is not between %d and %d", key, v, lo, hi)
		}
	}
	in("max_packet", l.MaxPacket, 128, 256<<20)
	in("max_connect", l.MaxConnect, 128, 1<<20)
	in("max_connections", l.Connections, 1, 10_000_000)
	in("connections_per_address", l.PerAddress, 0, 10_000_000)
	in("accept_rate", l.AcceptRate, 0, 10_000_000)
	in("receive_maximum", l.ReceiveMaximum, 1, 65535)
	in("max_inflight", l.MaxInflight, 1, 65535)
	in("pending_writes", l.PendingWrites, 1, 1<<20)
	in("write_buffer", l.WriteBuffer, 4<<10, 1<<30)
	if l.WriteBuffer < 4*l.MaxPacket {
		add("mqtt.limits.write_buffer: %d is less than four times max_packet (%d)", l.WriteBuffer, l.MaxPacket)
	}
	in("topic_alias_maximum", l.TopicAliasMaximum, 0, 65535)
	in("publish_rate", l.PublishRate, 0, 100_000_000)
	in("retained_messages", l.RetainedMessages, 0, 1<<31-1)
	in("subscriptions", l.Subscriptions, 1, 1<<31-1)
	if l.ConnectTimeout <= 0 {
		add("mqtt.limits.connect_timeout: %v is not positive, e.g. 10s", l.ConnectTimeout)
	}
	if l.WriteTimeout <= 0 {
		add("mqtt.limits.write_timeout: %v is not positive, e.g. 10s", l.WriteTimeout)
	}
	if l.KeepAliveMax < time.Second || l.KeepAliveMax > 65535*time.Second {
		add("mqtt.limits.keepalive_max: %v is not between 1s and 65535s", l.KeepAliveMax)
	}
	if l.SessionExpiry < 0 || l.SessionExpiry > (1<<32-2)*time.Second {
		add("mqtt.limits.session_expiry: %v is not between 0 and 136 years", l.SessionExpiry)
	}
	return errors.Join(errs...)
}
