package rules

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"

	"weir/ingest/event"
)

// fieldIndex finds among the rules of a lane in a bucket the few that an event
// can concern, by the fields that it has and their values. It is exact: a rule
// that it leaves out would have come to False without an alert, or to Silent,
// and is counted so.
//
// A rule is in it if it looks at the current event alone and reads nothing but
// fields. One that begins with a threshold waits at that field, among those with
// the same operator in the order of their limits.
type fieldIndex struct {
	rest   []*ruleState // that are not in it
	fields map[string]*indexedField
	all    []*indexedField              // the same, by name
	leads  map[*ruleState]*indexedField // of the rules in it: the field that their threshold is on, nil for none
	due    []*ruleState                 // for the event that is evaluated

	readers bool            // some field has readers
	present []*indexedField // in the event that is evaluated, in the order of all or of its fields
	names   layout          // of fields
	tags    layout
	learned int // names of layouts that are not read

	events uint64 // that were looked at, since counts were booked
}

// indexedField is the rules that read a field.
type indexedField struct {
	name    string
	rules   []*ruleState // that begin with a threshold on it
	limits  [4]limits    // of these, by operator
	readers []reading    // the others, and those that begin with another field's threshold

	place int    // in the fields of the last event that had it
	stamp uint64 // of the last event that had it
	hits  uint64 // how many had it, since counts were booked
}

// limits are thresholds with one operator, in the order of their limits.
type limits struct {
	values []float64
	rules  []*ruleState
}

// reading is rules that read a field and begin with a threshold on lead.
type reading struct {
	lead  *indexedField // nil for none
	rules []*ruleState
}

const (
	above = iota
	aboveOrAt
	below
	belowOrAt
)

var operators = map[string]int{">": above, ">=": aboveOrAt, "<": below, "<=": belowOrAt}

// minIndexed is how many rules are worth an index.
var minIndexed = 4

// indexable reports whether a rule may be in an index, and which fields it reads.
func (rs *ruleState) indexable(set *Set) ([]string, bool) {
	r := rs.rule
	if r.kind != KindAlert || !rs.space.device || len(r.cells) > 0 || r.frame != nil || !r.match.free() {
		return nil, false
	}
	return r.expr.FieldsOnly(set.slots)
}

// free reports whether only source and measurement are conditions.
func (m *match) free() bool { return m.device == nil && len(m.tags) == 0 && len(m.attributes) == 0 }

// newIndex returns an index of rules, which are in the order of their ids; nil
// if it is not worth while.
func newIndex(set *Set, rules []*ruleState) *fieldIndex {
	x := &fieldIndex{fields: map[string]*indexedField{}, leads: map[*ruleState]*indexedField{}}
	for _, rs := range rules {
		names, ok := rs.indexable(set)
		if !ok {
			x.rest = append(x.rest, rs)
			continue
		}
		x.leads[rs] = nil
		if t, ok := rs.rule.expr.Threshold(); ok {
			f := x.field(t.Field)
			x.leads[rs] = f
			f.rules = append(f.rules, rs)
		}
		for _, name := range names {
			if f := x.field(name); f != x.leads[rs] {
				f.read(rs, x.leads[rs])
			}
		}
	}
	if len(x.leads) < minIndexed {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(x.fields)) {
		f := x.fields[name]
		f.sort()
		x.all = append(x.all, f)
		x.readers = x.readers || len(f.readers) > 0
	}
	return x
}

func (x *fieldIndex) field(name string) *indexedField {
	f := x.fields[name]
	if f == nil {
		f = &indexedField{name: name}
		x.fields[name] = f
	}
	return f
}

// sort fills limits.
func (f *indexedField) sort() {
	type limited struct {
		limit float64
		op    int
		rs    *ruleState
	}
	all := make([]limited, len(f.rules))
	for i, rs := range f.rules {
		t, _ := rs.rule.expr.Threshold()
		all[i] = limited{t.Limit, operators[t.Op], rs}
	}
	slices.SortStableFunc(all, func(a, b limited) int { return cmp.Compare(a.limit, b.limit) })
	for _, p := range all {
		l := &f.limits[p.op]
		l.values, l.rules = append(l.values, p.limit), append(l.rules, p.rs)
	}
}

