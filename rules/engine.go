package rules

import (
	"weir/ingest/event"
	"weir/rules/expression"
)

// Engine evaluates a rule set over one partition of the log. It is used by one
// goroutine at a time, Active and Stats included.
type Engine struct {
	partition int
	scope     Scope
	now       int64 // log time: the latest receive time seen, ns
	hold      int64 // until this log time no time passes in silence, see settle
	excuse    int64 // until this log time no device is missed, see outage
	set       *Set
	rules     []*ruleState // as set.rules
	lanes     []*lane      // as set.lanes
	spaces    []*space     // as set.spaces
	schedule  schedule
	desk      desk // who is told of alerts

	expr *expression.Scope // the current event, for expressions
	text *expression.Scope // the event of a transition, for templates
	told telling           // what alert.* and labels.* are in text

	here   *entry       // whose cells the expressions read
	at     int64        // the time as of which they read them
	timed  bool         // no event came: time passed
	still  bool         // nothing was heard of the device in that time
	nudged bool         // a time in a state that is at a limit counts as what it is just after
	quoted *event.Value // what a transition tells as its value, instead of what the expression has
	stamp  uint64       // of the event that is evaluated
	fresh  []fresh      // the latest events of entries, in the batch that is processed
	fed    []uint64     // by function: the stamp of the last event that had a part in it
	given  []uint64     // by cell: the stamp of the last event that it was given
	seen   []visit      // by space, for the event that is evaluated

	buckets map[bucketKey]*bucket
	last    *bucket // of the event before

	epoch  uint32  // of the snapshot that was begun last
	saving *saving // the snapshot that is being taken bit by bit; nil if none is

	history   History                  // may be nil
	owns      func(device string) bool // nil: all devices
	begun     []begun                  // when a rule set came into force
	stopwatch func() int64             // nil: nothing is timed
	stopping  []*ruleState             // that have passed a bound
	because   string                   // why alerts end, if it is not their events' doing
	watch     *watch                   // nil unless somebody asks why
	current   *event.Batch             // that is processed
	message   int                      // of it
	scratch   bool                     // it rebuilds the state of another engine: rule sets of the log are not its business

	late      uint64 // events that came too late for a rule
	future    uint64 // events whose time was too far ahead
	ahead     int64  // the furthest ahead that an event's time was, ns
	backfills uint64 // events that were history
	forgotten uint64 // clocks, see forgetDevices

	rejected  uint64
	rejection string
}

// ruleState is a rule and what an engine knows about it.
type ruleState struct {
	rule   *rule
	space  *space
	plain  bool   // by device, and nothing counts but the event
	mixed  bool   // it reads fields beside its cells: see ruleMemory
	simple bool   // plain, an alert, and begins with a threshold wherever it is evaluated
	calls  uint64 // of evaluate
	stats  RuleStats

	size     int    // of the cells that it reads, bytes
	stopping string // why it is to be stopped, once the message was processed
}

// active is how many alerts of the rule are not inactive.
func (rs *ruleState) active() int { return rs.stats.Pending + rs.stats.Firing }

// cause is an event of the log and where it stands.
type cause struct {
	at event.Position
	ev *event.Event
}

// Derived is a record that the engine derived, for the log.
type Derived struct {
	Record  event.Record // AlertFact or Recording
	ID      string       // deterministic: equal whenever the log is replayed
	Topic   string
	Payload []byte
	Time    int64        // log time at which it came about, ns
	Alert   *event.Alert // what Payload says, for an AlertFact
}

// NewEngine returns an engine for a partition of the log. It has no rules
// until it meets a rule set in the log, or is restored.
func NewEngine(partition int) *Engine {
	e := &Engine{partition: partition, desk: newDesk()}
	e.use(&Set{byID: map[string]*rule{}, slots: expression.NewTable(), texts: expression.NewTable()})
	return e
}

