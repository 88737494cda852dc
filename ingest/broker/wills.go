package broker

import (
	"container/heap"
	"context"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir/ingest/broker/access"
	"weir/ingest/eventlog"
)

// will is what a client wants to be published when its connection ends other
// than by a DISCONNECT that says that all is well.
type will struct {
	client  string
	v5      bool
	rights  *access.Principal // that the client connected with
	topic   string
	payload []byte
	props   packets.Properties
	qos     byte
	retain  bool

	// Guarded by wills.mu.
	delay time.Duration // from the end of the connection, at most to the end of the session
	due   time.Time     // zero: the connection lasts
	at    int           // index in wills.queue, -1: not there
	sent  chan struct{} // not nil: it was handed out to be published; closed when it is, or given back
}

// wills are the wills of the clients that are connected, and of those that are
// gone and may still come back in time. mochi is shown none: it would hold a
// delayed will by client id and, once it is sent, take the will of whatever
// connection has that id by then. It also forgets the will of a connection that
// was closed while it worked on a packet of it.
//
// A will leaves by one hand: whoever is handed it publishes it, and a new
// connection of the client waits for that, so that what the client says next
// comes after it.
type wills struct {
	mu    sync.Mutex
	of    map[string]*will // by client id, of its last connection
	queue dueFirst         // those whose connection has ended and which nobody was handed
	wake  chan struct{}    // capacity 1: the head of queue has changed
}

func newWills() *wills {
	return &wills{of: map[string]*will{}, wake: make(chan struct{}, 1)}
}

// newWill returns the will in a CONNECT, nil if there is none.
func (b *Broker) newWill(cl *mqtt.Client, pk packets.Packet, rights *access.Principal) *will {
	if !pk.Connect.WillFlag {
		return nil
	}
	p := &pk.Connect.WillProperties
	w := &will{
		client: cl.ID, v5: cl.Properties.ProtocolVersion == 5, rights: rights, at: -1,
		topic: pk.Connect.WillTopic, payload: pk.Connect.WillPayload, qos: pk.Connect.WillQos, retain: pk.Connect.WillRetain,
		props: packets.Properties{
			PayloadFormat: p.PayloadFormat, PayloadFormatFlag: p.PayloadFormatFlag, MessageExpiryInterval: p.MessageExpiryInterval,
			ContentType: p.ContentType, ResponseTopic: p.ResponseTopic, CorrelationData: p.CorrelationData, User: p.User,
		},
	}
	if w.v5 { // the session ends with the connection where CONNECT does not say otherwise
		expiry := min(seconds(cl.Properties.Props.SessionExpiryInterval), b.cfg.Limits.SessionExpiry)
		w.delay = min(seconds(p.WillDelayInterval), expiry)
	}
	return w
}

func seconds(n uint32) time.Duration { return time.Duration(n) * time.Second }

// replace makes w, nil for none, the will of a client's new connection. The one
// before is dropped if the connection takes up its session in time
// [MQTT-3.1.3-9]. Otherwise nothing is done, and the caller is to publish old,
// or to wait until sent is closed, and to try again.
func (ws *wills) replace(id string, w *will, clean bool, now time.Time) (old *will, sent <-chan struct{}) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if old := ws.of[id]; old != nil {
		if old.sent != nil {
			return nil, old.sent
		}
		if clean || old.delay == 0 || !old.due.IsZero() && !now.Before(old.due) {
			return ws.handOutLocked(old), nil
		}
		ws.removeLocked(old)
	}
	if w != nil {
		ws.of[id] = w
	}
	return nil, nil
}

// end is called when a will's connection has ended. It returns the will if it
// is to be published now. expiry is how long the session lasts.
func (ws *wills) end(w *will, expiry time.Duration, now time.Time) *will {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of[w.client] != w || w.sent != nil || !w.due.IsZero() {
		return nil // another connection has seen to it
	}
	if w.delay = min(w.delay, expiry); w.delay == 0 {
		return ws.handOutLocked(w)
	}
	ws.queueLocked(w, now.Add(w.delay))
	return nil
}

// drop forgets a will that nobody was handed.
func (ws *wills) drop(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.of[w.client] == w && w.sent == nil {
		ws.removeLocked(w)
	}
}

// next returns a will that is due, or how long there will be none.
func (ws *wills) next(now time.Time) (*will, time.Duration) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.queue) == 0 {
		return nil, time.Hour
	}
	if left := ws.queue[0].due.Sub(now); left > 0 {
		return nil, left
	}
	return ws.handOutLocked(ws.queue[0]), 0
}

// published ends what handing a will out began.
func (ws *wills) published(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.removeLocked(w)
	close(w.sent)
}

// giveBack takes a will back that could not be published. It is due now.
func (ws *wills) giveBack(w *will, now time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	close(w.sent)
	w.sent = nil
	ws.queueLocked(w, now)
}

// waiting returns the wills of clients that are gone.
func (ws *wills) waiting() []*will {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return append([]*will(nil), ws.queue...)
}

