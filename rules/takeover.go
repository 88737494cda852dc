package rules

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
)

// History reads what the engine was given from a log time on, up to the record
// at until, without that, and hands it to each in the same order: the messages of
// a batch from one index up to another. A replay must read the same again, so it
// must not go by what the log holds by now. It may pass over what can't be read.
type History func(since int64, until event.Position, each func(b *event.Batch, from, to int)) error

// SetHistory says where an engine finds what happened before a rule set came
// into force: windows that the set before did not have are filled from it.
// Without it they begin empty.
func (e *Engine) SetHistory(h History) { e.history = h }

// minAbsentLookback is how far back devices are looked for that a new rule is to
// miss.
const minAbsentLookback = int64(time.Hour)

// takeOver puts the rule set of a record into force. What is known about rules
// that are still there, by group and name, goes on: alerts with their timers,
// and windows that are the same. Other alerts end; other windows are filled from
// the log.
func (e *Engine) takeOver(payload []byte, emit func(Derived)) {
	set, err := ParseSet(payload)
	if err != nil {
		e.rejected++
		e.rejection = err.Error()
		return
	}
	if set.hash == e.set.hash {
		return
	}
	e.endPasts(emit)
	for _, a := range e.sorted() {
		if !e.survives(a, set) {
			e.endAlert(a, a.en.clock.silent(e.now), emit)
		}
	}
	e.endFlaps(set, emit)
	e.saving = nil
	e.book()
	e.keepFresh()
	e.rememberStarts()
	old := *e
	e.use(set)
	for _, was := range old.rules {
		if r := set.byID[was.rule.id]; r != nil && r.kind == was.rule.kind {
			e.rules[r.index].stats = was.stats
			e.rules[r.index].stats.Pending, e.rules[r.index].stats.Firing = 0, 0
		}
	}
	e.inherit(&old)
	e.keepStopped(&old)
	if fresh := e.unknown(&old); len(fresh) > 0 && e.history != nil {
		e.rebuild(fresh)
	}
	e.inheritDesk(emit)
	e.armAbsent()
	for _, sp := range e.spaces {
		sp.each(func(en *entry) {
			for _, a := range en.alerts {
				en.unite(a)
			}
			e.settleEntry(en)
		})
	}
	e.pass(after(e.now, 1), emit)
}

// begun is an incident that began at the latest time of its key when a rule set
// came into force: under the next one it may end and begin again at that time.
type begun struct {
	rule, key string
	time      int64
	n         int
	seen      int64 // log time of the rule set
}

// begunFor is how long that is remembered, in log time.
const begunFor = int64(time.Hour)

func (e *Engine) rememberStarts() {
	e.begun = slices.DeleteFunc(e.begun, func(b begun) bool { return e.now-b.seen > begunFor })
	for _, sp := range e.spaces {
		sp.each(func(en *entry) {
			for _, s := range en.starts() {
				if s.time >= en.clock.time {
					e.begun = append(e.begun, begun{strings.Clone(s.rule), en.key(), s.time, s.n, e.now})
				}
			}
		})
	}
	slices.SortFunc(e.begun, func(a, b begun) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key), cmp.Compare(a.time, b.time), cmp.Compare(a.n, b.n), cmp.Compare(a.seen, b.seen))
	})
}

func (e *Engine) appendBegun(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(e.begun)))
	for _, s := range e.begun {
		b = appendText(appendText(b, s.rule), s.key)
		b = binary.AppendVarint(b, s.time)
		b = binary.AppendUvarint(b, uint64(s.n))
		b = binary.AppendVarint(b, s.seen)
	}
	return b
}

func (e *Engine) restoreBegun(r *reader) {
	for range r.count(5) {
		e.begun = append(e.begun, begun{r.text(), r.text(), r.varint(), int(r.uvarint()), r.varint()})
	}
}

