package ruletest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

func (w *wantAlert) text() string { return braces(w.labels) + texts(w.annotations) }

// texts writes annotations: ` summary="..."`.
func texts(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, " %s=%q", k, m[k])
	}
	return b.String()
}

func suppression(why string) string {
	if why == "" {
		return ""
	}
	return ", suppressed as " + why
}

// suppression says that nobody was told so far, or not at first.
func (i *incident) suppression() string {
	if i.told && i.suppressed != "" {
		return suppression(i.suppressed) + " at first, and told later"
	}
	return suppression(i.suppressed)
}

func (w *wantIncident) text(c clock) string {
	var b strings.Builder
	b.WriteString(w.rule)
	if len(w.about) > 0 {
		b.WriteString(about(w.about))
	}
	fmt.Fprintf(&b, " from %s", c.at(time.Unix(0, w.starts)))
	if w.ended {
		fmt.Fprintf(&b, " to %s", c.at(time.Unix(0, w.ends)))
	}
	if w.labels != nil {
		b.WriteString(" " + braces(w.labels))
	}
	b.WriteString(texts(w.annotations))
	if w.value.set {
		fmt.Fprintf(&b, " value %s", valueText(w.value.value.Any()))
	}
	b.WriteString(suppression(w.suppressed))
	return b.String()
}

func about(m map[string]string) string {
	if v, ok := m["key"]; ok && len(m) == 1 {
		return " " + v
	}
	if v, ok := m["device"]; ok && len(m) == 1 {
		return " " + v
	}
	return " " + braces(m)
}

func (i *incident) text(c clock) string {
	s := i.rule + about(i.identity()) + " from " + c.at(i.starts)
	if !i.ends.IsZero() {
		s += " to " + c.at(i.ends)
	}
	return s + i.suppression()
}

func (w *wantSample) text(c clock) string {
	s := w.name
	if len(w.labels) > 0 {
		s += braces(tagsOf(w.labels))
	}
	if w.at != 0 {
		s += " at " + c.at(time.Unix(0, w.at))
	}
	if w.value.set {
		s += " = " + valueText(w.value.value.Any())
	}
	return s
}

func (g *recorded) text(c clock) string {
	_, name, _ := strings.Cut(g.rule, "/")
	return fmt.Sprintf("%s%s at %s = %s", name, braces(g.tags), c.at(g.at), valueText(g.value))
}

// why says what is known about rules of which something was expected in vain.
func (r *run) why(ids []string) []string {
	var notes []string
	active := r.replay.Engine().Active()
	stats := r.replay.Engine().Stats().Rules
	for _, id := range ids {
		waiting := 0
		for _, s := range active {
			if s.Rule != id || s.State != event.Pending {
				continue
			}
			if waiting++; waiting <= 3 {
				note := fmt.Sprintf("%s of %s is pending since %s", id, s.Key, r.at(s.Active))
				if !s.Due.IsZero() {
					note += ", until " + r.at(s.Due)
				}
				notes = append(notes, note)
			}
		}
		i := slices.IndexFunc(stats, func(s rules.RuleStats) bool { return s.Rule == id })
		if waiting > 0 || i < 0 {
			continue
		}
		switch s := stats[i]; {
		case s.Evaluations == 0 && s.Skipped == 0:
			notes = append(notes, fmt.Sprintf("no event reached %s%s; the test's events are of %s", id, r.matches(id), strings.Join(r.origins(), ", ")))
		case s.Evaluations == 0:
			notes = append(notes, fmt.Sprintf("%s reached %s, but none has a field that it reads", count(int(s.Skipped), "event"), id))
		case s.Errors > 0:
			notes = append(notes, fmt.Sprintf("%d of %d evaluations of %s failed: %s", s.Errors, s.Evaluations, id, s.LastError))
		}
	}
	return notes
}

// matches returns what a rule asks of events: ", which matches {source: plant}".
func (r *run) matches(id string) string {
	for _, info := range r.set.Rules() {
		if info.Rule != id || len(info.Match) == 0 {
			continue
		}
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(info.Match)) {
			parts = append(parts, k+": "+strings.Join(info.Match[k], " or "))
		}
		return ", which matches {" + strings.Join(parts, ", ") + "}"
	}
	return ""
}

// origins says where the test's events come from.
func (r *run) origins() []string {
	var all []string
	add := func(ev *event.Event) {
		if s := fmt.Sprintf("source %s, measurement %s", ev.Source, ev.Measurement); !slices.Contains(all, s) && len(all) < 5 {
			all = append(all, s)
		}
	}
	for _, g := range r.groups {
		add(&g.event)
	}
	for i := range r.inputs {
		for j := range r.inputs[i].events {
			add(&r.inputs[i].events[j])
		}
	}
	if all == nil {
		all = []string{"no source: it has none"}
	}
	return all
}

// maxShown bounds the differences of one failure that are printed.
const maxShown = 20

// Report prints the results of a file for people.
func Report(w io.Writer, file string, results []Result) error {
	p := printer{w: w}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	switch {
	case len(results) == 0:
		p.printf("ok    %s: no tests to run\n", file)
	case failed == 0:
		p.printf("ok    %s: %s\n", file, count(len(results), "test"))
	default:
		p.printf("FAIL  %s: %d of %s failed\n", file, failed, count(len(results), "test"))
	}
	for _, r := range results {
		if r.Passed {
			continue
		}
		p.printf("  %s:%d: %s\n", file, r.Line, r.Name)
		for _, f := range r.Failures {
			p.failure(&f)
		}
	}
	return p.err
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) failure(f *Failure) {
	p.printf("    line %d: %s\n", f.Line, f.What)
	for i, d := range f.Differences {
		if i == maxShown {
			p.printf("      and %d more\n", len(f.Differences)-i)
			break
		}
		if d.Expected != "" {
			p.printf("      - %s\n", d.Expected)
		}
		if d.Got != "" {
			p.printf("      + %s\n", d.Got)
		}
		for _, b := range d.Because {
			p.printf("          %s\n", b)
		}
	}
	for _, n := range f.Notes {
		p.printf("      note: %s\n", n)
	}
}
