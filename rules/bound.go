package rules

import (
	"encoding/binary"
	"fmt"
	"slices"

	"weir/configs/strict"
	"weir/ingest/event"
)

// A rule's state is bounded: the keys of which anything is known, and the memory
// that this takes, in each partition. A rule that passes a bound is stopped: its
// state is dropped, its alerts are resolved, and it evaluates no more until its
// text or its bounds are edited. What counts are sizes by content, added up as
// cells change, so that every run over the log stops it at the same record.

const (
	defaultMaxKeys  = 1_000_000
	defaultMaxState = 1 * strict.GiB
	mostKeys        = 1_000_000_000
	mostState       = 1 * strict.TiB
)

// Sizes of what is kept for a key, and for an alert beside what it points at, in
// bytes.
const (
	entrySize = 200
	alertSize = 160
)

// cellUse is what a slot of a space's entries comes to.
type cellUse struct {
	keys    int
	readers []*ruleState
}

// bounds loads how much state a rule, or each rule of its group, may have.
func (l *loader) bounds(r *rule, spec *ruleSpec) {
	keys, keysAt, state, stateAt := l.group.MaxKeys, l.group.Keys["max_keys"], l.group.MaxState, l.group.Keys["max_state"]
	r.maxKeys, r.maxState = defaultMaxKeys, int(defaultMaxState)
	if has(spec.Keys, "max_keys") {
		keys, keysAt = spec.MaxKeys, spec.Keys["max_keys"]
	}
	if has(spec.Keys, "max_state") {
		state, stateAt = spec.MaxState, spec.Keys["max_state"]
	}
	if keysAt != (strict.Pos{}) {
		if r.maxKeys = keys; keys < 1 || keys > mostKeys {
			l.addf(keysAt, "leave it out for 1000000", "max_keys is %d, it may be from 1 to %d", keys, mostKeys)
		}
	}
	if stateAt != (strict.Pos{}) {
		if r.maxState = int(state); state < strict.KiB || state > mostState {
			l.addf(stateAt, "leave it out for 1GiB", "max_state is %s, it may be from 1KiB to 1TiB", state)
		}
	}
}

// arrangeUsage finds which rules read which slots of the spaces.
func (e *Engine) arrangeUsage() {
	for _, sp := range e.spaces {
		sp.usage = make([]cellUse, len(sp.cells))
	}
	for _, rs := range e.rules {
		if !e.scope.covers(rs.rule) {
			continue
		}
		for _, c := range rs.rule.cells {
			u := &e.spaces[c.space.index].usage[c.slot]
			u.readers = append(u.readers, rs)
		}
	}
}

// weigh books how large the cells of an entry are now, and finds rules whose
// bound is passed by that.
func (e *Engine) weigh(en *entry) {
	gone := false
	for i := range en.cells {
		k := &en.cells[i]
		size := 0
		if k.cell == nil {
			gone = true
		} else if !k.empty() {
			size = k.size() + entrySize/2
		}
		was := int(k.booked)
		if size == was {
			continue
		}
		k.booked = uint32(size)
		u := &en.space.usage[k.slot]
		u.keys += int(flag(size > 0)) - int(flag(was > 0))
		for _, rs := range u.readers {
			rs.size += size - was
			if size > was {
				e.check(rs, u.keys)
			}
		}
	}
	if gone {
		en.cells = slices.DeleteFunc(en.cells, func(k known) bool { return k.cell == nil })
	}
}

// check finds out whether a rule passes a bound. It is stopped between two
// messages.
func (e *Engine) check(rs *ruleState, keys int) {
	if e.scratch || rs.stats.Stopped != "" || rs.stopping != "" {
		return
	}
	r := rs.rule
	keys = max(keys, rs.active())
	switch size := rs.size + rs.active()*(alertSize+entrySize); {
	case keys > r.maxKeys:
		rs.stopping = fmt.Sprintf("stopped: it has more than %d keys (max_keys)", r.maxKeys)
	case size > r.maxState:
		rs.stopping = fmt.Sprintf("stopped: its state is larger than %s (max_state)", strict.Size(r.maxState))
	default:
		return
	}
	e.stopping = append(e.stopping, rs)
}

