package configs

import (
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/configs/strict"
)

// validator collects what is wrong with a Config that was decoded.
type validator struct {
	c      *Config
	errs   strict.Errors
	broken bool // the file did not decode as a whole, so what is missing may be there
}

func (v *validator) bad(at strict.Pos, hint, format string, args ...any) {
	if at == (strict.Pos{}) {
		at = strict.Pos{Line: 1, Col: 1}
	}
	v.errs.Addf(v.c.File, at, hint, format, args...)
}

func (v *validator) warn(at strict.Pos, hint, format string, args ...any) {
	if at == (strict.Pos{}) {
		at = strict.Pos{Line: 1, Col: 1}
	}
	v.c.Warnings.Addf(v.c.File, at, hint, format, args...)
}

// missing reports a key that is not there, unless that may be because the file
// did not decode.
func (v *validator) missing(at strict.Pos, hint, format string, args ...any) {
	if !v.broken {
		v.bad(at, hint, format, args...)
	}
}

func (v *validator) config() {
	c := v.c
	if c.DataDir.Value == "" {
		v.bad(c.At("data_dir"), "e.g. ./data", "data_dir is empty")
	}
	v.log()
	v.mqtt()
	v.limits()
	v.address(c.HTTP.Section, "listen", "http.listen", c.HTTP.Listen)
	v.listeners()
	v.sources()
	v.rules()
	v.sinks()
	v.duration(c.Devices.Section, "offline_after", "devices.offline_after", c.Devices.OfflineAfter, time.Second, 0)
	v.oneOf(c.Logging.Section, "level", "logging.level", c.Logging.Level, "debug", "info", "warn", "error")
	v.oneOf(c.Logging.Section, "format", "logging.format", c.Logging.Format, "text", "json")
	v.duration(c.Shutdown.Section, "timeout", "shutdown.timeout", c.Shutdown.Timeout, time.Second, 10*time.Minute)
}

const (
	maxPacket = 256 * strict.MiB // the largest that mqtt.limits.max_packet may be
	// ringSlack is what a connection hands to a ring at once, besides its last
	// packet, with the record's header: the broker refuses a ring without room for two.
	ringSlack = 320 * strict.KiB
)

func (v *validator) log() {
	l := &v.c.Log
	switch u := l.URL.Reveal(); {
	case u == embedded:
		if l.Replicas != 1 {
			v.bad(l.At("replicas"), "set log.url to a cluster, or leave replicas out", "log.replicas: the embedded log has 1 replica, not %d", l.Replicas)
		}
	default:
		for _, one := range strings.Split(u, ",") {
			if !validURL(strings.TrimSpace(one), "nats", "tls", "ws", "wss") {
				v.bad(l.URL.Pos, "embedded, or nats://host:4222, several separated by commas", "log.url is neither embedded nor a list of NATS servers")
				break
			}
		}
		if !slices.Contains([]int{1, 3, 5}, l.Replicas) {
			v.bad(l.At("replicas"), "1, 3 or 5", "log.replicas: %d is not a number of replicas that can hold a majority", l.Replicas)
		}
	}
	v.number(l.Section, "partitions", "log.partitions", l.Partitions, 0, 256)
	v.duration(l.Section, "linger", "log.linger", l.Linger, 0, 5*time.Millisecond)
	v.size(l.Section, "batch", "log.batch", l.Batch, 4*strict.KiB, 4*strict.MiB)
	v.size(l.Section, "ring", "log.ring", l.Ring, 64*strict.KiB, 1*strict.GiB)
	v.size(l.Section, "tail", "log.tail", l.Tail, 0, 64*strict.GiB)
	packet := v.c.MQTT.Limits.MaxPacket
	if least := max(2*(packet+ringSlack), 2*l.Batch); l.Ring < least && packet <= maxPacket {
		at := l.At("ring")
		if _, ok := l.Keys["ring"]; !ok {
			at = v.c.MQTT.Limits.At("max_packet")
		}
		v.bad(at, "raise log.ring", "log.ring (%v) must be at least %v: twice mqtt.limits.max_packet (%v) and %v, and twice log.batch (%v)",
			l.Ring, least, packet, ringSlack, l.Batch)
	}
	v.duration(l.Retention.Section, "max_age", "log.retention.max_age", l.Retention.MaxAge, 0, 0)
	if b := l.Retention.MaxBytes; b != 0 && b < 16*strict.MiB {
		v.bad(l.Retention.At("max_bytes"), "0 for no limit, else 16MiB or more", "log.retention.max_bytes: %v is too little to hold a backlog", b)
	}
	if l.Retention.MaxAge == 0 && l.Retention.MaxBytes == 0 && !v.broken {
		v.warn(l.Retention.Pos, "set log.retention.max_bytes", "the log is never cut: it grows until the disk is full, and then publishers are held back")
	}
}

