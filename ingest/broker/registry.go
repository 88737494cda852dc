package broker

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/mochi-mqtt/server/v2/system"

	"weir/ingest/broker/access"
)

const (
	sweepEvery    = 10 * time.Second
	queuePatience = time.Second
)

// session returns the session of a client id: the one that is there, or a new
// one if there is none, if the client wants to start clean, or if the old one
// ends with its connection.
func (b *Broker) session(id, user string, clean bool) *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[id]
	if s == nil || clean || s.ends() {
		old := s
		s = newSession(b, id, user)
		if old != nil && old.saved.Load() {
			s.saved.Store(true) // its stored form is still there
		}
		b.sessions[id] = s
	}
	return s
}

// owner returns the user whose session a client id has. Nobody else may take
// it over: it holds subscriptions and messages.
func (b *Broker) owner(id string) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.sessions[id]
	if !ok {
		return "", false
	}
	return s.user, true
}

func (s *session) ends() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.volatile
}

// forget ends the session of a client id, if it is c's.
func (b *Broker) forget(id string, c *conn) {
	b.mu.Lock()
	s := b.sessions[id]
	if s == nil || c != nil && c.sess != s {
		b.mu.Unlock()
		return
	}
	delete(b.sessions, id)
	b.mu.Unlock()
	b.dropSession(s)
}

func (b *Broker) register(c *conn) {
	b.mu.Lock()
	b.clients[c] = struct{}{}
	b.mu.Unlock()
}

func (b *Broker) unregister(c *conn) {
	b.mu.Lock()
	delete(b.clients, c)
	b.mu.Unlock()
}

// relist puts connected clients back into mochi's list. mochi deletes by id when
// a session has expired, or has ended with a connection that was taken over,
// and looks a moment earlier whose id it is: a client that has come back in that
// moment would get no messages until it connects again. mu is held, as a client
// that is not off our list has yet to leave mochi's.
func (b *Broker) relist() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.clients {
		if _, ok := b.server.Clients.Get(c.cl.ID); !ok && !c.cl.Closed() {
			b.server.Clients.Add(c.cl)
			b.Invalidate()
		}
	}
}

// sweep gives back memory that sessions no longer use.
func (b *Broker) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	var all []*session
	for {
		select {
		case <-t.C:
		case <-b.ctx.Done():
			return
		}
		b.mu.Lock()
		all = all[:0]
		for _, s := range b.sessions {
			all = append(all, s)
		}
		b.mu.Unlock()
		for i, s := range all {
			s.sweep()
			all[i] = nil
		}
	}
}

// offline returns the rights of a client that is not connected.
func (b *Broker) offline(cl *mqtt.Client) *access.Principal {
	return b.access.Offline(string(cl.Properties.Username), cl.ID)
}

// ownTopics are the topics whose retained messages are the broker's own: they
// don't count against the clients' limit.
type ownTopics struct {
	mu     sync.Mutex
	topics map[string]struct{}
	system int // topics below $SYS
}

// set notes whose retained message a topic has now.
func (o *ownTopics) set(topic string, own bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !own {
		delete(o.topics, topic)
		return
	}
	if o.topics == nil {
		o.topics = map[string]struct{}{}
	}
	o.topics[topic] = struct{}{}
}

func (o *ownTopics) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.topics) + o.system
}

// OnSysInfoTick runs when mochi has set its retained messages below $SYS,
// always the same ones: first while the broker starts, under its lock, and then
// every ten seconds, on the goroutine that ends expired sessions.
func (h *hook) OnSysInfoTick(*system.Info) {
	if h.b.own.systemKnown(h.b.server.Topics.Retained.GetAll) {
		h.b.relist()
	}
}

// systemKnown counts the topics below $SYS, and reports whether it did before.
func (o *ownTopics) systemKnown(retained func() map[string]packets.Packet) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.system > 0 {
		return true
	}
	for topic := range retained() {
		if strings.HasPrefix(topic, mqtt.SysPrefix+"/") {
			o.system++
		}
	}
	return false
}

func (b *Broker) mayRetain(topic string) bool {
	if b.server.Topics.Retained.Len()-b.own.count() < b.cfg.Limits.RetainedMessages {
		return true
	}
	_, have := b.server.Topics.Retained.Get(topic)
	return have
}

// busy reports whether the reader is working on what it has read.
func (c *conn) busy() bool {
	if c.closing.Load() {
		return false
	}
	return c.working.Load()
}

// redact is a slog handler that keeps packets out of the log: mochi logs whole
// ones, passwords included.
type redact struct{ slog.Handler }

func (h redact) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !secret(a.Key) {
			out.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, out)
}

// Enabled lowers mochi's levels: what a client does wrong is counted, not logged.
func (h redact) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l) || h.Handler.Enabled(ctx, slog.LevelDebug)
}

func (h redact) WithAttrs(as []slog.Attr) slog.Handler {
	keep := make([]slog.Attr, 0, len(as))
	for _, a := range as {
		if !secret(a.Key) {
			keep = append(keep, a)
		}
	}
	return redact{h.Handler.WithAttrs(keep)}
}

func (h redact) WithGroup(name string) slog.Handler { return redact{h.Handler.WithGroup(name)} }

func secret(key string) bool { return key == "packet" || key == "pk" || key == "will" }
