package broker

import (
	"net"
	"sync"
	"sync/atomic"

	"weir/ingest/eventlog"
)

// owed is an acknowledgement to come.
type owed struct {
	pos    uint64 // ring position that makes the message durable
	id     uint16
	part   uint16
	typ    byte // typePuback or typePubrec
	code   byte // reason code
	logged bool // the message is in the log; false: nothing to wait for
}

// session is what the broker knows of a client id's publishes: the acks owed,
// in the order of the PUBLISH packets, and the QoS 2 ids it has received. It
// outlives the connection.
type session struct {
	b      *Broker
	id     string
	user   string      // "": anonymous
	max    int         // how many acks may be owed
	idle   atomic.Bool // set by the sweep, cleared by use
	saved  atomic.Bool // it is in the store
	queued atomic.Bool // it is in the acker's queue

	wakers []eventlog.Waiter // one a partition, made at first use

	mu       sync.Mutex
	owner    *conn // the connection that publishes into it
	conn     *conn // where acks go: the owner once CONNACK is out, else nil
	v5       bool
	volatile bool // ends with its connection
	fifo     queue
	armed    bool                // a waker is registered for the head of fifo
	ghosts   map[uint16]owed     // owed to a dead connection: they answer the client's re-sending
	held     map[uint16]struct{} // QoS 2 ids between PUBREC and PUBREL
	out      []byte
	space    chan struct{} // not nil: closed when something leaves fifo or held
}

func newSession(b *Broker, id, user string) *session {
	return &session{b: b, id: id, user: user, max: b.cfg.Limits.ReceiveMaximum}
}

// adopt makes c the connection that the session belongs to. Acks that an
// earlier connection was owed are not sent to it unasked: its client may have
// lost its state and use the ids anew.
func (s *session) adopt(c *conn, v5, volatile bool) {
	s.mu.Lock()
	s.owner, s.conn, s.v5, s.volatile = c, nil, v5, volatile
	for s.fifo.len() > 0 {
		o := s.fifo.pop()
		if !o.logged {
			continue // a refusal: the client will be refused again
		}
		if s.ghosts == nil {
			s.ghosts = map[uint16]owed{}
		}
		s.ghosts[o.id] = o
	}
	s.mu.Unlock()
}

// attach lets acks out: CONNACK has been sent.
func (s *session) attach(c *conn) {
	s.mu.Lock()
	if s.owner == c {
		s.conn = c
	}
	s.armLocked()
}

// detach is called when c has ended.
func (s *session) detach(c *conn) {
	s.mu.Lock()
	if s.owner == c {
		s.conn = nil
	}
	s.mu.Unlock()
}

// countLocked is how much of the receive maximum is used. Before MQTT 5 there
// is none: what bounds the acks owed there is that the socket is not read, so
// ids that wait for a PUBREL, which is yet to be read, can't count.
func (s *session) countLocked() int {
	if s.v5 {
		return s.fifo.len() + len(s.held)
	}
	return s.fifo.len()
}

// room returns how many more acks may be owed.
func (s *session) room(c *conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.max-s.countLocked())
}

// waitRoom waits until another ack may be owed, or c is closed.
func (s *session) waitRoom(c *conn) error {
	for {
		s.mu.Lock()
		if s.countLocked() < s.max {
			s.mu.Unlock()
			return nil
		}
		if s.space == nil {
			s.space = make(chan struct{})
		}
		space := s.space
		s.mu.Unlock()
		s.b.stats.WindowWaits.Add(1)
		select {
		case <-space:
		case <-c.done:
			return net.ErrClosed
		}
	}
}

func (s *session) freedLocked() {
	if s.space != nil {
		close(s.space)
		s.space = nil
	}
}

// push queues acks of messages that are in the ring.
func (s *session) push(c *conn, os []owed) error {
	s.mu.Lock()
	if s.owner != c {
		s.mu.Unlock()
		return errTakenOver
	}
	for _, o := range os {
		if len(s.ghosts) > 0 {
			delete(s.ghosts, o.id) // the id is used anew
		}
		s.fifo.push(o)
	}
	s.armLocked()
	return nil
}

// armLocked asks to be woken when the head of the queue is durable, and
// releases the lock: the answer may come at once.
func (s *session) armLocked() {
	if s.armed || s.fifo.len() == 0 || s.conn == nil {
		s.mu.Unlock()
		return
	}
	s.armed = true
	head := s.fifo.head()
	if s.wakers == nil {
		s.wakers = make([]eventlog.Waiter, len(s.b.deps.Partitions))
		for i := range s.wakers {
			s.wakers[i].Wake = s.wake
		}
	}
	s.mu.Unlock()
	if !head.logged {
		s.wake()
		return
	}
	s.b.deps.Partitions[head.part].Mark.Register(&s.wakers[head.part], head.pos)
}

// wake is called by a committer: it only queues the session for the acker.
func (s *session) wake() {
	if s.queued.CompareAndSwap(false, true) {
		s.b.acker.put(s)
	}
}

// flush sends every ack at the head of the queue whose message is durable, in
// one write.
func (s *session) flush() {
	s.mu.Lock()
	s.armed = false
	s.flushLocked()
	s.armLocked()
}

