package broker

import (
	"sync/atomic"
	"time"
)

// flow counts the messages that mochi queues for a client and those it has
// written. The queue is first in first out, so a message that was the n-th to
// be queued is out when n are written.
type flow struct {
	in      atomic.Int64  // queued, or about to be
	out     atomic.Int64  // written
	writing atomic.Bool   // one of them is being encoded and written
	blocked atomic.Bool   // mochi's writer waits for the client
	stalled atomic.Int64  // 1 + out when a publisher last waited in vain; 0: never
	sent    chan struct{} // capacity 1: one of them was written
	acks    atomic.Uint64 // acknowledgements from the client
}

const dupFlag = 0x08 // of a PUBLISH: it was sent before, and not through the queue

func newFlow() flow { return flow{sent: make(chan struct{}, 1)} }

// reserve counts a message that mochi is about to queue for the client. mochi
// drops what the queue can't hold, whatever its QoS; so whoever publishes is
// held back here while the queue is being drained. A client that makes no
// progress holds it back once, briefly: until it moves again, what does not fit
// is dropped, and counted.
func (c *conn) reserve() {
	f := &c.flow
	n := f.in.Add(1)
	limit := int64(c.b.cfg.Limits.PendingWrites) * 3 / 4
	if n-f.out.Load() < limit || limit == 0 || c.windowFull() || f.stalled.Load() == 1+f.out.Load() {
		return
	}
	if c.lookAway() {
		defer c.look()
	}
	c.await(queuePatience, func() bool { return f.in.Load()-f.out.Load() < limit || c.w.full(0) })
}

// look keeps mochi from retaining messages while it looks for those that a new
// subscription of the client is to get: it reads the places of its tree without
// a lock. Nothing is kept back while somebody waits for the client.
func (c *conn) look() {
	c.looking.Lock()
	defer c.looking.Unlock()
	if !c.looks && c.retaining.Load() {
		c.b.retained.RLock()
		c.looks = true
	}
}

// lookAway ends what look began. It reports whether there was anything to end.
func (c *conn) lookAway() bool {
	c.looking.Lock()
	defer c.looking.Unlock()
	was := c.looks
	if c.looks = false; was {
		c.b.retained.RUnlock()
	}
	return was
}

// await waits until ok, or until for patience nothing was written, or the
// connection ends. It reports whether ok.
func (c *conn) await(patience time.Duration, ok func() bool) bool {
	f := &c.flow
	t := time.NewTimer(patience)
	defer t.Stop()
	for !ok() {
		if c.closing.Load() {
			return false
		}
		out := f.out.Load()
		select {
		case <-f.sent:
			if f.out.Load() != out {
				t.Reset(patience)
			}
		case <-c.done:
			return false
		case <-t.C:
			if f.out.Load() != out {
				t.Reset(patience)
				continue
			}
			if !f.blocked.Load() {
				f.in.Store(out) // some of those counted were never queued
				return false
			}
			f.stalled.Store(1 + out)
			return false
		}
	}
	return true
}

// begin notes that mochi's writer works on a message.
func (f *flow) begin() {
	if f.writing.Swap(true) {
		f.in.Add(-1) // the one before did not get out: it was too large for the client
	}
}

// wrote notes that mochi has written whole packets, several at a time where
// more wait.
func (f *flow) wrote(b []byte) {
	n := int64(0)
	for len(b) > 1 {
		_, total, err := frameLength(b)
		if err != nil || total == 0 || total > len(b) {
			break
		}
		if b[0]>>4 == typePublish>>4 && b[0]&dupFlag == 0 {
			n++
		}
		b = b[total:]
	}
	if n == 0 {
		return
	}
	out := f.out.Add(n)
	for in := f.in.Load(); in < out && !f.in.CompareAndSwap(in, out); in = f.in.Load() {
	}
	select {
	case f.sent <- struct{}{}:
	default:
	}
}

// windowFull reports whether mochi queues nothing more for the client that it
// would have to acknowledge.
func (c *conn) windowFull() bool {
	return c.cl.State.Inflight.Len() >= c.b.cfg.Limits.MaxInflight
}

// caughtUp waits until what mochi has queued for the targets so far is
// written. It reports whether it is: one that doesn't get on is not waited for.
func (f *fanout) caughtUp() bool {
	for i := range f.targets {
		c := f.targets[i].c
		fl := &c.flow
		until := fl.in.Load()
		if fl.out.Load() >= until || c.closing.Load() {
			continue
		}
		if fl.stalled.Load() == 1+fl.out.Load() {
			return false
		}
		end := time.Now().Add(queuePatience)
		written := func() bool { return fl.out.Load() >= min(until, fl.in.Load()) }
		if !c.await(queuePatience, func() bool { return written() || time.Now().After(end) }) || !written() {
			return c.closing.Load()
		}
	}
	return true
}

// watchSlow ends connections whose clients acknowledge nothing although as many
// messages are on their way to them as may be. The socket does not show it:
// those messages may all fit into its buffers.
func (b *Broker) watchSlow() {
	limit := b.cfg.Limits.WriteTimeout
	t := time.NewTicker(min(max(limit/8, 10*time.Millisecond), time.Second))
	defer t.Stop()
	type seen struct {
		since time.Time
		acks  uint64
	}
	full := map[*conn]seen{}
	for {
		var now time.Time
		select {
		case now = <-t.C:
		case <-b.ctx.Done():
			return
		}
		b.mu.Lock()
		clients := make([]*conn, 0, len(b.clients))
		for c := range b.clients {
			clients = append(clients, c)
		}
		b.mu.Unlock()
		next := map[*conn]seen{}
		for _, c := range clients {
			if c.closing.Load() || !c.windowFull() && !c.gate.full() {
				continue
			}
			s, ok := full[c]
			if acks := c.flow.acks.Load(); !ok || s.acks != acks {
				s = seen{since: now, acks: acks}
			}
			if now.Sub(s.since) < limit {
				next[c] = s
				continue
			}
			c.tooSlow("no acknowledgement for mqtt.limits.write_timeout, and its window is full")
			c.disconnect(0x97)
			c.cl.Stop(errSlow)
		}
		full = next
	}
}
