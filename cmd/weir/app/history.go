package app

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
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
