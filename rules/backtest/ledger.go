package backtest

import (
	"maps"
	"math"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

// The sides of a comparison.
const (
	newSide = iota
	oldSide
	sides
)

// maxKept bounds the incidents that are kept to be compared; the rest is
// counted only.
const maxKept = 200_000

// ledger books the transitions of both sides, of one stream. It is used by one
// goroutine.
type ledger struct {
	from, to int64 // range of log time
	max      int   // pairs that may be kept

	pairs  map[string]*pair // by the incident's id; without those that are equal and over
	moved  []*pair          // same id, over on both sides, not at the same time
	rules  map[string]*tally
	beyond [sides]int // incidents that were not kept
}

// pair is an incident on both sides.
type pair [sides]*incident

// incident is one side's.
type incident struct {
	id, rule, key string
	starts, ends  int64 // event time, ns; ends is open until it is over
	before        bool  // it was over before the range
	labels        map[string]string
	value         any
	suppressed    string
	cause         event.Position
	caused        bool // cause is there
}

const open = math.MaxInt64

// tally is what is known of one rule in numbers.
type tally struct {
	kind      rules.Kind
	unchanged int
	sides     [sides]struct {
		has                    bool
		incidents, open, pages int
		firing                 int64 // ns
		recordings             uint64
		evaluations, errors    uint64
		lastError              string
	}
}

func newLedger(from, to int64, maxPairs int) *ledger {
	return &ledger{from: from, to: to, max: maxPairs, pairs: map[string]*pair{}, rules: map[string]*tally{}}
}

func (l *ledger) rule(id string) *tally {
	t := l.rules[id]
	if t == nil {
		t = &tally{kind: rules.KindAlert}
		l.rules[id] = t
	}
	return t
}

// fact books a transition that came about at a log time.
func (l *ledger) fact(side int, a *event.Alert, at int64) {
	t := l.rule(a.Rule)
	t.sides[side].has = true
	if a.State == event.Firing && a.Told() && at >= l.from {
		t.sides[side].pages++
	}
	if a.Notice != "" {
		return // told again: nothing has changed
	}
	p := l.pairs[a.ID]
	if p == nil {
		if len(l.pairs)+len(l.moved) >= l.max || a.State == event.Resolved && l.beyond[side] > 0 {
			if a.State == event.Firing {
				l.beyond[side]++
				t.sides[side].incidents++
			}
			return
		}
		p = new(pair)
		l.pairs[a.ID] = p
	}
	in := p[side]
	if in == nil {
		in = newIncident(a)
		p[side] = in
	}
	if a.State != event.Resolved || in.ends != open {
		return
	}
	in.ends = at
	if a.EndsAt != nil {
		in.ends = a.EndsAt.UnixNano()
	}
	in.before = at < l.from
	if other := p[1-side]; other != nil && other.ends != open {
		l.settle(p)
		if p[newSide].ends != p[oldSide].ends {
			l.moved = append(l.moved, p)
		}
		delete(l.pairs, a.ID)
	}
}

func newIncident(a *event.Alert) *incident {
	in := &incident{
		id: a.ID, rule: a.Rule, key: a.Key, starts: a.StartsAt.UnixNano(), ends: open,
		labels: a.Labels, value: a.Value, suppressed: a.Suppressed,
	}
	if a.Event != nil {
		in.cause, in.caused = a.Event.Position, true
	}
	return in
}

// settle counts an incident whose both sides, or only one, are as they stay.
func (l *ledger) settle(p *pair) {
	counted := false
	for side, in := range p {
		if in == nil || in.before {
			continue
		}
		counted = true
		s := &l.rule(in.rule).sides[side]
		s.incidents++
		if in.ends == open {
			s.open++
		}
		if from, to := max(in.starts, l.from), min(in.ends, l.to); to > from {
			s.firing += to - from
		}
	}
	if p[newSide] != nil && p[oldSide] != nil && counted && p[newSide].ends == p[oldSide].ends {
		l.rule(p[newSide].rule).unchanged++
	}
}

// begin is called when the range begins: what was over before it is forgotten.
func (l *ledger) begin() {
	for id, p := range l.pairs {
		gone := true
		for _, in := range p {
			gone = gone && (in == nil || in.before)
		}
		if gone {
			delete(l.pairs, id)
		}
	}
}

// close counts what is left at the log time at which evaluation ended, and
// returns the incidents that differ: moved ones, and those of one side only.
func (l *ledger) close(at int64) (moved []*pair, single [sides][]*incident) {
	l.to = min(l.to, at)
	moved = l.moved
	for _, p := range l.pairs {
		l.settle(p)
		n, o := p[newSide], p[oldSide]
		switch {
		case n != nil && o != nil:
			if n.ends != o.ends && !(n.before && o.before) {
				moved = append(moved, p)
			}
		case n != nil && !n.before:
			single[newSide] = append(single[newSide], n)
		case o != nil && !o.before:
			single[oldSide] = append(single[oldSide], o)
		}
	}
	l.pairs, l.moved = nil, nil
	return moved, single
}

// export returns the incident as the report has it.
func (in *incident) export() Incident {
	out := Incident{
		ID: in.id, Rule: in.rule, Key: in.key, StartsAt: time.Unix(0, in.starts).UTC(),
		Labels: maps.Clone(in.labels), Value: in.value, Suppressed: in.suppressed,
	}
	if in.ends != open {
		t := time.Unix(0, in.ends).UTC()
		out.EndsAt = &t
	}
	if in.caused {
		at := in.cause
		out.Cause = &at
	}
	return out
}
