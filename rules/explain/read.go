package explain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// fact is a record of an alert in the log.
type fact struct {
	at       event.Position
	received int64
	alert    event.Alert
}

func (f *fact) transition() Transition {
	a := &f.alert
	t := Transition{
		State: a.State, ID: a.ID, Notice: a.Notice, At: a.StartsAt, Position: f.at, Decided: time.Unix(0, f.received).UTC(),
		Suppressed: a.Suppressed, Reason: a.Reason, RuleSet: a.RuleSet, Value: a.Value,
	}
	if a.State == event.Resolved && a.EndsAt != nil {
		t.At = *a.EndsAt
	}
	return t
}

// reading evaluates a part of a partition with the rules of then.
type reading struct {
	x         *explainer
	p         *eventlog.Partition
	from      time.Time
	until     uint64 // the last batch
	to        int64  // no batch is read that was received after this, ns
	rule, key string
	see       func(*rules.Engine, rules.Seen)
	facts     []fact // about the rule and key

	engine *rules.Engine
	out    Range
	set    *rules.Set // in force where the range ends
	groups bool       // the rule is evaluated over all partitions
}

func (x *explainer) reading(p *eventlog.Partition, from time.Time, rule, key string) *reading {
	return &reading{x: x, p: p, from: from, to: math.MaxInt64, until: math.MaxUint64, rule: rule, key: key}
}

// run evaluates the range. The engine is given everything that the log holds, so
// that it comes to what it came to then.
func (r *reading) run(ctx context.Context) error {
	if r.groups {
		return r.runMerged(ctx)
	}
	first, err := r.p.SeqAt(ctx, r.from)
	if err != nil {
		return fmt.Errorf("explain: find %s in partition %d: %w", stamp(r.from), r.p.ID(), err)
	}
	first = max(1, first)
	set, err := r.x.SetAt(ctx, r.p, first-1)
	if err != nil {
		return err
	}
	r.engine = rules.NewEngine(r.p.ID())
	if r.x.Log.Partitions() > 1 {
		r.engine.SetScope(rules.PartitionRules)
	}
	r.out = Range{Partition: r.p.ID(), First: first, Last: first}
	r.until = min(r.until, r.p.Head().Seq)
	r.engine.Watch(r.rule, r.key, func(s rules.Seen) { r.see(r.engine, s) })
	begun := false
	discard := func(rules.Derived) {}
	err = r.each(ctx, first, func(b *event.Batch) bool {
		if len(b.Messages) > 0 && b.Messages[0].Received > r.to {
			return false
		}
		if !begun && len(b.Messages) > 0 {
			begun = true
			r.begin(ctx, set, b)
		}
		for i := range b.Messages {
			r.take(b, i)
		}
		r.engine.Process(b, discard)
		r.out.Last = b.Seq
		return true
	})
	r.set = r.engine.Set()
	return err
}

// begin puts the rules into force where the range begins. What their windows need
// is read from here on; what later rule sets need is looked for in the log.
func (r *reading) begin(ctx context.Context, set *rules.Set, b *event.Batch) {
	r.enact(set, b)
	r.engine.SetHistory(func(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
		first, err := r.p.SeqAt(ctx, time.Unix(0, since))
		if err != nil {
			return fmt.Errorf("find %s in partition %d: %w", stamp(time.Unix(0, since)), r.p.ID(), err)
		}
		h := r.x.reading(r.p, time.Time{}, "", "")
		h.until = until.Seq
		return h.each(ctx, max(1, first), func(b *event.Batch) bool {
			to := len(b.Messages)
			if b.Seq == until.Seq {
				to = int(until.Message)
			}
			each(b, 0, to)
			return true
		})
	})
}

func (r *reading) enact(set *rules.Set, b *event.Batch) {
	if set == nil {
		return
	}
	at := event.NewBatch(nil)
	at.Partition = r.p.ID()
	at.Messages = []event.Message{{Record: event.RuleSet, Received: b.Messages[0].Received, Payload: set.Marshal()}}
	r.engine.Process(at, func(rules.Derived) {})
}

