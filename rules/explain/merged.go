package explain

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// grouped reports whether one engine evaluates a rule over all partitions.
func (x *explainer) grouped(set *rules.Set, rule string) bool {
	return set != nil && x.Log.Partitions() > 1 && set.Across(rule)
}

// merged gives f the messages of all partitions received from a time on, in the
// order in which grouped rules are evaluated, until it returns false or a
// partition has nothing more.
func (r *reading) merged(ctx context.Context, from time.Time, f func(b *event.Batch, from, to int) bool) error {
	n := r.x.Log.Partitions()
	m := rules.NewMerge(n)
	readers := make([]*eventlog.Reader, n)
	held := make([]*event.Batch, n)
	defer func() {
		for i := range n {
			if held[i] != nil {
				held[i].Release()
			}
			if readers[i] != nil {
				readers[i].Close()
			}
		}
	}()
	for i := range n {
		first, err := r.x.Log.Partition(i).SeqAt(ctx, from)
		if err != nil {
			return fmt.Errorf("explain: find %s in partition %d: %w", stamp(from), i, err)
		}
		readers[i] = r.x.Log.Partition(i).NewReader(max(1, first)-1, 0)
	}
	for {
		for i := range n {
			for m.Empty(i) {
				if held[i] != nil {
					held[i].Release()
					held[i] = nil
				}
				b, err := readers[i].TryNext(ctx)
				var d *eventlog.Damage
				switch {
				case errors.As(err, &d):
					r.out.Damaged++
					continue
				case err != nil:
					return fmt.Errorf("explain: read partition %d: %w", i, err)
				case b == nil:
					return nil
				}
				held[i] = b
				m.Offer(i, []*event.Batch{b})
			}
		}
		b, from, to, ok := m.Next()
		if !ok || !f(b, from, to) {
			return nil
		}
	}
}

// runMerged is run for a grouped rule.
func (r *reading) runMerged(ctx context.Context) error {
	first, err := r.p.SeqAt(ctx, r.from)
	if err != nil {
		return fmt.Errorf("explain: find %s in partition %d: %w", stamp(r.from), r.p.ID(), err)
	}
	first = max(1, first)
	set, err := r.x.SetAt(ctx, r.p, first-1)
	if err != nil {
		return err
	}
	r.engine = rules.NewEngine(0)
	r.engine.SetScope(rules.AcrossRules)
	r.engine.Watch(r.rule, r.key, func(s rules.Seen) { r.see(r.engine, s) })
	r.out = Range{First: first, Last: first}
	begun := false
	err = r.merged(ctx, r.from, func(b *event.Batch, from, to int) bool {
		// What was derived stands in partition 0 behind what it was derived of.
		if b.Partition == 0 && b.Seq > r.until || b.Messages[from].Received > r.to {
			return false
		}
		if !begun {
			begun = true
			r.enact(set, b)
			r.engine.SetHistory(r.mergedHistory(ctx))
		}
		for i := from; i < to; i++ {
			r.take(b, i)
		}
		r.engine.ProcessRange(b, from, to, func(rules.Derived) {})
		if b.Partition == 0 {
			r.out.Last = b.Seq
		}
		return true
	})
	r.set = r.engine.Set()
	return err
}

func (r *reading) mergedHistory(ctx context.Context) rules.History {
	return func(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
		return r.x.reading(r.p, time.Time{}, "", "").merged(ctx, time.Unix(0, since), func(b *event.Batch, from, to int) bool {
			if b.Partition != int(until.Partition) || b.Seq < until.Seq {
				each(b, from, to)
				return true
			}
			if b.Seq == until.Seq && from < int(until.Message) {
				each(b, from, min(to, int(until.Message)))
			}
			return b.Seq == until.Seq && to < int(until.Message)
		})
	}
}
