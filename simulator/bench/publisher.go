package bench

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"weir/simulator/hist"
	"weir/simulator/wire"
)

// plan is what all publishers of a run share: immutable once publishing
// starts, but for the counters' own synchronisation.
type plan struct {
	Config
	payloads *payloads
	epoch    time.Time               // the clock's zero: times below are since then
	start    time.Duration           // when publishing began
	ending   chan struct{}           // closed when Schedule.Duration is over
	abort    context.CancelCauseFunc // ends the run
	ackedMu  sync.Mutex              // guards writes to Config.Acked
}

// clock is the time since the run's epoch: one monotonic reading, no dates.
func (r *plan) clock() time.Duration { return time.Since(r.epoch) }

// The states of a slot.
const (
	waiting  uint8 = iota // published, no answer yet
	received              // QoS 2: PUBREC came
	finished
)

// slot is one message in flight.
type slot struct {
	due   time.Duration // since the epoch; latency counts from here
	ts    int64         // of the payload, so that it can be sent again as it was
	state uint8
}

// publisher is one connection's half of a run; see the package comment for
// who owns a slot when.
type publisher struct {
	run     *plan
	number  int
	quota   uint64
	targets []target
	lag     int64  // units of time by which payloads lie in the past
	slots   []slot // length is a power of two
	ids     uint64 // packet identifiers in use: 1 to ids, a multiple of len(slots)

	group  uint64        // at a bounded rate: messages that are due together
	every  time.Duration // and how far apart such groups are
	window uint64        // set by connect, before the goroutines start
	in     []byte        // what was read and not parsed yet; the reader's

	w struct { // only the goroutine that writes
		next    uint64        // messages handed to the socket at least once
		end     uint64        // where to stop; quota until the duration is over
		ping    uint64        // PINGREQs sent
		last    time.Duration // when something was last written
		buf     []byte
		payload []byte
	}
	sent atomic.Uint64 // copy of w.next; writer stores, reader loads
	want atomic.Uint64 // writer: wake me when base gets there; 0: don't
	wake chan struct{} // capacity 1
	_    [64]byte

	base  atomic.Uint64 // every message before it is finished; reader stores (QoS 0: writer)
	acked atomic.Uint64 // reader stores
	pongs atomic.Uint64
	rel   struct {
		sync.Mutex
		ids []uint16 // PUBRELs to send
	}
	r struct { // only the goroutine that reads
		expect  uint64 // the message whose PUBACK or PUBREC should be next
		highest uint64 // one past the latest message acknowledged
		latency hist.Histogram
		log     []byte
	}
	stats counters
}

// counters are written by a publisher's goroutines and read by the monitor.
type counters struct {
	resent     atomic.Uint64
	refused    atomic.Uint64 // acknowledgements with a reason of 0x80 and above
	outOfOrder atomic.Uint64 // acknowledgements that came after one of a later message
	unexpected atomic.Uint64 // acknowledgements of nothing in flight
	reconnects atomic.Uint64
	connected  atomic.Bool
}

func newPublisher(r *plan, number int) *publisher {
	p := &publisher{run: r, number: number, quota: r.quota(number), targets: r.targets(number), wake: make(chan struct{}, 1)}
	size := uint64(1)
	for size < uint64(r.Schedule.Window) {
		size *= 2
	}
	p.slots = make([]slot, size)
	p.ids = 65535 / size * size
	p.window = uint64(r.Schedule.Window)
	if r.Schedule.Rate > 0 {
		interval := float64(r.Client.Connections) / r.Schedule.Rate * float64(time.Second)
		p.group = max(uint64(float64(r.Schedule.Tick)/interval), 1)
		p.every = time.Duration(interval * float64(p.group))
	}
	if r.Schedule.Rate == 0 {
		p.lag = r.headStart(p.quota, len(p.targets))
	}
	p.w.end = p.quota
	return p
}

func (p *publisher) slot(c uint64) *slot { return &p.slots[c&uint64(len(p.slots)-1)] }