func (f *indexedField) read(rs *ruleState, lead *indexedField) {
	for i := range f.readers {
		if f.readers[i].lead == lead {
			f.readers[i].rules = append(f.readers[i].rules, rs)
			return
		}
	}
	f.readers = append(f.readers, reading{lead, []*ruleState{rs}})
}

// find sets due to the rules that an event may concern. It returns false for an
// event that the index is not for.
func (x *fieldIndex) find(ev *event.Event, stamp uint64, en *entry) bool {
	if !x.locate(ev) {
		return false
	}
	x.events++
	x.due = x.due[:0]
	for _, f := range x.present {
		f.stamp = stamp
		f.hits++
		x.due = f.crossed(x.due, &ev.Fields[f.place].Value)
	}
	if x.readers {
		for _, f := range x.present {
			for j := range f.readers {
				if r := &f.readers[j]; r.lead == nil || r.lead.stamp != stamp {
					x.due = append(x.due, r.rules...)
				}
			}
		}
	}
	if en != nil {
		for _, a := range en.alerts {
			if _, ok := x.leads[a.rs]; ok {
				x.due = append(x.due, a.rs)
			}
		}
	}
	if len(x.due) > 1 {
		slices.SortFunc(x.due, func(a, b *ruleState) int { return a.rule.index - b.rule.index })
		x.due = slices.Compact(x.due)
	}
	for _, rs := range x.due { // which are counted when they are evaluated
		if lead := x.leads[rs]; lead != nil && lead.stamp == stamp {
			rs.stats.Evaluations--
		} else {
			rs.stats.Skipped--
		}
	}
	return true
}

// locate sets present to the fields that are read and that an event has. It
// returns false if a tag has the name of one that it lacks: that would be read.
func (x *fieldIndex) locate(ev *event.Event) bool {
	x.present = x.present[:0]
	if len(x.all) > maxSought {
		return x.locateEach(ev)
	}
	for _, f := range x.all {
		if f.place < len(ev.Fields) && ev.Fields[f.place].Name == f.name {
			x.present = append(x.present, f)
			continue
		}
		i := 0
		for i < len(ev.Fields) && ev.Fields[i].Name != f.name {
			i++
		}
		if i < len(ev.Fields) {
			f.place = i
			x.present = append(x.present, f)
		} else if _, ok := ev.Tag(f.name); ok {
			return false
		}
	}
	return true
}

// maxSought is up to how many fields are sought in an event. If more are read,
// each that the event has is looked up.
const maxSought = 4

// maxFields bounds the fields of events for which an index of many is used.
const maxFields = 64

func (x *fieldIndex) locateEach(ev *event.Event) bool {
	if len(ev.Fields) > maxFields {
		return false
	}
	for i := range ev.Tags {
		if x.tags.at(x, i, ev.Tags[i].Key) != nil {
			return false
		}
	}
	for i := range ev.Fields {
		if f := x.names.at(x, i, ev.Fields[i].Name); f != nil && !slices.Contains(x.present, f) {
			f.place = i
			x.present = append(x.present, f)
		}
	}
	return true
}

// layout is what was found of the names at each place of the event before.
type layout []placed

type placed struct {
	name  string
	field *indexedField // nil if it is not read
}

// at returns what the index has of the name at a place of an event.
func (l *layout) at(x *fieldIndex, i int, name string) *indexedField {
	if i < len(*l) && (*l)[i].name == name {
		return (*l)[i].field
	}
	f := x.fields[name]
	for i >= len(*l) {
		*l = append(*l, placed{name: unread})
	}
	switch {
	case f != nil:
		(*l)[i] = placed{f.name, f}
	case x.learned < maxLearned:
		x.learned++
		(*l)[i] = placed{strings.Clone(name), nil}
	default:
		(*l)[i] = placed{unread, nil}
	}
	return f
}

