package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules/expression"
)

// The values of Seen.What.
const (
	SeenUnmatched = "unmatched" // an event that the rule's match leaves out
	SeenLate      = "late"      // an event that came too late to be evaluated
	SeenHeld      = "held"      // an event that waits for others that may come late
	SeenCollected = "collected" // an event that went into the rule's window, which has not ended
	SeenEvaluated = "evaluated"
	SeenState     = "state" // the alert is in another state
)

// Seen is something that an engine did about the rule and the key that it is
// watched for.
type Seen struct {
	What    string            `json:"what"`
	At      time.Time         `json:"at"`  // in the time of events
	Log     time.Time         `json:"log"` // log time
	Event   *event.AlertCause `json:"event,omitempty"`
	Why     string            `json:"why,omitempty"`     // it was left out, failed, or says nothing
	History bool              `json:"history,omitempty"` // it belongs to history that a device uploads

	// Of what was evaluated:
	Timed   bool             `json:"timed,omitempty"` // because time passed, not because an event came
	Result  string           `json:"result,omitempty"`
	Expr    *expression.Node `json:"expr,omitempty"`
	Clear   *expression.Node `json:"clear,omitempty"` // if that was asked too
	Windows []SeenWindow     `json:"windows,omitempty"`

	// Of a state:
	State string    `json:"state,omitempty"` // inactive, pending, firing, clearing or resolved
	ID    string    `json:"id,omitempty"`    // of the incident
	Since time.Time `json:"active_at,omitzero"`
	Due   time.Time `json:"due_at,omitzero"` // when its timer ends the state
}

// The values of Seen.Result.
const (
	ResultTrue   = "true"
	ResultFalse  = "false"
	ResultFailed = "failed" // neither true nor false
	ResultSilent = "silent" // the event has nothing to do with the expression
)

// SeenWindow is what a function over past events had before it.
type SeenWindow struct {
	Function string       `json:"function"`
	Count    int          `json:"count"`
	Samples  []SeenSample `json:"samples,omitempty"` // the first and the last of them
	Omitted  int          `json:"omitted,omitempty"` // samples between those
}

// SeenSample is an event that a function took.
type SeenSample struct {
	Position event.Position `json:"position"`
	Time     time.Time      `json:"time"`
	Value    any            `json:"value"`
}

// StateClearing is a firing alert whose clear condition was met, while
// keep_firing_for is not over.
const StateClearing = "clearing"

// maxShown is how many samples of a window are told one by one.
const maxShown = 20

// maxSampled bounds the samples that are remembered of one window.
const maxSampled = 100_000

// watch tells what an engine does about one rule and key.
type watch struct {
	rule, key string
	tell      func(Seen)
	trees     map[*expression.Program]*expression.Tree
	samples   map[string][]SeenSample // by a cell's identity
}

// Watch has f told of what the engine does about one rule and one key, from now
// on. It is for those who ask why, over a part of the log: it costs time. A nil f
// ends it.
func (e *Engine) Watch(rule, key string, f func(Seen)) {
	if e.watch = nil; f != nil {
		e.watch = &watch{rule, key, f, map[*expression.Program]*expression.Tree{}, map[string][]SeenSample{}}
	}
}

// of returns the state of the rule, nil if the set in force does not have it.
func (w *watch) of(e *Engine) *ruleState {
	r := e.set.byID[w.rule]
	if r == nil || e.scratch {
		return nil
	}
	return e.rules[r.index]
}

func (w *watch) is(rs *ruleState, en *entry) bool {
	return rs.rule.id == w.rule && en != nil && en.key() == w.key
}

// about reports whether an event has the key, and what of the rule's match it
// does not meet.
func (w *watch) about(e *Engine, ev *event.Event) (rs *ruleState, unmet string, ok bool) {
	if rs = w.of(e); rs == nil {
		return nil, "", false
	}
	key, has := rs.space.keyOf(e.set, ev)
	if !has || key != w.key {
		return nil, "", false
	}
	return rs, rs.rule.unmet(ev), true
}

// event is told of every event.
func (w *watch) event(e *Engine, c cause) {
	if _, unmet, ok := w.about(e, c.ev); ok && unmet != "" {
		w.tell(Seen{What: SeenUnmatched, At: utc(c.ev.Time), Log: utc(e.now), Event: describe(c), Why: unmet})
	}
}

// arrived is told of an event that is not evaluated at once.
func (w *watch) arrived(e *Engine, l *lane, clk *clock, at int64, c cause, v verdict) {
	rs, unmet, ok := w.about(e, c.ev)
	if !ok || unmet != "" || rs.space.lane != l {
		return
	}
	s := Seen{What: SeenHeld, At: utc(at), Log: utc(e.now), Event: describe(c), History: clk.past}
	if v == late {
		s.What = SeenLate
		s.Why = fmt.Sprintf("its time is behind what was evaluated already: the device was at %s", utc(clk.time).Format(time.RFC3339Nano))
	}
	w.tell(s)
}

