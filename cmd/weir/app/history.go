package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// historyRetry is how long is waited before the log is asked again.
const historyRetry = 500 * time.Millisecond

// history reads a partition for rules that need what came before them. It has a
// reader of its own, so that the consumer's stays where it is; what it reads is
// durable, so that it never waits for anything that is still to come.
//
// Damaged ranges are passed over: the consumer met them before and reported them.
// While the log does not answer it is asked again, until ctx ends: windows that
// lack what the log has would not be those of a replay.
func history(ctx context.Context, log *slog.Logger, p *eventlog.Partition, since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
	t := &tries{ctx: ctx, log: log}
	var first uint64
	if err := t.do(func() (err error) {
		first, err = p.SeqAt(ctx, time.Unix(0, since))
		return err
	}); err != nil {
		return err
	}
	r := p.NewReader(max(1, first)-1, 0)
	defer r.Close()
	for {
		var b *event.Batch
		err := t.do(func() (err error) {
			b, err = r.TryNext(ctx)
			return err
		})
		var d *eventlog.Damage
		if errors.As(err, &d) {
			if d.To >= until.Seq {
				return nil
			}
			continue
		}
		if err != nil || b == nil {
			return err
		}
		to := len(b.Messages)
		if b.Seq == until.Seq {
			to = int(until.Message)
		}
		if b.Seq <= until.Seq {
			each(b, 0, to)
		}
		last := b.Seq >= until.Seq
		b.Release()
		if last {
			return nil
		}
	}
}

// tries asks again while the log does not answer.
type tries struct {
	ctx  context.Context
	log  *slog.Logger
	told bool
}

func (t *tries) do(f func() error) error {
	for {
		err := f()
		if err == nil || t.ctx.Err() != nil || !eventlog.Unavailable(err) {
			return err
		}
		if !t.told {
			t.told = true
			t.log.Warn("the log does not answer while the windows of new rules are filled from it: it is tried again", "err", err)
		}
		select {
		case <-time.After(historyRetry):
		case <-t.ctx.Done():
			return t.ctx.Err()
		}
	}
}

// mergedHistory is history for all partitions merged, up to a place in each.
func mergedHistory(ctx context.Context, log *slog.Logger, events *eventlog.Log, since int64, places []rules.Place, each func(b *event.Batch, from, to int)) error {
	t := &tries{ctx: ctx, log: log}
	m := rules.NewMerge(len(places))
	readers := make([]*eventlog.Reader, len(places))
	held := make([]*event.Batch, len(places))
	defer func() {
		for i, r := range readers {
			if r != nil {
				r.Close()
			}
			if held[i] != nil {
				held[i].Release()
			}
		}
	}()
	for i := range places {
		p := events.Partition(i)
		var first uint64
		if err := t.do(func() (err error) {
			first, err = p.SeqAt(ctx, time.Unix(0, since))
			return err
		}); err != nil {
			return err
		}
		readers[i] = p.NewReader(max(1, first)-1, 0)
	}
	ended := make([]bool, len(places))
	for {
		for i := range places {
			if ended[i] || !m.Empty(i) {
				continue
			}
			if held[i] != nil {
				held[i].Release()
				held[i] = nil
			}
			b, err := t.next(readers[i], places[i])
			if err != nil {
				return err
			}
			if ended[i] = b == nil; ended[i] {
				b = beyond(i)
			}
			held[i] = b
			m.Offer(i, []*event.Batch{b})
		}
		b, from, to, ok := m.Next()
		if !ok || b.Seq == beyondSeq { // what comes first is the end, so everything was read
			return nil
		}
		if p := places[b.Partition]; b.Seq == p.Seq {
			to = min(to, int(p.Message))
		}
		if from < to {
			each(b, from, to)
		}
	}
}

// next returns the next batch before a place, nil if there is none.
func (t *tries) next(r *eventlog.Reader, place rules.Place) (*event.Batch, error) {
	for {
		var b *event.Batch
		err := t.do(func() (err error) {
			b, err = r.TryNext(t.ctx)
			return err
		})
		var d *eventlog.Damage
		if errors.As(err, &d) {
			continue
		}
		if err != nil || b == nil {
			return nil, err
		}
		if b.Seq > place.Seq || b.Seq == place.Seq && place.Message == 0 {
			b.Release()
			return nil, nil
		}
		return b, nil
	}
}

const beyondSeq = 1<<64 - 1

// beyond is offered after the last batch of a partition: it comes after everything.
func beyond(partition int) *event.Batch {
	b := event.NewBatch(nil)
	b.Partition, b.Seq = partition, beyondSeq
	b.Messages = append(b.Messages, event.Message{Record: event.Tick, Received: 1<<63 - 1})
	return b
}
