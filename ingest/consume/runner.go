package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// Handler is what a consumer does with the log. Handle is called by one
// goroutine at a time with consecutive batches of one partition, which it must
// not keep. A *event.RetryError, or any other error, means "the same again
// later"; a *event.MessageError blames one message. It must be idempotent.
type Handler interface {
	Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error)
}

// Stateful is a Handler whose state is saved with its cursor.
type Stateful interface {
	Snapshot() ([]byte, error)
	Restore(state []byte) error
}

// Starter is a Handler that wants to know where it starts, before its first batch.
type Starter interface {
	Start(ctx context.Context, c eventlog.Cursor) error
}

// Syncer is a Handler whose effects are done only when Sync has returned; it
// is called before the cursor is saved.
type Syncer interface {
	Sync(ctx context.Context) error
}

// Start says where a consumer without a cursor begins.
type Start struct {
	New  bool      // at the head
	Time time.Time // at what was received then or later; zero with New false: at the beginning
}

// Config is what a Runner needs. Zero values take the defaults said.
type Config struct {
	Name      string
	Log       *eventlog.Log
	Partition *eventlog.Partition
	Handler   Handler
	Start     Start

	MaxMessages int           // in one call of Handle; default 20,000
	SaveEvery   time.Duration // between two saves of the cursor; default 1 s, 5 s with a state
	RetryMin    time.Duration // first wait after a failure; default 100 ms
	RetryMax    time.Duration // longest wait; default 30 s
	MaxAttempts int           // for a MessageError; default 5

	Metrics *Metrics
	Logger  *slog.Logger
}

// Runner runs one consumer in one partition.
type Runner struct {
	cfg      Config
	stateful Stateful // nil if it isn't
	part     string

	mu struct {
		sync.Mutex
		status Status
	}
	requests chan request
	lag      atomic.Int64

	// only Run's goroutine:
	cursor  eventlog.Cursor
	saved   time.Time
	dirty   bool
	moved   bool // Seek was called
	unsaved bool // the last attempt to save failed, and the log says so
	reader  *eventlog.Reader
	faults  map[place]int // attempts at which a message was blamed, since the last batches were settled
}

type request struct {
	do   func(ctx context.Context) error
	done chan error
}

