package backtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// locate finds the part of each partition that is read, and the old rules.
func (r *runner) locate(ctx context.Context) error {
	if r.auto {
		r.warmUp = max(lookback(r.rules), lookback(r.plan.old))
	}
	n := r.Log.Partitions()
	r.spans, r.old = make([]span, n), make([]*rules.Set, n)
	for i := range n {
		if err := r.span(ctx, i); err != nil {
			return err
		}
	}
	if !slices.ContainsFunc(r.spans, func(s span) bool { return s.after < s.until }) {
		return r.nothing(ctx)
	}
	for i := range n {
		r.old[i] = r.plan.old
		if r.against != AgainstInForce {
			continue
		}
		var err error
		if r.old[i], err = r.inForce(ctx, &r.spans[i]); err != nil {
			return err
		}
	}
	if r.against == AgainstInForce && r.auto {
		longest := r.warmUp
		for _, s := range r.old {
			longest = max(longest, lookback(s))
		}
		if longest > r.warmUp { // the old rules look back further than the new ones
			r.warmUp = longest
			for i := range n {
				if err := r.span(ctx, i); err != nil {
					return err
				}
			}
		}
	}
	for i := range r.spans {
		if err := r.measure(ctx, &r.spans[i]); err != nil {
			return err
		}
	}
	return nil
}

// span finds the part of a partition that is read.
func (r *runner) span(ctx context.Context, partition int) error {
	p := r.Log.Partition(partition)
	s := span{partition: p, head: p.Head().Seq, to: r.toTime(), facts: r.against == AgainstLog}
	s.until = s.head
	first, err := p.First(ctx)
	if err != nil {
		return fmt.Errorf("backtest: %w", err)
	}
	if !r.from.IsZero() {
		if first, err = p.SeqAt(ctx, r.from.Add(-r.warmUp)); err != nil {
			return fmt.Errorf("backtest: find %s in partition %d: %w", stamp(r.from), partition, err)
		}
		begins, err := p.SeqAt(ctx, r.from)
		if err != nil {
			return fmt.Errorf("backtest: find %s in partition %d: %w", stamp(r.from), partition, err)
		}
		if begins > s.head {
			first = begins // nothing of the range is there: no need to warm up
		}
	}
	s.after = max(1, first) - 1
	if !r.to.IsZero() {
		seq, err := p.SeqAt(ctx, r.to)
		if err != nil {
			return fmt.Errorf("backtest: find %s in partition %d: %w", stamp(r.to), partition, err)
		}
		s.until = min(s.until, seq)
	}
	if s.facts {
		// What the rules that run have not seen, they have not decided on.
		c, err := r.Log.LoadCursor(ctx, r.Consumer, partition)
		if err != nil && !errors.Is(err, eventlog.ErrNoCursor) {
			return fmt.Errorf("backtest: %w", err)
		}
		if c.Seq < s.until {
			s.until, s.behind = c.Seq, true
		}
	}
	r.spans[partition] = s
	return nil
}

// measure counts the records of a span.
func (r *runner) measure(ctx context.Context, s *span) error {
	if s.after >= s.until {
		return nil
	}
	begin, err := s.partition.RecordsBefore(ctx, s.after+1)
	if err != nil {
		return fmt.Errorf("backtest: %w", err)
	}
	end, err := s.partition.RecordsBefore(ctx, s.until+1)
	if err != nil {
		return fmt.Errorf("backtest: %w", err)
	}
	if end > begin {
		r.total.Add(end - begin)
	}
	return nil
}

// nothing says that the range is empty, and what there is.
func (r *runner) nothing(ctx context.Context) error {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for i := range r.Log.Partitions() {
		p := r.Log.Partition(i)
		oldest, err := p.First(ctx)
		if err != nil {
			return fmt.Errorf("backtest: %w", err)
		}
		for _, seq := range []uint64{oldest, p.Head().Seq} {
			from, to, err := times(ctx, p, seq)
			if err != nil {
				return err
			}
			first, last = min(first, from), max(last, to)
		}
	}
	if first > last {
		return wrong("the log holds nothing yet")
	}
	what := "the range"
	switch {
	case !r.from.IsZero() && !r.to.IsZero():
		what = fmt.Sprintf("the range from %s to %s", stamp(r.from), stamp(r.to))
	case !r.from.IsZero():
		what = "the range from " + stamp(r.from)
	case !r.to.IsZero():
		what = "the range to " + stamp(r.to)
	}
	return wrong("%s is empty: the log holds what was received from %s to %s", what, stamp(time.Unix(0, first)), stamp(time.Unix(0, last)))
}