// maxLearned bounds how often a name that is not read is copied: layouts may
// change from one event to the next.
const maxLearned = 1000

// unread is the name of no field that is read, as expressions are UTF-8.
const unread = "\xff"

// crossed appends the rules whose threshold is not false for a value.
func (f *indexedField) crossed(due []*ruleState, v *event.Value) []*ruleState {
	if len(f.rules) == 0 {
		return due
	}
	x, ok := v.Float()
	if k := v.Kind(); !ok || k != event.Float && k != event.Int && k != event.Uint || k != event.Float && (x > 1<<53 || x < -1<<53) {
		return append(due, f.rules...)
	}
	if l := &f.limits[above]; len(l.values) > 0 && l.values[0] < x { // else none is due, as for most events
		due = append(due, l.rules[:sort.Search(len(l.values), func(i int) bool { return !(l.values[i] < x) })]...)
	}
	if l := &f.limits[aboveOrAt]; len(l.values) > 0 && l.values[0] <= x {
		due = append(due, l.rules[:sort.Search(len(l.values), func(i int) bool { return !(l.values[i] <= x) })]...)
	}
	if l := &f.limits[below]; len(l.values) > 0 && l.values[len(l.values)-1] > x {
		due = append(due, l.rules[sort.Search(len(l.values), func(i int) bool { return l.values[i] > x }):]...)
	}
	if l := &f.limits[belowOrAt]; len(l.values) > 0 && l.values[len(l.values)-1] >= x {
		due = append(due, l.rules[sort.Search(len(l.values), func(i int) bool { return l.values[i] >= x }):]...)
	}
	return due
}

// book books the evaluations that the index has saved.
func (x *fieldIndex) book() {
	for rs, lead := range x.leads {
		hits := uint64(0)
		if lead != nil {
			hits = lead.hits
		}
		rs.stats.Evaluations += hits
		rs.stats.Skipped += x.events - hits
	}
	for _, f := range x.fields {
		f.hits = 0
	}
	x.events = 0
}

// book books in the rules' counts what indexes have counted. It must be called
// before the counts are read, and before buckets are dropped.
func (e *Engine) book() {
	for _, b := range e.buckets {
		for i := range b.parts {
			if x := b.parts[i].index; x != nil {
				x.book()
			}
		}
	}
}

// evaluateAlways evaluates the rules of a lane that do not depend on device and
// tags.
func (e *Engine) evaluateAlways(p *lanePart, clk *clock, at int64, c cause, emit func(Derived)) {
	x := p.index
	if x == nil || e.watch != nil || !x.find(c.ev, e.stamp, clk.entry) {
		for _, rs := range p.always {
			e.evaluate(p, rs, clk, at, c, emit)
		}
		return
	}
	due, rest := x.due, x.rest
	for len(due) > 0 || len(rest) > 0 { // in the order of their ids
		if len(rest) == 0 || len(due) > 0 && due[0].rule.index < rest[0].rule.index {
			e.evaluate(p, due[0], clk, at, c, emit)
			due = due[1:]
		} else {
			e.evaluate(p, rest[0], clk, at, c, emit)
			rest = rest[1:]
		}
	}
}

// concernsNobody evaluates the rules of a part that has few and simple ones, and
// reports whether all came to False and there is no alert that could go by that:
// the case of most events. Else nothing is done.
func (e *Engine) concernsNobody(p *lanePart, clk *clock, ev *event.Event) bool {
	if clk.entry != nil || ev.Rule != "" || e.watch != nil {
		return false
	}
	for _, rs := range p.always {
		if e.stopwatch != nil && (rs.calls+1)%timedOnce == 1 || !rs.rule.expr.IsFalse(e.expr, ev) {
			return false
		}
	}
	for _, rs := range p.always {
		rs.calls++
		rs.stats.Evaluations++
	}
	return true
}