// use makes a set the one in force, without any state.
func (e *Engine) use(s *Set) {
	e.set = s
	e.lanes = make([]*lane, len(s.lanes))
	for i, l := range s.lanes {
		e.lanes[i] = &lane{index: i, lateness: l.lateness, stratum: l.stratum, sources: l.sources, behind: l.behind, clocks: map[string]*clock{}, room: maxClocks}
	}
	e.spaces = make([]*space, len(s.spaces))
	for i, sp := range s.spaces {
		e.spaces[i] = &space{
			index: i, lane: e.lanes[sp.lane], by: sp.by, device: sp.device, devices: !sp.grouped(), cells: sp.cells,
		}
		if sp.device {
			e.lanes[sp.lane].home = e.spaces[i]
		} else {
			e.spaces[i].entries = map[string]*entry{}
		}
	}
	e.rules = make([]*ruleState, len(s.rules))
	for i, r := range s.rules {
		rs := &ruleState{rule: r, space: e.spaces[r.space.index], stats: RuleStats{Rule: r.id, Kind: r.kind}}
		rs.plain = rs.space.device && len(r.cells) == 0
		rs.mixed = r.mixes()
		rs.simple = rs.plain && r.kind == KindAlert && r.frame == nil && r.match.free() && r.expr.Tests()
		rs.space.rules = append(rs.space.rules, rs)
		e.rules[i] = rs
	}
	e.arrangeUsage()
	e.fed, e.given = make([]uint64, len(s.functions)), make([]uint64, s.cells)
	e.seen = make([]visit, len(s.spaces))
	e.expr = expression.NewScope(s.slots)
	e.text = expression.NewScope(s.texts)
	e.bind()
	e.buckets = map[bucketKey]*bucket{}
	e.last = nil
	e.schedule = nil
}

// bind lets the scopes ask this engine.
func (e *Engine) bind() {
	e.expr.Cells = e.cellValue
	e.text.Variables = e.told.variable
}

// Set returns the rule set in force.
func (e *Engine) Set() *Set { return e.set }

// Now returns the log time, ns since the Unix epoch; 0 before the first record.
func (e *Engine) Now() int64 { return e.now }

// Process takes the next batch of the partition, in log order, and hands what
// it derives to emit. It keeps nothing of the batch.
func (e *Engine) Process(b *event.Batch, emit func(Derived)) {
	e.ProcessRange(b, 0, len(b.Messages), emit)
}

// ProcessRange is Process for the messages of a batch from one index up to
// another, for who merges several partitions.
func (e *Engine) ProcessRange(b *event.Batch, from, to int, emit func(Derived)) {
	e.current = b
	e.process(b, from, to, emit)
	e.current = nil
}

// nothing is the event that expressions see before the first.
var nothing event.Event

func (e *Engine) process(b *event.Batch, from, to int, emit func(Derived)) {
	e.expr.Begin(&nothing) // the events of the batch before are gone, and others may be where they were
	for i := from; i < to; i++ {
		m := &b.Messages[i]
		e.message = i
		if m.Record == event.Started {
			e.started(m.Received)
			continue
		}
		if m.Received > e.now {
			if len(e.schedule) == 0 && len(e.desk.alarms) == 0 { // nothing waits for time to pass
				e.now = m.Received
			} else {
				e.advance(m.Received, emit)
			}
		}
		switch m.Record {
		case event.Tick:
			e.tick(emit)
		case event.AlertFact:
		case event.Operation:
			if !e.scratch {
				e.operation(m.Payload)
			}
		case event.RuleSet:
			if e.enacts(b.Partition) {
				e.takeOver(m.Payload, emit)
			}
		default:
			events := b.EventsOf(i)
			for j := range events {
				e.event(cause{b.Position(&events[j]), &events[j]}, emit)
			}
		}
		if len(e.stopping) > 0 {
			e.stopRules(emit)
		}
		if len(e.desk.over) > 0 {
			e.followUp(emit)
		}
	}
	e.keepFresh()
}

