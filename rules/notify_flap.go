package rules

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"weir/ingest/event"
)

// flapping is from which number of times that an alert fires within a time it
// flaps.
type flapping struct {
	changes int
	within  time.Duration
}

func (f *flapping) text() string { return fmt.Sprintf("fired %d times within %v", f.changes, f.within) }

type flapKey struct{ rule, key string }

func flapKeyOf(a *alert) flapKey { return flapKey{a.rs.rule.id, a.en.key()} }

// flap is how often the alert of a rule and a key fired lately. Its times are
// log times, ns.
type flap struct {
	rule    *rule
	key     string
	fired   []int64 // the latest, in order
	changed int64   // when it fired or was resolved last
	marked  bool    // it flaps: nobody is told until it comes to rest
	open    *alert  // that people believe to fire still, though it was resolved; may be nil
	ends    int64   // when that was resolved, event time
	alarm   alarm
}

// flapped notes that an alert fires. If that is too often nobody is told of
// what follows.
func (e *Engine) flapped(a *alert) {
	r := a.rs.rule
	if r.flapping == nil || a.past || r.shadow {
		return
	}
	f := e.desk.flaps[flapKeyOf(a)]
	if f == nil {
		f = newFlap(r, a.en.key())
		e.desk.flaps[flapKeyOf(a)] = f
	}
	from := e.now - int64(r.flapping.within)
	f.fired = slices.DeleteFunc(f.fired, func(t int64) bool { return t <= from })
	if len(f.fired) >= r.flapping.changes {
		f.fired = slices.Delete(f.fired, 0, 1)
	}
	f.fired = append(f.fired, e.now)
	f.marked = f.marked || len(f.fired) >= r.flapping.changes
	e.stir(f)
}

func newFlap(r *rule, key string) *flap {
	f := &flap{rule: r, key: key}
	f.alarm = alarm{kind: alarmFlap, rule: r.id, key: key, flap: f}
	return f
}

// stir notes that the state changes now.
func (e *Engine) stir(f *flap) {
	f.changed = e.now
	e.ringAt(&f.alarm, after(e.now, int64(f.rule.flapping.within)))
}

// keep remembers an alert that was resolved without a word.
func (f *flap) keep(a *alert, ends int64) {
	f.open, f.ends = detached(a, a.en.space, a.en.key()), ends
}

// detached returns a copy of an alert that is in no entry any more.
func detached(a *alert, sp *space, key string) *alert {
	return &alert{
		rs: a.rs, en: newEntry(sp, &clock{device: key}, key),
		phase: firing, active: a.active, deadline: never, own: &spoken{event: slices.Clone(a.own.event)},
		notice: &notice{starts: a.notice.starts, id: a.notice.id, labels: maps.Clone(a.notice.labels), told: true, escalated: a.notice.escalated},
	}
}

// calm is called when nothing has changed for long enough: people are told how
// it is, if they believe otherwise.
func (e *Engine) calm(f *flap, emit func(Derived)) {
	delete(e.desk.flaps, flapKey{f.rule.id, f.key})
	e.unset(&f.alarm)
	if a := f.open; a != nil {
		if c, err := e.cause(a); err == nil {
			e.here, e.at, e.timed = a.en, f.ends, true
			emit(e.transition(a, event.Resolved, f.ends, c, event.NoticeResumed))
		}
	}
	all := slices.DeleteFunc(slices.Clone(e.desk.muted[mute{event.SuppressedFlapping, f.rule.flapping.text()}]), func(a *alert) bool {
		return flapKeyOf(a) != (flapKey{f.rule.id, f.key})
	})
	slices.SortFunc(all, compareAlerts)
	for _, a := range all {
		e.reconsider(a, emit)
	}
}

// endFlaps takes for calm what another rule set does not take for flapping.
func (e *Engine) endFlaps(set *Set, emit func(Derived)) {
	for _, k := range slices.SortedFunc(maps.Keys(e.desk.flaps), compareFlaps) {
		f := e.desk.flaps[k]
		r := set.byID[k.rule]
		if r == nil || r.flapping == nil || *r.flapping != *f.rule.flapping || !slices.Equal(r.by, f.rule.by) {
			e.calm(f, emit)
		}
	}
}

// inheritFlaps lets the others go on with the rules in force.
func (e *Engine) inheritFlaps() {
	for k, f := range e.desk.flaps {
		f.rule = e.set.byID[k.rule]
		if f.open != nil {
			f.open.rs = e.rules[f.rule.index]
			f.open.en.space = f.open.rs.space
		}
	}
}
