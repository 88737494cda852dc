package ruletest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/ingest/event"
)

// incident is an alert that fired in a run, as when it began to.
type incident struct {
	id                  string
	rule, key, device   string
	by                  map[string]string
	labels, annotations map[string]string
	active, starts      time.Time
	ends                time.Time // zero while it fires
	value               any
	suppressed, reason  string // of its first transition
	told                bool   // receivers were told, at once or when nothing suppressed it any more
}

// firesAt reports whether it fires at a time.
func (i *incident) firesAt(at time.Time) bool {
	return !i.starts.After(at) && (i.ends.IsZero() || i.ends.After(at))
}

// export returns the incident for machines.
func (i *incident) export() Incident {
	out := Incident{
		ID: i.id, Rule: i.rule, Key: i.key, Device: i.device, By: i.by, Labels: i.labels,
		ActiveAt: i.active, StartsAt: i.starts, Value: i.value, Suppressed: i.suppressed, Told: i.told,
	}
	if !i.ends.IsZero() {
		out.EndsAt = &i.ends
	}
	return out
}

// identity returns what the alert is about: the device, or the names and values of by.
func (i *incident) identity() map[string]string {
	if len(i.by) > 0 {
		return i.by
	}
	return map[string]string{"device": i.device}
}

// recorded is a recording of a run.
type recorded struct {
	rule  string
	at    time.Time
	tags  map[string]string // device too
	value any
}

// pair says how an expectation and what there is differ.
type pair struct {
	want, got int
	because   []string
}

// match pairs expectations with what there is. diff says how two differ: nil
// means that they fit. What fits is paired, as much of it as can be; the rest is
// returned: first those that are near to each other, then what is missing or
// too much (want or got is -1).
func match(wants, gots int, diff func(want, got int) []string) []pair {
	fits := make([][]int, wants)
	for w := range fits {
		for g := range gots {
			if len(diff(w, g)) == 0 {
				fits[w] = append(fits[w], g)
			}
		}
	}
	holder := make([]int, gots) // the expectation that has it
	for g := range holder {
		holder[g] = -1
	}
	var seat func(w int, asked []bool) bool // Kuhn's algorithm: ask holders to move
	seat = func(w int, asked []bool) bool {
		for _, g := range fits[w] {
			if asked[g] {
				continue
			}
			asked[g] = true
			if holder[g] < 0 || seat(holder[g], asked) {
				holder[g] = w
				return true
			}
		}
		return false
	}
	var missing []int
	for w := range wants {
		if !seat(w, make([]bool, gots)) {
			missing = append(missing, w)
		}
	}
	var out []pair
	taken := map[int]bool{}
	for _, w := range missing {
		near := pair{w, -1, nil}
		for g, h := range holder {
			if h >= 0 || taken[g] {
				continue
			}
			if d := diff(w, g); near.got < 0 || len(d) < len(near.because) {
				near = pair{w, g, d}
			}
		}
		if near.got >= 0 {
			taken[near.got] = true
		}
		out = append(out, near)
	}
	for g, h := range holder {
		if h < 0 && !taken[g] {
			out = append(out, pair{-1, g, nil})
		}
	}
	return out
}

// differences says how the labels and annotations of an alert differ from what
// is wanted. What the alert is about and its name need not be among the labels.
func (w *wantAlert) differences(i *incident) []string {
	var out []string
	if w.labels != nil {
		_, name, _ := strings.Cut(i.rule, "/")
		out = append(out, compareTexts("label", w.labels, i.labels, i.identity(), map[string]string{"alertname": name})...)
	}
	if w.annotations != nil {
		out = append(out, compareTexts("annotation", w.annotations, i.annotations)...)
	}
	return out
}

// compareTexts says how got differs from want. What stands in also may be in
// want, but need not.
func compareTexts(what string, want, got map[string]string, also ...map[string]string) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(want)) {
		v, ok := got[k]
		for _, m := range also {
			if !ok {
				v, ok = m[k]
			}
		}
		if !ok {
			out = append(out, fmt.Sprintf("there is no %s %s", what, k))
		} else if v != want[k] {
			out = append(out, fmt.Sprintf("%s %s is %q, not %q", what, k, v, want[k]))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			out = append(out, fmt.Sprintf("%s %s=%q is not expected", what, k, got[k]))
		}
	}
	return out
}

