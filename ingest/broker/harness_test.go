package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
)

// mark is a durable position that a test moves.
type mark struct {
	mu      sync.Mutex
	pos     uint64
	waiters []*eventlog.Waiter
}

func (m *mark) Durable() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pos
}

func (m *mark) Register(w *eventlog.Waiter, pos uint64) {
	m.mu.Lock()
	if m.pos < pos {
		m.waiters = append(m.waiters, w)
		m.mu.Unlock()
		return
	}
	m.mu.Unlock()
	w.Wake()
}

func (m *mark) advance(pos uint64) {
	m.mu.Lock()
	m.pos = pos
	ws := m.waiters
	m.waiters = nil
	m.mu.Unlock()
	for _, w := range ws {
		w.Wake()
	}
}

// logRig is a partition whose committer the test owns: it collects what was
// appended, and commits only while it is not held.
type logRig struct {
	ring *ring.Ring
	mark *mark

	mu   sync.Mutex
	cond *sync.Cond
	held bool
	msgs []event.Message
	done chan struct{}
	keep bool
}

func newLogRig(size int, keep bool) *logRig {
	l := &logRig{ring: ring.New(size), mark: &mark{}, done: make(chan struct{}), keep: keep}
	l.cond = sync.NewCond(&l.mu)
	go l.commit()
	return l
}

func (l *logRig) commit() {
	defer close(l.done)
	for {
		s := l.ring.Next(256 << 10)
		if s.Chunks == 0 {
			if errors.Is(l.ring.Wait(context.Background()), ring.ErrClosed) {
				return
			}
			continue
		}
		l.mu.Lock()
		for l.held {
			l.cond.Wait()
		}
		if l.keep {
			b := event.NewBatch(nil)
			if err := eventlog.Parse(bytes.Clone(s.Bytes), b); err != nil {
				panic(err)
			}
			l.msgs = append(l.msgs, b.Messages...)
		}
		l.mu.Unlock()
		l.ring.Release(s.End)
		l.mark.advance(s.End)
	}
}

// hold stops commits, release lets them go on.
func (l *logRig) hold() { l.mu.Lock(); l.held = true; l.mu.Unlock() }
func (l *logRig) release() {
	l.mu.Lock()
	l.held = false
	l.mu.Unlock()
	l.cond.Broadcast()
}

func (l *logRig) messages() []event.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]event.Message(nil), l.msgs...)
}

// rig is a running broker whose source topics are those below "sensors/".
type rig struct {
	t    testing.TB
	b    *Broker
	logs []*logRig
	stop context.CancelFunc
	done chan error
}

type option func(*Config, *Deps)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func start(t testing.TB, opts ...option) *rig {
	t.Helper()
	cfg := Default()
	cfg.Listen, cfg.Anonymous = "127.0.0.1:0", true
	r := &rig{t: t, done: make(chan error, 1)}
	deps := Deps{Log: quiet()}
	for _, o := range opts {
		o(&cfg, &deps)
	}
	n := max(1, len(deps.Partitions))
	deps.Partitions = nil
	for range n {
		l := newLogRig(8<<20, true)
		r.logs = append(r.logs, l)
		deps.Partitions = append(deps.Partitions, Partition{l.ring, l.mark})
	}
	if deps.Route == nil {
		deps.Route = func(topic string) Route {
			if !strings.HasPrefix(topic, "sensors/") {
				return Route{}
			}
			return Route{Partition: int(topic[len(topic)-1]) % n, Logged: true}
		}
	}
	b, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	r.b = b
	if err := b.Open(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	go func() { r.done <- b.Run(ctx) }()
	t.Cleanup(func() {
		for _, l := range r.logs {
			l.release()
		}
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("run: %v", err)
		}
		for _, l := range r.logs {
			l.ring.Close()
			<-l.done
		}
	})
	return r
}

func partitions(n int) option {
	return func(_ *Config, d *Deps) { d.Partitions = make([]Partition, n) }
}

