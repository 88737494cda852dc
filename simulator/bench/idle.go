package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"weir/simulator/hist"
	"weir/simulator/wire"
)

// Idle is a load of many connections that say little.
type Idle struct {
	Interval    time.Duration // between two messages of one connection
	ConnectRate float64       // new connections a second
	Hold        time.Duration // how long to go on once all are open; 0: one interval
}

// IdleResult is what a run of many quiet connections saw.
type IdleResult struct {
	Connections int               `json:"connections"` // wanted
	Opened      int               `json:"opened"`      // accepted by a CONNACK
	OpenAtEnd   int               `json:"open_at_end"`
	Refused     uint64            `json:"refused"` // answered by a CONNACK that says no
	Failed      uint64            `json:"failed"`  // no CONNACK at all
	Dropped     uint64            `json:"dropped"` // closed by the broker later on
	Reconnects  uint64            `json:"reconnects"`
	Sent        uint64            `json:"sent"`
	Acked       uint64            `json:"acked"`
	Seconds     float64           `json:"seconds"` // after all were open
	Connect     *Latency          `json:"connect_latency_ms,omitempty"`
	Latency     *Latency          `json:"ack_latency_ms,omitempty"`
	CPUSeconds  float64           `json:"generator_cpu_seconds"`
	Causes      map[string]uint64 `json:"causes,omitempty"` // of what failed, and how often
}

// WriteText writes r for people.
func (r *IdleResult) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("connections", "%d of %d opened, %d open at the end", r.Opened, r.Connections, r.OpenAtEnd)
	row("refused", "%d", r.Refused)
	row("failed", "%d", r.Failed)
	row("dropped", "%d (%d reconnects)", r.Dropped, r.Reconnects)
	row("sent", "%d", r.Sent)
	row("acked", "%d", r.Acked)
	if l := r.Connect; l != nil {
		row("connect latency", "p50 %.3f ms  p99 %.3f ms  max %.3f ms", l.P50, l.P99, l.Max)
	}
	if l := r.Latency; l != nil {
		row("ack latency", "p50 %.3f ms  p99 %.3f ms  p99.9 %.3f ms  max %.3f ms", l.P50, l.P99, l.P999, l.Max)
	}
	row("generator CPU", "%.2f s", r.CPUSeconds)
	for _, cause := range slices.Sorted(maps.Keys(r.Causes)) {
		row("cause", "%s (%d times)", cause, r.Causes[cause])
	}
	return t.Flush()
}

// crowd is a run of quiet connections. Each has one goroutine, which reads;
// one more writes for all of them, by the clock.
type crowd struct {
	plan
	idle    Idle
	members []*member
	open    atomic.Int64
	sent    atomic.Uint64
	acked   atomic.Uint64
	tally   struct {
		sync.Mutex
		IdleResult
		connect, latency hist.Histogram
	}
}

// member is one quiet connection.
type member struct {
	*publisher // for connect; its window and slots go unused
	crowd      *crowd
	conn       struct {
		sync.Mutex // guards what follows and writes to the connection
		w          io.Writer
		next       uint64
		due        map[uint16]time.Duration // of what is in flight
		buf        []byte
	}
}