func (v *validator) mqtt() {
	m := &v.c.MQTT
	v.address(m.Section, "listen", "mqtt.listen", m.Listen)
	t := &m.TLS
	v.address(t.Section, "listen", "mqtt.tls.listen", t.Listen)
	v.address(m.WebSocket.Section, "listen", "mqtt.websocket.listen", m.WebSocket.Listen)
	if (t.Cert.Value == "") != (t.Key.Value == "") {
		set, other := "cert", "key"
		if t.Cert.Value == "" {
			set, other = other, set
		}
		v.missing(t.At(set), "set both, or neither", "mqtt.tls.%s is set and mqtt.tls.%s is not", set, other)
	}
	if _, ok := t.Keys["listen"]; ok && t.Listen.Value != "" && t.Cert.Value == "" && t.Key.Value == "" {
		v.missing(t.At("listen"), "set mqtt.tls.cert and mqtt.tls.key", "mqtt.tls has an address to listen on and no certificate")
	}
	v.oneOf(t.Section, "client_cert", "mqtt.tls.client_cert", t.ClientCert, ClientCertNone, ClientCertOptional, ClientCertRequired)
	if (t.ClientCert.Value == ClientCertOptional || t.ClientCert.Value == ClientCertRequired) && t.ClientCA.Value == "" {
		v.missing(t.At("client_cert"), "set mqtt.tls.client_ca to the CA that signs clients' certificates", "mqtt.tls.client_cert is %s and mqtt.tls.client_ca is not set", t.ClientCert.Value)
	}
	if t.CertUser && t.ClientCert.Value == ClientCertNone {
		v.missing(t.At("cert_user"), "set mqtt.tls.client_ca, and client_cert to optional or required", "mqtt.tls.cert_user is set and clients have no certificates")
	}
	if m.WebSocket.TLS && (t.Cert.Value == "" || t.Key.Value == "") {
		v.missing(m.WebSocket.At("tls"), "set mqtt.tls.cert and mqtt.tls.key", "mqtt.websocket.tls is set and there is no certificate")
	}
	if t.ClientCA.Value != "" && t.ClientCert.Value == ClientCertNone {
		v.warn(t.At("client_ca"), "set mqtt.tls.client_cert to optional or required", "mqtt.tls.client_ca has no effect while client_cert is none")
	}
	if p := m.WebSocket.Path; !strings.HasPrefix(p.Value, "/") || strings.ContainsAny(p.Value, "?# ") {
		v.bad(m.WebSocket.At("path"), "e.g. /mqtt", "mqtt.websocket.path: %q is not the path of a URL", p.Value)
	}
	for _, o := range m.WebSocket.Origins {
		if o.Value != "*" && (!validURL(o.Value, "http", "https") || strings.Count(o.Value, "/") > 2) {
			v.bad(o.Pos, `"*", or a scheme and host such as https://console.example.com`, "mqtt.websocket.origins: %q is not an origin", o.Value)
		}
	}
	if !m.Anonymous && m.UsersFile.Value == "" && !t.CertUser && !v.broken {
		v.warn(m.Pos, "set mqtt.users_file, or mqtt.anonymous: true on a network that you trust", "no client can connect: there are no users, and anonymous is false")
	}
	for _, l := range []strict.String{m.Listen, m.WebSocket.Listen} {
		if m.Anonymous && m.UsersFile.Value == "" && l.Value != "" && !loopback(l.Value) {
			v.warn(m.At("anonymous"), "listen on 127.0.0.1, or set mqtt.users_file and anonymous: false", "anyone who reaches %s can publish and subscribe to everything", l.Value)
		}
	}
	if m.Listen.Value == "" && !t.On() && m.WebSocket.Listen.Value == "" {
		v.missing(m.Pos, `set mqtt.listen, e.g. ":1883"`, "mqtt has no listener")
	}
}

func (v *validator) limits() {
	l := &v.c.MQTT.Limits
	const p = "mqtt.limits."
	v.size(l.Section, "max_packet", p+"max_packet", l.MaxPacket, 1*strict.KiB, maxPacket)
	v.number(l.Section, "max_connections", p+"max_connections", l.MaxConnections, 1, 10_000_000)
	v.number(l.Section, "connections_per_address", p+"connections_per_address", l.ConnectionsPerAddress, 0, 10_000_000)
	v.number(l.Section, "max_inflight", p+"max_inflight", l.MaxInflight, 1, 65535)
	v.number(l.Section, "receive_maximum", p+"receive_maximum", l.ReceiveMaximum, 1, 65535)
	v.duration(l.Section, "keepalive_max", p+"keepalive_max", l.KeepaliveMax, time.Second, 65535*time.Second)
	v.duration(l.Section, "connect_timeout", p+"connect_timeout", l.ConnectTimeout, 100*time.Millisecond, 10*time.Minute)
	v.size(l.Section, "write_buffer", p+"write_buffer", l.WriteBuffer, max(4*l.MaxPacket, 4*strict.KiB), 1*strict.GiB)
	v.duration(l.Section, "write_timeout", p+"write_timeout", l.WriteTimeout, 100*time.Millisecond, 10*time.Minute)
	v.duration(l.Section, "session_expiry", p+"session_expiry", l.SessionExpiry, 0, 4294967294*time.Second)
	v.number(l.Section, "topic_alias_maximum", p+"topic_alias_maximum", l.TopicAliasMaximum, 0, 65535)
	v.number(l.Section, "publish_rate", p+"publish_rate", l.PublishRate, 0, 10_000_000)
	v.number(l.Section, "accept_rate", p+"accept_rate", l.AcceptRate, 0, 10_000_000)
	v.number(l.Section, "retained_messages", p+"retained_messages", l.RetainedMessages, 0, 1<<31-1)
	v.number(l.Section, "subscriptions", p+"subscriptions", l.Subscriptions, 1, 1<<31-1)
	v.number(l.Section, "pending_writes", p+"pending_writes", l.PendingWrites, 1, 1<<20)
	v.size(l.Section, "max_connect", p+"max_connect", l.MaxConnect, 128, 1*strict.MiB)
}

