package backtest

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"weir/rules"
)

// WriteText writes a report for people: what was tested, a table of the rules,
// and the incidents that differ.
func WriteText(w io.Writer, r *Report) error {
	var b strings.Builder
	r.head(&b)
	r.table(&b)
	r.lists(&b)
	for _, d := range r.Damage {
		fmt.Fprintf(&b, "not read: %v\n", d)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", plain(n))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) head(b *strings.Builder) {
	fmt.Fprintf(b, "%s to %s: %s, %s records, %s events", second(r.From), second(r.To), lasting(r.To.Sub(r.From)), thousands(r.Records), thousands(r.Events))
	if r.Partitions > 1 {
		fmt.Fprintf(b, " in %d partitions", r.Partitions)
	}
	if r.Rejected > 0 {
		fmt.Fprintf(b, ", %s messages not decodable", thousands(r.Rejected))
	}
	if r.WarmUp > 0 {
		fmt.Fprintf(b, ", after a warm-up of %s", lasting(time.Duration(r.WarmUp)))
	}
	switch r.Against {
	case AgainstInForce:
		fmt.Fprintf(b, "\nagainst the rules in force then (%.8s)", r.OldRuleSet)
	case AgainstFiles:
		b.WriteString("\nagainst the old files")
	case AgainstLog:
		b.WriteString("\nagainst what was decided live")
	}
	b.WriteString("\n\n")
}

func (r *Report) table(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	fmt.Fprint(t, "RULE\tINCIDENTS\tPAGES\tA DAY\tFIRING")
	if r.Compared() {
		fmt.Fprint(t, "\tADDED\tREMOVED\tMOVED\tUNCHANGED")
	}
	fmt.Fprintln(t)
	row := func(name string, x *RuleReport) {
		if x.Kind == rules.KindRecord {
			fmt.Fprintf(t, "%s\t%s recordings\t\t\t", name, r.both(x, func(s *Side) string { return thousands(s.Recordings) }))
		} else {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s", name,
				r.both(x, func(s *Side) string { return thousands(uint64(s.Incidents)) }),
				r.both(x, func(s *Side) string { return thousands(uint64(s.Pages)) }),
				r.both(x, func(s *Side) string { return perDay(s.PerDay) }),
				r.both(x, func(s *Side) string { return lasting(time.Duration(s.Firing * float64(time.Second))) }))
		}
		switch {
		case r.Compared() && x.Kind == rules.KindRecord:
			fmt.Fprint(t, "\t\t\t\t")
		case r.Compared():
			fmt.Fprintf(t, "\t%s\t%s\t%s\t%s", thousands(uint64(x.Added)), thousands(uint64(x.Removed)), thousands(uint64(x.Moved)), thousands(uint64(x.Unchanged)))
		}
		fmt.Fprintln(t)
	}
	for i := range r.Rules {
		row(plain(r.Rules[i].Rule), &r.Rules[i])
	}
	if len(r.Rules) != 1 {
		row("total", &r.Total)
	}
	_ = t.Flush() // into memory
}

// both shows a value of both sides: "old -> new", or one if there is one, or
// they are the same.
func (r *Report) both(x *RuleReport, f func(*Side) string) string {
	switch {
	case x.New == nil && x.Old == nil:
		return "-"
	case !r.Compared():
		return f(x.New)
	case x.Old == nil:
		return "- -> " + f(x.New)
	case x.New == nil:
		return f(x.Old) + " -> -"
	}
	o, n := f(x.Old), f(x.New)
	if o == n {
		return n
	}
	return o + " -> " + n
}

// lists writes the incidents: + only the new rules raise, - only the old ones,
// ~ both, at another time.
func (r *Report) lists(b *strings.Builder) {
	if len(r.Added)+len(r.Removed)+len(r.Moved) == 0 {
		if r.Compared() {
			b.WriteString("\nno incident differs\n")
		}
		return
	}
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	list := func(sign string, all []Incident, total int, what string) {
		for i := range all {
			in := &all[i]
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s%s\n", sign, second(in.StartsAt), lasted(in), plain(in.Rule), plain(in.Key), note(in))
		}
		r.more(t, total-len(all), what)
	}
	added := "added"
	if !r.Compared() {
		added = "incidents"
	}
	list("+", r.Added, r.Total.Added, added)
	list("-", r.Removed, r.Total.Removed, "removed")
	for i := range r.Moved {
		m := &r.Moved[i]
		fmt.Fprintf(t, "~\t%s\t%s\t%s\t%s  %s\n", second(m.New.StartsAt), lasted(&m.New), plain(m.Rule), plain(m.Key), m.how())
	}
	r.more(t, r.Total.Moved-len(r.Moved), "moved")
	_ = t.Flush() // into memory
}

func (r *Report) more(w io.Writer, n int, what string) {
	if n > 0 {
		fmt.Fprintf(w, "and %s more %s\n", thousands(uint64(n)), what)
	}
}

// how says in which way an incident moved.
func (m *Move) how() string {
	var parts []string
	part := func(what string, d rules.Duration) {
		switch {
		case d > 0:
			parts = append(parts, what+" "+lasting(time.Duration(d))+" later")
		case d < 0:
			parts = append(parts, what+" "+lasting(time.Duration(-d))+" earlier")
		}
	}
	part("starts", m.Starts)
	part("ends", m.Ends)
	switch m.OpenIn {
	case "new":
		parts = append(parts, "ended at "+second(*m.Old.EndsAt)+", now does not")
	case "old":
		parts = append(parts, "did not end, now does")
	}
	return strings.Join(parts, ", ")
}

func lasted(in *Incident) string {
	if in.EndsAt == nil {
		return "open"
	}
	return lasting(in.EndsAt.Sub(in.StartsAt))
}

func note(in *Incident) string {
	if in.Suppressed != "" {
		return "  (" + plain(in.Suppressed) + ": nobody was told)"
	}
	return ""
}

// plain makes one line of a text that came from a device.
func plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
		return strconv.Quote(s)
	}
	return s
}

func second(t time.Time) string {
	if t.Nanosecond() == 0 {
		return t.UTC().Format("2006-01-02T15:04:05Z")
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// lasting writes a duration with two units at most.
func lasting(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		d = d.Round(time.Hour)
		if h := d % day / time.Hour; h > 0 {
			return fmt.Sprintf("%dd%dh", d/day, h)
		}
		return fmt.Sprintf("%dd", d/day)
	case d >= time.Hour:
		d = d.Round(time.Minute)
		if m := d % time.Hour / time.Minute; m > 0 {
			return fmt.Sprintf("%dh%dm", d/time.Hour, m)
		}
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= time.Minute:
		d = d.Round(time.Second)
		if s := d % time.Minute / time.Second; s > 0 {
			return fmt.Sprintf("%dm%ds", d/time.Minute, s)
		}
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Microsecond).String()
}

func perDay(v float64) string {
	if v >= 100 {
		return thousands(uint64(v + 0.5))
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// thousands writes a number with its digits in groups of three.
func thousands(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// String tells the progress in a line.
func (p Progress) String() string {
	if p.Of == 0 {
		return "looking for the " + p.Stage
	}
	s := fmt.Sprintf("%s of %s records, %d%%", thousands(p.Records), thousands(p.Of), 100*p.Records/p.Of)
	if !p.At.IsZero() {
		s += ", at " + second(p.At)
	}
	return s
}
