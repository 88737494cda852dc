package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"
	"strconv"
	"strings"
	"unicode"

	"weir/ingest/event"
)

// printer prints one line for each transition of an alert, e.g.
//
//	alert firing cold-room/FreezerWarm device=f3 severity=page value=-11.2 "f3 is at -11.2 °C"
type printer struct{ w io.Writer }

// Handle prints the alerts of the batches.
func (p printer) Handle(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	for n, b := range batches {
		for i := range b.Messages {
			m := &b.Messages[i]
			if m.Record != event.AlertFact {
				out.Filtered++
				continue
			}
			var a event.Alert
			if err := json.Unmarshal(m.Payload, &a); err != nil {
				out.Dead = append(out.Dead, event.Dead{Batch: n, Message: uint32(i), Err: fmt.Errorf("read an alert of the log: %w", err)})
				continue
			}
			// A terminal that went away is no reason to hold anything back.
			fmt.Fprintln(p.w, alertLine(&a))
		}
	}
	return out, nil
}

func alertLine(a *event.Alert) string {
	var b strings.Builder
	fmt.Fprintf(&b, "alert %s %s", a.State, a.Rule)
	if a.Device != "" {
		pair(&b, "device", a.Device)
	} else {
		pair(&b, "key", a.Key)
	}
	keys := make([]string, 0, len(a.Labels))
	for k := range a.Labels {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		pair(&b, k, a.Labels[k])
	}
	if a.Value != nil {
		pair(&b, "value", valueText(a.Value))
	}
	if s := a.Annotations["summary"]; s != "" {
		fmt.Fprintf(&b, " %q", s)
	}
	return b.String()
}

// valueText writes a value of an alert's JSON: numbers without an exponent
// where people would write none.
func valueText(v any) string {
	if f, ok := v.(float64); ok && (f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e15) {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// pair appends key=value, quoted where it must be: what devices say must not
// draw on the terminal.
func pair(b *strings.Builder, key, value string) {
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r == ' ' || r == '"' || r == '=' || !unicode.IsPrint(r) }) {
		fmt.Fprintf(b, " %s=%q", key, value)
		return
	}
	fmt.Fprintf(b, " %s=%s", key, value)
}
