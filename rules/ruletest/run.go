package ruletest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules"
	"weir/rules/replay"
)

// Result is the outcome of one test.
type Result struct {
	Name     string    `json:"name"`
	Line     int       `json:"line"` // where the test begins in its file
	Passed   bool      `json:"passed"`
	Failures []Failure `json:"failures,omitempty"`
	// Incidents are the alerts that fired, in the order in which they began to.
	Incidents []Incident `json:"incidents"`
}

// Incident is an alert that fired in a test, with the names and the form that
// live ones have: for the same events and rules the id is the same.
type Incident struct {
	ID       string            `json:"id"`
	Rule     string            `json:"rule"` // group/name
	Key      string            `json:"key"`
	Device   string            `json:"device,omitempty"`
	By       map[string]string `json:"by,omitempty"`
	Labels   map[string]string `json:"labels"`
	ActiveAt time.Time         `json:"active_at,omitzero"`
	StartsAt time.Time         `json:"starts_at"`
	EndsAt   *time.Time        `json:"ends_at,omitempty"` // nil: it fired to the end of the test
	Value    any               `json:"value,omitempty"`   // with which it began
	// Suppressed says why nobody was told of it when it began, "" if they were.
	Suppressed string `json:"suppressed,omitempty"`
	Told       bool   `json:"told"` // that it fires, at once or later
}

// Failure is an expectation that was not met.
type Failure struct {
	Line        int          `json:"line"` // of the expectation
	What        string       `json:"what"` // e.g. "FreezerWarm at 15m (2026-01-01T00:15:00Z)"
	Differences []Difference `json:"differences,omitempty"`
	Notes       []string     `json:"notes,omitempty"` // what may explain it
}

// Difference is something expected that is not there (Got is ""), something
// there that is not expected (Expected is ""), or two that are near to each other.
type Difference struct {
	Expected string   `json:"expected,omitempty"`
	Got      string   `json:"got,omitempty"`
	Because  []string `json:"because,omitempty"` // how the two differ
}

// Run runs the tests whose name only accepts, all if it is nil.
func (f *File) Run(only func(name string) bool) []Result {
	results := []Result{}
	for _, t := range f.tests {
		if only == nil || only(t.name) {
			results = append(results, t.run(f.set))
		}
	}
	return results
}

// run is a test that is being run.
type run struct {
	*test
	clock
	set    *rules.Set
	replay *replay.Replay
	batch  *event.Batch
	seq    uint64

	records bool          // there are record rules
	passed  time.Duration // how far silence has come

	checked time.Time         // of the check that is looked ahead from; zero else
	last    bool              // that is the end of the test
	later   []*event.Recorded // that were made for a time after it

	incidents []*incident
	byID      map[string]*incident
	latest    map[string]*recorded // last recording by rule and series
	series    []string             // keys of latest, in the order in which they came
	kept      []*recorded          // at the instants that the test's recordings are about
	failures  []Failure
}

func (t *test) run(set *rules.Set) Result {
	r := &run{
		test: t, clock: clock{t.start}, set: set, batch: event.NewBatch(nil),
		byID: map[string]*incident{}, latest: map[string]*recorded{},
	}
	r.records = slices.ContainsFunc(set.Rules(), func(i rules.Info) bool { return i.Kind == rules.KindRecord })
	r.replay = replay.New(set, t.start, r.take)
	next, step := 0, 0 // input, interval
	for _, c := range append(slices.Clone(t.checks), check{at: t.until}) {
		for {
			at := time.Duration(step) * t.interval
			if next < len(t.inputs) {
				at = min(at, t.inputs[next].at)
			}
			if at > c.at {
				break
			}
			r.silence(at)
			next, step = r.instant(at, next, step)
		}
		r.silence(c.at)
		r.tick(c.at)
		r.lookAhead(c.at, next, step)
		if c.rules != nil {
			r.check(&c)
		}
		r.checked = time.Time{}
		for _, rec := range r.later {
			r.record(rec)
		}
		r.later = nil
	}
	r.cut()
	r.end()
	out := Result{Name: t.name, Line: t.line, Passed: len(r.failures) == 0, Failures: r.failures, Incidents: []Incident{}}
	for _, i := range r.incidents {
		out.Incidents = append(out.Incidents, i.export())
	}
	return out
}

// patience is for how long, at the most, it is waited for what is decided later
// than it happens, as clocks of devices wait in silence for what is on its way.
const patience = 10 * time.Second

