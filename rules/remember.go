package rules

import (
	"bytes"
	"slices"

	"weir/ingest/event"
	"weir/rules/expression"
)

// memory is the latest event of an entry, or of one rule of it.
type memory struct {
	event []byte // see appendCause
	fresh int32  // the latest event is Engine.fresh[fresh-1], and not event; 0 if it is event
}

// is reports whether the memory holds an event, and not a fresh one.
func (m *memory) is(c cause) bool {
	var buf [256]byte
	return bytes.Equal(m.event, appendCause(buf[:0], c))
}

// ruleMemory is the latest event that said anything to a rule which reads fields
// beside its windows: when time changes these, the fields are those of that event.
type ruleMemory struct {
	rs *ruleState
	memory
}

// fresh is an event in the batch that is processed, of which something is to
// remain: as the latest of a rule, or as that of an entry and of alerts. A device
// may have many events in a batch, and only the last is kept after it.
type fresh struct {
	m  *memory // of a rule
	en *entry  // or the one of which last.fresh, or that of alerts, says that it is this
	c  cause
}

// remember notes the latest event of a rule.
func (e *Engine) remember(m *memory, c cause) {
	if m.fresh > 0 {
		e.fresh[m.fresh-1].c = c
		return
	}
	e.fresh = append(e.fresh, fresh{m: m, c: c})
	m.fresh = int32(len(e.fresh))
}

// rememberLast notes the latest event of an entry.
func (e *Engine) rememberLast(en *entry, c cause) {
	if at := e.freshOf(en, c); at > 0 {
		en.last.fresh = at
		return
	}
	if at := en.last.fresh; at > 0 && !slices.ContainsFunc(en.alerts, func(a *alert) bool { return a.fresh == at }) {
		e.fresh[at-1].c = c
		return
	}
	e.fresh = append(e.fresh, fresh{en: en, c: c})
	en.last.fresh = int32(len(e.fresh))
}

// freshOf returns the number of an event in fresh that an entry or its alerts
// have noted, 0 if they have not.
func (e *Engine) freshOf(en *entry, c cause) int32 {
	is := func(at int32) bool { return at > 0 && e.fresh[at-1].c.ev == c.ev }
	if is(en.last.fresh) {
		return en.last.fresh
	}
	for _, a := range en.alerts {
		if is(a.fresh) {
			return a.fresh
		}
	}
	return 0
}

// keepFresh copies the latest events into memory. It is called before the batch
// goes, and before entries are replaced.
func (e *Engine) keepFresh() {
	for i := range e.fresh { // alerts that go another way than their entry
		f := &e.fresh[i]
		if f.en == nil || f.en.last.fresh == int32(i+1) {
			continue
		}
		for _, a := range f.en.alerts {
			if a.fresh == int32(i+1) {
				a.keep(f.c)
			}
		}
	}
	for i := range e.fresh {
		f := &e.fresh[i]
		switch {
		case f.en == nil:
			f.m.event, f.m.fresh = appendCause(f.m.event[:0], f.c), 0
		case f.en.last.fresh == int32(i+1):
			f.en.keepLast(f.c)
		}
	}
	clear(e.fresh)
	e.fresh = e.fresh[:0]
}

// keepLast copies the latest event of an entry into memory.
func (en *entry) keepLast(c cause) {
	for _, a := range en.alerts {
		if a.fresh == 0 { // what speaks for it is the one before
			en.part(a)
		}
		a.fresh = 0
	}
	en.last.event, en.last.fresh = appendCause(en.last.event[:0], c), 0
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
		ev.Device = en.key()
	}
	return cause{ev: ev}
}

// recallFor returns the event that a rule is to see when no event came, last
// being the entry's latest.
func (e *Engine) recallFor(en *entry, rs *ruleState, last cause) cause {
	if !rs.mixed {
		return last
	}
	for _, m := range en.mixed() {
		if m.rs == rs {
			return e.recall(en, &m.memory)
		}
	}
	return e.recall(en, &memory{}) // no event said anything to it yet
}

// memoryOf returns what an entry remembers for a rule.
func (en *entry) memoryOf(rs *ruleState) *ruleMemory {
	for _, m := range en.mixed() {
		if m.rs == rs {
			return m
		}
	}
	m, more := &ruleMemory{rs: rs}, en.others()
	more.mixed = append(more.mixed, m)
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