func (s *session) flushLocked() {
	out := s.out[:0]
	n := s.fifo.len()
	part, durable := -1, uint64(0)
	for s.fifo.len() > 0 {
		o := s.fifo.head()
		if o.logged {
			if int(o.part) != part {
				part = int(o.part)
				durable = s.b.deps.Partitions[part].Mark.Durable()
			}
			if o.pos > durable {
				break
			}
		}
		if s.conn == nil {
			break // kept: they answer the client when it sends again
		}
		s.fifo.pop()
		if o.typ == typePubrec && o.code < 0x80 {
			if s.held == nil {
				s.held = map[uint16]struct{}{}
			}
			s.held[o.id] = struct{}{}
		}
		if s.v5 && o.code != 0 {
			out = append(out, o.typ, 3, byte(o.id>>8), byte(o.id), o.code)
		} else {
			out = append(out, o.typ, 2, byte(o.id>>8), byte(o.id))
		}
	}
	if n -= s.fifo.len(); n > 0 {
		_, _ = s.conn.w.put(out) // an error of the socket shows at the reader
		s.b.stats.Acked.Add(uint64(n))
		atomic.AddInt64(&s.b.server.Info.PacketsSent, int64(n))
		atomic.AddInt64(&s.b.server.Info.BytesSent, int64(len(out)))
		s.freedLocked()
	}
	if cap(out) <= 4<<10 {
		s.out = out
	} else {
		s.out = nil
	}
}

// release handles a PUBREL.
func (s *session) release(c *conn, id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.owner != c {
		return
	}
	_, known := s.held[id]
	delete(s.held, id)
	s.freedLocked()
	ack := []byte{typePubcomp, 2, byte(id >> 8), byte(id)}
	if !known && s.v5 {
		ack = []byte{typePubcomp, 3, byte(id >> 8), byte(id), 0x92}
	}
	_, _ = c.w.put(ack)
}

// verdict is what becomes of a PUBLISH that came through mochi.
type verdict int

const (
	publish   verdict = iota // log it and pass it on, then call push
	duplicate                // its first copy answers it
	over                     // the receive maximum is exceeded
	waiting                  // MQTT 3.1.1 beyond the maximum: wait, ask again
)

// admit judges a PUBLISH with QoS 1 or 2. Anything but publish has been dealt with.
func (s *session) admit(c *conn, typ byte, id uint16, dup bool) (verdict, error) {
	s.mu.Lock()
	if s.owner != c {
		s.mu.Unlock()
		return duplicate, errTakenOver
	}
	if typ == typePubrec {
		if _, ok := s.held[id]; ok { // [MQTT-4.3.3-10]
			s.queueLocked(owed{id: id, typ: typ})
			return duplicate, nil
		}
	}
	if dup || typ == typePubrec {
		if s.fifo.has(id, typ) {
			s.mu.Unlock()
			return duplicate, nil
		}
		if o, ok := s.ghosts[id]; ok && o.typ == typ {
			delete(s.ghosts, id)
			s.queueLocked(o)
			return duplicate, nil
		}
	}
	if s.countLocked() >= s.max {
		v5 := s.v5
		s.mu.Unlock()
		if v5 {
			return over, nil
		}
		return waiting, nil
	}
	s.mu.Unlock()
	return publish, nil
}

// refuse queues a negative answer: it keeps its place among the acks
// [MQTT-4.6.0-2].
func (s *session) refuse(c *conn, typ byte, id uint16, code byte) {
	s.mu.Lock()
	if s.owner != c {
		s.mu.Unlock()
		return
	}
	s.queueLocked(owed{id: id, typ: typ, code: code})
}

// queueLocked appends to the queue, sends what can be sent, and releases the lock.
func (s *session) queueLocked(o owed) {
	s.fifo.push(o)
	s.flushLocked()
	s.armLocked()
}

// empty reports whether no ack is owed that is still to come.
func (s *session) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fifo.len() == 0 || s.conn == nil
}

// sweep gives back the memory of a session that was not used since the last sweep.
func (s *session) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fifo.len() > 0 {
		s.idle.Store(false)
		return
	}
	if s.idle.Swap(true) {
		s.fifo, s.out = queue{}, nil
		if len(s.held) == 0 {
			s.held = nil
		}
		if len(s.ghosts) == 0 {
			s.ghosts = nil
		}
	}
}

// queue is a growing first-in-first-out ring of owed acks.
type queue struct {
	buf  []owed // length is a power of two, or zero
	at   int    // index of the head
	size int
}

func (q *queue) len() int    { return q.size }
func (q *queue) head() *owed { return &q.buf[q.at] }

func (q *queue) push(o owed) {
	if q.size == len(q.buf) {
		grown := make([]owed, max(8, 2*len(q.buf)))
		n := copy(grown, q.buf[q.at:])
		copy(grown[n:], q.buf[:q.at])
		q.buf, q.at = grown, 0
	}
	q.buf[(q.at+q.size)&(len(q.buf)-1)] = o
	q.size++
}

func (q *queue) pop() owed {
	o := q.buf[q.at]
	q.at = (q.at + 1) & (len(q.buf) - 1)
	q.size--
	return o
}

func (q *queue) has(id uint16, typ byte) bool {
	for i := range q.size {
		if o := &q.buf[(q.at+i)&(len(q.buf)-1)]; o.id == id && o.typ == typ && o.code < 0x80 {
			return true
		}
	}
	return false
}