// stopRules stops the rules that have passed a bound.
func (e *Engine) stopRules(emit func(Derived)) {
	all := e.stopping
	e.stopping = nil
	slices.SortFunc(all, func(a, b *ruleState) int { return a.rule.index - b.rule.index })
	for _, rs := range all {
		e.because = rs.stopping
		for _, a := range e.sorted() {
			if a.rs == rs {
				e.touch(a.en)
				e.endAlert(a, a.en.clock.silent(e.now), emit)
				e.settleEntry(a.en)
			}
		}
		e.because = ""
		rs.stats.Stopped, rs.stopping = rs.stopping, ""
	}
	e.retire()
}

// retire leaves stopped rules out of what is evaluated, and drops cells that no
// other rule reads.
func (e *Engine) retire() {
	e.book()
	e.keepFresh()
	e.buckets, e.last = map[bucketKey]*bucket{}, nil
	for _, sp := range e.spaces {
		sp.rules = slices.DeleteFunc(sp.rules, func(rs *ruleState) bool { return rs.stats.Stopped != "" })
		var gone []int
		for slot := range sp.usage {
			if !slices.ContainsFunc(sp.usage[slot].readers, func(rs *ruleState) bool { return rs.stats.Stopped == "" }) && len(sp.usage[slot].readers) > 0 {
				gone = append(gone, slot)
			}
		}
		if len(gone) == 0 {
			continue
		}
		sp.each(func(en *entry) {
			changed := false
			for _, slot := range gone {
				if i, ok := en.find(slot); ok {
					if !changed {
						e.touch(en)
					}
					en.cells[i].cell, changed = nil, true
				}
			}
			if changed {
				e.settleEntry(en)
			}
		})
	}
}

// keepStopped lets rules that an engine had stopped under another set stay so,
// unless they were edited.
func (e *Engine) keepStopped(old *Engine) {
	some := false
	for _, rs := range e.rules {
		rs.stats.Stopped = ""
		r := old.set.byID[rs.rule.id]
		if r == nil || old.rules[r.index].stats.Stopped == "" {
			continue
		}
		_, _, was, _ := old.set.Text(r.id)
		_, _, is, _ := e.set.Text(r.id)
		if is == was && r.maxKeys == rs.rule.maxKeys && r.maxState == rs.rule.maxState && slices.Equal(r.by, rs.rule.by) {
			rs.stats.Stopped, some = old.rules[r.index].stats.Stopped, true
		}
	}
	if some {
		e.retire()
	}
}

// dropped reports whether an engine does not keep a cell because all rules that
// read it are stopped.
func (e *Engine) dropped(c *cellSpec) bool {
	for _, id := range c.rules {
		if r := e.set.byID[id]; r != nil && e.rules[r.index].stats.Stopped == "" {
			return false
		}
	}
	return true
}

// tellBounds adds to a rule's description the bounds that are its own.
func (r *rule) tellBounds(i *Info) {
	if r.maxKeys != defaultMaxKeys {
		i.MaxKeys = r.maxKeys
	}
	if r.maxState != int(defaultMaxState) {
		i.MaxState = r.maxState
	}
}

// appendStopped appends which rules are stopped: count, id and reason of each.
func (e *Engine) appendStopped(b []byte) []byte {
	n := 0
	for _, rs := range e.rules {
		n += int(flag(rs.stats.Stopped != ""))
	}
	b = binary.AppendUvarint(b, uint64(n))
	for _, rs := range e.rules {
		if rs.stats.Stopped != "" {
			b = appendText(appendText(b, rs.rule.id), rs.stats.Stopped)
		}
	}
	return b
}

func (e *Engine) restoreStopped(r *reader) error {
	for range r.count(2) {
		id, why := r.text(), r.text()
		rule := e.set.byID[id]
		if r.err != nil {
			break
		}
		if rule == nil || why == "" {
			return fmt.Errorf("it says that %q is stopped, which its rule set does not have", id)
		}
		e.rules[rule.index].stats.Stopped = why
	}
	if r.err != nil {
		return r.err
	}
	e.retire()
	return nil
}

// explains adds to a fact why it came about, if that is not its events' doing.
func (e *Engine) explains(fact *event.Alert) {
	if fact.Reason == "" {
		fact.Reason = e.because
	}
}