// late is told of an event that comes after its group has gone on.
func (w *watch) late(e *Engine, rs *ruleState, at int64, c cause) {
	if got, unmet, ok := w.about(e, c.ev); ok && unmet == "" && got == rs {
		w.tell(Seen{What: SeenLate, At: utc(at), Log: utc(e.now), Event: describe(c), Why: "it is history, and the group has gone on without it"})
	}
}

// fed is told of an event that a cell was given.
func (w *watch) fed(e *Engine, spec *cellSpec, en *entry, at int64, c cause) {
	if en.key() != w.key || !contains(spec.rules, w.rule) {
		return
	}
	s := SeenSample{Position: c.at, Time: utc(at)}
	switch {
	case len(spec.steps) > 0:
		var met []string
		for _, p := range spec.steps {
			if p.Holds(e.expr) == expression.True {
				met = append(met, p.Source())
			}
		}
		if s.Value = strings.Join(met, ", "); len(met) == 0 {
			return
		}
	case spec.arg != nil:
		v, _ := spec.arg.Value(e.expr)
		s.Value = plain(v)
	}
	all := w.samples[spec.identity]
	if n := len(all); n > 0 && e.scratch && !all[n-1].Position.Less(c.at) {
		return // windows of a new rule set are filled from what was seen already
	}
	all = append(all, s)
	switch {
	case spec.kind == windowKind && spec.frame != nil && spec.frame.count:
		all = all[max(0, len(all)-int(spec.frame.size)):]
	case spec.kind == absentKind:
		all = all[len(all)-1:]
	case spec.kind != windowKind && spec.kind != durationKind:
		all = all[max(0, len(all)-maxShown):]
	}
	w.samples[spec.identity] = all[max(0, len(all)-maxSampled):]
}

// collected is told of an event that went into a window which has not ended.
func (w *watch) collected(e *Engine, rs *ruleState, en *entry, at int64, c cause) {
	if w.is(rs, en) && !e.scratch {
		w.tell(Seen{What: SeenCollected, At: utc(at), Log: utc(e.now), Event: describe(c), History: en.clock.past})
	}
}

// evaluated is told of an evaluation, before the alert changes.
func (w *watch) evaluated(e *Engine, rs *ruleState, en *entry, at int64, c cause, res expression.Result) {
	if rs.rule.id != w.rule || e.scratch {
		return
	}
	if en == nil {
		if key, ok := rs.space.keyOf(e.set, c.ev); !ok || key != w.key {
			return
		}
	} else if en.key() != w.key {
		return
	}
	r := rs.rule
	s := Seen{What: SeenEvaluated, At: utc(at), Log: utc(e.now), Timed: e.timed, Result: resultText(res), Expr: w.tree(r.expr, e.expr)}
	if c.at.Seq != 0 {
		s.Event = describe(c)
	}
	switch res {
	case expression.Failed:
		if err := r.expr.Explain(e.expr); err != nil {
			s.Why = err.Error()
		}
	case expression.Silent:
		s.Why = "the event has none of the fields that it reads"
	}
	if en != nil {
		s.History = en.clock.past || en.clock.historic
		if a := en.alert(rs); a != nil && a.phase != pending && r.clear != nil {
			s.Clear = w.tree(r.clear, e.expr)
		}
	}
	for _, spec := range r.cells {
		if spec.kind != frameKind {
			s.Windows = append(s.Windows, w.window(e, spec, at))
		}
	}
	w.tell(s)
}

func resultText(r expression.Result) string {
	switch r {
	case expression.True:
		return ResultTrue
	case expression.False:
		return ResultFalse
	case expression.Silent:
		return ResultSilent
	}
	return ResultFailed
}

func (w *watch) tree(p *expression.Program, s *expression.Scope) *expression.Node {
	t := w.trees[p]
	if t == nil {
		t = p.Tree()
		w.trees[p] = t
	}
	return t.Eval(s)
}

// window tells what a cell had before it at a time.
func (w *watch) window(e *Engine, spec *cellSpec, at int64) SeenWindow {
	all := w.samples[spec.identity]
	from := none
	switch {
	case spec.kind != windowKind && spec.kind != durationKind:
	case spec.frame == nil:
		from = at - spec.width + 1
	case spec.frame.count:
		n := 0
		if c, ok := e.here.have(spec.slot).(*windowCell); ok {
			n = c.w.Len()
		}
		all = all[max(0, len(all)-n):]
	case !spec.frame.session:
		from = at - spec.frame.size
	}
	gone := 0
	for gone < len(all) && from != none && all[gone].Time.UnixNano() < from {
		gone++
	}
	all = all[gone:]
	w.samples[spec.identity] = all
	out := SeenWindow{Function: e.callOf(spec, w.rule), Count: len(all)}
	if len(all) <= maxShown {
		out.Samples = slices.Clone(all)
	} else {
		out.Samples = append(slices.Clone(all[:maxShown/2]), all[len(all)-maxShown/2:]...)
		out.Omitted = len(all) - maxShown
	}
	if spec.frame != nil && spec.frame.session && e.timed {
		delete(w.samples, spec.identity) // the session has ended
	}
	return out
}