// differences says how an incident of a run differs from what is wanted.
func (w *wantIncident) differences(i *incident, c clock) []string {
	var out []string
	if w.rule != i.rule {
		out = append(out, fmt.Sprintf("it is of %s", i.rule))
	}
	for _, k := range slices.Sorted(maps.Keys(w.about)) {
		got, ok := i.identity()[k]
		switch {
		case k == "key":
			got, ok = i.key, true
		case k == "device" && !ok:
			got, ok = i.device, i.device != ""
		}
		if !ok || got != w.about[k] {
			out = append(out, fmt.Sprintf("%s is %q, not %q", k, got, w.about[k]))
		}
	}
	at := func(what string, want int64, got time.Time) {
		if want != got.UnixNano() {
			out = append(out, fmt.Sprintf("%s is %s, not %s", what, c.at(got), c.at(time.Unix(0, want))))
		}
	}
	if w.active.set {
		at("active_at", w.active.from(c.start), i.active)
	}
	at("starts_at", w.starts, i.starts)
	switch {
	case w.ended && i.ends.IsZero():
		out = append(out, "it still fires at the end")
	case !w.ended && !i.ends.IsZero():
		out = append(out, fmt.Sprintf("it ends at %s", c.at(i.ends)))
	case w.ended:
		at("ends_at", w.ends, i.ends)
	}
	out = append(out, w.wantAlert.differences(i)...)
	out = append(out, w.value.differences(i.value)...)
	switch {
	case w.suppressed == i.suppressed, w.suppressed == "" && i.told:
	case i.told && i.suppressed != "":
		out = append(out, fmt.Sprintf("receivers are told later: it is suppressed as %s at first, not as %s", i.suppressed, w.suppressed))
	case i.told:
		out = append(out, fmt.Sprintf("receivers are told: it is not suppressed as %s", w.suppressed))
	default:
		out = append(out, fmt.Sprintf("nobody is told: suppressed as %s%s", i.suppressed, because(i.reason)))
	}
	return out
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

// differences says how a recording differs from what is wanted. Labels that the
// expectation leaves out don't matter.
func (w *wantSample) differences(r *recorded, c clock) []string {
	var out []string
	if w.at != 0 && w.at != r.at.UnixNano() {
		out = append(out, fmt.Sprintf("it is of %s", c.at(r.at)))
	}
	for _, l := range w.labels {
		if v, ok := r.tags[l.Key]; !ok && l.Value != "" {
			out = append(out, fmt.Sprintf("there is no %s", l.Key))
		} else if v != l.Value {
			out = append(out, fmt.Sprintf("%s is %q, not %q", l.Key, v, l.Value))
		}
	}
	return append(out, w.value.differences(r.value)...)
}

func (w *wantValue) differences(got any) []string {
	if !w.set {
		return nil
	}
	want, isNumber := w.value.Float()
	have, ok := floatOf(got)
	if !isNumber || !ok {
		if got == w.value.Any() {
			return nil
		}
		return []string{fmt.Sprintf("value is %s, not %s", valueText(got), valueText(w.value.Any()))}
	}
	off := math.Abs(want - have)
	lastBit := math.Max(math.Abs(want), math.Abs(have)) * 0x1p-51
	remedy := ""
	switch {
	case off <= w.tolerance, w.fuzzy && off <= lastBit:
		return nil
	case off <= lastBit:
		remedy = ": if that is near enough, add fuzzy_compare: true to the file"
	case off <= math.Abs(want)*1e-6:
		remedy = ": if that is near enough, add a tolerance"
	}
	return []string{fmt.Sprintf("value is %s, not %s%s", valueText(got), valueText(want), remedy)}
}

func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case uint64:
		return float64(v), true
	}
	return 0, false
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}

// clock tells times of a test.
type clock struct{ start int64 }

// at returns "10m (2026-01-01T00:10:00Z)".
func (c clock) at(t time.Time) string {
	return fmt.Sprintf("%s (%s)", short(time.Duration(t.UnixNano()-c.start)), t.UTC().Format(time.RFC3339Nano))
}

// short writes a duration without the zeros that time.Duration's text ends with.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// braces writes {a="b", c="d"}.
func braces(all ...map[string]string) string {
	joined := map[string]string{}
	for _, m := range all {
		maps.Copy(joined, m)
	}
	parts := make([]string, 0, len(joined))
	for _, k := range slices.Sorted(maps.Keys(joined)) {
		parts = append(parts, fmt.Sprintf("%s=%q", k, joined[k]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func tagsOf(tags []event.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = t.Value
	}
	return m
}
