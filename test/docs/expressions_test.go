package docs

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules/attributes"
	"weir/rules/expression"
)

// TestTheTablesOfExpressionsAreRight evaluates every row of the tables in
// docs/rules.md on its event.
func TestTheTablesOfExpressionsAreRight(t *testing.T) {
	rows := readPage(t, "docs/rules.md").table(t, "expression", "event", "gives")
	if len(rows) < 10 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		evaluateRow(t, nil, row[0], spans(row[1])[0], row[2], "")
	}
	page := readPage(t, "docs/rules.md")
	var tables []*attributes.Table
	for _, name := range []string{"devices.yaml", "sites.csv"} {
		text, err := page.readTable(t)(name)
		if err != nil {
			t.Fatal(err)
		}
		table, err := attributes.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, table)
	}
	known, err := attributes.Merge(tables...)
	if err != nil {
		t.Fatal(err)
	}
	rows = page.table(t, "expression", "device", "event", "gives")
	if len(rows) < 5 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows {
		evaluateRow(t, known, row[0], spans(row[2])[0], row[3], spans(row[1])[0])
	}
}

// evaluateRow holds a row to what it says. The device is the one that the page
// describes if it is "".
func evaluateRow(t *testing.T, known *attributes.Table, cell, text, want, device string) {
	t.Helper()
	names := map[expression.Result]string{
		expression.True: "true", expression.False: "false", expression.Failed: "error", expression.Silent: "nothing",
	}
	source, fields := spans(cell)[0], map[string]any{}
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Errorf("%s: %v", text, err)
		return
	}
	table := expression.NewTable()
	table.SetAttributes(known)
	p, errs := expression.Compile(source, expression.Options{Table: table, Condition: true})
	if len(errs) > 0 {
		t.Errorf("%s: %v", source, errs[0])
		return
	}
	ev := eventOf(fields)
	if device != "" {
		ev.Device, ev.Tags = device, nil
	}
	scope := expression.NewScope(table)
	scope.Begin(ev)
	if got := names[p.Holds(scope)]; got != want {
		t.Errorf("%s on %s of %s gives %s, the page says %s", source, text, ev.Device, got, want)
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