// callOf returns how a rule writes the functions that have a cell.
func (e *Engine) callOf(spec *cellSpec, rule string) string {
	var calls []string
	r := e.set.byID[rule]
	for _, p := range []*expression.Program{r.expr, r.clear} {
		if p == nil {
			continue
		}
		for _, ref := range p.Refs() {
			if ref.Origin == expression.Cell && e.set.functions[ref.Cell].cell == spec && !slices.Contains(calls, ref.Text) {
				calls = append(calls, ref.Text)
			}
		}
	}
	return strings.Join(calls, ", ")
}

// changed is told of the state that an alert has come to at a time.
func (e *Engine) changed(a *alert, state string, at int64) {
	w := e.watch
	if w == nil || e.scratch || !w.is(a.rs, a.en) {
		return
	}
	s := Seen{What: SeenState, At: utc(at), Log: utc(e.now), State: state, ID: a.notice.id, Since: utc(a.active), History: a.en.clock.past || a.en.clock.historic}
	if (state == event.Pending || state == StateClearing) && a.deadline != never {
		s.Due = utc(a.deadline)
	}
	if c, err := e.cause(a); err == nil && c.at.Seq != 0 {
		s.Event = describe(c)
	}
	w.tell(s)
}

// unmet returns what of the rule's conditions an event does not meet, "" if it
// meets all: what a bucket and match decide, in words.
func (r *rule) unmet(ev *event.Event) string {
	m := &r.match
	wants := func(key, has string, values []string) string {
		return fmt.Sprintf("match.%s is %s, the event's is %q", key, quoted(values), has)
	}
	switch {
	case ev.Rule != "" && ev.Rule == r.id:
		return "it is the rule's own recording"
	case !admits(m.source, ev.Source):
		return wants("source", ev.Source, m.source)
	case !admits(m.measurement, ev.Measurement):
		return wants("measurement", ev.Measurement, m.measurement)
	case ev.Rule != "" && !contains(r.recordings(), ev.Measurement):
		return fmt.Sprintf("it is the recording %s, which the rule does not read", ev.Measurement)
	case ev.Rule == "" && r.derived:
		return "the rule reads recordings only"
	case m.device != nil && !contains(m.device, ev.Device):
		return wants("device", ev.Device, m.device)
	}
	for _, t := range m.tags {
		if v, ok := ev.Tag(t.key); !ok {
			return fmt.Sprintf("match.%s is %s, the event has no such tag", t.key, quoted(t.values))
		} else if !contains(t.values, v) {
			return wants(t.key, v, t.values)
		}
	}
	for i := range m.attributes {
		one := match{attributes: m.attributes[i : i+1], known: m.known}
		if one.attributesHold(ev) {
			continue
		}
		a := &m.attributes[i]
		v, ok := ev.Tag(a.key)
		if !ok {
			if row, known := m.known.Get(ev.Device); known {
				v, ok = row.Text(a.column)
			}
		}
		if !ok {
			return fmt.Sprintf("match.%s is %s, the event has no such tag and its device no such attribute", a.key, quoted(a.values))
		}
		return wants(a.key, v, a.values)
	}
	return ""
}

func quoted(values []string) string {
	if len(values) == 1 {
		return fmt.Sprintf("%q", values[0])
	}
	return fmt.Sprintf("one of %q", values)
}

// Text returns a rule as its file has it, with the file's name and the rule's
// line; false if the set does not have the rule.
func (s *Set) Text(rule string) (file string, line int, text string, ok bool) {
	r := s.byID[rule]
	if r == nil {
		return "", 0, "", false
	}
	for _, f := range s.files {
		if f.Name != r.file {
			continue
		}
		lines := strings.Split(string(f.Data), "\n")
		first := r.pos.Line - 1
		if first < 0 || first >= len(lines) {
			break
		}
		depth := indent(lines[first])
		last := first + 1
		for end := last; end < len(lines) && (strings.TrimSpace(lines[end]) == "" || indent(lines[end]) > depth); end++ {
			if strings.TrimSpace(lines[end]) != "" {
				last = end + 1
			}
		}
		out := lines[first:last]
		for i := range out {
			out[i] = strings.TrimRight(out[i][min(depth, len(out[i])):], " \r")
		}
		return r.file, r.pos.Line, strings.Join(out, "\n"), true
	}
	return r.file, r.pos.Line, "", true
}

func indent(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// Rule describes a rule, and reports whether the set has it.
func (s *Set) Rule(id string) (Info, bool) {
	r := s.byID[id]
	if r == nil {
		return Info{}, false
	}
	return r.info(), true
}
