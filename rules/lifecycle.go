package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

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

// alert is one alert that is not inactive. Its times are event times, ns.
type alert struct {
	rs       *ruleState
	en       *entry
	phase    phase
	past     bool    // it began in history, and nobody was told
	fresh    int32   // the event is Engine.fresh[fresh-1]; 0 if it is in memory
	active   int64   // when expr became true
	deadline int64   // when its phase ends; never if it does not by itself
	own      *spoken // the event that speaks for the phase; nil if it is the entry's latest too, see share
	notice   *notice // since it fires; before that unnoticed
}

// unnoticed is what is known about all alerts that are pending. It never changes.
var unnoticed = &notice{}

// holds is called when a rule's expression is true for an entry.
func (e *Engine) holds(rs *ruleState, en *entry, at int64, c cause, emit func(Derived)) {
	a := en.alert(rs)
	if a == nil {
		a = &alert{rs: rs, en: en, phase: pending, active: at, deadline: never, notice: unnoticed}
		en.add(a)
		rs.stats.Pending++
		e.check(rs, 0)
		if rs.rule.hold == 0 {
			e.fire(a, at, c, emit)
			return
		}
		e.speaks(a, c)
		a.arm()
		e.changed(a, event.Pending, at)
		return
	}
	switch a.phase {
	case pending:
		e.speaks(a, c)
		if a.deadline <= at { // it has held for long enough, this event included
			e.fire(a, a.deadline, c, emit)
		}
	case firing, clearing:
		e.mayClear(a, expression.True, at, c, emit)
	}
}

// doesNotHold is called when the expression is not True for an alert that is
// not inactive.
func (e *Engine) doesNotHold(a *alert, res expression.Result, at int64, c cause, emit func(Derived)) {
	if a.phase == pending {
		if res == expression.False {
			e.forget(a)
		}
		return
	}
	e.mayClear(a, res, at, c, emit)
}

// mayClear decides whether a firing alert clears.
func (e *Engine) mayClear(a *alert, res expression.Result, at int64, c cause, emit func(Derived)) {
	r := a.rs.rule
	clear := res == expression.False
	if r.clear != nil {
		cleared := e.outcome(r.clear)
		a.rs.count(cleared, r.clear, e.expr)
		clear = cleared == expression.True
	}
	switch {
	case clear && a.phase == firing && r.keep > 0:
		a.phase, a.notice.cleared = clearing, max(at, a.notice.starts)
		e.speaks(a, c)
		a.arm()
		e.changed(a, StateClearing, a.notice.cleared)
	case clear && a.phase == firing:
		e.resolve(a, at, c, emit)
		return
	case !clear && a.phase == clearing && res == expression.True: // it came back
		a.phase, a.notice.cleared = firing, 0
		e.speaks(a, c)
		a.arm()
		e.changed(a, event.Firing, at)
	case a.phase == clearing && a.deadline <= at && (clear || res == expression.False): // what says nothing does not decide: another event of this instant may
		e.resolve(a, a.deadline, c, emit)
		return
	}
	if a.past && !a.en.clock.historic { // what began in the past is so now
		a.past = false
		e.resume(a, at, c, emit)
	}
}

// speaks keeps the event, and the value of the window, that speak for the phase
// of an alert.
func (e *Engine) speaks(a *alert, c cause) {
	if a.rs.rule.frame == nil && a.own == nil && a.phase == pending && len(a.en.space.cells) > 0 {
		e.share(a, c)
		return
	}
	a.keep(c)
	if a.rs.rule.frame == nil {
		return
	}
	a.own.said = nil
	if v, ok := e.leftmost(a.rs.rule, c.ev); ok {
		v = keepValue(v)
		a.own.said = &v
	}
}

// dueAlert is called when the phase of an alert ends by itself.
func (e *Engine) dueAlert(a *alert, at int64, emit func(Derived)) {
	e.quoted = a.said() // its windows have gone on
	defer func() { e.quoted = nil }()
	c, _ := e.cause(a)
	switch a.phase {
	case pending:
		e.fire(a, at, c, emit)
	case clearing:
		e.resolve(a, at, c, emit)
	}
}

