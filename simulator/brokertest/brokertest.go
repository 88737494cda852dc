// Package brokertest runs a stock MQTT broker inside a test: one that lets
// everyone in, remembers what was published, and can go away and come back on
// the same port.
package brokertest

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir/test/port"
)

// Message is a publish that the broker took.
type Message struct {
	Topic   string
	Payload string
	QoS     byte
	Retain  bool
	Dup     bool
	Client  string
}

// Broker is a broker on a port of 127.0.0.1. It stops when its test ends.
type Broker struct {
	tb   testing.TB
	addr string // host:port, the same after every Start

	mu       sync.Mutex // guards what follows
	server   *mqtt.Server
	gate     *gate
	messages []Message
	tap      func(Message)
	poison   string
}

// Start runs a broker on a port that is still its own when it comes back: no
// other broker can be taken for it meanwhile.
func Start(tb testing.TB) *Broker {
	tb.Helper()
	b := &Broker{tb: tb, addr: port.Free(tb)}
	b.Start()
	tb.Cleanup(b.Stop)
	return b
}

// Start runs the broker, with no memory of sessions, after a Stop.
func (b *Broker) Start() {
	b.tb.Helper()
	capabilities := mqtt.NewDefaultServerCapabilities()
	capabilities.MaximumInflight = 65535
	capabilities.ReceiveMaximum = 8192
	server := mqtt.New(&mqtt.Options{
		InlineClient: true, Capabilities: capabilities,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err := server.AddHook(&recorder{broker: b}, nil); err != nil {
		b.tb.Fatalf("start test broker: %v", err)
	}
	listener := serve(b.tb, server, b.addr)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.server, b.gate, b.addr = server, listener, listener.Address()
}

// Serve lets everyone in to a broker that a test has made, which stops when the
// test ends, and returns its address. Use it for every broker of the library: its
// Close races with clients that connect meanwhile.
func Serve(tb testing.TB, server *mqtt.Server) string {
	tb.Helper()
	gate := serve(tb, server, "127.0.0.1:0")
	tb.Cleanup(func() { stop(server, gate) })
	return gate.Address()
}

func serve(tb testing.TB, server *mqtt.Server, addr string) *gate {
	tb.Helper()
	gate, err := newGate(addr)
	if err != nil {
		tb.Fatalf("start test broker: %v", err)
	}
	for _, err := range []error{server.AddHook(new(auth.AllowHook), nil), server.AddListener(gate), server.Serve()} {
		if err != nil {
			tb.Fatalf("start test broker on %s: %v", addr, err)
		}
	}
	return gate
}

func stop(server *mqtt.Server, gate *gate) {
	gate.shut()
	server.Close()
}

// Stop cuts every connection and closes the port. Stopping twice is fine.
func (b *Broker) Stop() {
	b.mu.Lock()
	server, gate := b.server, b.gate
	b.server, b.gate = nil, nil
	b.mu.Unlock()
	if server != nil {
		stop(server, gate)
	}
}

// Drop cuts every connection but keeps serving, sessions and all.
func (b *Broker) Drop() {
	b.mu.Lock()
	gate := b.gate
	b.mu.Unlock()
	if gate != nil {
		gate.cut()
	}
}

// URL is where clients connect to.
func (b *Broker) URL() string { return "tcp://" + b.addr }

// Messages are the publishes that were taken so far, in order.
func (b *Broker) Messages() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.messages)
}

// Count is the number of publishes taken so far.
func (b *Broker) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.messages)
}

// OnMessage makes the broker call tap with each publish, before it is
// acknowledged.
func (b *Broker) OnMessage(tap func(Message)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tap = tap
}

// Poison makes a publish to a topic that begins with prefix break the
// connection that it came on, untaken.
func (b *Broker) Poison(prefix string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.poison = prefix
}

// Publish publishes as the broker itself.
func (b *Broker) Publish(topic, payload string) {
	b.tb.Helper()
	b.mu.Lock()
	server := b.server
	b.mu.Unlock()
	if err := server.Publish(topic, []byte(payload), false, 1); err != nil {
		b.tb.Fatalf("publish to %s: %v", topic, err)
	}
}

// Connected reports whether a client with this id has a connection.
func (b *Broker) Connected(id string) bool {
	b.mu.Lock()
	server := b.server
	b.mu.Unlock()
	if server == nil {
		return false
	}
	client, ok := server.Clients.Get(id)
	return ok && !client.Closed()
}

// recorder is the hook that feeds messages.
type recorder struct {
	mqtt.HookBase
	broker *Broker
}

func (r *recorder) ID() string { return "recorder" }

func (r *recorder) Provides(b byte) bool {
	return bytes.Contains([]byte{mqtt.OnPublish, mqtt.OnWillSent}, []byte{b})
}

func (r *recorder) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	r.broker.mu.Lock()
	poison := r.broker.poison
	r.broker.mu.Unlock()
	if poison != "" && strings.HasPrefix(pk.TopicName, poison) {
		cl.Net.Conn.Close()
		return pk, packets.ErrRejectPacket
	}
	r.record(cl, pk)
	return pk, nil
}

func (r *recorder) OnWillSent(cl *mqtt.Client, pk packets.Packet) { r.record(cl, pk) }

func (r *recorder) record(cl *mqtt.Client, pk packets.Packet) {
	m := Message{Topic: pk.TopicName, Payload: string(pk.Payload), QoS: pk.FixedHeader.Qos, Retain: pk.FixedHeader.Retain, Dup: pk.FixedHeader.Dup, Client: cl.ID}
	r.broker.mu.Lock()
	r.broker.messages = append(r.broker.messages, m)
	tap := r.broker.tap
	r.broker.mu.Unlock()
	if tap != nil {
		tap(m)
	}
}
