package devices

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// WriteTable writes one line a device for people to read: id, source, online or
// since when not, when last seen, events, and the fields of the last event.
// Control characters in what devices sent are escaped.
func WriteTable(w io.Writer, devices []Device) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "DEVICE\tSOURCE\tSTATE\tLAST SEEN\tEVENTS\tLAST EVENT")
	for i := range devices {
		d := &devices[i]
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%s\n", printable(d.ID), printable(d.Source), state(d),
			stamp(d.LastSeen), d.Events, summary(d.Last, 60))
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("write table of devices: %w", err)
	}
	return nil
}

// WriteDevice writes everything that is known of one device for people to read.
func WriteDevice(w io.Writer, d Device) error {
	b := bufio.NewWriter(w)
	tw := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(tw, "%s\t%s\n", name, value) }
	row("device", printable(d.ID))
	row("state", state(&d))
	if !d.Online {
		row("offline since", stamp(d.OfflineSince))
	}
	row("source", printable(d.Source))
	row("measurement", printable(d.Measurement))
	for _, key := range slices.Sorted(maps.Keys(d.Tags)) {
		row("tag "+printable(key), printable(d.Tags[key]))
	}
	row("first seen", stamp(d.FirstSeen))
	row("last seen", stamp(d.LastSeen))
	row("last event time", stamp(d.LastEventTime))
	row("events", strconv.FormatUint(d.Events, 10))
	row("last event", summary(d.Last, 0))
	tw.Flush()
	fmt.Fprintln(b)
	fmt.Fprintln(tw, "REPORTED\tVALUE\tTIME")
	for _, name := range slices.Sorted(maps.Keys(d.Reported)) {
		r := d.Reported[name]
		fmt.Fprintf(tw, "%s\t%s\t%s\n", printable(name), text(r.Value), stamp(r.Time))
	}
	tw.Flush()
	if d.Truncated {
		fmt.Fprintf(b, "\nThe device sends more fields than the %d that are kept, or names longer than %d bytes.\n", MaxFields, MaxName)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("write device %q: %w", d.ID, err)
	}
	return nil
}

func state(d *Device) string {
	if d.Online {
		return "online"
	}
	return "offline"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// summary lists fields by name, cut to about width characters; 0 is no limit.
func summary(fields map[string]any, width int) string {
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(fields)) {
		item := printable(name) + "=" + text(fields[name])
		if i > 0 {
			if width > 0 && b.Len()+1+len(item) > width {
				b.WriteString(" ...")
				break
			}
			b.WriteByte(' ')
		}
		b.WriteString(item)
	}
	return b.String()
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return printable(v)
	}
	return fmt.Sprint(v)
}

// printable returns s as it is, or quoted where a terminal or the table would
// take it for something else.
func printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) || r == '"' {
			return strconv.Quote(s)
		}
	}
	return s
}
