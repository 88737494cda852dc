package influxdb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"weir/ingest/event"
)

// Sink writes to one bucket or database. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	client  *client
	types   *Types
	store   Store
	log     *slog.Logger
	metrics Metrics

	oneX atomic.Bool // the server is a 1.x: no unsigned integers

	mu   sync.Mutex
	free []*call // of former calls, with their buffers
}

// New returns a Sink for a Config that is valid. It does no I/O.
func New(cfg Config, deps Deps) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, client: newClient(cfg, deps), types: newTypes(cfg.MaxFields), store: deps.Store, log: deps.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.oneX.Store(cfg.Database != "")
	return s, nil
}

// Open loads the learnt types. The server need not be there.
func (s *Sink) Open(ctx context.Context) error {
	if s.store == nil {
		return nil
	}
	b, err := s.store.Load(ctx)
	if err != nil {
		return fmt.Errorf("load the learnt field types: %w", err)
	}
	if len(b) == 0 {
		return nil
	}
	if err := s.types.decode(b); err != nil {
		// They can be learnt again, and the server corrects what comes out
		// differently: no reason not to start.
		s.log.Warn("learnt field types are damaged, learning them again", "err", err)
	}
	return nil
}

// Close gives up idle connections. Calls of Handle must have returned.
func (s *Sink) Close() error {
	s.client.transport.CloseIdleConnections()
	return nil
}

// Ready returns nil if the server answers.
func (s *Sink) Ready(ctx context.Context) error { return s.client.ping(ctx) }

// Metrics returns the counters of s.
func (s *Sink) Metrics() *Metrics { return &s.metrics }

// Types returns what s has learnt.
func (s *Sink) Types() *Types { return s.types }

// Handle writes the events and alerts of the batches. When it returns without
// an error, every message was written, is filtered (it holds nothing for this
// sink), or is in Outcome.Dead with the cause. The error is a *event.RetryError
// otherwise; then some lines may have been written, and are written again.
func (s *Sink) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	c := s.take()
	defer s.give(c)
	err := c.run(ctx, batches)
	s.metrics.Coerced.Add(c.enc.coerced)
	s.metrics.Skipped.Add(c.enc.skipped)
	c.enc.coerced, c.enc.skipped = 0, 0
	if err == nil {
		c.enc.confirm()
		err = s.save(ctx)
	}
	if err != nil {
		s.metrics.Outages.Add(1)
		return event.Outcome{}, err
	}
	s.metrics.Rejected.Add(uint64(len(c.out.Dead)))
	return c.out, nil
}

func (s *Sink) take() *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		c := s.free[n-1]
		s.free = s.free[:n-1]
		return c
	}
	return &call{sink: s, enc: newEncoder(s.types, &s.cfg)}
}

func (s *Sink) give(c *call) {
	c.batches, c.out = nil, event.Outcome{}
	c.enc.reset()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, c)
}

// save makes the learnt types durable if there are new ones. It comes before
// the cursor moves on, so a type is never forgotten that a point was written in.
func (s *Sink) save(ctx context.Context) error {
	if s.store == nil || s.types.version.Load() == 0 {
		return nil
	}
	t := s.types
	t.saveMu.Lock()
	defer t.saveMu.Unlock()
	if t.saved == t.version.Load() {
		return nil
	}
	b, version, err := t.encode()
	if err == nil {
		err = s.store.Save(ctx, b)
	}
	if err != nil {
		return &event.RetryError{Err: fmt.Errorf("save the learnt field types: %w", err)}
	}
	t.saved = version
	return nil
}

// call is the state of one Handle, and its buffers.
type call struct {
	sink    *Sink
	enc     *encoder
	zip     zipper
	batches []*event.Batch
	out     event.Outcome
}

var errNotJSON = errors.New("the alert's record cannot be read")

func (c *call) run(ctx context.Context, batches []*event.Batch) error {
	c.batches = batches
	c.enc.reset()
	c.enc.natural = false
	c.enc.unsigned = !c.sink.oneX.Load()
	for bi, b := range batches {
		for mi := range b.Messages {
			lines, err := c.add(bi, uint32(mi))
			if err != nil {
				c.dead(bi, uint32(mi), err)
				continue
			}
			if lines == 0 {
				c.out.Filtered++
				continue
			}
			if len(c.enc.units) >= c.sink.cfg.MaxLines || len(c.enc.body) >= c.sink.cfg.MaxBytes {
				if err := c.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return c.flush(ctx)
}

// add encodes one message. It returns 0 lines for what is not for this sink.
func (c *call) add(batch int, message uint32) (int, error) {
	b := c.batches[batch]
	m := &b.Messages[message]
	switch m.Record {
	case event.Publish, event.Recording:
		return c.enc.addEvents(batch, message, b.EventsOf(int(message)))
	case event.AlertFact:
		if !c.sink.cfg.Alerts {
			return 0, nil
		}
		ev, ok, err := alertEvent(m.Payload)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNotJSON, err)
		}
		if !ok {
			return 0, nil
		}
		return c.enc.addEvents(batch, message, []event.Event{ev})
	}
	return 0, nil
}

func (c *call) dead(batch int, message uint32, err error) {
	c.out.Dead = append(c.out.Dead, event.Dead{Batch: batch, Message: message, Err: err})
}

// flush sends what is encoded.
func (c *call) flush(ctx context.Context) error {
	if len(c.enc.units) == 0 {
		return nil
	}
	a, err := c.post(ctx)
	if err != nil {
		return err
	}
	if a != nil {
		err = c.repair(ctx, a)
	}
	c.enc.reset()
	return err
}

// post sends the encoder's body. The answer is nil when it was taken.
func (c *call) post(ctx context.Context) (*answer, error) {
	m := &c.sink.metrics
	m.Requests.Add(1)
	a, err := c.sink.client.post(ctx, c.enc.body, &c.zip)
	switch {
	case err != nil:
		return nil, err
	case a != nil:
		m.Refused.Add(1)
		return a, nil
	}
	m.Lines.Add(uint64(c.enc.lines))
	m.Bytes.Add(uint64(len(c.enc.body)))
	return nil, nil
}