// endPasts ends all uploads of history.
func (e *Engine) endPasts(emit func(Derived)) {
	var pasts []*entry
	for _, en := range e.schedule {
		if en.clock.past {
			pasts = append(pasts, en)
		}
	}
	slices.SortFunc(pasts, func(a, b *entry) int {
		if schedule([]*entry{a, b}).Less(0, 1) {
			return -1
		}
		return 1
	})
	for _, en := range pasts {
		e.endPast(en, emit)
	}
	for _, l := range e.lanes {
		for _, c := range l.clocks {
			c.setBack(nil)
		}
	}
}

// inherit takes over what an engine knew under another set.
func (e *Engine) inherit(old *Engine) {
	entries := make([][]*entry, len(old.spaces))
	for i, sp := range old.spaces {
		sp.each(func(en *entry) { entries[i] = append(entries[i], en) })
	}
	for _, l := range e.lanes {
		for _, o := range old.lanes {
			if o.lateness == l.lateness && o.stratum == l.stratum && o.sources == l.sources && o.behind == l.behind {
				l.clocks, l.all, l.epoch, l.room = o.clocks, o.all, o.epoch, o.room
				for _, c := range l.all {
					c.entry = nil
					if c.rest != nil {
						c.rest.entries = nil
					}
				}
			}
		}
	}
	cells := e.cellsByIdentity()
	for i, sp := range old.spaces {
		for _, en := range entries[i] {
			for _, a := range slices.Clone(en.alerts) {
				rs := e.rules[e.set.byID[a.rs.rule.id].index]
				to := e.successor(rs.space, en)
				en.part(a)
				a.rs, a.en = rs, to
				a.arm()
				if a.deadline != never {
					a.deadline = max(a.deadline, to.clock.silent(e.now))
				}
				to.add(a)
				if starts := en.starts(); starts != nil || to.more != nil {
					to.others().starts = starts
				}
				if a.phase == pending {
					rs.stats.Pending++
				} else {
					rs.stats.Firing++
				}
			}
			for _, k := range en.cells {
				was := sp.cells[k.slot]
				spec := cells[was.identity]
				if k.empty() || spec == nil || spec.window != was.window || !e.set.keeps(e.scope, spec) {
					continue
				}
				to := e.successor(e.spaces[spec.space.index], en)
				k.bind(spec)
				to.put(spec.slot, k.cell)
				if i, ok := to.find(spec.slot); ok {
					to.cells[i].due = k.due
				}
				to.last.event = slices.Clone(en.last.event)
			}
			for _, m := range en.mixed() {
				if r := e.set.byID[m.rs.rule.id]; r != nil && e.scope.covers(r) && slices.Equal(r.by, m.rs.rule.by) {
					if rs := e.rules[r.index]; rs.mixed {
						e.successor(rs.space, en).memoryOf(rs).event = m.event
					}
				}
			}
		}
	}
}

func (e *Engine) cellsByIdentity() map[string]*cellSpec {
	m := map[string]*cellSpec{}
	for _, sp := range e.spaces {
		for _, c := range sp.cells {
			m[c.identity] = c
		}
	}
	return m
}

// successor returns the entry of the same key in a space of another set.
func (e *Engine) successor(sp *space, en *entry) *entry {
	c := en.clock
	if sp.devices {
		if have := sp.lane.clocks[c.device]; have != nil {
			c = have
		} else {
			c = sp.lane.add(&clock{device: c.device, time: c.time, seen: c.seen, own: c.own, historic: c.historic, armed: c.armed})
		}
	}
	to := sp.obtain(c, en.key())
	if !sp.devices && to.clock.time == none {
		to.clock = en.clock
	}
	return to
}

// unknown returns the cells that an engine with another set did not have.
func (e *Engine) unknown(old *Engine) []*cellSpec {
	had := old.cellsByIdentity()
	var fresh []*cellSpec
	for _, sp := range e.spaces {
		for _, c := range sp.cells {
			was := had[c.identity]
			if e.set.keeps(e.scope, c) && !e.dropped(c) && (was == nil || was.window != c.window || old.dropped(was) || !old.set.keeps(e.scope, was)) {
				fresh = append(fresh, c)
			}
		}
	}
	return fresh
}