func (r *rig) messages() (all []event.Message) {
	for _, l := range r.logs {
		all = append(all, l.messages()...)
	}
	return all
}

// patience bounds every wait for something that is to happen.
const patience = 60 * time.Second

// eventually polls until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("never came true: %s", what)
}

// client is a raw MQTT connection.
type client struct {
	t  testing.TB
	nc net.Conn
	v5 bool
	in []byte
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := net.Dial("tcp", r.b.Addr("tcp").String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { nc.Close() })
	return &client{t: r.t, nc: nc}
}

// str encodes an MQTT string.
func str(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

// frame encodes a packet.
func frame(first byte, body string) string {
	b := []byte{first}
	for n := len(body); ; {
		d := byte(n & 0x7f)
		if n >>= 7; n > 0 {
			b = append(b, d|0x80)
			continue
		}
		b = append(b, d)
		break
	}
	return string(b) + body
}

func id16(id int) string { return string([]byte{byte(id >> 8), byte(id)}) }

// connectPacket encodes a CONNECT of MQTT 3.1.1 or, with v5, of MQTT 5.
func connectPacket(id string, clean, v5 bool, props string) string {
	flags := byte(0)
	if clean {
		flags = 2
	}
	if v5 {
		return frame(0x10, str("MQTT")+"\x05"+string([]byte{flags})+id16(60)+string([]byte{byte(len(props))})+props+str(id))
	}
	return frame(0x10, str("MQTT")+"\x04"+string([]byte{flags})+id16(60)+str(id))
}

func (c *client) send(b string) {
	c.t.Helper()
	if _, err := c.nc.Write([]byte(b)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

// recv returns the next packet, "" at the end of the connection.
func (c *client) recv() string {
	c.t.Helper()
	p, err := c.next()
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// next is recv for any goroutine.
func (c *client) next() (string, error) {
	buf := make([]byte, 64<<10)
	for {
		if _, n, err := frameLength(c.in); err != nil {
			return "", fmt.Errorf("broker sent a malformed frame: %x", c.in)
		} else if n > 0 && n <= len(c.in) {
			p := string(c.in[:n])
			c.in = c.in[n:]
			return p, nil
		}
		_ = c.nc.SetReadDeadline(time.Now().Add(patience))
		n, err := c.nc.Read(buf)
		c.in = append(c.in, buf[:n]...)
		if n == 0 && err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				return "", fmt.Errorf("nothing received for %v", patience)
			}
			return "", nil
		}
	}
}

// expect fails unless the next packet is want.
func (c *client) expect(what, want string) {
	c.t.Helper()
	if got := c.recv(); got != want {
		c.t.Fatalf("%s: got %x, want %x", what, got, want)
	}
}

// connect says CONNECT and checks CONNACK; it returns the client.
func (c *client) connect(id string, clean, v5 bool, props string) *client {
	c.t.Helper()
	c.v5 = v5
	c.send(connectPacket(id, clean, v5, props))
	if p := c.recv(); len(p) < 4 || p[0] != 0x20 || p[3] != 0 {
		c.t.Fatalf("CONNACK: got %x", p)
	}
	return c
}

// pub encodes a PUBLISH.
func (c *client) pub(topic, payload string, qos, id int) string {
	body := str(topic)
	if qos > 0 {
		body += id16(id)
	}
	if c.v5 {
		body += "\x00"
	}
	return frame(byte(0x30|qos<<1), body+payload)
}

// sub subscribes and checks SUBACK.
func (c *client) sub(filter string, qos int) {
	c.t.Helper()
	body := id16(9)
	if c.v5 {
		body += "\x00"
	}
	c.send(frame(0x82, body+str(filter)+string([]byte{byte(qos)})))
	p := c.recv()
	if p == "" || p[0] != 0x90 || p[len(p)-1] != byte(qos) {
		c.t.Fatalf("SUBACK: got %x", p)
	}
}

func ack(typ byte, id int) string { return string([]byte{typ, 2, byte(id >> 8), byte(id)}) }
