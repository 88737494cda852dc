package rules

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules/attributes"
)

// match is the static conditions of a rule: for each, the values of which one
// must be met. nil is no condition.
type match struct {
	source, measurement, device []string
	tags                        []tagMatch // in the order of their keys

	// Conditions on what may be a tag or, if the event has no such tag, an
	// attribute of its device; in the order of their keys.
	attributes []attributeMatch
	known      *attributes.Table
}

type tagMatch struct {
	key    string
	values []string
}

type attributeMatch struct {
	tagMatch
	column int      // of match.known
	texts  []string // that meet it: values, and how they are written as numbers
}

// know tells the conditions apart by what may be an attribute.
func (m *match) know(t *attributes.Table) {
	m.known = t
	m.tags = slices.DeleteFunc(m.tags, func(c tagMatch) bool {
		column, ok := t.Column(c.key)
		if ok {
			texts := slices.Clone(c.values)
			for _, v := range c.values { // 3.0 is the number 3
				if n := attributes.Normal(v); !contains(texts, n) {
					texts = append(texts, n)
				}
			}
			m.attributes = append(m.attributes, attributeMatch{c, column, texts})
		}
		return ok
	})
}

// newMatch returns the conditions of a group with those of a rule, which
// replace the group's of the same key.
func newMatch(group, rule matchSpec) match {
	var m match
	add := func(e matchEntry) {
		values := make([]string, len(e.values))
		for i, v := range e.values {
			values[i] = v.Value
		}
		switch e.key {
		case "source":
			m.source = values
		case "measurement":
			m.measurement = values
		case "device":
			m.device = values
		default:
			m.tags = append(m.tags, tagMatch{e.key, values})
		}
	}
	for _, e := range group {
		if !slices.ContainsFunc(rule, func(o matchEntry) bool { return o.key == e.key }) {
			add(e)
		}
	}
	for _, e := range rule {
		add(e)
	}
	slices.SortFunc(m.tags, func(a, b tagMatch) int { return cmp.Compare(a.key, b.key) })
	return m
}

func contains(values []string, v string) bool {
	for _, w := range values {
		if w == v {
			return true
		}
	}
	return false
}

func admits(values []string, v string) bool { return values == nil || contains(values, v) }

// holds reports whether an event meets all conditions.
func (m *match) holds(ev *event.Event) bool {
	return (ev.Rule != "" || admits(m.source, ev.Source)) && admits(m.measurement, ev.Measurement) && m.holdsWithin(ev)
}

// holdsWithin is holds for an event whose source and measurement are known to match.
func (m *match) holdsWithin(ev *event.Event) bool {
	if m.device != nil && !contains(m.device, ev.Device) {
		return false
	}
	for i := range m.tags {
		v, ok := ev.Tag(m.tags[i].key)
		if !ok || !contains(m.tags[i].values, v) {
			return false
		}
	}
	return len(m.attributes) == 0 || m.attributesHold(ev)
}

func (m *match) attributesHold(ev *event.Event) bool {
	row, looked := attributes.Row{}, false
	for i := range m.attributes {
		a := &m.attributes[i]
		v, ok := ev.Tag(a.key)
		if !ok {
			if !looked {
				row, _ = m.known.Get(ev.Device)
				looked = true
			}
			v, ok = row.Text(a.column)
		}
		if !ok || !contains(a.texts, v) {
			return false
		}
	}
	return true
}

// expected returns the devices that the conditions admit though nothing may
// ever have been heard of them: those that they name, or else those of the
// table. There are none where a tag must be met that only an event could have.
func (m *match) expected() iter.Seq[string] {
	return func(yield func(string) bool) {
		if len(m.tags) > 0 {
			return
		}
		devices := slices.Values(m.device)
		if m.device == nil {
			devices = m.known.Devices()
		}
		for id := range devices {
			if m.attributesHold(&event.Event{Device: id}) && !yield(id) {
				return
			}
		}
	}
}

