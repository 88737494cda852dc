package explain

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"weir/ingest/event"
	"weir/rules"
	"weir/rules/expression"
)

// WriteText writes a report for people.
func WriteText(w io.Writer, r *Report) error {
	b := &page{}
	b.line("%s", r.Verdict)
	b.rule(r)
	if len(r.Transitions) > 0 {
		b.line("\nin the log:")
		for i := range r.Transitions {
			b.transition(&r.Transitions[i])
		}
	}
	for i := range r.Steps {
		b.step(&r.Steps[i], r)
	}
	if r.At != nil {
		b.lately(r)
	}
	b.line("\nread: partition %d, batches %d to %d, received from %s to %s", r.Read.Partition, r.Read.First, r.Read.Last, stamp(r.Read.From), stamp(r.Read.To))
	if r.Read.Damaged > 0 {
		b.line("%d damaged ranges of the log could not be read", r.Read.Damaged)
	}
	for _, n := range r.Notes {
		b.line("note: %s", n)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the explanation: %w", err)
	}
	return nil
}

type page struct{ strings.Builder }

func (b *page) line(format string, args ...any) { fmt.Fprintf(b, format+"\n", args...) }

func (b *page) rule(r *Report) {
	if r.File == "" {
		return
	}
	b.line("\nrule of %s:%d, rule set %.8s:", r.File, r.Line, r.RuleSet)
	for _, l := range strings.Split(r.Text, "\n") {
		b.line("    %s", l)
	}
}

func (b *page) transition(t *Transition) {
	text := fmt.Sprintf("  %s  %-8s  %s", stamp(t.At), t.State, t.Position)
	if t.Notice != "" {
		text += ", " + t.Notice
	}
	if t.Suppressed != "" {
		text += ", nobody was told: " + suppression(t.Suppressed, plain(t.Reason))
	}
	b.line("%s, decided at %s", text, stamp(t.Decided))
}

// step tells a change of state and what it rests on.
func (b *page) step(s *Step, r *Report) {
	what := map[string]string{
		event.Pending: "expr became true", event.Firing: "fired", event.Resolved: "resolved", event.Inactive: "expr was false again",
		rules.StateClearing: "cleared",
	}[s.State]
	hold, keep := "", ""
	if r.Definition != nil {
		hold, keep = r.Definition.For.String(), r.Definition.KeepFiringFor.String()
	}
	text := fmt.Sprintf("%s at %s", what, stamp(s.At))
	switch {
	case s.State == event.Pending:
		text += fmt.Sprintf(": pending for %s, due at %s", hold, stamp(s.Due))
	case s.State == rules.StateClearing:
		text += fmt.Sprintf(": firing goes on for %s, until %s", keep, stamp(s.Due))
	case s.State == event.Firing && hold != "0s" && hold != "":
		text += fmt.Sprintf(": expr had held for %s", hold)
	case s.State == event.Resolved && keep != "0s" && keep != "":
		text += fmt.Sprintf(": keep_firing_for %s was over", keep)
	case s.State == event.Resolved && s.Timer:
		text += ": its rule, or what it was about, was gone"
	}
	b.line("\n%s", text)
	if s.Evaluation == nil {
		return
	}
	if s.Timer {
		b.line("  the last evaluation before:")
	}
	b.evaluation(s.Evaluation, s.State == event.Resolved || s.State == rules.StateClearing)
}

// evaluation tells an evaluation.
func (b *page) evaluation(s *rules.Seen, clears bool) {
	how := "on the event"
	if s.Timed {
		how = "as time passed, after the event"
	}
	if s.Event != nil {
		b.line("  %s %s", how, eventText(s.Event))
	} else {
		b.line("  as time passed, without an event")
	}
	b.tree(s.Expr, "    ")
	if clears && s.Clear != nil {
		b.line("  clear:")
		b.tree(s.Clear, "    ")
	}
	if s.Why != "" {
		b.line("  %s: %s", s.Result, plain(s.Why))
	}
	for i := range s.Windows {
		b.window(&s.Windows[i])
	}
}

func (b *page) tree(n *expression.Node, indent string) {
	if n == nil {
		return
	}
	text := value(n.Value)
	if n.Error != "" {
		text = "failed: " + n.Error
	}
	switch n.From {
	case "missing":
		text += ", which the event does not have"
	case "tag", "attribute":
		text += " (" + n.From + ")"
	}
	if n.Unused {
		text += " (not needed)"
	}
	b.line("%s%s = %s", indent, strings.Join(strings.Fields(n.Text), " "), text)
	for _, o := range n.Of {
		b.tree(o, indent+"  ")
	}
}

func (b *page) window(w *rules.SeenWindow) {
	n := "samples"
	if w.Count == 1 {
		n = "sample"
	}
	b.line("  %s: %d %s", w.Function, w.Count, n)
	for i, s := range w.Samples {
		if w.Omitted > 0 && i == len(w.Samples)/2 {
			b.line("      ... and %d more", w.Omitted)
		}
		if s.Value == nil {
			b.line("      %s  %s", stamp(s.Time), s.Position)
			continue
		}
		b.line("      %s  %s  %s", stamp(s.Time), s.Position, value(s.Value))
	}
}

// lately tells what was made of the key before the time that was asked about.
func (b *page) lately(r *Report) {
	if len(r.Last) > 0 {
		b.line("\nthe last evaluation, as of %s: %s", stamp(r.Last[0].At), r.Last[0].Result)
		b.evaluation(&r.Last[0], true)
		for i := 1; i < len(r.Last); i++ {
			s := &r.Last[i]
			where := ""
			if s.Event != nil {
				where = "  " + s.Event.Position.String()
			}
			b.line("  before: %s  %s%s", stamp(s.At), s.Result, where)
		}
	}
	for i := range r.Skipped {
		k := &r.Skipped[i]
		b.line("\n%s not evaluated: %s", plural(k.Count, "event"), plain(skipText(*k)))
		if k.Event != nil {
			b.line("  the last one: %s", eventText(k.Event))
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func eventText(c *event.AlertCause) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of %s", c.Position, stamp(c.Time))
	if d := c.Received.Sub(c.Time); d != 0 {
		fmt.Fprintf(&b, " (received %s)", stamp(c.Received))
	}
	for _, k := range sortedKeys(c.Tags) {
		fmt.Fprintf(&b, " %s=%s", plain(k), plain(c.Tags[k]))
	}
	for _, k := range sortedKeys(c.Fields) {
		fmt.Fprintf(&b, " %s=%s", plain(k), value(c.Fields[k]))
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return stamp(v)
	}
	return plain(fmt.Sprint(v))
}

// plain makes one line of a text that came from a device.
func plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return strconv.Quote(s)
	}
	return s
}
