package rules

import "weir/ingest/event"

// feed gives an event to the cells that a rule reads, less those that had it
// already: rules that share a cell match the same events.
func (e *Engine) feed(rs *ruleState, v *visit, at int64, c cause) {
	for _, spec := range rs.rule.cells {
		if e.given[spec.number] == e.stamp {
			continue
		}
		e.given[spec.number] = e.stamp
		if v.en == nil {
			v.en = rs.space.obtain(v.clk, v.key)
		}
		k := v.en.known(spec)
		cl := k.cell
		if spec.kind == frameKind {
			continue // frameEnds touches it, once the others are fed
		}
		a, absent := cl.(*absentCell)
		excused := absent && e.excused()
		changes := cl.next() <= at && !excused // by itself, at this very time
		fed := cl.feed(e.expr, at)
		switch {
		case fed:
			e.feedStamp(spec)
			k.due = never
		case changes: // another event of this time may still have a part in it
			k.due = at
		}
		if fed && e.watch != nil {
			e.watch.fed(e, spec, v.en, at, c)
		}
		if excused {
			a.until = e.excusedUntil(v.en)
			continue
		}
		cl.advance(at)
		if d, ok := cl.(*durationCell); ok && d.atLimit(at) {
			k.due = at // what it is just after is another thing
		}
	}
	if v.en != nil {
		e.rememberLast(v.en, c)
	}
}

func (e *Engine) feedStamp(spec *cellSpec) {
	for _, n := range spec.numbers {
		e.fed[n] = e.stamp
	}
}

// cellValue answers for the cells in expressions.
func (e *Engine) cellValue(number int32) (event.Value, bool) {
	f := e.set.functions[number]
	fed := e.timed || e.fed[number] == e.stamp
	if e.here == nil {
		return event.Value{}, fed
	}
	cl := e.here.have(f.cell.slot)
	if cl == nil {
		return event.Value{}, fed
	}
	if d, ok := cl.(*durationCell); ok && e.nudged {
		return d.justAfter(e.at), fed
	}
	return cl.value(f, e.at), fed
}
