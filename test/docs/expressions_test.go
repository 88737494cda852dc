package docs

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules/expression"
)

// TestTheTableOfExpressionsIsRight evaluates every row of the table in
// docs/rules.md on its event.
func TestTheTableOfExpressionsIsRight(t *testing.T) {
	rows := readPage(t, "docs/rules.md").table(t, "expression", "event", "gives")
	if len(rows) < 10 {
		t.Fatalf("only %d rows", len(rows))
	}
	names := map[expression.Result]string{
		expression.True: "true", expression.False: "false", expression.Failed: "error", expression.Silent: "nothing",
	}
	for _, row := range rows {
		source, fields := spans(row[0])[0], map[string]any{}
		if err := json.Unmarshal([]byte(spans(row[1])[0]), &fields); err != nil {
			t.Errorf("%s: %v", row[1], err)
			continue
		}
		table := expression.NewTable()
		p, errs := expression.Compile(source, expression.Options{Table: table, Condition: true})
		if len(errs) > 0 {
			t.Errorf("%s: %v", source, errs[0])
			continue
		}
		scope := expression.NewScope(table)
		scope.Begin(eventOf(fields))
		if got := names[p.Holds(scope)]; got != row[2] {
			t.Errorf("%s on %s gives %s, the page says %s", source, spans(row[1])[0], got, row[2])
		}
	}
}

// eventOf is the event that the page describes below its table.
func eventOf(fields map[string]any) *event.Event {
	noon := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixNano()
	ev := &event.Event{Source: "plant", Measurement: "plant", Device: "d1", Time: noon, Received: noon, Tags: []event.Tag{{Key: "site", Value: "oslo"}}}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := event.Field{Name: name}
		switch v := fields[name].(type) {
		case float64:
			f.Value = event.FloatValue(v)
		case bool:
			f.Value = event.BoolValue(v)
		case string:
			f.Value = event.StringValue(v)
		}
		ev.Fields = append(ev.Fields, f)
	}
	return ev
}