// times returns the earliest and the latest receive time of a batch.
func times(ctx context.Context, p *eventlog.Partition, seq uint64) (from, to int64, err error) {
	from, to = math.MaxInt64, math.MinInt64
	if seq == 0 || seq > p.Head().Seq {
		return from, to, nil
	}
	rd := p.NewReader(seq-1, 0)
	defer rd.Close()
	b, err := rd.TryNext(ctx)
	var d *eventlog.Damage
	if errors.As(err, &d) || err == nil && b == nil {
		return from, to, nil
	}
	if err != nil {
		return 0, 0, fmt.Errorf("backtest: %w", err)
	}
	defer b.Release()
	for i := range b.Messages {
		from, to = min(from, b.Messages[i].Received), max(to, b.Messages[i].Received)
	}
	return from, to, nil
}

// inForce returns the rule set in force in a partition at the end of a span; nil
// if there is none. Rule sets are records of the log. None says where the one
// before it is, but the one in force after some batch is known: it is the one
// that is wanted if no other stands between.
func (r *runner) inForce(ctx context.Context, s *span) (*rules.Set, error) {
	var known *rules.Set
	at := uint64(0)
	if r.InForce != nil {
		var err error
		if known, at, err = r.InForce(ctx, s.partition.ID()); err != nil {
			return nil, fmt.Errorf("backtest: find the rules in force: %w", err)
		}
	}
	if at <= s.until {
		// Behind the known place it is one of those that follow, if there are any.
		found, err := lastSet(ctx, s, at, s.until)
		if err != nil || found != nil {
			return found, err
		}
		return known, nil
	}
	// Look back from the end of the span and on from it in turn, in growing
	// steps: one of the two is over soon.
	oldest, err := s.partition.First(ctx)
	if err != nil {
		return nil, fmt.Errorf("backtest: %w", err)
	}
	back, on := s.until, max(1, s.until)-1 // the last batch may go on behind the span
	alone := false                         // only looking back can tell
	for step := uint64(64); ; step *= 2 {
		if back >= oldest {
			low := max(oldest-1, back-min(back, step))
			if found, err := lastSet(ctx, s, low, back); err != nil || found != nil {
				return found, err
			}
			back = low
		} else if alone {
			return nil, nil // if there was one, retention has removed it
		}
		if !alone {
			high := min(at, on+step)
			if alone, err = anySet(ctx, s, on, high); err != nil {
				return nil, err
			}
			if on = high; !alone && on == at {
				return known, nil
			}
		}
	}
}

// has reports whether a message of a batch stands within the span, or before it.
func (s *span) has(b *event.Batch, message int) bool {
	return b.Seq < s.until || b.Seq == s.until && message < before(b, s.to)
}

// lastSet returns the last usable rule set in the batches (after, until] that
// stands before the end of a span.
func lastSet(ctx context.Context, s *span, after, until uint64) (*rules.Set, error) {
	var found *rules.Set
	err := eachSet(ctx, s.partition, after, until, func(b *event.Batch, i int) bool {
		if s.has(b, i) {
			if set, err := rules.ParseSet(b.Messages[i].Payload); err == nil { // else the old one stayed in force
				found = set
			}
		}
		return true
	})
	return found, err
}

// anySet reports whether there is a rule set in the batches (after, until]
// behind the end of a span.
func anySet(ctx context.Context, s *span, after, until uint64) (found bool, err error) {
	err = eachSet(ctx, s.partition, after, until, func(b *event.Batch, i int) bool {
		found = !s.has(b, i)
		return !found
	})
	return found, err
}

// eachSet calls f with the records of rule sets in the batches (after, until],
// until it returns false.
func eachSet(ctx context.Context, p *eventlog.Partition, after, until uint64, f func(b *event.Batch, message int) bool) error {
	rd := p.NewReader(after, 0)
	defer rd.Close()
	for at := after; at < until; {
		b, err := rd.TryNext(ctx)
		var d *eventlog.Damage
		switch {
		case errors.As(err, &d):
			at = d.To
			continue
		case err != nil:
			return fmt.Errorf("backtest: look for rule sets in partition %d: %w", p.ID(), err)
		case b == nil:
			return nil
		}
		more := true
		at = b.Seq
		for i := range b.Messages {
			if at <= until && b.Messages[i].Record == event.RuleSet && more {
				more = f(b, i)
			}
		}
		b.Release()
		if !more {
			return nil
		}
	}
	return nil
}

// SetAt returns the rule set in force in a partition after a batch, nil if there
// is none.
func (d *Deps) SetAt(ctx context.Context, p *eventlog.Partition, seq uint64) (*rules.Set, error) {
	r := &runner{Deps: *d, plan: &plan{}}
	return r.inForce(ctx, &span{partition: p, head: p.Head().Seq, until: seq, to: math.MaxInt64})
}