// listeners reports an address that two listeners have.
func (v *validator) listeners() {
	c := v.c
	type listener struct {
		name, addr string
		at         strict.Pos
	}
	all := []listener{{"mqtt.listen", c.MQTT.Listen.Value, c.MQTT.At("listen")}}
	if c.MQTT.TLS.On() {
		all = append(all, listener{"mqtt.tls.listen", c.MQTT.TLS.Listen.Value, c.MQTT.TLS.At("listen")})
	}
	all = append(all, listener{"mqtt.websocket.listen", c.MQTT.WebSocket.Listen.Value, c.MQTT.WebSocket.At("listen")},
		listener{"http.listen", c.HTTP.Listen.Value, c.HTTP.At("listen")})
	for i, a := range all {
		for _, b := range all[:i] {
			if sameAddress(a.addr, b.addr) {
				v.bad(a.at, "give each listener its own port", "%s: %q is the address of %s too", a.name, a.addr, b.name)
			}
		}
	}
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return err == nil && host == "localhost"
}

func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	anyHost := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return hostA == hostB || anyHost(hostA) || anyHost(hostB)
}

func (v *validator) rules() {
	for i, g := range v.c.Rules {
		if g.Value == "" {
			v.bad(g.Pos, `e.g. "rules/*.yaml"`, "rules[%d] is empty", i)
			continue
		}
		switch names, err := v.c.glob(g.Value); {
		case err != nil:
			v.bad(g.Pos, `* stands for any name, ? for a letter, [a-z] for one of a range`, "rules: %q is not a pattern of file names: %v", g.Value, err)
		case len(names) == 0 && plainFile(g.Value):
			v.bad(g.Pos, "names are relative to the folder "+filepath.Dir(v.c.File), "rules: there is no file %q", g.Value)
		case len(names) == 0:
			v.warn(g.Pos, "names are relative to the folder "+filepath.Dir(v.c.File), "rules: no file matches %q", g.Value)
		}
	}
}

// plainFile reports whether an entry of rules names one file: what has no
// wildcard must be there.
func plainFile(glob string) bool { return !strings.ContainsAny(glob, `*?[\`) }

// address checks a listen address; "" means no listener.
func (v *validator) address(s Section, key, name string, addr strict.String) {
	if addr.Value == "" {
		return
	}
	const hint = `write ":1883" for every interface, "127.0.0.1:1883" for one, "" for none`
	host, port, err := net.SplitHostPort(addr.Value)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || strings.ContainsAny(host, " /@") || strconv.FormatUint(n, 10) != port {
		v.bad(s.At(key), hint, "%s: %q is not an address to listen on", name, addr.Value)
	}
}

// number checks lo <= n <= hi.
func (v *validator) number(s Section, key, name string, n, lo, hi int) {
	if n < lo || n > hi {
		v.bad(s.At(key), fmt.Sprintf("from %d to %d", lo, hi), "%s: %d is out of range", name, n)
	}
}

// duration checks lo <= d <= hi; a hi of 0 is no limit.
func (v *validator) duration(s Section, key, name string, d, lo, hi time.Duration) {
	switch {
	case hi > 0 && (d < lo || d > hi):
		v.bad(s.At(key), fmt.Sprintf("from %v to %v", lo, hi), "%s: %v is out of range", name, d)
	case d < lo:
		v.bad(s.At(key), fmt.Sprintf("%v or more", lo), "%s: %v is out of range", name, d)
	}
}

// size checks lo <= n <= hi.
func (v *validator) size(s Section, key, name string, n, lo, hi strict.Size) {
	if n < lo || n > hi {
		v.bad(s.At(key), fmt.Sprintf("from %v to %v", lo, hi), "%s: %v is out of range", name, n)
	}
}

// oneOf checks a text with a closed set of values.
func (v *validator) oneOf(s Section, key, name string, got strict.String, want ...string) {
	if slices.Contains(want, got.Value) {
		return
	}
	hint := "one of " + strings.Join(want, ", ")
	if near := strict.Suggest(got.Value, want); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	v.bad(s.At(key), hint, "%s: unknown value %q", name, got.Value)
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)
