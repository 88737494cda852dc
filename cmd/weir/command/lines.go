package command

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"weir/console"
	"weir/ingest/event"
)

// linePrinter prints lines of the log for people, in columns:
//
//	RECEIVED                  POSITION    KIND       DEVICE      WHAT
//	2026-01-31T12:00:00.123Z  0/12/0/0    event      freezer-01  telemetry site=oslo temperature=-18.4
//
// The log has no end, so a column is as wide as the widest value so far, within
// bounds, and not as the widest of all.
type linePrinter struct {
	w                io.Writer
	position, device int // widths so far, in characters
}

const (
	stampLayout = "2006-01-02T15:04:05.000Z07:00"
	maxColumn   = 24  // characters of a column; longer values push the rest to the right
	maxPayload  = 300 // characters of a payload; --json shows all of it
)

func (p *linePrinter) print(l *console.Line) error {
	if p.position == 0 {
		p.position, p.device = 10, 10
		if err := p.row("RECEIVED", "POSITION", "KIND", "DEVICE", "WHAT"); err != nil {
			return err
		}
	}
	received := ""
	if !l.Received.IsZero() {
		received = l.Received.UTC().Format(stampLayout)
	}
	return p.row(received, l.Position.String(), l.Kind, oneLine(l.Device), what(l))
}

func (p *linePrinter) row(received, position, kind, device, what string) error {
	if device == "" {
		device = "-"
	}
	p.position = min(max(p.position, utf8.RuneCountInString(position)), maxColumn)
	p.device = min(max(p.device, utf8.RuneCountInString(device)), maxColumn)
	line := fmt.Sprintf("%-24s  %-*s  %-9s  %-*s  %s", received, p.position, position, kind, p.device, device, what)
	_, err := fmt.Fprintln(p.w, strings.TrimRight(line, " "))
	return err
}

// what says what a line is about, after its device.
func what(l *console.Line) string {
	var b strings.Builder
	switch l.Kind {
	case "event", "recording":
		b.WriteString(oneLine(l.Measurement))
		for _, k := range slices.Sorted(maps.Keys(l.Tags)) {
			fmt.Fprintf(&b, " %s=%s", oneLine(k), quoted(l.Tags[k]))
		}
		for _, k := range slices.Sorted(maps.Keys(l.Fields)) {
			fmt.Fprintf(&b, " %s=%s", oneLine(k), quoted(fmt.Sprint(l.Fields[k])))
		}
		if l.Time != nil && l.Time.Sub(l.Received).Abs() >= time.Second {
			fmt.Fprintf(&b, " (at %s)", l.Time.UTC().Format(time.RFC3339Nano))
		}
	case "alert":
		var a event.Alert
		if json.Unmarshal(l.Payload, &a) == nil && a.Rule != "" {
			fmt.Fprintf(&b, "%s %s", a.State, oneLine(a.Rule))
			if a.Device == "" {
				fmt.Fprintf(&b, " key=%s", quoted(a.Key))
			}
			if s := a.Annotations["summary"]; s != "" {
				fmt.Fprintf(&b, " %s", quoted(s))
			}
			break
		}
		fallthrough
	case "message":
		fmt.Fprintf(&b, "%s %s", oneLine(l.Topic), shortened(l.Payload))
	case "started":
		b.WriteString("weir began to listen")
	case "rules":
		fmt.Fprintf(&b, "a rule set of %d bytes came into force", len(l.Payload))
	}
	if l.Error != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "error: %s", oneLine(l.Error))
	}
	return b.String()
}

// shortened returns a payload as one line of at most maxPayload characters.
func shortened(p json.RawMessage) string {
	s := string(p)
	var text string
	if len(s) > 0 && s[0] == '"' && json.Unmarshal(p, &text) == nil {
		s = text
	}
	if r := []rune(s); len(r) > maxPayload {
		s = fmt.Sprintf("%s... (%d bytes)", string(r[:maxPayload]), len(s))
	}
	return oneLine(s)
}

// quoted returns text as it is, or in quotes where its end would not be seen.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

// oneLine makes text from devices safe for a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
