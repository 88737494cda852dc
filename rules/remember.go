package rules

import (
	"weir/ingest/event"
	"weir/rules/expression"
)

// memory is the latest event of an entry, or of one rule of it.
type memory struct {
	event []byte // see appendCause
	fresh int32  // the latest event is Engine.fresh[fresh-1], and not event; 0 if it is event
}

// ruleMemory is the latest event that said anything to a rule which reads fields
// beside its windows: when time changes these, the fields are those of that event.
type ruleMemory struct {
	rs *ruleState
	memory
}

// fresh is a memory of which the event is in the batch that is processed. A
// device may have many events in a batch, and only the last is kept after it.
type fresh struct {
	m *memory
	c cause
}

// remember notes the latest event.
func (e *Engine) remember(m *memory, c cause) {
	if m.fresh > 0 {
		e.fresh[m.fresh-1].c = c
		return
	}
	e.fresh = append(e.fresh, fresh{m, c})
	m.fresh = int32(len(e.fresh))
}

// keepFresh copies the latest events into memory. It is called before the batch
// goes, and before entries are replaced.
func (e *Engine) keepFresh() {
	for i := range e.fresh {
		m := e.fresh[i].m
		m.event, m.fresh = appendCause(m.event[:0], e.fresh[i].c), 0
	}
	clear(e.fresh)
	e.fresh = e.fresh[:0]
}

// recall returns the event that a memory of an entry holds.
func (e *Engine) recall(en *entry, m *memory) cause {
	if m.fresh > 0 {
		return e.fresh[m.fresh-1].c
	}
	if len(m.event) > 0 {
		if at, ev, err := decodeCause(m.event); err == nil {
			return cause{at, &ev}
		}
	}
	ev := &event.Event{}
	if en.space.device {
		ev.Device = en.key
	}
	return cause{ev: ev}
}

// recallFor returns the event that a rule is to see when no event came, last
// being the entry's latest.
func (e *Engine) recallFor(en *entry, rs *ruleState, last cause) cause {
	if !rs.mixed {
		return last
	}
	for _, m := range en.mixed {
		if m.rs == rs {
			return e.recall(en, &m.memory)
		}
	}
	return e.recall(en, &memory{}) // no event said anything to it yet
}

// memoryOf returns what an entry remembers for a rule.
func (en *entry) memoryOf(rs *ruleState) *ruleMemory {
	for _, m := range en.mixed {
		if m.rs == rs {
			return m
		}
	}
	m := &ruleMemory{rs: rs}
	en.mixed = append(en.mixed, m)
	return m
}

// mixes reports whether a rule reads fields of events beside functions of the past.
func (r *rule) mixes() bool {
	if len(r.cells) == 0 {
		return false
	}
	for _, p := range []*expression.Program{r.expr, r.clear} {
		if p == nil {
			continue
		}
		for _, ref := range p.Refs() {
			if ref.IsField() {
				return true
			}
		}
	}
	return false
}

// concerns reports whether the event in the scope says anything to a rule but that
// something was heard.
func (e *Engine) concerns(r *rule) bool {
	every := func(cell int32) bool { return e.set.functions[cell].cell.hearsAll() }
	return r.expr.Speaks(e.expr, every) || r.clear != nil && r.clear.Speaks(e.expr, every)
}

// hearsAll reports whether every event feeds the cell, whatever its fields.
func (s *cellSpec) hearsAll() bool { return s.kind == absentKind && s.arg == nil }
