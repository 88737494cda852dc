package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"weir/ingest/event"
)

// printer prints one line for each transition of an alert, e.g.
//
//	alert firing cold-room/FreezerWarm device=f3 severity=page value=-11.2 "f3 is at -11.2 °C"
//	alert firing cold-room/RoomWarm room=cold site=oslo severity=page suppressed=silence
//
// Those of rules that only watch are not printed.
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
			if a.Shadow() {
				out.Filtered++
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
	switch {
	case len(a.By) > 0:
		pairs(&b, a.By)
	case a.Device != "":
		pair(&b, "device", a.Device)
	default:
		pair(&b, "key", a.Key)
	}
	pairs(&b, a.Labels)
	if a.Value != nil {
		pair(&b, "value", valueText(a.Value))
	}
	if s := a.Annotations["summary"]; s != "" {
		fmt.Fprintf(&b, " %q", s)
	}
	if a.Suppressed != "" {
		pair(&b, "suppressed", a.Suppressed)
	}
	if a.Notice != "" {
		pair(&b, "notice", a.Notice)
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

// pairs appends what a map holds, in the order of its keys.
func pairs(b *strings.Builder, m map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		pair(b, k, m[k])
	}
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
