package rules

import (
	"strings"

	"weir/ingest/event"
	"weir/rules/expression"
)

// Engine evaluates a rule set over one partition of the log. It is used by one
// goroutine at a time, Active and Stats included.
type Engine struct {
	partition int
	now       int64 // log time: the latest receive time seen, ns
	set       *Set
	rules     []*ruleState // as set.rules
	timers    timers
	starts    []start // incidents that began at now

	expr *expression.Scope // the current event, for expressions
	text *expression.Scope // the event of a transition, for templates
	told telling           // what alert.* and labels.* are in text

	buckets map[bucketKey]*bucket
	last    *bucket // of the event before

	rejected  uint64
	rejection string
}

// ruleState is a rule and what an engine knows about it.
type ruleState struct {
	rule   *rule
	alerts map[string]*alert // by key; alerts that are not inactive
	stats  RuleStats
}

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
	e := &Engine{partition: partition}
	e.use(&Set{byID: map[string]*rule{}, slots: expression.NewTable(), texts: expression.NewTable()})
	return e
}

// use makes a set the one in force, without any state.
func (e *Engine) use(s *Set) {
	e.set = s
	e.rules = make([]*ruleState, len(s.rules))
	for i, r := range s.rules {
		e.rules[i] = &ruleState{rule: r, alerts: map[string]*alert{}, stats: RuleStats{Rule: r.id, Kind: r.kind}}
	}
	e.expr = expression.NewScope(s.slots)
	e.text = expression.NewScope(s.texts)
	e.text.Variables = e.told.variable
	e.buckets = map[bucketKey]*bucket{}
	e.last = nil
	e.timers = nil
}

// Set returns the rule set in force.
func (e *Engine) Set() *Set { return e.set }

// Now returns the log time, ns since the Unix epoch; 0 before the first record.
func (e *Engine) Now() int64 { return e.now }

// Process takes the next batch of the partition, in log order, and hands what
// it derives to emit. It keeps nothing of the batch.
func (e *Engine) Process(b *event.Batch, emit func(Derived)) {
	for i := range b.Messages {
		m := &b.Messages[i]
		if m.Received > e.now {
			e.advance(m.Received, emit)
		}
		switch m.Record {
		case event.Tick, event.AlertFact:
		case event.RuleSet:
			e.takeOver(m.Payload, emit)
		default:
			events := b.EventsOf(i)
			for j := range events {
				e.event(cause{b.Position(&events[j]), &events[j]}, emit)
			}
		}
	}
}

// advance moves the log time, firing timers at the times they are set to.
func (e *Engine) advance(to int64, emit func(Derived)) {
	for len(e.timers) > 0 && e.timers[0].deadline <= to {
		a := e.timers[0]
		e.clock(max(e.now, a.deadline))
		e.due(a, emit)
	}
	e.clock(to)
}

func (e *Engine) clock(t int64) {
	if t != e.now {
		e.now = t
		e.starts = e.starts[:0]
	}
}

// event evaluates the rules that can match an event.
func (e *Engine) event(c cause, emit func(Derived)) {
	b := e.bucket(c.ev)
	if b.empty {
		return
	}
	e.expr.Begin(c.ev)
	for _, rs := range b.always {
		e.evaluate(rs, c, emit)
	}
	for _, rs := range b.byDevice[c.ev.Device] {
		e.evaluate(rs, c, emit)
	}
	for i := range b.byTag {
		if v, ok := c.ev.Tag(b.byTag[i].key); ok {
			for _, rs := range b.byTag[i].values[v] {
				e.evaluate(rs, c, emit)
			}
		}
	}
}

func (e *Engine) evaluate(rs *ruleState, c cause, emit func(Derived)) {
	r := rs.rule
	if !r.match.holdsWithin(c.ev) || c.ev.Rule != "" && c.ev.Rule == r.id {
		return
	}
	if r.kind == KindRecord {
		e.record(rs, c, emit)
		return
	}
	res := r.expr.Holds(e.expr)
	rs.count(res, r.expr, e.expr)
	if res == expression.True {
		e.holds(rs, c, emit)
		return
	}
	if len(rs.alerts) == 0 {
		return
	}
	if a := rs.alerts[c.ev.Device]; a != nil {
		e.doesNotHold(a, res, c, emit)
	}
}

// takeOver puts the rule set of a record into force. Alerts of rules that are
// still there, by group and name, go on with their timers; the others end.
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
	old := e.sorted()
	for _, a := range old {
		if !a.survives(set) {
			e.end(a, emit)
		}
	}
	stats := e.rules
	e.use(set)
	for _, rs := range stats {
		if r := set.byID[rs.rule.id]; r != nil && r.kind == rs.rule.kind {
			e.rules[r.index].stats = rs.stats
		}
	}
	for _, a := range old {
		if a.survives(set) {
			a.rs = e.rules[set.byID[a.rs.rule.id].index]
			a.rs.alerts[a.key] = a
			a.timer = -1
			e.arm(a)
		}
	}
	e.advance(e.now, emit)
}

// bucketKey is what the first step of finding an event's rules looks at.
type bucketKey struct {
	source, measurement string
	recording           bool
}

// bucket holds the rules that can match events of one source and measurement,
// each in one place, by its most telling condition.
type bucket struct {
	key      bucketKey
	empty    bool
	always   []*ruleState
	byDevice map[string][]*ruleState
	byTag    []tagIndex // in the order of their keys
}

type tagIndex struct {
	key    string
	values map[string][]*ruleState
}

// maxBuckets bounds the cache: measurements may come from payloads.
const maxBuckets = 1024

func (e *Engine) bucket(ev *event.Event) *bucket {
	key := bucketKey{ev.Source, ev.Measurement, ev.Rule != ""}
	if e.last != nil && e.last.key == key {
		return e.last
	}
	b := e.buckets[key]
	if b == nil {
		if len(e.buckets) >= maxBuckets {
			clear(e.buckets)
		}
		key.source, key.measurement = strings.Clone(key.source), strings.Clone(key.measurement)
		b = e.fill(key)
		e.buckets[key] = b
	}
	e.last = b
	return b
}

func (e *Engine) fill(key bucketKey) *bucket {
	b := &bucket{key: key, empty: true, byDevice: map[string][]*ruleState{}}
	for _, rs := range e.rules {
		m := &rs.rule.match
		if !admits(m.source, key.source) || !admits(m.measurement, key.measurement) {
			continue
		}
		if key.recording && !contains(rs.rule.recordings(), key.measurement) {
			continue
		}
		b.empty = false
		switch {
		case m.device != nil:
			for _, d := range m.device {
				b.byDevice[d] = append(b.byDevice[d], rs)
			}
		case len(m.tags) > 0:
			b.tag(m.tags[0], rs)
		default:
			b.always = append(b.always, rs)
		}
	}
	return b
}

func (b *bucket) tag(t tagMatch, rs *ruleState) {
	at := -1
	for i := range b.byTag {
		if b.byTag[i].key == t.key {
			at = i
		}
	}
	if at < 0 {
		at = len(b.byTag)
		b.byTag = append(b.byTag, tagIndex{t.key, map[string][]*ruleState{}})
	}
	for _, v := range t.values {
		b.byTag[at].values[v] = append(b.byTag[at].values[v], rs)
	}
}
