package rules

import (
	"cmp"
	"slices"
	"sort"

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
	layout []*indexedField // by place in the event's fields, of the event before; nil for a field of no interest
	names  []string
	leads  map[*ruleState]*indexedField // of the rules in it: the field that their threshold is on, nil for none
	due    []*ruleState                 // for the event that is evaluated

	events uint64 // that were looked at, since counts were booked
}

// indexedField is the rules that read a field.
type indexedField struct {
	name    string
	rules   []*ruleState // that begin with a threshold on it
	limits  [4]limits    // of these, by operator
	readers []reading    // the others, and those that begin with another field's threshold

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
	for _, f := range x.fields {
		f.sort()
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
	type placed struct {
		limit float64
		op    int
		rs    *ruleState
	}
	all := make([]placed, len(f.rules))
	for i, rs := range f.rules {
		t, _ := rs.rule.expr.Threshold()
		all[i] = placed{t.Limit, operators[t.Op], rs}
	}
	slices.SortStableFunc(all, func(a, b placed) int { return cmp.Compare(a.limit, b.limit) })
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

// at returns what the index has of the i-th field of an event.
func (x *fieldIndex) at(i int, name string) *indexedField {
	if i < len(x.names) && x.names[i] == name {
		return x.layout[i]
	}
	f := x.fields[name]
	for len(x.names) <= i {
		x.names, x.layout = append(x.names, ""), append(x.layout, nil)
	}
	if x.layout[i] = f; f != nil {
		x.names[i] = f.name
	} else {
		x.names[i] = string([]byte(name))
	}
	return f
}

// maxLayout bounds the fields of events for which an index is used.
const maxLayout = 64

// find sets due to the rules that an event may concern. It returns false for an
// event that the index is not for.
func (x *fieldIndex) find(ev *event.Event, stamp uint64, en *entry) bool {
	if len(ev.Fields) > maxLayout {
		return false
	}
	for i := range ev.Tags { // it would be read where the field is missing
		if x.fields[ev.Tags[i].Key] != nil {
			return false
		}
	}
	x.events++
	x.due = x.due[:0]
	for i := range ev.Fields {
		if f := x.at(i, ev.Fields[i].Name); f != nil && f.stamp != stamp {
			f.stamp = stamp
			f.hits++
			x.due = f.crossed(x.due, ev.Fields[i].Value)
		}
	}
	for i := range ev.Fields {
		f := x.layout[i]
		if f == nil {
			continue
		}
		for j := range f.readers {
			if r := &f.readers[j]; r.lead == nil || r.lead.stamp != stamp {
				x.due = append(x.due, r.rules...)
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

// crossed appends the rules whose threshold is not false for a value.
func (f *indexedField) crossed(due []*ruleState, v event.Value) []*ruleState {
	if len(f.rules) == 0 {
		return due
	}
	x, ok := v.Float()
	if k := v.Kind(); !ok || k != event.Float && k != event.Int && k != event.Uint || k != event.Float && (x > 1<<53 || x < -1<<53) {
		return append(due, f.rules...)
	}
	if l := &f.limits[above]; len(l.values) > 0 {
		due = append(due, l.rules[:sort.Search(len(l.values), func(i int) bool { return !(l.values[i] < x) })]...)
	}
	if l := &f.limits[aboveOrAt]; len(l.values) > 0 {
		due = append(due, l.rules[:sort.Search(len(l.values), func(i int) bool { return !(l.values[i] <= x) })]...)
	}
	if l := &f.limits[below]; len(l.values) > 0 {
		due = append(due, l.rules[sort.Search(len(l.values), func(i int) bool { return l.values[i] > x }):]...)
	}
	if l := &f.limits[belowOrAt]; len(l.values) > 0 {
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