// arm sets when the alert's phase ends by itself.
func (a *alert) arm() {
	switch a.phase {
	case pending:
		a.deadline = after(a.active, int64(a.rs.rule.hold))
	case clearing:
		a.deadline = after(a.notice.cleared, int64(a.rs.rule.keep))
	default:
		a.deadline = never
	}
}

// after is t+d, but does not overflow.
func after(t, d int64) int64 {
	if s := t + d; (s >= t) == (d >= 0) {
		return s
	}
	return never
}

func (e *Engine) fire(a *alert, at int64, c cause, emit func(Derived)) {
	a.phase, a.notice = firing, &notice{starts: at}
	a.arm()
	a.rs.stats.Pending--
	a.rs.stats.Firing++
	a.keep(c)
	a.notice.id = incident(a.rs.rule, a.en.key(), at, e.begin(a.en, a.rs.rule.id, at))
	// What an event shows to have been due long before it is history too: if it is still so, that is told.
	long := !e.still && a.en.clock.time-at > BackfillAfter
	a.past = (a.en.clock.historic || long) && !a.rs.rule.past
	e.changed(a, event.Firing, at)
	emit(e.transition(a, event.Firing, at, c, ""))
	e.enter(a)
	e.mayExceed(a, c, emit)
}

// begin counts the incidents of a rule that began at a time before this one.
func (e *Engine) begin(en *entry, rule string, at int64) int {
	m := en.others()
	m.starts = slices.DeleteFunc(m.starts, func(s start) bool { return s.time < en.clock.time && s.time < at })
	for i := range m.starts {
		if s := &m.starts[i]; s.rule == rule && s.time == at {
			s.n++
			return s.n
		}
	}
	n := 0
	for _, b := range e.begun { // under the set before
		if b.rule == rule && b.key == en.key() && b.time == at {
			n = b.n + 1
		}
	}
	m.starts = append(m.starts, start{rule, at, n})
	return n
}

func (e *Engine) resolve(a *alert, at int64, c cause, emit func(Derived)) {
	e.forget(a)
	e.changed(a, event.Resolved, max(at, a.notice.starts))
	emit(e.transition(a, event.Resolved, max(at, a.notice.starts), c, ""))
	if f := e.desk.flaps[flapKeyOf(a)]; f != nil && f.marked {
		e.stir(f)
	}
}

// endAlert ends an alert because its rule, or what it was about, is gone; the
// event is the last that spoke for it.
func (e *Engine) endAlert(a *alert, at int64, emit func(Derived)) {
	if a.phase == pending {
		e.at = at
		e.forget(a)
		return
	}
	e.quoted = a.said()
	defer func() { e.quoted = nil }()
	c, _ := e.cause(a)
	e.here, e.at, e.timed = a.en, at, true
	e.resolve(a, at, c, emit)
}

func (e *Engine) forget(a *alert) {
	a.en.alerts = slices.DeleteFunc(a.en.alerts, func(b *alert) bool { return a == b })
	if a.phase == pending {
		a.rs.stats.Pending--
		e.changed(a, event.Inactive, e.at)
	} else {
		a.rs.stats.Firing--
		e.leave(a)
	}
}

// survives reports whether the engine, with a new set, still evaluates an alert's
// rule: an alert of that name with the same keys, for events like the one that
// speaks for it.
func (e *Engine) survives(a *alert, s *Set) bool {
	r := s.byID[a.rs.rule.id]
	if r == nil || !e.scope.covers(r) || r.kind != KindAlert || !slices.Equal(r.by, a.rs.rule.by) {
		return false
	}
	c, err := e.cause(a)
	return err == nil && r.match.holds(c.ev)
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
	return e.sortedIf(func(*alert) bool { return true })
}

// sortedIf is sorted for the alerts of which is is true.
func (e *Engine) sortedIf(is func(*alert) bool) []*alert {
	var all []*alert
	for _, sp := range e.spaces {
		sp.each(func(en *entry) {
			for _, a := range en.alerts {
				if is(a) {
					all = append(all, a)
				}
			}
		})
	}
	slices.SortFunc(all, func(a, b *alert) int {
		return cmp.Or(cmp.Compare(a.rs.rule.index, b.rs.rule.index), cmp.Compare(a.en.key(), b.en.key()),
			cmp.Compare(flag(a.en.clock.past), flag(b.en.clock.past)))
	})
	return all
}