// take notes what the log says about a message.
func (r *reading) take(b *event.Batch, i int) {
	m := &b.Messages[i]
	r.out.Records++
	at := time.Unix(0, m.Received).UTC()
	if r.out.From.IsZero() || at.Before(r.out.From) {
		r.out.From = at
	}
	if at.After(r.out.To) {
		r.out.To = at
	}
	if m.Record != event.AlertFact {
		return
	}
	if f, ok := factOf(b, i); ok && f.alert.Rule == r.rule && f.alert.Key == r.key {
		r.facts = append(r.facts, f)
	}
}

func factOf(b *event.Batch, i int) (fact, bool) {
	m := &b.Messages[i]
	f := fact{at: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: uint32(i)}, received: m.Received}
	return f, json.Unmarshal(m.Payload, &f.alert) == nil
}

// each calls f with the batches from first on, until it returns false. Damaged
// ranges are passed over and counted.
func (r *reading) each(ctx context.Context, first uint64, f func(*event.Batch) bool) error {
	rd := r.p.NewReader(first-1, 0)
	defer rd.Close()
	for {
		b, err := rd.TryNext(ctx)
		var d *eventlog.Damage
		switch {
		case errors.As(err, &d):
			r.out.Damaged++
			if d.To >= r.until {
				return nil
			}
			continue
		case err != nil:
			return fmt.Errorf("explain: read partition %d: %w", r.p.ID(), err)
		case b == nil:
			return nil
		}
		more := b.Seq <= r.until && f(b)
		last := b.Seq >= r.until
		b.Release()
		if !more || last {
			return nil
		}
	}
}

// incident finds what the log says of an incident, in log order. It looks back
// from the end of the log.
func (x *explainer) incident(ctx context.Context, id string) ([]fact, error) {
	type back struct {
		p      *eventlog.Partition
		oldest uint64
		low    uint64 // batches up to this one were not looked at
		found  []fact
		begun  bool
	}
	var all []*back
	for i := range x.Log.Partitions() {
		p := x.Log.Partition(i)
		oldest, err := p.First(ctx)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		all = append(all, &back{p: p, oldest: oldest, low: p.Head().Seq})
	}
	for step := uint64(256); ; step *= 2 {
		over := true
		for _, s := range all {
			if s.low+1 <= s.oldest || s.low == 0 {
				continue
			}
			over = false
			high := s.low
			s.low = max(s.oldest-1, high-min(high, step))
			r := x.reading(s.p, time.Time{}, "", "")
			r.until = high
			err := r.each(ctx, s.low+1, func(b *event.Batch) bool {
				for i := range b.Messages {
					if b.Messages[i].Record != event.AlertFact || !isOf(b.Messages[i].ID, id) {
						continue
					}
					if f, ok := factOf(b, i); ok && f.alert.ID == id {
						s.found = append(s.found, f)
						s.begun = s.begun || f.alert.State == event.Firing && f.alert.Notice == ""
					}
				}
				return true
			})
			if err != nil {
				return nil, err
			}
			if s.begun {
				slices.SortFunc(s.found, func(a, b fact) int {
					return cmp.Or(cmp.Compare(a.at.Seq, b.at.Seq), cmp.Compare(a.at.Message, b.at.Message))
				})
				return s.found, nil
			}
		}
		if over {
			for _, s := range all {
				if len(s.found) > 0 {
					return nil, wrong("the log does not hold any more when the alert %s began to fire: it begins at %s", id, x.begins(ctx, s.p, s.oldest))
				}
			}
			return nil, wrong("no alert with the id %q is in the log; weir events tail --kind alert, and alerts themselves, show ids", id)
		}
	}
}

// isOf reports whether the id of a record is that of a fact of an incident.
func isOf(record, incident string) bool {
	return len(record) > len(incident) && record[:len(incident)] == incident && record[len(incident)] == '/'
}

// begins says when a partition begins.
func (x *explainer) begins(ctx context.Context, p *eventlog.Partition, oldest uint64) string {
	when := "an unknown time"
	r := x.reading(p, time.Time{}, "", "")
	_ = r.each(ctx, max(1, oldest), func(b *event.Batch) bool { // a time less is no reason to fail
		if len(b.Messages) > 0 {
			when = stamp(time.Unix(0, b.Messages[0].Received))
		}
		return false
	})
	return when
}