func (p *publisher) packetID(c uint64) uint16 { return uint16(c%p.ids) + 1 }

func (p *publisher) sequence(c uint64) uint64 {
	return p.run.Load.SeqStart + c*uint64(p.run.Client.Connections) + uint64(p.number)
}

func (p *publisher) clientID() string { return fmt.Sprintf("%s%d", p.run.Client.IDPrefix, p.number) }

// serve publishes the quota over conn, which connect returned, and returns nil
// when all of it is acknowledged. On return conn is closed and both
// goroutines are done.
func (p *publisher) serve(ctx context.Context, conn net.Conn) error {
	p.r.expect, p.r.highest = p.base.Load(), p.base.Load()
	again := p.unfinished()
	p.stats.connected.Store(true)
	defer p.stats.connected.Store(false)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	dead := make(chan struct{})
	var readErr error
	go func() { // ends when conn does, which serve sees to
		defer close(dead)
		readErr = p.read(conn)
	}()
	writeErr := p.write(ctx, conn, again, dead)
	if writeErr == nil {
		_, writeErr = conn.Write(wire.AppendDisconnect(nil))
		conn.Close()
		<-dead
		return writeErr
	}
	conn.Close()
	<-dead
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if readErr != nil && !isClosed(readErr) {
		return readErr // says why the broker hung up, where the writer only sees that it did
	}
	return writeErr
}

