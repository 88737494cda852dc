package consume

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// errMoved is returned by pause when Seek has moved the consumer meanwhile: the
// batches in hand are not its next ones any more.
var errMoved = errors.New("the consumer was moved")

// ErrLater is returned by a Handler that waits for something else to happen: the
// same batches again shortly. It is no failure.
var ErrLater = errors.New("later")

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
		if errors.Is(err, ErrLater) {
			if err := r.pause(ctx, r.cfg.RetryMin, 0); err != nil {
				return err
			}
			continue
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