// New returns a runner that is not running.
func New(cfg Config) *Runner {
	s, _ := cfg.Handler.(Stateful)
	if cfg.MaxMessages == 0 {
		cfg.MaxMessages = 20_000
	}
	if cfg.SaveEvery == 0 {
		cfg.SaveEvery = time.Second
		if s != nil {
			cfg.SaveEvery = 5 * time.Second
		}
	}
	if cfg.RetryMin == 0 {
		cfg.RetryMin = 100 * time.Millisecond
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = 30 * time.Second
	}
	if cfg.MaxAttempts == 0 {
		cfg.MaxAttempts = 5
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Logger = cfg.Logger.With("consumer", cfg.Name, "partition", cfg.Partition.ID())
	return &Runner{cfg: cfg, stateful: s, part: strconv.Itoa(cfg.Partition.ID()), requests: make(chan request)}
}

// Name returns the consumer's name.
func (r *Runner) Name() string { return r.cfg.Name }

// Partition returns the number of the partition it reads.
func (r *Runner) Partition() int { return r.cfg.Partition.ID() }

// Run consumes until ctx ends; then it saves the cursor and returns nil.
func (r *Runner) Run(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := r.load(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		if !eventlog.Unavailable(err) {
			return fmt.Errorf("start consumer %s: %w", r.cfg.Name, err)
		}
		r.failed(err)
		if err := r.pause(ctx, r.cfg.RetryMin, attempt); err != nil && !errors.Is(err, errMoved) {
			return nil
		}
	}
	defer func() { r.reader.Close() }()
	for ctx.Err() == nil {
		batches, err := r.gather(ctx)
		if err != nil {
			var d *eventlog.Damage
			if errors.As(err, &d) {
				r.lose(d)
				continue
			}
			if ctx.Err() != nil {
				break
			}
			r.failed(err)
			r.pause(ctx, r.cfg.RetryMin, 1)
			continue
		}
		if len(batches) > 0 {
			err := r.deliver(ctx, batches)
			for _, b := range batches {
				b.Release()
			}
			if err != nil && !errors.Is(err, errMoved) { // only when ctx ended
				break
			}
		}
		r.saveIfDue(ctx, false)
		r.serve(ctx)
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	r.saveIfDue(sctx, true)
	return nil
}

// serve does what was asked for, if anything was, between two batches.
func (r *Runner) serve(ctx context.Context) {
	select {
	case req := <-r.requests:
		req.done <- req.do(ctx)
	default:
	}
}

// load finds the cursor, or makes one where the consumer is to start.
func (r *Runner) load(ctx context.Context) error {
	var err error
	if r.stateful != nil {
		var state []byte
		r.cursor, state, err = r.cfg.Log.LoadState(ctx, r.cfg.Name, r.Partition())
		if err == nil {
			err = r.stateful.Restore(state)
		}
	} else {
		r.cursor, err = r.cfg.Log.LoadCursor(ctx, r.cfg.Name, r.Partition())
	}
	if errors.Is(err, eventlog.ErrNoCursor) {
		if err = r.begin(ctx); err == nil {
			r.dirty = true
		}
	}
	if err != nil {
		return err
	}
	return r.open(ctx)
}

// open starts reading after the cursor.
func (r *Runner) open(ctx context.Context) error {
	if s, ok := r.cfg.Handler.(Starter); ok {
		if err := s.Start(ctx, r.cursor); err != nil {
			return err
		}
	}
	if r.reader != nil {
		r.reader.Close()
	}
	r.reader = r.cfg.Partition.NewReader(r.cursor.Seq, r.cursor.Records)
	r.publish("running", nil)
	return nil
}

func (r *Runner) begin(ctx context.Context) error {
	c := eventlog.Cursor{Consumer: r.cfg.Name, Partition: r.Partition()}
	p := r.cfg.Partition
	switch {
	case r.cfg.Start.New:
		h := p.Head()
		c.Seq, c.Records = h.Seq, h.Records
	default:
		seq, err := p.SeqAt(ctx, r.cfg.Start.Time)
		if err != nil {
			return err
		}
		if seq > 0 {
			if c.Records, err = p.RecordsBefore(ctx, seq); err != nil {
				return err
			}
			c.Seq = seq - 1
		}
	}
	c.Start = c.Records
	r.cursor = c
	return nil
}

// gather waits for a batch and takes what else is there, up to the bound.
func (r *Runner) gather(ctx context.Context) ([]*event.Batch, error) {
	b, err := r.reader.TryNext(ctx)
	if err == nil && b == nil {
		b, err = r.waitNext(ctx)
	}
	if err != nil || b == nil {
		return nil, err
	}
	batches := []*event.Batch{b}
	for n := len(b.Messages); n < r.cfg.MaxMessages; {
		// An error is met again by the next call, when these are done.
		b, err := r.reader.TryNext(ctx)
		if err != nil {
			var d *eventlog.Damage
			if errors.As(err, &d) {
				r.reader.Push(d)
			}
			break
		}
		if b == nil {
			break
		}
		batches = append(batches, b)
		n += len(b.Messages)
	}
	return batches, nil
}

// waitNext waits for a batch, but no longer than the next save or request.
func (r *Runner) waitNext(ctx context.Context) (*event.Batch, error) {
	wait := r.cfg.SaveEvery
	if r.dirty {
		wait = max(time.Millisecond, r.cfg.SaveEvery-time.Since(r.saved))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		b, more, err := r.reader.Poll(ctx)
		if b != nil || err != nil {
			return b, err
		}
		select {
		case <-more:
		case req := <-r.requests:
			req.done <- req.do(ctx)
			return nil, nil
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// errMoved is returned by pause when Seek has moved the consumer meanwhile: the
// batches in hand are not its next ones any more.
var errMoved = errors.New("the consumer was moved")

// deliver hands batches to the consumer until they are dealt with. It returns
// an error only when ctx ends first, or errMoved.
func (r *Runner) deliver(ctx context.Context, batches []*event.Batch) error {
	var dead []event.Dead // given up after retries
	work := batches
	for attempt := 0; ; attempt++ {
		start := time.Now()
		out, err := r.handle(ctx, work)
		if err == nil {
			r.cfg.Metrics.duration.WithLabelValues(r.cfg.Name).Observe(time.Since(start).Seconds())
			return r.settle(ctx, batches, withDead(out, dead))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var me *event.MessageError
		if errors.As(err, &me) && holds(work, me.Batch, me.Message) && !names(dead, me.Batch, me.Message) && r.blame(work[me.Batch].Seq, me.Message) {
			dead = append(dead, event.Dead{Batch: me.Batch, Message: me.Message,
				Err: fmt.Errorf("given up after %d attempts: %w", r.cfg.MaxAttempts, me.Err)})
			work = append([]*event.Batch(nil), work...)
			work[me.Batch] = work[me.Batch].Without(me.Message)
			attempt = -1
			continue
		}
		r.failed(err)
		wait := r.cfg.RetryMin
		var re *event.RetryError
		if errors.As(err, &re) && re.After > 0 {
			wait = re.After
			attempt = 0
		}
		if err := r.pause(ctx, wait, attempt); err != nil {
			return err
		}
	}
}

// withDead adds messages that were given up to an outcome. They stood in the
// batches as ticks, so the consumer has filtered them if it is like the others.
func withDead(out event.Outcome, dead []event.Dead) event.Outcome {
	ticks := len(dead)
	all := append([]event.Dead(nil), dead...)
	for _, d := range out.Dead {
		if names(dead, d.Batch, d.Message) {
			ticks--
			continue
		}
		all = append(all, d)
	}
	out.Filtered -= min(out.Filtered, ticks)
	out.Dead = all
	return out
}

// holds reports whether there is such a message.
func holds(batches []*event.Batch, batch int, message uint32) bool {
	return batch >= 0 && batch < len(batches) && int64(message) < int64(len(batches[batch].Messages))
}

// names reports whether a message is among the dead.
func names(dead []event.Dead, batch int, message uint32) bool {
	return slices.ContainsFunc(dead, func(d event.Dead) bool { return d.Batch == batch && d.Message == message })
}

// place is a message of the partition.
type place struct {
	seq     uint64
	message uint32
}

// blame counts the attempts of one message and says when they are used up.
func (r *Runner) blame(seq uint64, message uint32) bool {
	if r.faults == nil {
		r.faults = map[place]int{}
	}
	p := place{seq, message}
	r.faults[p]++
	return r.faults[p] >= r.cfg.MaxAttempts
}

// handle calls the consumer and turns a panic, or an outcome that can't be, into
// an error: a fault of one consumer stops neither the process nor the others.
func (r *Runner) handle(ctx context.Context, batches []*event.Batch) (out event.Outcome, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("consumer %s panicked: %v\n%s", r.cfg.Name, p, debug.Stack())
		}
	}()
	out, err = r.cfg.Handler.Handle(ctx, batches)
	if err == nil {
		err = r.plausible(out, batches)
	}
	return out, err
}

// plausible checks that the books can be kept with an outcome.
func (r *Runner) plausible(out event.Outcome, batches []*event.Batch) error {
	total := 0
	for _, b := range batches {
		total += len(b.Messages)
	}
	seen := make(map[event.Dead]struct{}, len(out.Dead))
	for _, d := range out.Dead {
		key := event.Dead{Batch: d.Batch, Message: d.Message}
		if _, twice := seen[key]; twice || d.Err == nil || !holds(batches, d.Batch, d.Message) {
			return fmt.Errorf("consumer %s has a defect: it puts message %d of batch %d aside, which is not there, has no cause, or was put aside twice", r.cfg.Name, d.Message, d.Batch)
		}
		seen[key] = struct{}{}
	}
	if out.Filtered < 0 || out.Filtered+len(out.Dead) > total {
		return fmt.Errorf("consumer %s has a defect: of %d messages it filtered %d and put %d aside", r.cfg.Name, total, out.Filtered, len(out.Dead))
	}
	return nil
}

// settle stores the dead letters and moves the cursor behind the batches.
func (r *Runner) settle(ctx context.Context, batches []*event.Batch, out event.Outcome) error {
	for _, d := range out.Dead {
		if err := r.bury(ctx, batches[d.Batch], d); err != nil {
			return err
		}
	}
	total := 0
	for _, b := range batches {
		total += len(b.Messages)
	}
	last := batches[len(batches)-1]
	c := &r.cursor
	if first := batches[0].First; first > c.Records {
		c.Lost += first - c.Records
		r.cfg.Metrics.records.WithLabelValues(r.cfg.Name, r.part, "lost").Add(float64(first - c.Records))
	}
	delivered := total - out.Filtered - len(out.Dead)
	c.Seq, c.Records = last.Seq, last.First+uint64(len(last.Messages))
	c.Delivered += uint64(delivered)
	c.Filtered += uint64(out.Filtered)
	c.Dead += uint64(len(out.Dead))
	r.dirty = true
	clear(r.faults)
	m := r.cfg.Metrics
	m.records.WithLabelValues(r.cfg.Name, r.part, "delivered").Add(float64(delivered))
	m.records.WithLabelValues(r.cfg.Name, r.part, "filtered").Add(float64(out.Filtered))
	m.records.WithLabelValues(r.cfg.Name, r.part, "dead").Add(float64(len(out.Dead)))
	r.publish("running", nil)
	return nil
}

// bury stores one dead letter, however long the log needs to take it.
func (r *Runner) bury(ctx context.Context, b *event.Batch, d event.Dead) error {
	m := &b.Messages[d.Message]
	letter := eventlog.DeadLetter{
		Consumer: r.cfg.Name, Cause: d.Err.Error(), At: time.Now().UTC(),
		Position: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: d.Message},
		Received: time.Unix(0, m.Received).UTC(), Topic: m.Topic, Client: m.Client, Record: m.Record,
		QoS: m.QoS, Retain: m.Retain, RecordID: m.ID, Payload: m.Payload,
	}
	for attempt := 0; ; attempt++ {
		err := r.cfg.Log.PutDead(ctx, letter)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		r.failed(err)
		if err := r.pause(ctx, r.cfg.RetryMin, attempt); err != nil {
			return err
		}
	}
}

// lose books a range that can't be read and says so.
func (r *Runner) lose(d *eventlog.Damage) {
	r.cfg.Logger.Error("part of the log could not be read and is skipped", "from", d.From, "to", d.To, "records", d.Records, "expired", d.Expired, "cause", d.Cause)
	r.cursor.Seq = d.To // settle counts what was lost when it sees what comes next
	r.dirty = true
}

// failed notes a failure that is going to be tried again.
func (r *Runner) failed(err error) {
	r.cfg.Metrics.retries.WithLabelValues(r.cfg.Name, r.part).Inc()
	if s := r.Status(); s.State != "retrying" || s.Error != err.Error() {
		r.cfg.Logger.Warn("consumer failed and tries again: the log keeps what it has not taken", "err", err)
	}
	r.publish("retrying", err)
}

// pause waits before the next attempt: exponential with jitter. Requests are
// served meanwhile.
func (r *Runner) pause(ctx context.Context, base time.Duration, attempt int) error {
	d := base << min(attempt, 16)
	if d > r.cfg.RetryMax && base <= r.cfg.RetryMax || d <= 0 {
		d = r.cfg.RetryMax
	}
	d += time.Duration(rand.Int64N(int64(d)/4 + 1))
	t := time.NewTimer(d)
	defer t.Stop()
	r.saveIfDue(ctx, false)
	for {
		select {
		case <-t.C:
			return nil
		case req := <-r.requests:
			r.moved = false
			req.done <- req.do(ctx)
			if r.moved {
				return errMoved
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// saveIfDue saves the cursor, and the state with it. It is tried again at the
// next turn when it fails.
func (r *Runner) saveIfDue(ctx context.Context, now bool) {
	if !r.dirty || !now && time.Since(r.saved) < r.cfg.SaveEvery {
		return
	}
	r.saved = time.Now()
	if err := r.save(ctx); err != nil {
		if ctx.Err() == nil && !r.unsaved {
			r.unsaved = true
			r.cfg.Logger.Error("cursor was not saved: it is tried again; after a crash the consumer would repeat more", "err", err)
		}
		return
	}
	if r.unsaved {
		r.unsaved = false
		r.cfg.Logger.Info("cursor is saved again")
	}
	r.dirty = false
}

func (r *Runner) save(ctx context.Context) error {
	if s, ok := r.cfg.Handler.(Syncer); ok {
		if err := s.Sync(ctx); err != nil {
			return err
		}
	}
	r.cursor.Saved = time.Now().UTC()
	if r.stateful == nil {
		return r.cfg.Log.SaveCursor(ctx, r.cursor)
	}
	state, err := r.stateful.Snapshot()
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	return r.cfg.Log.SaveState(ctx, r.cursor, state)
}