// lookAhead lets the time pass in which nothing happens after a check: what is
// due at the check is decided in it.
func (r *run) lookAhead(at time.Duration, next, step int) {
	to := min(at+patience, time.Duration(step)*r.interval-1)
	if next < len(r.inputs) {
		to = min(to, r.inputs[next].at-1)
	}
	if to <= at {
		return
	}
	r.checked, r.last = time.Unix(0, r.test.start+int64(at)), at == r.until
	r.silence(to)
	r.tick(to)
}

// cut leaves out what happened after the end of the test.
func (r *run) cut() {
	end := time.Unix(0, r.test.start+int64(r.until))
	r.incidents = slices.DeleteFunc(r.incidents, func(i *incident) bool { return i.starts.After(end) })
	for _, i := range r.incidents {
		if i.ends.After(end) {
			i.ends = time.Time{}
		}
	}
}

// instant processes all that is received at a time, in one batch: the series'
// events, then the entries of input_events. Where there is nothing time passes.
func (r *run) instant(at time.Duration, next, step int) (int, int) {
	b := r.begin()
	ns := r.test.start + int64(at)
	if at == time.Duration(step)*r.interval {
		for _, g := range r.groups {
			if step >= g.length {
				continue
			}
			if ev, ok := g.at(step, ns); ok {
				b.Messages = append(b.Messages, event.Message{Received: ns})
				b.AddEvent(len(b.Messages)-1, ev)
			}
		}
		step++
	}
	for ; next < len(r.inputs) && r.inputs[next].at == at; next++ {
		m := r.inputs[next].message
		m.Received = ns
		b.Messages = append(b.Messages, m)
		for _, ev := range r.inputs[next].events {
			b.AddEvent(len(b.Messages)-1, ev)
		}
	}
	if len(b.Messages) == 0 {
		b.Messages = append(b.Messages, event.Message{Record: event.Tick, Received: ns})
	}
	r.replay.Process(b)
	return next, step
}

func (r *run) begin() *event.Batch {
	r.batch.Reset()
	r.seq++
	r.batch.Seq = r.seq
	return r.batch
}

// silence lets time pass up to at as it does in operation, in seconds. It matters
// to rules that read recordings: what is derived in silence has to come back
// before what is due after it.
func (r *run) silence(at time.Duration) {
	if !r.records {
		return
	}
	pace := max(time.Second, r.until/maxSteps)
	for t := r.passed.Truncate(pace) + pace; t < at; t += pace {
		r.tick(t)
	}
	r.passed = at
}

// tick lets time pass: what is due has happened after it.
func (r *run) tick(at time.Duration) {
	b := r.begin()
	b.Messages = append(b.Messages, event.Message{Record: event.Tick, Received: r.test.start + int64(at)})
	r.replay.Process(b)
}

// take notes what the rules derive.
func (r *run) take(d rules.Derived) {
	switch {
	case d.Alert != nil:
		r.alert(d.Alert)
	case d.Record == event.Recording:
		var rec event.Recorded
		if err := json.Unmarshal(d.Payload, &rec); err != nil {
			r.fail(r.line, fmt.Sprintf("a recording can't be read: %v", err))
			return
		}
		r.record(&rec)
	}
}

func (r *run) alert(a *event.Alert) {
	i := r.byID[a.ID]
	if a.Notice != "" { // told again, or for the first time
		if i != nil && !r.last && a.Notice == event.NoticeResumed && a.State == event.Firing && a.Told() {
			i.told = true
		}
		return
	}
	if i == nil {
		i = &incident{
			id: a.ID, told: a.Told(), rule: a.Rule, key: a.Key, device: a.Device, by: a.By, labels: a.Labels, annotations: a.Annotations,
			active: a.ActiveAt, starts: a.StartsAt, value: a.Value, suppressed: a.Suppressed, reason: a.Reason,
		}
		r.byID[a.ID] = i
		r.incidents = append(r.incidents, i)
	}
	if a.State == event.Resolved && a.EndsAt != nil {
		i.ends = *a.EndsAt
	}
}

