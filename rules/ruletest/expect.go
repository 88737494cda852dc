package ruletest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules"
)

// test is one test of a file, checked. Times are from its start.
type test struct {
	name     string
	line     int
	fuzzy    bool
	interval time.Duration
	start    int64 // ns since the Unix epoch
	until    time.Duration
	last     string // what until stems from
	lastPos  strict.Pos

	groups     []*group
	inputs     []input // by at
	checks     []check // by at
	exact      bool    // incidents are all that there may be
	incidents  []wantIncident
	recordings []wantSample // with at
}

// check is what is expected at a time: of alerts that fire, or of the last
// values of recordings.
type check struct {
	at      time.Duration
	line    int
	name    string   // of the rules
	rules   []string // their ids
	alerts  []wantAlert
	samples []wantSample
	record  bool // samples, not alerts
}

// wantAlert is an alert that is to fire.
type wantAlert struct {
	line        int
	labels      map[string]string // nil: any
	annotations map[string]string // nil: any
}

// wantValue is a value that is to be, if set.
type wantValue struct {
	scalar
	tolerance float64
	fuzzy     bool
}

// wantSample is a recording that is to be.
type wantSample struct {
	line   int
	rules  []string
	name   string
	at     int64       // event time, ns since the Unix epoch; not of a check's
	labels []event.Tag // device and tags, as far as they matter
	value  wantValue
}

// wantIncident is an alert that is to fire and end, or to fire on.
type wantIncident struct {
	line int
	wantAlert
	rule       string
	about      map[string]string // key, device and by's names, as far as they matter
	active     instant
	starts     int64 // ns since the Unix epoch, as ends
	ends       int64
	ended      bool
	value      wantValue
	suppressed string
}

// named returns the ids of the rules with that name, of a group or of any. The
// name may be group/name. Where there is none it says so.
func (l *loader) named(kind rules.Kind, group, name strict.String, at strict.Pos, key string) []string {
	if l.file.set == nil { // the rules were not loaded: nothing can be said
		return nil
	}
	if name.Value == "" {
		l.addf(at, fmt.Sprintf("write %s: NAME", key), "the entry has no %s", key)
		return nil
	}
	var ids, known []string
	for _, r := range l.rules {
		if r.Kind != kind {
			continue
		}
		if group.Value == "" || group.Value == r.Group {
			known = append(known, r.Name)
			if r.Name == name.Value || r.Rule == name.Value {
				ids = append(ids, r.Rule)
			}
		}
	}
	if g, ok := strings.CutSuffix(name.Value, "/limit"); ok && kind == rules.KindAlert && slices.ContainsFunc(l.rules, func(r rules.Info) bool { return r.Group == g }) {
		return []string{name.Value} // tells that a group has too many alerts
	}
	if ids == nil {
		hint := fmt.Sprintf("the rule files have no %s rules", kind)
		if len(known) > 0 {
			hint = "there are " + strings.Join(known[:min(len(known), 10)], ", ")
		}
		if s := strict.Suggest(name.Value, known); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
		of := ""
		if group.Value != "" {
			of = fmt.Sprintf(" in group %q", group.Value)
		}
		l.addf(name.Pos, hint, "there is no %s rule %q%s", kind, name.Value, of)
	}
	return ids
}

func (l *loader) evalTime(t *test, d duration, at strict.Pos) bool {
	if !d.set {
		l.addf(at, "write eval_time: 10m, the time since the start of the test", "the entry has no eval_time")
		return false
	}
	return l.mention(t, d.Duration, d.pos, "eval_time")
}

func (l *loader) alertTest(t *test, s *alertTestSpec) {
	if s.Pos == (strict.Pos{}) || !l.evalTime(t, s.EvalTime, s.Pos) {
		return
	}
	c := check{at: s.EvalTime.Duration, line: s.Pos.Line, name: s.Alert.Value}
	c.rules = l.named(rules.KindAlert, s.Group, s.Alert, s.Pos, "alertname")
	for _, e := range s.Expected {
		want := wantAlert{line: e.Pos.Line, labels: e.Labels}
		if want.labels == nil {
			want.labels = map[string]string{}
		}
		if _, ok := e.Keys["exp_annotations"]; ok {
			if want.annotations = e.Annotations; want.annotations == nil {
				want.annotations = map[string]string{}
			}
		}
		c.alerts = append(c.alerts, want)
	}
	t.checks = append(t.checks, c)
}

