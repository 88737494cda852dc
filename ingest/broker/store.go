package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// Store keeps retained messages and the subscriptions of absent clients across
// restarts. It is written behind: nothing waits for it, and what was changed in
// the last moments before a crash may be missing.
type Store interface {
	// Save keeps a value under a key of any text, in place of the old one.
	Save(ctx context.Context, key string, value []byte) error
	// Delete removes a value, if it is there.
	Delete(ctx context.Context, key string) error
	// Load calls each with everything that is kept, in no order.
	Load(ctx context.Context, each func(key string, value []byte) error) error
}

const (
	retainedKey  = "retained/"
	sessionKey   = "session/"
	maxPending   = 100_000 // keys that wait to be written
	storeWriters = 4
	storeFlush   = 5 * time.Second // how long Close gives the rest
)

// pending are the values that wait to be written, the last of each key.
type pending struct {
	mu    sync.Mutex
	todo  map[string][]byte // nil: delete
	order []string          // keys of todo, first come first
	busy  map[string]bool   // being written
	wake  chan struct{}     // capacity storeWriters
}

func newPending() *pending {
	return &pending{todo: map[string][]byte{}, busy: map[string]bool{}, wake: make(chan struct{}, storeWriters)}
}

// put queues a value. It returns false if there are too many.
func (p *pending) put(key string, value []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.todo[key]; !ok {
		if len(p.todo) >= maxPending {
			return false
		}
		p.order = append(p.order, key)
	}
	p.todo[key] = value
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns the next value that nobody else is writing the key of.
func (p *pending) take() (key string, value []byte, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, k := range p.order {
		if p.busy[k] {
			continue
		}
		p.order = append(p.order[:i], p.order[i+1:]...)
		value = p.todo[k]
		delete(p.todo, k)
		p.busy[k] = true
		return k, value, true
	}
	return "", nil, false
}

// done is called when a value is written, or is to be tried again.
func (p *pending) done(key string, value []byte, again bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.busy, key)
	if _, newer := p.todo[key]; again && !newer {
		p.todo[key] = value
		p.order = append(p.order, key)
	}
	if len(p.order) > 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// writeBehind writes what is pending until the broker closes, and then the rest.
func (b *Broker) writeBehind() {
	if b.deps.Store == nil {
		return
	}
	var wg sync.WaitGroup
	for range storeWriters {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b.writePending()
		}()
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), storeFlush)
	defer cancel()
	for ctx.Err() == nil {
		key, value, ok := b.pending.take()
		if !ok {
			return
		}
		if err := b.write(ctx, key, value); err != nil {
			b.log.Warn("not stored at shutdown", "key", key, "err", err)
		}
		b.pending.done(key, nil, false)
	}
}

// writePending is one writer. It ends with b.ctx.
func (b *Broker) writePending() {
	wait := time.Duration(0)
	for {
		key, value, ok := b.pending.take()
		if !ok {
			select {
			case <-b.pending.wake:
				continue
			case <-b.ctx.Done():
				return
			}
		}
		err := b.write(b.ctx, key, value)
		b.pending.done(key, value, err != nil)
		if err == nil {
			wait = 0
			continue
		}
		if b.ctx.Err() != nil {
			return
		}
		b.stats.StoreErrors.Add(1)
		if wait == 0 {
			b.log.Warn("retained message or session not stored, trying again", "key", key, "err", err)
		}
		wait = min(max(2*wait, 100*time.Millisecond), 10*time.Second)
		select {
		case <-time.After(wait):
		case <-b.ctx.Done():
			return
		}
	}
}

func (b *Broker) write(ctx context.Context, key string, value []byte) error {
	if value == nil {
		return b.deps.Store.Delete(ctx, key)
	}
	return b.deps.Store.Save(ctx, key, value)
}

// later queues a value to be stored as JSON; nil deletes it.
func (b *Broker) later(key string, v any) {
	var value []byte
	if v != nil {
		value, _ = json.Marshal(v) // of plain structs: never fails
	}
	if !b.pending.put(key, value) {
		b.stats.StoreDropped.Add(1)
	}
}

// storedMessage is a retained message. The names are part of the store's format.
type storedMessage struct {
	Payload     []byte                 `json:"payload"`
	QoS         byte                   `json:"qos,omitempty"`
	Version     byte                   `json:"version"`
	Origin      string                 `json:"origin,omitempty"`
	Created     int64                  `json:"created"`
	Expiry      int64                  `json:"expiry,omitempty"`
	ContentType string                 `json:"content_type,omitempty"`
	Response    string                 `json:"response_topic,omitempty"`
	Correlation []byte                 `json:"correlation,omitempty"`
	Format      *byte                  `json:"payload_format,omitempty"`
	User        []packets.UserProperty `json:"user,omitempty"`
}

// storedSession is an absent client's session.
type storedSession struct {
	User    string                 `json:"user,omitempty"`
	Version byte                   `json:"version"`
	Seen    int64                  `json:"seen"` // unix seconds
	Expiry  *uint32                `json:"expiry,omitempty"`
	Subs    []packets.Subscription `json:"subscriptions,omitempty"`
}