func (ws *wills) queueLocked(w *will, due time.Time) {
	w.due = due
	heap.Push(&ws.queue, w)
	if w.at == 0 {
		select {
		case ws.wake <- struct{}{}:
		default:
		}
	}
}

func (ws *wills) handOutLocked(w *will) *will {
	if w.at >= 0 {
		heap.Remove(&ws.queue, w.at)
	}
	w.sent = make(chan struct{})
	return w
}

func (ws *wills) removeLocked(w *will) {
	if w.at >= 0 {
		heap.Remove(&ws.queue, w.at)
	}
	delete(ws.of, w.client)
}

// dueFirst is a heap: the will that is due next comes first.
type dueFirst []*will

func (q dueFirst) Len() int           { return len(q) }
func (q dueFirst) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q dueFirst) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}

func (q *dueFirst) Push(x any) {
	w := x.(*will)
	w.at = len(*q)
	*q = append(*q, w)
}

func (q *dueFirst) Pop() any {
	last := len(*q) - 1
	w := (*q)[last]
	(*q)[last] = nil
	*q, w.at = (*q)[:last], -1
	return w
}

// takeUpWill gives a new connection its will. What the client's connection
// before has left to be published is published first. It returns an error if
// the log does not take that in time.
func (b *Broker) takeUpWill(c *conn, id string, clean bool) error {
	ctx, cancel := context.WithTimeout(c, b.cfg.Limits.ConnectTimeout)
	defer cancel()
	for {
		old, sent := b.wills.replace(id, c.will, clean, time.Now())
		switch {
		case old != nil:
			if cl, ok := b.server.Clients.Get(id); ok { // it ends first; mochi would do so next
				_ = b.server.DisconnectClient(cl, packets.ErrSessionTakenOver)
			}
			if err := b.sendWill(ctx, old); err != nil {
				return err
			}
		case sent != nil:
			select {
			case <-sent:
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return nil
		}
	}
}

// endWill sees to the will of a connection that has ended. It may be called twice.
func (b *Broker) endWill(c *conn) {
	if c.will == nil {
		return
	}
	if c.goodbye { // [MQTT-3.1.2-10]
		b.wills.drop(c.will)
		return
	}
	if w := b.wills.end(c.will, seconds(c.cl.Properties.Props.SessionExpiryInterval), time.Now()); w != nil {
		_ = b.sendWill(b.ctx, w)
	}
}

// sendWills publishes delayed wills when they are due, until the broker closes.
func (b *Broker) sendWills() {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-b.wills.wake:
		case <-b.ctx.Done():
			return
		}
		w, left := b.wills.next(time.Now())
		for ; w != nil && b.ctx.Err() == nil; w, left = b.wills.next(time.Now()) {
			_ = b.sendWill(b.ctx, w)
		}
		t.Reset(left)
	}
}

// sendWill publishes a will that was handed out: into the log if its topic is a
// source's, and to subscribers. If ctx ends before the log takes it, it is given
// back, and the error returned; unless the broker is stopping.
func (b *Broker) sendWill(ctx context.Context, w *will) error {
	if route := b.deps.Route(w.topic); route.Logged {
		rec := eventlog.AppendPublish(nil, b.deps.Now(), w.topic, w.payload, w.client, w.qos, w.retain)
		_, err := b.deps.Partitions[route.Partition].Ring.Append(ctx, rec, 1)
		switch {
		case err == nil:
			b.stats.Logged.Add(1)
		case ctx.Err() != nil && b.ctx.Err() == nil:
			b.wills.giveBack(w, time.Now())
			return err
		default:
			b.log.Warn("will not logged", "client", w.client, "topic", w.topic, "err", err)
		}
	}
	defer b.wills.published(w)
	b.stats.Wills.Add(1)
	retain := w.retain && (len(w.payload) == 0 || b.mayRetain(w.topic))
	if w.retain && !retain {
		b.stats.RetainedRefused.Add(1)
	}
	// An inline client: its rights were looked at when it connected, and its id
	// is what No Local goes by.
	from := b.server.NewClient(nil, "wills", w.client, true)
	if from.Properties.ProtocolVersion = 4; w.v5 {
		from.Properties.ProtocolVersion = 5 // mochi lets no other messages expire
	}
	return b.server.InjectPacket(from, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: w.qos, Retain: retain},
		TopicName:   w.topic, Payload: w.payload, Properties: w.props,
		PacketID: uint16(w.qos), // mochi wants one above QoS 0, whatever it is
	})
}

// reviewWills drops the wills of absent clients that could not connect any
// more, or have lost the right to the topic.
func (b *Broker) reviewWills() {
	for _, w := range b.wills.waiting() {
		if p := b.access.Again(w.rights); p == nil || !p.CanPublish(w.topic) {
			b.wills.drop(w)
		}
	}
}

// reportWills logs how many wills are lost with the memory.
func (b *Broker) reportWills() {
	if n := len(b.wills.waiting()); n > 0 {
		b.log.Warn("delayed wills are lost: they are kept in memory only", "wills", n)
	}
}
