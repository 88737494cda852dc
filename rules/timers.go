package rules

import (
	"cmp"
	"container/heap"
	"slices"
	"time"

	"weir/rules/expression"
)

// advance moves the log time to that of the next record. What is due before it
// happens first; what is due just then comes after what the record says.
func (e *Engine) advance(to int64, emit func(Derived)) {
	e.pass(to, emit)
	e.now = to
}

// tick is called when a record says that nothing happened up to now.
func (e *Engine) tick(emit func(Derived)) { e.pass(after(e.now, 1), emit) }

// pass does what is due before a log time in the silence of its devices.
func (e *Engine) pass(to int64, emit func(Derived)) {
	if to <= e.hold {
		return
	}
	for {
		due := never
		if len(e.schedule) > 0 {
			due = e.schedule[0].due
		}
		if at := e.desk.nextAlarm(); at < min(due, to) {
			e.now = max(e.now, min(max(at, e.hold), to-1))
			e.ring(to, emit)
			continue
		}
		if due >= to {
			return
		}
		en := e.schedule[0]
		if due := en.trueDue(); due > en.due {
			if due == never {
				heap.Pop(&e.schedule)
				continue
			}
			en.due = due
			heap.Fix(&e.schedule, 0)
			continue
		}
		e.now = max(e.now, min(max(en.due, e.hold), to-1))
		e.silence(en, emit)
		if len(e.desk.over) > 0 {
			e.followUp(emit)
		}
	}
}

// nowAfter is after which silence a device that uploaded history is back at now.
const nowAfter = int64(time.Minute)

// silence lets time pass for an entry of which nothing was heard.
func (e *Engine) silence(en *entry, emit func(Derived)) {
	e.touch(en)
	if en.clock.past {
		e.endPast(en, emit)
		return
	}
	if e.now-en.clock.seen >= nowAfter { // what it uploaded has ended: what is due from here on is of now
		en.clock.historic = false
	}
	e.still = true
	defer func() { e.still = false }()
	to := en.clock.silent(e.now) - en.space.lane.lateness
	if en.holder() {
		e.release(en.space.lane, en.clock, to, emit)
		if en = en.clock.entry; en == nil {
			return
		}
	}
	e.timers(en, to, true, emit)
	e.settleEntry(en)
}

// endPast ends an upload of history: what fires in it is resolved as of its
// end, and the clock of the past is gone.
func (e *Engine) endPast(en *entry, emit func(Derived)) {
	for len(en.alerts) > 0 {
		e.endAlert(en.alerts[0], en.clock.time, emit)
	}
	for i := range en.cells {
		en.cells[i].cell = nil
	}
	if en.more != nil {
		en.more.starts = nil
	}
	back := en.clock
	e.settleEntry(en)
	if c := en.space.lane.clocks[back.device]; c != nil && c.back() == back {
		c.setBack(nil)
	}
}

// timers does what is due for an entry, in the order of time: frames that end
// and cells that change, then alerts. Before an event of time to, that is what
// is due before to, and the frames that end at it; when time passes in silence
// also what is due at it.
func (e *Engine) timers(en *entry, to int64, silence bool, emit func(Derived)) {
	for {
		frames, cells, alerts := never, never, never
		for i := range en.cells {
			k := &en.cells[i]
			if _, ok := k.cell.(*frameCell); ok {
				frames = min(frames, k.next())
			} else if silence || !e.waitsFor(k.cell) {
				cells = min(cells, k.next(), k.due)
			}
		}
		for _, a := range en.alerts {
			alerts = min(alerts, a.deadline)
		}
		at := min(frames, cells, alerts)
		switch {
		case at > to || at == never:
			return
		case at == to && !silence:
			if frames > to {
				return
			}
			e.endFrames(en, at, emit)
		case frames == at:
			e.endFrames(en, at, emit)
		case cells == at:
			e.changeCells(en, at, silence, emit)
		default:
			e.dueAlerts(en, at, emit)
		}
	}
}

// endFrames evaluates the rules whose windows end at a time.
func (e *Engine) endFrames(en *entry, at int64, emit func(Derived)) {
	c := e.recall(en, &en.last)
	for _, k := range en.cells { // frames are in the order of their rules
		fc, ok := k.cell.(*frameCell)
		if !ok || fc.end != at {
			continue
		}
		rs := en.space.usage[k.slot].readers[0]
		r := rs.rule
		if rs.stats.Stopped != "" {
			continue
		}
		some := false
		for _, spec := range r.cells {
			if cl := en.have(spec.slot); spec.kind == windowKind && cl != nil {
				cl.advance(at)
				some = some || !cl.empty()
			}
		}
		if some {
			e.evaluateTimed(rs, en, at, e.recallFor(en, rs, c), emit)
		}
		fc.end = none
		for _, spec := range r.cells {
			cl := en.have(spec.slot)
			if spec.kind != windowKind || cl == nil {
				continue
			}
			if r.frame.session {
				cl.(*windowCell).w.Reset()
				continue
			}
			cl.advance(at + r.frame.every)
			if !cl.empty() {
				fc.end = at + r.frame.every
			}
		}
	}
}

// changeCells evaluates the rules whose cells change at a time, though no event
// came.
func (e *Engine) changeCells(en *entry, at int64, silence bool, emit func(Derived)) {
	c := e.recall(en, &en.last)
	var concerned []*ruleState
	for i := range en.cells {
		k := &en.cells[i]
		if min(k.next(), k.due) != at || !silence && e.waitsFor(k.cell) {
			continue
		}
		k.due = never
		k.advance(at)
		if s, ok := k.cell.(*sequenceCell); ok {
			s.expire(at)
		}
		for _, rs := range en.space.usage[k.slot].readers {
			if rs.rule.kind != KindRecord && rs.rule.frame == nil && rs.stats.Stopped == "" {
				concerned = append(concerned, rs)
			}
		}
	}
	slices.SortFunc(concerned, func(a, b *ruleState) int { return cmp.Compare(a.rule.index, b.rule.index) })
	for _, rs := range slices.Compact(concerned) {
		e.evaluateTimed(rs, en, at, e.recallFor(en, rs, c), emit)
	}
}

// evaluateTimed evaluates a rule because time has passed, with the fields of an
// event of before.
func (e *Engine) evaluateTimed(rs *ruleState, en *entry, at int64, c cause, emit func(Derived)) {
	r := rs.rule
	e.expr.Begin(c.ev)
	e.here, e.at, e.timed = en, at, true
	e.nudged = r.kind == KindAlert
	defer func() { e.nudged = false }()
	if r.kind == KindRecord {
		e.record(rs, en, c, at, true, emit)
		return
	}
	res := e.outcome(r.expr)
	rs.count(res, r.expr, e.expr)
	if e.watch != nil {
		e.watch.evaluated(e, rs, en, at, c, res)
	}
	if res == expression.True {
		e.holds(rs, en, at, c, emit)
	} else if a := en.alert(rs); a != nil {
		e.doesNotHold(a, res, at, c, emit)
	}
}

// dueAlerts does what alerts wait for, in the order of their rules.
func (e *Engine) dueAlerts(en *entry, at int64, emit func(Derived)) {
	for _, a := range append([]*alert(nil), en.alerts...) {
		if a.deadline == at {
			e.here, e.at, e.timed = en, at, true
			e.dueAlert(a, at, emit)
		}
	}
}
