package broker

import (
	"errors"
	"fmt"
	"sync"

	"weir/ingest/eventlog"
	"weir/ingest/ring"
)

const (
	batchBytes   = 256 << 10 // a partition's records are appended when they reach this
	batchRecords = 8 << 10   // less than ring.MaxRecords
	fanBytes     = 4 << 20   // deliveries are sent when they reach this

	// retryFan is how long deliveries are left to mochi when it didn't get its
	// queue for a subscriber written, in ns.
	retryFan = int64(1e9)
)

// batch collects the plain PUBLISH frames of one socket read. It is pooled:
// a reader holds one only while it works off what it has read.
type batch struct {
	c        *conn
	received int64 // of its next message, ns since the Unix epoch
	parts    []part
	owed     []owed // acks to come, in the order of the packets
	window   int    // how many more acks may be owed
	fan      deliveries
	logged   int
}

// part is what a batch holds for one partition.
type part struct {
	records []byte
	n       int
	pos     uint64
}

// apart is how far apart the messages of one read are said to be received, ns.
// It is less than the time that a message takes.
const apart = 50

func newBatches(partitions int) *sync.Pool {
	return &sync.Pool{New: func() any { return &batch{parts: make([]part, partitions)} }}
}

func (b *batch) begin(c *conn) {
	b.c, b.received = c, c.b.deps.Now()
	b.window = c.sess.room(c)
	b.logged = 0
}

// end gives the batch back to the pool.
func (b *batch) end() {
	pool := b.c.b.batches
	b.c = nil
	defer pool.Put(b)
	for i := range b.parts {
		if p := &b.parts[i]; cap(p.records) > 2*batchBytes {
			p.records = nil
		}
	}
}

// take adds a plain PUBLISH. It returns false when mochi is to have it: the
// topic is not a source's, or not allowed, or somebody subscribes to it, or
// the packet is faulty.
func (b *batch) take(f *plain) (bool, error) {
	c := b.c
	t := c.resolve(f)
	if t == nil || !t.fast {
		return false, nil
	}
	if t.fan != nil {
		if f.props || min(f.qos, t.fan.qos) > 0 || b.received < t.retryAt {
			return false, nil // a delivery that is mochi's
		}
		if t.behind {
			if ok, err := b.catchUp(t); err != nil || !ok {
				return false, err
			}
		}
	}
	if f.qos > 0 && len(b.owed) >= b.window {
		if err := b.commit(); err != nil {
			return false, err
		}
		if b.window = c.sess.room(c); b.window == 0 {
			if c.v5.Load() {
				return false, errReceiveMax
			}
			if err := c.sess.waitRoom(c); err != nil {
				return false, err
			}
			b.window = c.sess.room(c)
		}
	}
	p := &b.parts[t.part]
	p.records = eventlog.AppendPublish(p.records, b.received, t.topic, f.payload, c.cl.ID, f.qos, false)
	b.received += apart // rules over several partitions merge them by this: the client's order is kept
	p.n++
	b.logged++
	if f.qos > 0 {
		b.owed = append(b.owed, owed{id: f.id, part: uint16(t.part), typ: typePuback, logged: true})
	}
	if t.fan != nil {
		b.fan.add(c, t.fan, t.topic, f.payload)
	}
	if len(p.records) >= batchBytes || p.n >= batchRecords || b.fan.bytes >= fanBytes {
		return true, b.commit()
	}
	return true, nil
}

// catchUp waits until mochi has written what it queued for the subscribers of a
// topic, so that newer messages don't overtake older ones.
func (b *batch) catchUp(t *topicInfo) (bool, error) {
	if err := b.commit(); err != nil { // nobody waits for more than one wait
		return false, err
	}
	if !t.fan.caughtUp() {
		t.retryAt = b.received + retryFan
		return false, nil
	}
	t.behind = false
	return true, nil
}

// commit appends what was taken to the rings, waiting for space without any
// lock, and queues the acks.
func (b *batch) commit() error {
	c := b.c
	var err error
	for i := range b.parts {
		p := &b.parts[i]
		if p.n == 0 {
			continue
		}
		if err == nil {
			p.pos, err = c.b.append(c, i, p.records, p.n)
		}
		p.records, p.n = p.records[:0], 0
	}
	if err != nil {
		b.owed, b.logged = b.owed[:0], 0
		b.fan.reset()
		return err
	}
	for i := range b.owed {
		b.owed[i].pos = b.parts[b.owed[i].part].pos
	}
	c.b.stats.Logged.Add(uint64(b.logged))
	c.b.stats.Fast.Add(uint64(b.logged))
	b.logged = 0
	if len(b.owed) > 0 {
		err = c.sess.push(c, b.owed)
		b.owed = b.owed[:0]
	}
	b.fan.send(c.b)
	return err
}

// append puts encoded records into a partition's ring. It waits while the ring
// is full, until the connection is closed.
func (b *Broker) append(c *conn, partition int, records []byte, n int) (uint64, error) {
	pos, err := b.deps.Partitions[partition].Ring.Append(c, records, n)
	if err != nil {
		if errors.Is(err, ring.ErrClosed) {
			b.stats.LogClosed.Add(1)
		}
		return 0, fmt.Errorf("append to partition %d: %w", partition, err)
	}
	return pos, nil
}