func (m *match) all() map[string][]string {
	all := map[string][]string{}
	for key, values := range map[string][]string{"source": m.source, "measurement": m.measurement, "device": m.device} {
		if values != nil {
			all[key] = values
		}
	}
	for _, t := range m.tags {
		all[t.key] = t.values
	}
	for _, a := range m.attributes {
		all[a.key] = a.values
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

func (l *loader) checkMatch(m matchSpec) {
	for _, e := range m {
		l.slip(e)
		for _, v := range e.values {
			if v.Pos == (strict.Pos{}) { // no text, which is reported already
				continue
			}
			if v.Value == "" && e.key != "device" {
				l.addf(v.Pos, "", "match.%s has an empty value", e.key)
			}
			if e.key == "source" && l.options.Sources != nil && v.Value != "" {
				l.known("source", v, l.options.Sources)
			}
		}
	}
}

// slip refuses what is all but the name of a key that match knows: as a tag that
// no event has it would keep the rule from ever seeing one.
func (l *loader) slip(e matchEntry) {
	if _, ok := l.set.attributes.Column(e.key); ok || l.recorded {
		return
	}
	for _, key := range []string{"source", "measurement", "device"} {
		if strict.Slip(e.key, key) {
			l.addf(e.pos, fmt.Sprintf("did you mean %q? If it is a tag, ask for it in expr: tag(%q) == ...", key, e.key), "match has no key %q", e.key)
		}
	}
}

// known reports a name that is not among those that exist.
func (l *loader) known(what string, name strict.String, names []string) {
	if slices.Contains(names, name.Value) {
		return
	}
	l.addf(name.Pos, suggestion(name.Value, names), "unknown %s %q", what, name.Value)
}

func suggestion(name string, names []string) string {
	if near := strict.Suggest(name, names); near != "" {
		return "did you mean \"" + near + "\"?"
	}
	if len(names) == 0 {
		return "none is configured"
	}
	return "there are: " + joined(names)
}

func joined(names []string) string {
	s := ""
	for i, n := range names {
		if i == 12 {
			return s + ", …"
		}
		if i > 0 {
			s += ", "
		}
		s += n
	}
	return s
}

// cycles refuses records that feed each other, and records that could only
// ever read what they derive themselves.
func (l *loader) cycles() {
	var records []*rule
	for _, r := range l.set.rules {
		if r.kind == KindRecord {
			records = append(records, r)
		}
	}
	readers := map[string][]*rule{} // by the recording's name
	named := map[string]int{}
	for _, r := range records {
		named[r.name]++
		for _, name := range r.recordings() {
			readers[name] = append(readers[name], r)
		}
	}
	const (
		unseen = iota
		open
		done
	)
	state := map[*rule]int{}
	var path []*rule
	var visit func(r *rule)
	visit = func(r *rule) {
		state[r] = open
		path = append(path, r)
		for _, next := range readers[r.name] {
			if next == r { // never sees its own
				continue
			}
			switch state[next] {
			case unseen:
				visit(next)
			case open:
				names := ""
				for _, p := range path[slices.Index(path, next):] {
					names += p.id + " → "
				}
				l.errs.Addf(next.file, next.pos, "a record may read others, but not in a circle", "records feed each other: %s%s", names, next.id)
			}
		}
		path = path[:len(path)-1]
		state[r] = done
	}
	for _, r := range records {
		if m := r.match.measurement; r.match.source == nil && len(m) == 1 && m[0] == r.name && named[r.name] == 1 {
			l.errs.Addf(r.file, r.pos, "match the events that it is to be derived from", "record %s would read nothing but itself", r.id)
		} else if named[r.name] == 1 && !l.recorded && slices.Contains(r.recordings(), r.name) {
			hint := "give it a name of its own; if devices send a field " + r.name + ", say in which events: match: {measurement: NAME}"
			if m != nil {
				hint = "leave its own name out of match.measurement"
			}
			l.errs.Addf(r.file, r.pos, hint, "record %s reads its own name", r.id)
		}
		if state[r] == unseen {
			visit(r)
		}
	}
}
