package consume

import (
	"context"
	"fmt"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// Status is what a consumer in one partition is doing.
type Status struct {
	Consumer  string          `json:"consumer"`
	Partition int             `json:"partition"`
	State     string          `json:"state"` // starting, running or retrying
	Error     string          `json:"error,omitempty"`
	Cursor    eventlog.Cursor `json:"cursor"`
	Head      eventlog.Head   `json:"head"`
	Lag       uint64          `json:"lag"` // records it has not taken yet
	Since     time.Time       `json:"since"`
}

// publish makes the state visible to others.
func (r *Runner) publish(state string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.mu.status
	if s.State != state {
		s.Since = time.Now().UTC()
	}
	s.State, s.Error, s.Cursor = state, "", r.cursor
	if err != nil {
		s.Error = err.Error()
	}
}

// Status returns what the consumer is doing.
func (r *Runner) Status() Status {
	r.mu.Lock()
	s := r.mu.status
	r.mu.Unlock()
	if s.State == "" {
		s.State = "starting"
	}
	s.Consumer, s.Partition = r.cfg.Name, r.Partition()
	s.Head = r.cfg.Partition.Head()
	if s.Head.Records > s.Cursor.Records {
		s.Lag = s.Head.Records - s.Cursor.Records
	}
	return s
}

// ask runs f on the consumer's goroutine, between two batches.
func (r *Runner) ask(ctx context.Context, f func(ctx context.Context) error) error {
	req := request{do: f, done: make(chan error, 1)}
	select {
	case r.requests <- req:
	case <-ctx.Done():
		return fmt.Errorf("consumer %s did not answer (it is %s): %w", r.cfg.Name, r.Status().State, ctx.Err())
	}
	select {
	case err := <-req.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("consumer %s did not answer: %w", r.cfg.Name, ctx.Err())
	}
}

// Redeliver hands one message of the log to the consumer again, as decoded now.
// It fails with the cause when the consumer still can't deliver it.
func (r *Runner) Redeliver(ctx context.Context, pos event.Position, m event.Message, decode func(*event.Batch)) error {
	return r.ask(ctx, func(ctx context.Context) error {
		b := event.NewBatch(nil)
		b.Partition, b.Seq = int(pos.Partition), pos.Seq
		b.Messages = append(b.Messages, m)
		decode(b)
		for _, rej := range b.Rejects {
			return fmt.Errorf("it still can't be decoded: %w", rej.Err)
		}
		out, err := r.handle(ctx, []*event.Batch{b})
		if err != nil {
			return fmt.Errorf("redeliver %v to %s: %w", pos, r.cfg.Name, err)
		}
		for _, d := range out.Dead {
			return fmt.Errorf("redeliver %v to %s: %w", pos, r.cfg.Name, d.Err)
		}
		return nil
	})
}

// Seek moves the consumer so that batch seq is the next it is given. What it
// was given before is counted again from there: the books start anew.
func (r *Runner) Seek(ctx context.Context, seq uint64, reset func() error) error {
	return r.ask(ctx, func(ctx context.Context) error {
		before, err := r.cfg.Partition.RecordsBefore(ctx, seq)
		if err != nil {
			return fmt.Errorf("seek %s to %d: %w", r.cfg.Name, seq, err)
		}
		if r.saving != nil { // its cursor is that of before
			r.giveUpSaving(errGivenUp)
		}
		if reset != nil {
			if err := reset(); err != nil {
				return fmt.Errorf("seek %s to %d: %w", r.cfg.Name, seq, err)
			}
		}
		r.cursor = eventlog.Cursor{Consumer: r.cfg.Name, Partition: r.Partition(), Seq: seq - 1, Records: before, Start: before}
		r.dirty, r.moved = true, true
		if err := r.open(ctx); err != nil {
			return err
		}
		return r.save(ctx)
	})
}