// event evaluates the rules that can match an event.
func (e *Engine) event(c cause, emit func(Derived)) {
	b := e.bucket(c.ev)
	if e.watch != nil {
		e.watch.event(e, c)
	}
	if b.empty {
		return
	}
	if c.ev.Time > c.ev.Received {
		e.ahead = max(e.ahead, c.ev.Time-c.ev.Received)
		if c.ev.Time-c.ev.Received > maxAhead {
			e.future++
		}
	}
	if e.now-c.ev.Time > BackfillAfter {
		e.backfills++
	}
	time := effective(c.ev.Time, c.ev.Received)
	h, mark := hashText(c.ev.Device), markOf(c.ev)
	for i := range b.parts {
		p := &b.parts[i]
		clk := p.lane.obtain(h, c.ev.Device, time, e.now)
		if len(p.lane.all) > p.lane.room {
			e.forgetDevices(p.lane)
		}
		if clk.epoch != p.lane.epoch {
			e.touchClock(p.lane, clk)
		}
		lead := clk.lead()
		clk, at, v := p.lane.arrive(clk, b.stream, mark, time, c.ev.Received, e.now)
		if e.watch != nil && v != inOrder {
			e.watch.arrived(e, p.lane, clk, at, c, v)
		}
		switch v {
		case late:
			e.late++
		case waits:
			clk.hold(heldEvent{at, appendCause(nil, c)})
			e.release(p.lane, clk, clk.time-p.lane.lateness, emit)
			if clk.lead() > lead {
				e.hasten(clk)
			}
		default:
			if clk.lead() > lead {
				e.hasten(clk)
			}
			if p.simple && e.concernsNobody(p, clk, c.ev) {
				continue
			}
			e.evaluateAll(p, clk, h, at, c, emit)
		}
	}
}

// release evaluates the events that a clock holds, up to a time, and settles
// when it is to be looked at again.
func (e *Engine) release(l *lane, clk *clock, to int64, emit func(Derived)) {
	for len(clk.held()) > 0 && clk.held()[0].at <= to {
		h := clk.held()[0]
		clk.rest.held = clk.rest.held[1:]
		at, ev, _ := decodeCause(h.event)
		b := e.bucket(&ev)
		for i := range b.parts {
			if b.parts[i].lane == l {
				e.evaluateAll(&b.parts[i], clk, hashText(ev.Device), h.at, cause{at, &ev}, emit)
			}
		}
	}
	if clk.rest != nil && len(clk.rest.held) == 0 {
		clk.rest.held = nil
	}
	e.settleEntry(l.home.obtain(clk, clk.device))
}

// visit is what an event is to a space.
type visit struct {
	stamp uint64
	en    *entry // nil if the space knows nothing of the key yet
	key   string
	clk   *clock
	ok    bool // the event has a key there
}

// evaluateAll evaluates the rules of one lane on an event, as of at. h is the
// hash of its device.
func (e *Engine) evaluateAll(p *lanePart, clk *clock, h uint64, at int64, c cause, emit func(Derived)) {
	e.stamp++
	if en := clk.entry; en != nil && en.next <= at {
		e.timers(en, at, false, emit)
		e.settleEntry(en)
	}
	e.expr.Begin(c.ev)
	e.evaluateAlways(p, clk, at, c, emit)
	for _, rs := range p.byDevice.find(h, c.ev.Device) {
		e.evaluate(p, rs, clk, at, c, emit)
	}
	for i := range p.byTag {
		if v, ok := c.ev.Tag(p.byTag[i].key); ok {
			for _, rs := range p.byTag[i].values.find(hashText(v), v) {
				e.evaluate(p, rs, clk, at, c, emit)
			}
		}
	}
	for i := range p.spaces {
		if v := &e.seen[p.spaces[i].index]; v.stamp == e.stamp && v.en != nil {
			e.settleEntry(v.en)
		}
	}
}