// write sends what is unfinished from before, then new messages, until the end
// is reached and acknowledged.
func (p *publisher) write(ctx context.Context, conn net.Conn, again []byte, dead <-chan struct{}) error {
	if len(again) > 0 {
		if _, err := conn.Write(again); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	keepAlive, stopKeepAlive := tick(p.run.Client.KeepAlive / 2)
	defer stopKeepAlive()
	var timer *time.Timer // for bounded rates
	var due <-chan time.Time
	ending := p.run.ending
	pingDue := false
	for {
		now := p.run.clock()
		select {
		case <-ending:
			p.w.end, ending = p.w.next, nil
		default:
		}
		p.w.buf = p.takeReleases(p.w.buf[:0])
		if pingDue || p.farewell() {
			p.w.buf, pingDue = wire.AppendPingReq(p.w.buf), false
			p.w.ping++
		}
		n, until := p.allowed(now)
		p.encode(n, now)
		if len(p.w.buf) > 0 {
			p.w.last = now
			if _, err := conn.Write(p.w.buf); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			if p.run.Load.QoS == 0 {
				p.base.Store(p.w.next)
			}
			continue
		}
		if p.finished() {
			return nil
		}
		if until > 0 {
			timer = reset(timer, until-now)
			due = timer.C
		}
		select {
		case <-p.wake:
		case <-due:
		case <-ending:
		case <-keepAlive:
			pingDue = p.run.clock()-p.w.last >= p.run.Client.KeepAlive/2
		case <-dead:
			return errHungUp
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		p.want.Store(0)
	}
}

// allowed is how many new messages may be sent now. When that is none because
// of the rate, until is when the next is due; when it is none because of the
// window, want is set.
func (p *publisher) allowed(now time.Duration) (n uint64, until time.Duration) {
	left := p.w.end - p.w.next
	free := left
	if p.run.Load.QoS > 0 {
		free = p.window - min(p.w.next-p.base.Load(), p.window) // a broker may lower the window on a reconnect
	}
	if left == 0 {
		p.want.Store(p.w.next)
		if p.base.Load() >= p.w.next {
			p.want.Store(0)
		}
		return 0, 0
	}
	need := uint64(1)
	if p.run.Schedule.Rate > 0 {
		ready := p.dueBy(now) - min(p.dueBy(now), p.w.next)
		if ready == 0 {
			return 0, p.dueAt(p.w.next)
		}
		left = min(left, ready)
	} else if p.run.Load.QoS > 0 {
		need = min(uint64(p.run.burst(int(p.window))), left)
	}
	if free >= need {
		return min(free, left), 0
	}
	goal := p.w.next + need - p.window
	p.want.Store(goal)
	if base := p.base.Load(); base >= goal { // it moved while we were about to sleep
		p.want.Store(0)
		return min(p.window-min(p.w.next-base, p.window), left), 0
	}
	return 0, 0
}

// batchBytes is how much one write takes at most.
const batchBytes = 64 << 10

// encode appends up to n messages to w.buf and makes their slots the reader's.
func (p *publisher) encode(n uint64, now time.Duration) {
	if n == 0 {
		return
	}
	r := p.run
	var wall int64
	if r.payloads.unit != 0 {
		wall = time.Now().UnixNano() / int64(r.payloads.unit)
	}
	for ; n > 0 && len(p.w.buf) < batchBytes; n-- {
		c := p.w.next
		s := p.slot(c)
		t := &p.targets[c%uint64(len(p.targets))]
		s.due, s.ts, s.state = now, t.stamp(wall, p.lag), waiting
		if r.Schedule.Rate > 0 {
			s.due = p.dueAt(c)
		}
		p.appendMessage(c, false)
		p.w.next++
	}
	p.sent.Store(p.w.next)
}

// appendMessage appends message c, whose slot is filled in, to w.buf.
func (p *publisher) appendMessage(c uint64, dup bool) {
	r := p.run
	t := &p.targets[c%uint64(len(p.targets))]
	o := wire.PublishOptions{Version: r.Client.Version, Topic: t.topic, QoS: r.Load.QoS, ID: p.packetID(c), Dup: dup}
	p.w.payload = r.payloads.append(p.w.payload[:0], t.device, p.sequence(c), p.slot(c).ts)
	p.w.buf = wire.AppendPublish(p.w.buf, &o, p.w.payload)
}

// unfinished encodes what an earlier connection left undone, in its order. No
// reader may be running.
func (p *publisher) unfinished() []byte {
	p.w.buf = p.w.buf[:0]
	p.rel.ids = p.rel.ids[:0] // they are in what follows
	for c := p.base.Load(); c < p.w.next; c++ {
		switch p.slot(c).state {
		case waiting:
			p.appendMessage(c, true)
			p.stats.resent.Add(1)
		case received:
			p.w.buf = wire.AppendAck(p.w.buf, wire.PubRel, p.packetID(c))
		}
	}
	return p.w.buf
}

func (p *publisher) takeReleases(dst []byte) []byte {
	if p.run.Load.QoS != 2 {
		return dst
	}
	p.rel.Lock()
	defer p.rel.Unlock()
	for _, id := range p.rel.ids {
		dst = wire.AppendAck(dst, wire.PubRel, id)
	}
	p.rel.ids = p.rel.ids[:0]
	return dst
}

// farewell reports that the last message of QoS 0 is out and its PINGREQ is
// still to send.
func (p *publisher) farewell() bool {
	return p.run.Load.QoS == 0 && p.w.next == p.w.end && p.w.ping == 0
}

func (p *publisher) finished() bool {
	if p.w.next < p.w.end || p.base.Load() < p.w.next {
		return false
	}
	return p.run.Load.QoS > 0 || p.pongs.Load() >= p.w.ping
}

// dueAt is when message c is due, since the epoch.
func (p *publisher) dueAt(c uint64) time.Duration {
	phase := time.Duration(float64(p.every) * float64(p.number) / float64(p.run.Client.Connections))
	return p.run.start + phase + time.Duration(c/p.group)*p.every
}

// dueBy is how many messages are due at now.
func (p *publisher) dueBy(now time.Duration) uint64 {
	first := p.dueAt(0)
	if now < first {
		return 0
	}
	return (uint64((now-first)/p.every) + 1) * p.group
}

// tick is a ticker's channel, or one that never fires for a period of 0.
func tick(every time.Duration) (<-chan time.Time, func()) {
	if every <= 0 {
		return nil, func() {}
	}
	t := time.NewTicker(every)
	return t.C, t.Stop
}

func reset(t *time.Timer, d time.Duration) *time.Timer {
	if t == nil {
		return time.NewTimer(d)
	}
	t.Reset(d)
	return t
}
