package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	SaveEvery   time.Duration // between two saves of the cursor; default 1 s, 5 s with a state, or longer if that takes long to save
	RetryMin    time.Duration // first wait after a failure; default 100 ms
	RetryMax    time.Duration // longest wait; default 30 s
	MaxAttempts int           // for a MessageError; default 5

	Metrics *Metrics
	Logger  *slog.Logger
}

// Runner runs one consumer in one partition.
type Runner struct {
	cfg         Config
	stateful    Stateful    // nil if it isn't
	incremental Incremental // nil if it isn't
	part        string

	mu struct {
		sync.Mutex
		status Status
	}
	requests chan request
	lag      atomic.Int64

	// only Run's goroutine:
	cursor  eventlog.Cursor
	saved   time.Time
	every   time.Duration // between two saves
	saving  *saving       // the snapshot on its way; nil if none is
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
	inc, _ := cfg.Handler.(Incremental)
	return &Runner{cfg: cfg, stateful: s, incremental: inc, every: cfg.SaveEvery, part: strconv.Itoa(cfg.Partition.ID()), requests: make(chan request)}
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
	wait := 5 * time.Second
	if r.incremental != nil {
		wait = saveWait
	}
	sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	if r.saving != nil {
		r.giveUpSaving(errGivenUp)
	}
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
	if errors.Is(err, eventlog.ErrDamagedState) {
		r.cfg.Logger.Error("the saved state is damaged: it is derived from the log again", "err", err)
		r.cfg.Start = Start{}
		err = eventlog.ErrNoCursor
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
	wait := r.every
	switch {
	case r.saving != nil:
		wait = time.Millisecond
	case r.dirty:
		wait = max(time.Millisecond, r.every-time.Since(r.saved))
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

// lose books a range that can't be read and says so.
func (r *Runner) lose(d *eventlog.Damage) {
	r.cfg.Logger.Error("part of the log could not be read and is skipped", "from", d.From, "to", d.To, "records", d.Records, "expired", d.Expired, "cause", d.Cause)
	r.cursor.Seq = d.To // settle counts what was lost when it sees what comes next
	r.dirty = true
}

// saveIfDue saves the cursor, and the state with it. It is tried again at the
// next turn when it fails.
func (r *Runner) saveIfDue(ctx context.Context, now bool) {
	if r.saving != nil {
		r.continueSaving()
		return
	}
	if !r.dirty || !now && time.Since(r.saved) < r.every {
		return
	}
	r.saved = time.Now()
	save := r.save
	if r.incremental != nil && !now {
		save = r.beginSaving
	}
	if err := save(ctx); err != nil {
		if ctx.Err() == nil {
			r.notSaved(err)
		}
		return
	}
	if r.saving == nil {
		r.savedAgain()
		r.dirty = false
	}
}

// notSaved says, once, that saving fails.
func (r *Runner) notSaved(err error) {
	if !r.unsaved {
		r.unsaved = true
		r.cfg.Logger.Error("cursor was not saved: it is tried again; after a crash the consumer would repeat more", "err", err)
	}
}

func (r *Runner) savedAgain() {
	if r.unsaved {
		r.unsaved = false
		r.cfg.Logger.Info("cursor is saved again")
	}
}

// sync waits until the handler's effects are done.
func (r *Runner) sync(ctx context.Context) error {
	if s, ok := r.cfg.Handler.(Syncer); ok {
		return s.Sync(ctx)
	}
	return nil
}

func (r *Runner) save(ctx context.Context) error {
	if r.incremental != nil {
		return r.saveWhole(ctx)
	}
	if err := r.sync(ctx); err != nil {
		return err
	}
	c := r.cursor
	c.Saved = time.Now().UTC()
	if err := r.put(ctx, c); err != nil {
		return err
	}
	r.cursor.Saved = c.Saved
	return nil
}

// put writes a cursor, and the state with it.
func (r *Runner) put(ctx context.Context, c eventlog.Cursor) error {
	if r.stateful == nil {
		return r.cfg.Log.SaveCursor(ctx, c)
	}
	state, err := r.stateful.Snapshot()
	if err != nil {
		return fmt.Errorf("take a snapshot: %w", err)
	}
	return r.cfg.Log.SaveState(ctx, c, state)
}