func (l *loader) recordTest(t *test, s *recordTestSpec) {
	if s.Pos == (strict.Pos{}) || !l.evalTime(t, s.EvalTime, s.Pos) {
		return
	}
	c := check{at: s.EvalTime.Duration, line: s.Pos.Line, name: s.Record.Value, record: true}
	c.rules = l.named(rules.KindRecord, s.Group, s.Record, s.Pos, "record")
	for _, e := range s.Expected {
		want := wantSample{line: e.Pos.Line, name: c.name, value: wantValue{e.Value, e.Tolerance, t.fuzzy}}
		if strings.TrimSpace(e.Labels.Value) != "" {
			series, err := parseSeries(e.Labels.Value)
			if err != nil && (series.field != "" || len(series.labels) == 0) {
				l.addf(e.Labels.At(err.offset), err.hint, "labels: %s", err.msg)
			} else if series.field != "" && series.field != c.name {
				l.addf(e.Labels.Pos, "leave the name out", "labels: %q is not the record %q", series.field, c.name)
			}
			want.labels = series.labels
		}
		l.value(&want.value, e.Keys)
		c.samples = append(c.samples, want)
	}
	t.checks = append(t.checks, c)
}

func (l *loader) value(v *wantValue, keys map[string]strict.Pos) {
	if at, ok := keys["tolerance"]; ok && (v.tolerance < 0 || !v.set) {
		l.addf(at, "write value: 20.5, tolerance: 0.1", "a tolerance goes with a value, and is not negative")
	}
}

func (l *loader) incident(t *test, s *incidentSpec) {
	if s.Pos == (strict.Pos{}) {
		return
	}
	w := wantIncident{line: s.Pos.Line, about: map[string]string{}, active: s.ActiveAt, value: wantValue{s.Value, s.Tolerance, t.fuzzy}, suppressed: s.Suppressed.Value}
	w.wantAlert = wantAlert{labels: s.Labels, annotations: s.Annotations}
	if ids := l.named(rules.KindAlert, strict.String{}, s.Rule, s.Pos, "rule"); len(ids) > 1 {
		l.addf(s.Rule.Pos, "write "+ids[0], "several groups have a rule %q", s.Rule.Value)
	} else if len(ids) == 1 {
		w.rule = ids[0]
	}
	for key, text := range map[string]strict.String{"key": s.Key, "device": s.Device} {
		if _, ok := s.Keys[key]; ok {
			w.about[key] = text.Value
		}
	}
	for k, v := range s.By {
		w.about[k] = v
	}
	l.value(&w.value, s.Keys)
	reasons := []string{event.SuppressedBackfill, event.SuppressedShadow, event.SuppressedSilence, event.SuppressedInhibit, event.SuppressedLimit, event.SuppressedFlapping}
	if w.suppressed != "" && !slices.Contains(reasons, w.suppressed) {
		l.addf(s.Suppressed.Pos, "one of "+strings.Join(reasons, ", "), "%q is no reason to suppress an alert", w.suppressed)
	}
	if !s.StartsAt.set {
		l.addf(s.Pos, "write starts_at: 10m, the time since the start of the test", "the alert has no starts_at")
		return
	}
	w.starts = s.StartsAt.from(t.start)
	l.mentionAt(t, s.StartsAt, "starts_at")
	if s.EndsAt.set {
		w.ends, w.ended = s.EndsAt.from(t.start), true
		l.mentionAt(t, s.EndsAt, "ends_at")
		if w.ends < w.starts {
			l.addf(s.EndsAt.pos, "", "ends_at is before starts_at")
		}
	}
	t.incidents = append(t.incidents, w)
}

func (l *loader) recording(t *test, s *recordingSpec) {
	if s.Pos == (strict.Pos{}) {
		return
	}
	w := wantSample{line: s.Pos.Line, name: s.Record.Value, value: wantValue{s.Value, s.Tolerance, t.fuzzy}}
	w.rules = l.named(rules.KindRecord, strict.String{}, s.Record, s.Pos, "record")
	if !s.At.set {
		l.addf(s.Pos, "write at: 10m, the time of the recording since the start of the test", "the recording has no at")
		return
	}
	w.at = s.At.from(t.start)
	l.mentionAt(t, s.At, "at")
	if _, ok := s.Keys["device"]; ok {
		w.labels = append(w.labels, event.Tag{Key: "device", Value: s.Device.Value})
	}
	for k, v := range s.Tags {
		w.labels = append(w.labels, event.Tag{Key: k, Value: v})
	}
	sortTags(w.labels)
	l.value(&w.value, s.Keys)
	t.recordings = append(t.recordings, w)
}

// mentionAt is mention of an instant; one before the start is none to wait for.
func (l *loader) mentionAt(t *test, i instant, what string) {
	if at := time.Duration(i.from(t.start) - t.start); at >= 0 {
		l.mention(t, at, i.pos, what)
	}
}