// visit finds what a space knows about the key of an event.
func (e *Engine) visit(sp *space, clk *clock, at int64, c cause, emit func(Derived)) *visit {
	v := &e.seen[sp.index]
	if v.stamp == e.stamp {
		return v
	}
	*v = visit{stamp: e.stamp, clk: clk}
	if v.key, v.ok = sp.keyOf(e.set, c.ev); !v.ok {
		return v
	}
	v.en = sp.lookup(clk, v.key)
	if v.en != nil && !sp.device && v.en.epoch != sp.lane.epoch {
		e.touch(v.en)
	}
	if !sp.devices {
		if clk.past || v.en != nil && at < v.en.clock.time-BackfillAfter {
			v.ok = false // the group has gone on: it is no part of its past
			e.late++
			return v
		}
		if v.en == nil && len(sp.cells) == 0 {
			return v
		}
		en := sp.obtain(clk, v.key)
		v.en = en
		e.groupTime(en, clk, at, c, emit)
	} else if v.en != nil && !sp.device && v.en.next <= at {
		e.timers(v.en, at, false, emit)
		e.expr.Begin(c.ev)
	}
	return v
}

// groupTime moves the clock of a group to an event.
func (e *Engine) groupTime(en *entry, clk *clock, at int64, c cause, emit func(Derived)) {
	g := en.clock
	if g.time == none {
		g.time = at
	}
	g.move(at, en.space.lane.receipt(c.ev.Received), e.now, clk.historic)
	if en.next <= at {
		e.timers(en, at, false, emit)
		e.expr.Begin(c.ev)
	}
}

func (e *Engine) evaluateRule(p *lanePart, rs *ruleState, clk *clock, at int64, c cause, emit func(Derived)) {
	r := rs.rule
	if !r.match.holdsWithin(c.ev) || c.ev.Rule != "" && c.ev.Rule == r.id {
		return
	}
	var v *visit
	var en *entry
	if rs.plain { // the common case
		en = clk.entry
	} else {
		if v = e.visit(rs.space, clk, at, c, emit); !v.ok {
			rs.stats.Skipped++
			if e.watch != nil {
				e.watch.late(e, rs, at, c)
			}
			return
		}
		if len(rs.space.cells) > 0 {
			e.feed(rs, v, at, c)
		}
		en = v.en
	}
	if en != nil && !rs.space.devices {
		at = max(at, en.clock.time) // a device of the group may be behind it
	}
	e.here, e.at, e.timed = en, at, false
	if en != nil {
		if rs.space.lane.lateness == 0 || !rs.space.devices {
			e.at = max(at, en.clock.time) // windows have come so far
		}
	}
	if rs.mixed && en != nil && e.concerns(r) {
		e.remember(&en.memoryOf(rs).memory, c)
	}
	if r.frame != nil && !e.frameEnds(rs, en, at) {
		if e.watch != nil {
			e.watch.collected(e, rs, en, at, c)
		}
		return
	}
	if r.kind == KindRecord {
		e.record(rs, en, c, at, false, emit)
		return
	}
	res := e.outcome(r.expr)
	rs.count(res, r.expr, e.expr)
	if e.watch != nil {
		e.watch.evaluated(e, rs, en, at, c, res)
	}
	switch {
	case res == expression.True:
		if en == nil {
			if key, ok := rs.space.keyOf(e.set, c.ev); ok {
				en = rs.space.obtain(clk, key)
				if !rs.space.devices {
					e.groupTime(en, clk, at, c, emit)
				}
			}
			if v != nil {
				v.en = en
			}
		}
		e.holds(rs, en, at, c, emit)
	case rs.active() > 0 && en != nil:
		a := en.alert(rs)
		if a == nil {
			return
		}
		e.doesNotHold(a, res, at, c, emit)
	default:
		return
	}
	if v == nil && !e.visited(en) { // else it is settled after the rules that have it in hand
		e.settleEntry(en)
	}
}

// visited reports whether a rule has found the entry for the event that is
// evaluated: it must not be dropped while others are to feed it.
func (e *Engine) visited(en *entry) bool {
	v := &e.seen[en.space.index]
	return v.stamp == e.stamp && v.en == en
}

// outcome is what a condition comes to. That a window is empty, or was emptied
// by time, is no fault.
func (e *Engine) outcome(p *expression.Program) expression.Result {
	res := p.Holds(e.expr)
	if res == expression.Failed && (e.timed || p.Vacant(e.expr)) {
		return expression.Silent
	}
	return res
}