// RunIdle opens cfg.Client.Connections connections, lets each publish once an
// interval, and reports who was refused or dropped. A nil error means nobody
// was and everything sent was acknowledged.
func RunIdle(ctx context.Context, cfg Config, idle Idle, observe func(Progress)) (IdleResult, error) {
	if idle.Hold == 0 {
		idle.Hold = idle.Interval
	}
	connecting := time.Duration(float64(cfg.Client.Connections) / max(idle.ConnectRate, 1) * float64(time.Second))
	cfg.Client.KeepAlive = min(2*idle.Interval+connecting+10*time.Second, 65535*time.Second).Truncate(time.Second)
	cfg.Schedule = Schedule{Duration: idle.Hold, Window: 1}
	if err := cfg.Validate(); err != nil {
		return IdleResult{}, err
	}
	if idle.Interval <= 0 || idle.ConnectRate <= 0 || idle.Hold < 0 || cfg.Paho {
		return IdleResult{}, errors.New("quiet connections need an interval and a connect rate above 0, and the raw client")
	}
	payloads, err := newPayloads(cfg.Load)
	if err != nil {
		return IdleResult{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c := &crowd{plan: plan{Config: cfg, payloads: payloads, epoch: time.Now(), abort: cancel}, idle: idle}
	c.tally.Causes = make(map[string]uint64)
	for i := range cfg.Client.Connections {
		m := &member{publisher: newPublisher(&c.plan, i), crowd: c}
		m.in = make([]byte, 0, 256)
		c.members = append(c.members, m)
	}
	return c.run(ctx, observe)
}

func (c *crowd) run(ctx context.Context, observe func(Progress)) (IdleResult, error) {
	cpu := cpuTime()
	living, leave := context.WithCancel(ctx)
	defer leave()
	done := make(chan struct{})
	var watcher, wg sync.WaitGroup
	watcher.Go(func() { c.watch(done, observe) })
	attempted := c.gather(living, &wg)
	for range c.members { // until each was accepted, or was not
		select {
		case <-attempted:
		case <-ctx.Done():
		}
	}
	c.start = c.clock()
	err := c.speak(ctx)
	if err == nil {
		err = c.settle(ctx)
	}
	held := c.clock() - c.start
	atEnd := int(c.open.Load())
	leave()
	wg.Wait()
	close(done)
	watcher.Wait()
	out := c.tally.IdleResult
	out.Connections, out.OpenAtEnd = len(c.members), atEnd
	out.Sent, out.Acked, out.Seconds = c.sent.Load(), c.acked.Load(), held.Seconds()
	out.Connect, out.Latency = newLatency(&c.tally.connect), newLatency(&c.tally.latency)
	out.CPUSeconds = (cpuTime() - cpu).Seconds()
	if err != nil {
		return out, err
	}
	if out.Refused+out.Failed+out.Dropped > 0 {
		return out, fmt.Errorf("%d connections were refused, %d failed, %d were dropped", out.Refused, out.Failed, out.Dropped)
	}
	if c.Load.QoS > 0 && out.Acked != out.Sent {
		return out, fmt.Errorf("%d of %d messages were not acknowledged", out.Sent-out.Acked, out.Sent)
	}
	return out, nil
}

// gather starts every member at the connect rate; each sends on the channel
// once its first attempt is over.
func (c *crowd) gather(ctx context.Context, wg *sync.WaitGroup) <-chan struct{} {
	attempted := make(chan struct{}, len(c.members))
	wg.Go(func() {
		begun := c.clock()
		for i, m := range c.members {
			due := begun + time.Duration(float64(i)/c.idle.ConnectRate*float64(time.Second))
			if !sleepUntil(ctx, due-c.clock()) {
				return
			}
			wg.Go(func() { m.live(ctx, attempted) })
		}
	})
	return attempted
}

// speak publishes each member's messages when they are due, until the hold is
// over.
func (c *crowd) speak(ctx context.Context) error {
	n := time.Duration(len(c.members))
	for turn := time.Duration(0); ; turn++ {
		for i, m := range c.members {
			due := c.start + turn*c.idle.Interval + c.idle.Interval*time.Duration(i)/n
			if due-c.start >= c.idle.Hold {
				return nil
			}
			if !sleepUntil(ctx, due-c.clock()) {
				return context.Cause(ctx)
			}
			m.say(due)
		}
	}
}

// settle waits for the acknowledgements that are still due.
func (c *crowd) settle(ctx context.Context) error {
	if c.Load.QoS == 0 {
		return nil
	}
	deadline := c.clock() + c.Fault.Timeout
	for c.acked.Load() < c.sent.Load() && c.open.Load() > 0 && c.clock() < deadline {
		if !sleepUntil(ctx, 5*time.Millisecond) {
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *crowd) watch(done <-chan struct{}, observe func(Progress)) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		if observe != nil {
			c.tally.Lock()
			reconnects := c.tally.Reconnects
			c.tally.Unlock()
			observe(Progress{Connected: int(c.open.Load()), Sent: c.sent.Load(), Acked: c.acked.Load(), Reconnects: reconnects, Elapsed: c.clock()})
		}
	}
}

// sleepUntil waits for d, if it is positive, and reports whether ctx still goes on.
func sleepUntil(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// live is a member's goroutine: connect, read until the end, and again if the
// run reconnects.
func (m *member) live(ctx context.Context, attempted chan<- struct{}) {
	pause := firstPause
	for first := true; ; first = false {
		begun := m.crowd.clock()
		conn, err := m.connect(ctx, true)
		if ctx.Err() == nil || err == nil {
			m.crowd.note(first, m.crowd.clock()-begun, err)
		}
		if first {
			attempted <- struct{}{}
		}
		if err == nil {
			pause = firstPause
			m.crowd.open.Add(1)
			stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
			m.attach(conn)
			err = m.listen(conn)
			m.attach(nil)
			stop()
			if ctx.Err() != nil {
				conn.Write(wire.AppendDisconnect(nil)) // a courtesy; the connection ends either way
			} else {
				m.crowd.open.Add(-1)
				m.crowd.lost(err)
			}
			conn.Close()
		}
		if ctx.Err() != nil || !m.run.Fault.Reconnect || !sleepUntil(ctx, pause) {
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// note counts an attempt to connect.
func (c *crowd) note(first bool, took time.Duration, err error) {
	c.tally.Lock()
	defer c.tally.Unlock()
	var refused *RefusedError
	switch {
	case err == nil && first:
		c.tally.Opened++
		c.tally.connect.Record(took)
	case err == nil:
		c.tally.Reconnects++
	case errors.As(err, &refused):
		c.tally.Refused++
		c.tally.Causes[refused.Error()]++
	default:
		c.tally.Failed++
		for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(inner) {
			err = inner // the innermost names no connection, so that equal causes add up
		}
		c.tally.Causes[err.Error()]++
	}
}

func (c *crowd) lost(err error) {
	c.tally.Lock()
	defer c.tally.Unlock()
	c.tally.Dropped++
	c.tally.Causes[err.Error()]++
}

// attach makes w the connection to write to; nil: there is none.
func (m *member) attach(w io.Writer) {
	m.conn.Lock()
	defer m.conn.Unlock()
	m.conn.w = w
	m.conn.due = make(map[uint16]time.Duration, 1)
}

// say publishes one message that was due at a time since the epoch. A member
// without a connection says nothing.
func (m *member) say(due time.Duration) {
	m.conn.Lock()
	defer m.conn.Unlock()
	if m.conn.w == nil {
		return
	}
	c := m.conn.next
	m.conn.next++
	t := &m.targets[c%uint64(len(m.targets))]
	var ts int64
	if unit := m.run.payloads.unit; unit != 0 {
		ts = t.stamp(time.Now().UnixNano()/int64(unit), 0)
	}
	m.w.payload = m.run.payloads.append(m.w.payload[:0], t.device, m.sequence(c), ts)
	o := wire.PublishOptions{Version: m.run.Client.Version, Topic: t.topic, QoS: m.run.Load.QoS, ID: m.packetID(c)}
	m.conn.buf = wire.AppendPublish(m.conn.buf[:0], &o, m.w.payload)
	if o.QoS > 0 {
		m.conn.due[o.ID] = due
	}
	m.crowd.sent.Add(1)
	m.conn.w.Write(m.conn.buf) // a failure shows where the connection is read
}

// listen takes what the broker sends until the connection ends.
func (m *member) listen(conn io.Reader) error {
	for {
		packet, n, _, err := wire.Parse(m.in)
		if err != nil {
			return err
		}
		if n == 0 {
			if len(m.in) == cap(m.in) {
				return fmt.Errorf("%w: longer than an acknowledgement is", wire.ErrMalformed)
			}
			got, err := conn.Read(m.in[len(m.in):cap(m.in)])
			m.in = m.in[:len(m.in)+got]
			if got == 0 && err != nil {
				return errHungUp
			}
			continue
		}
		if packet.Type == wire.Disconnect {
			return fmt.Errorf("the broker disconnected: %s", wire.ReasonText(packet.Reason))
		}
		m.hear(packet)
		m.in = m.in[:copy(m.in, m.in[n:])]
	}
}

func (m *member) hear(packet wire.Packet) {
	m.conn.Lock()
	due, inFlight := m.conn.due[packet.ID]
	if packet.Type == wire.PubAck || packet.Type == wire.PubRec {
		delete(m.conn.due, packet.ID)
	}
	if packet.Type == wire.PubRec && packet.Reason < 0x80 && m.conn.w != nil {
		m.conn.w.Write(wire.AppendAck(nil, wire.PubRel, packet.ID))
	}
	m.conn.Unlock()
	if !inFlight || packet.Reason >= 0x80 || packet.Type == wire.PubComp {
		return
	}
	m.crowd.tally.Lock()
	m.crowd.tally.latency.Record(m.crowd.clock() - due)
	m.crowd.tally.Unlock()
	m.crowd.acked.Add(1)
}
