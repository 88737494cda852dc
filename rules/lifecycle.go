package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"weir/ingest/event"
	"weir/rules/expression"
)

// phase is where an alert is in its life. Inactive alerts are not kept.
type phase uint8

const (
	pending  phase = 1 // expr is true, for is not over
	firing   phase = 2
	clearing phase = 3 // firing: the clear condition was met, keep_firing_for is not over
)

// alert is one alert that is not inactive.
type alert struct {
	rs       *ruleState
	key      string
	phase    phase
	active   int64 // when expr became true, ns of log time
	starts   int64 // when it began to fire; 0 while pending
	cleared  int64 // when the clear condition was met, while clearing
	deadline int64 // when its timer is due; meaningless if timer < 0
	timer    int   // index in Engine.timers, -1 if it has none
	id       string
	labels   map[string]string // since it fires
	event    []byte            // the event that speaks for the phase, see appendCause
}

// start is an incident that began at the engine's present time. An alert may
// begin, end and begin again within one instant; the ordinal tells them apart.
type start struct {
	rule, key string
}

// holds is called when a rule's expression is true for an event.
func (e *Engine) holds(rs *ruleState, c cause, emit func(Derived)) {
	a := rs.alerts[c.ev.Device]
	if a == nil {
		a = &alert{rs: rs, key: strings.Clone(c.ev.Device), phase: pending, active: e.now, timer: -1}
		rs.alerts[a.key] = a
		rs.stats.Pending++
		if rs.rule.hold == 0 {
			e.fire(a, c, emit)
			return
		}
		a.event = appendCause(a.event[:0], c)
		e.arm(a)
		return
	}
	switch a.phase {
	case pending:
		a.event = appendCause(a.event[:0], c)
	case firing, clearing:
		e.mayClear(a, expression.True, c, emit)
	}
}

// doesNotHold is called when the expression is not True for the event of an
// alert that is not inactive.
func (e *Engine) doesNotHold(a *alert, res expression.Result, c cause, emit func(Derived)) {
	if a.phase == pending {
		if res == expression.False {
			e.forget(a)
		}
		return
	}
	e.mayClear(a, res, c, emit)
}

// mayClear decides whether a firing alert clears.
func (e *Engine) mayClear(a *alert, res expression.Result, c cause, emit func(Derived)) {
	r := a.rs.rule
	clear := res == expression.False
	if r.clear != nil {
		cleared := r.clear.Holds(e.expr)
		a.rs.count(cleared, r.clear, e.expr)
		clear = cleared == expression.True
	}
	switch {
	case clear && a.phase == firing && r.keep > 0:
		a.phase, a.cleared = clearing, e.now
		a.event = appendCause(a.event[:0], c)
		e.arm(a)
	case clear && a.phase == firing:
		e.resolve(a, c, emit)
	case !clear && a.phase == clearing && res == expression.True: // it came back
		a.phase, a.cleared = firing, 0
		a.event = appendCause(a.event[:0], c)
		e.disarm(a)
	}
}

// due is called when an alert's timer is, with the log time at its deadline.
func (e *Engine) due(a *alert, emit func(Derived)) {
	e.disarm(a)
	at, ev, _ := decodeCause(a.event)
	c := cause{at, &ev}
	switch a.phase {
	case pending:
		e.fire(a, c, emit)
	case clearing:
		e.resolve(a, c, emit)
	}
}

// arm sets an alert's timer for its phase, if the phase has one.
func (e *Engine) arm(a *alert) {
	switch a.phase {
	case pending:
		a.deadline = after(a.active, int64(a.rs.rule.hold))
	case clearing:
		a.deadline = after(a.cleared, int64(a.rs.rule.keep))
	default:
		return
	}
	e.timers.push(a)
}

// after is t+d, but does not overflow.
func after(t, d int64) int64 {
	if s := t + d; s >= t {
		return s
	}
	return 1<<63 - 1
}

func (e *Engine) disarm(a *alert) {
	if a.timer >= 0 {
		e.timers.remove(a)
	}
}

func (e *Engine) fire(a *alert, c cause, emit func(Derived)) {
	a.phase, a.starts = firing, e.now
	a.rs.stats.Pending--
	a.rs.stats.Firing++
	a.event = appendCause(a.event[:0], c)
	ordinal := 0
	for _, s := range e.starts {
		if s.rule == a.rs.rule.id && s.key == a.key {
			ordinal++
		}
	}
	e.starts = append(e.starts, start{a.rs.rule.id, a.key})
	a.id = incident(a.rs.rule, a.key, a.starts, ordinal)
	emit(e.transition(a, event.Firing, c))
}

func (e *Engine) resolve(a *alert, c cause, emit func(Derived)) {
	e.forget(a)
	emit(e.transition(a, event.Resolved, c))
}

// end resolves an alert because its rule is gone; the event is the last that
// spoke for it.
func (e *Engine) end(a *alert, emit func(Derived)) {
	if a.phase == pending {
		e.forget(a)
		return
	}
	at, ev, _ := decodeCause(a.event)
	e.resolve(a, cause{at, &ev}, emit)
}

func (e *Engine) forget(a *alert) {
	e.disarm(a)
	delete(a.rs.alerts, a.key)
	if a.phase == pending {
		a.rs.stats.Pending--
	} else {
		a.rs.stats.Firing--
	}
}

// survives reports whether a new set still has the alert's rule: an alert of
// that name, for events like the one that speaks for it.
func (a *alert) survives(s *Set) bool {
	r := s.byID[a.rs.rule.id]
	if r == nil || r.kind != KindAlert {
		return false
	}
	_, ev, err := decodeCause(a.event)
	return err == nil && r.match.holds(&ev)
}

// incident returns the id of an incident: a function of what it is and when it
// began, so that a replay gives the same.
func incident(r *rule, key string, starts int64, ordinal int) string {
	b := make([]byte, 0, 128)
	for _, s := range []string{r.group, r.name, key} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(starts))
	b = binary.AppendUvarint(b, uint64(ordinal))
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// sorted returns all alerts in the order of their rules' ids and their keys.
func (e *Engine) sorted() []*alert {
	var all []*alert
	for _, rs := range e.rules {
		from := len(all)
		for _, a := range rs.alerts {
			all = append(all, a)
		}
		slices.SortFunc(all[from:], func(a, b *alert) int { return cmp.Compare(a.key, b.key) })
	}
	return all
}