func (r *run) record(rec *event.Recorded) {
	if !r.checked.IsZero() && rec.Time.After(r.checked) {
		r.later = append(r.later, rec)
		return
	}
	got := &recorded{rule: rec.Rule, at: rec.Time, value: rec.Value, tags: map[string]string{}}
	for k, v := range rec.Tags {
		got.tags[k] = v
	}
	if rec.Device != "" {
		got.tags["device"] = rec.Device
	}
	key := rec.Rule + braces(got.tags)
	if r.latest[key] == nil {
		r.series = append(r.series, key)
	}
	r.latest[key] = got
	if slices.ContainsFunc(r.recordings, func(w wantSample) bool { return w.at == rec.Time.UnixNano() && slices.Contains(w.rules, rec.Rule) }) {
		r.kept = append(r.kept, got)
	}
}

func (r *run) fail(line int, what string, notes ...string) {
	r.failures = append(r.failures, Failure{Line: line, What: what, Notes: notes})
}

// compare adds a failure if what is expected and what there is differ.
func (r *run) compare(line int, what string, pairs []pair, want, got func(int) string, ids []string) {
	if len(pairs) == 0 {
		return
	}
	f := Failure{Line: line, What: what}
	missing := false
	for _, p := range pairs {
		d := Difference{Because: p.because}
		if p.want >= 0 {
			d.Expected = want(p.want)
		}
		if p.got >= 0 {
			d.Got = got(p.got)
		} else {
			missing = true
		}
		f.Differences = append(f.Differences, d)
	}
	if missing {
		f.Notes = r.why(ids)
	}
	r.failures = append(r.failures, f)
}

// check compares what fires, or was recorded last, with what is expected.
func (r *run) check(c *check) {
	what := fmt.Sprintf("%s at %s", c.name, r.at(time.Unix(0, r.test.start+int64(c.at))))
	if c.record {
		var got []*recorded
		for _, key := range r.series {
			if rec := r.latest[key]; slices.Contains(c.rules, rec.rule) {
				got = append(got, rec)
			}
		}
		r.compare(c.line, what,
			match(len(c.samples), len(got), func(w, g int) []string { return c.samples[w].differences(got[g], r.clock) }),
			func(w int) string { return c.samples[w].text(r.clock) }, func(g int) string { return got[g].text(r.clock) }, c.rules)
		return
	}
	var got []*incident
	for _, i := range r.incidents {
		if i.firesAt(time.Unix(0, r.test.start+int64(c.at))) && i.suppressed != event.SuppressedShadow && slices.Contains(c.rules, i.rule) {
			got = append(got, i)
		}
	}
	r.compare(c.line, what,
		match(len(c.alerts), len(got), func(w, g int) []string { return c.alerts[w].differences(got[g]) }),
		func(w int) string { return c.alerts[w].text() },
		func(g int) string {
			s := braces(got[g].identity(), got[g].labels)
			if slices.ContainsFunc(c.alerts, func(w wantAlert) bool { return w.annotations != nil }) {
				s += texts(got[g].annotations)
			}
			return s + " since " + r.at(got[g].starts) + got[g].suppression()
		}, c.rules)
}

// end compares the whole history.
func (r *run) end() {
	if r.exact {
		var ids []string
		for _, w := range r.test.incidents {
			ids = append(ids, w.rule)
		}
		line := r.line
		if len(r.test.incidents) > 0 {
			line = r.test.incidents[0].line
		}
		r.compare(line, "alerts until "+r.at(time.Unix(0, r.test.start+int64(r.until))),
			match(len(r.test.incidents), len(r.incidents), func(w, g int) []string { return r.test.incidents[w].differences(r.incidents[g], r.clock) }),
			func(w int) string { return r.test.incidents[w].text(r.clock) },
			func(g int) string { return r.incidents[g].text(r.clock) }, slices.Compact(slices.Sorted(slices.Values(ids))))
	}
	if len(r.recordings) > 0 {
		var ids []string
		for _, w := range r.recordings {
			ids = append(ids, w.rules...)
		}
		r.compare(r.recordings[0].line, "recordings",
			match(len(r.recordings), len(r.kept), func(w, g int) []string {
				out := r.recordings[w].differences(r.kept[g], r.clock)
				if !slices.Contains(r.recordings[w].rules, r.kept[g].rule) {
					out = append(out, "it is of "+r.kept[g].rule)
				}
				return out
			}),
			func(w int) string { return r.recordings[w].text(r.clock) }, func(g int) string { return r.kept[g].text(r.clock) },
			slices.Compact(slices.Sorted(slices.Values(ids))))
	}
	if err := r.replay.Lost(); err != nil {
		r.fail(r.line, "recordings were made that can't be read back", strings.Split(err.Error(), "\n")...)
	}
}