// rebuild fills cells from the log.
func (e *Engine) rebuild(fresh []*cellSpec) {
	lookback := int64(0)
	for _, c := range fresh {
		need := c.width
		if c.kind == absentKind {
			need = max(need, minAbsentLookback)
		}
		if c.frame != nil {
			need = max(need, c.frame.size)
		}
		lookback = max(lookback, need)
	}
	s := NewEngine(e.partition)
	s.scratch, s.watch, s.scope = true, e.watch, e.scope
	s.use(e.set)
	discard := func(Derived) {}
	until := event.Position{Partition: uint16(e.current.Partition), Seq: e.current.Seq, Message: uint32(e.message)}
	err := e.history(e.now-lookback, until, func(b *event.Batch, from, to int) { s.process(b, from, to, discard) })
	if err != nil { // what could not be read is missing in the windows: they fill as time goes on
		e.rejection = fmt.Sprintf("fill the windows of a rule set from the log: %v", err)
		return
	}
	for i, sp := range s.spaces {
		sp.each(func(en *entry) {
			if en.clock.past {
				return
			}
			for _, spec := range fresh {
				if spec.space.index != i {
					continue
				}
				c := en.have(spec.slot)
				if c == nil || c.empty() {
					continue
				}
				to := e.successor(e.spaces[i], en)
				to.put(spec.slot, c)
				if a, ok := c.(*absentCell); ok && a.over { // nobody was told
					a.over, a.until = false, to.clock.silent(e.now)-to.space.lane.lateness
				}
				if to.last.event == nil {
					to.last.event = en.last.event
				}
				for _, m := range en.mixed() {
					rs := e.rules[m.rs.rule.index]
					if !slices.Contains(rs.rule.cells, spec) {
						continue
					}
					if memory := to.memoryOf(rs); memory.event == nil {
						memory.event = m.event
					}
				}
			}
		})
	}
}

// armAbsent lets the rules that miss devices expect those that they name.
func (e *Engine) armAbsent() {
	for _, rs := range e.rules {
		for _, spec := range rs.rule.cells {
			if spec.kind != absentKind || rs.stats.Stopped != "" || !e.scope.covers(rs.rule) {
				continue
			}
			e.expected(rs.rule, func(device string) { e.armDevice(rs, spec, device) })
		}
	}
}

// SetOwner says which devices have their events in the engine's partition: only
// these are missed there if they were never heard of. nil is all.
func (e *Engine) SetOwner(owns func(device string) bool) { e.owns = owns }

// Owner returns what SetOwner was given.
func (e *Engine) Owner() func(device string) bool { return e.owns }

// expected calls each with the devices that a rule is about though they may
// never have been heard of: those that its match names, or those of the table of
// attributes that meet it.
func (e *Engine) expected(r *rule, each func(device string)) {
	for device := range r.match.expected() {
		if e.owns == nil || e.owns(device) {
			each(device)
		}
	}
}

func (e *Engine) armDevice(rs *ruleState, spec *cellSpec, device string) {
	ev := &event.Event{Device: device}
	key, ok := rs.space.keyOf(e.set, ev)
	if !ok {
		return
	}
	l := rs.space.lane
	c := l.clocks[device]
	if c == nil {
		c = &clock{device: device, time: e.now, seen: e.now, armed: true}
		if rs.space.devices {
			l.add(c)
		}
	}
	en := rs.space.obtain(c, key)
	if en.clock.time == none {
		en.clock.time, en.clock.seen, en.clock.armed = e.now, e.now, true
	}
	if len(en.last.event) == 0 {
		en.last.event = appendCause(nil, cause{ev: ev})
	}
	if a := en.cell(spec).(*absentCell); !a.fed {
		a.arm(en.clock.silent(e.now))
	}
}

// Lookback returns how much of the log before a time may decide what the rules
// say at that time.
func (s *Set) Lookback() time.Duration {
	longest := time.Duration(0)
	for _, r := range s.rules {
		d := r.hold + r.keep + time.Duration(r.lateness)
		w := time.Duration(0)
		for _, c := range r.cells {
			w = max(w, time.Duration(c.width))
			if c.frame != nil && !c.frame.count {
				w = max(w, time.Duration(c.frame.size))
			}
		}
		longest = max(longest, d+w)
	}
	return longest
}