// saveRetained stores what mochi has retained, or removed.
func (b *Broker) saveRetained(pk packets.Packet) {
	if b.deps.Store == nil {
		return
	}
	if len(pk.Payload) == 0 {
		b.later(retainedKey+pk.TopicName, nil)
		return
	}
	p := &pk.Properties
	m := storedMessage{
		Payload: pk.Payload, QoS: pk.FixedHeader.Qos, Version: pk.ProtocolVersion, Origin: pk.Origin, Created: pk.Created, Expiry: pk.Expiry,
		ContentType: p.ContentType, Response: p.ResponseTopic, Correlation: p.CorrelationData, User: p.User,
	}
	if p.PayloadFormatFlag {
		m.Format = &p.PayloadFormat
	}
	b.later(retainedKey+pk.TopicName, m)
}

func (b *Broker) dropRetained(topic string) {
	if b.deps.Store != nil {
		b.later(retainedKey+topic, nil)
	}
}

// saveSession stores a session that is to outlive its connection.
func (b *Broker) saveSession(cl *mqtt.Client) {
	// Inline is written by the goroutine of a client that has a connection, and
	// this may be another, which takes its session over.
	if b.deps.Store == nil || connOf(cl) == nil && cl.Net.Inline {
		return
	}
	b.mu.Lock()
	s := b.sessions[cl.ID]
	b.mu.Unlock()
	if s == nil || cl.IsTakenOver() {
		return
	}
	p := &cl.Properties
	keeps := p.ProtocolVersion == 5 && p.Props.SessionExpiryInterval > 0 || p.ProtocolVersion < 5 && !p.Clean
	if !keeps {
		if s.saved.Swap(false) {
			b.later(sessionKey+cl.ID, nil)
		}
		return
	}
	out := storedSession{User: s.user, Version: p.ProtocolVersion, Seen: time.Now().Unix()}
	if p.ProtocolVersion == 5 {
		out.Expiry = &p.Props.SessionExpiryInterval
	}
	for _, sub := range cl.State.Subscriptions.GetAll() {
		out.Subs = append(out.Subs, sub)
	}
	s.saved.Store(true)
	b.later(sessionKey+cl.ID, out)
}

func (b *Broker) dropSession(s *session) {
	if b.deps.Store != nil && s.saved.Swap(false) {
		b.later(sessionKey+s.id, nil)
	}
}

// restore takes what the store holds into the broker. A value that can't be
// read is reported and left alone.
func (b *Broker) restore(ctx context.Context) error {
	if b.deps.Store == nil {
		return nil
	}
	now := time.Now().Unix()
	err := b.deps.Store.Load(ctx, func(key string, value []byte) error {
		var err error
		if topic, ok := strings.CutPrefix(key, retainedKey); ok {
			err = b.restoreRetained(topic, value, now)
		} else if id, ok := strings.CutPrefix(key, sessionKey); ok {
			err = b.restoreSession(id, value, now)
		}
		if err != nil {
			b.log.Warn("stored value skipped", "key", key, "err", err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load retained messages and sessions: %w", err)
	}
	b.server.Info.Retained = int64(b.server.Topics.Retained.Len())
	return nil
}

func (b *Broker) restoreRetained(topic string, value []byte, now int64) error {
	var m storedMessage
	if err := json.Unmarshal(value, &m); err != nil {
		return err
	}
	if m.Expiry > 0 && m.Expiry <= now {
		b.dropRetained(topic)
		return nil
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: true, Qos: m.QoS}, TopicName: topic, Payload: m.Payload,
		ProtocolVersion: m.Version, Origin: m.Origin, Created: m.Created, Expiry: m.Expiry,
		Properties: packets.Properties{ContentType: m.ContentType, ResponseTopic: m.Response, CorrelationData: m.Correlation, User: m.User},
	}
	if m.Format != nil {
		pk.Properties.PayloadFormat, pk.Properties.PayloadFormatFlag = *m.Format, true
	}
	b.server.Topics.RetainMessage(pk)
	b.own.set(topic, m.Origin == mqtt.InlineClientId)
	return nil
}

func (b *Broker) restoreSession(id string, value []byte, now int64) error {
	var in storedSession
	if err := json.Unmarshal(value, &in); err != nil {
		return err
	}
	s := newSession(b, id, in.User)
	s.saved.Store(true)
	cl := b.server.NewClient(nil, "restored", id, false)
	cl.Properties.ProtocolVersion, cl.Properties.Username = in.Version, []byte(in.User)
	if in.Expiry != nil {
		left := *in.Expiry
		if away := now - in.Seen; left < 1<<32-1 && int64(left) <= away {
			b.dropSession(s)
			return nil
		} else if left < 1<<32-1 {
			left -= uint32(max(0, away))
		}
		cl.Properties.Props.SessionExpiryInterval, cl.Properties.Props.SessionExpiryIntervalFlag = left, true
	}
	cl.Stop(packets.ErrServerShuttingDown) // it is absent
	for _, sub := range in.Subs {
		if !validFilter(sub.Filter) {
			return fmt.Errorf("filter %q is not valid", sub.Filter)
		}
	}
	for _, sub := range in.Subs {
		cl.State.Subscriptions.Add(sub.Filter, sub)
		if b.server.Topics.Subscribe(id, sub) {
			b.server.Info.Subscriptions++
		}
	}
	b.server.Clients.Add(cl)
	b.sessions[id] = s // Open holds the lock
	return nil
}
