package rules

import (
	"slices"
	"testing"

	"weir/ingest/event"
)

// TestEnginesFindDevicesAndNamesInTables tests what engines ask of a set.
func TestEnginesFindDevicesAndNamesInTables(t *testing.T) {
	set, err := Load([]File{{Name: "x.yaml", Data: []byte(`attributes: d.csv
groups:
  - name: g
    rules:
      - {alert: all, expr: x > 1}
      - {alert: byAttribute, match: {type: [freezer, fridge]}, expr: x > 1}
      - {alert: byDevice, match: {device: [f9, f1]}, expr: x > 1}
      - {alert: byBoth, match: {device: [f9, f1], type: freezer}, expr: x > 1}
      - {alert: byTag, match: {line: a}, expr: x > 1}
`)}}, Options{ReadFile: func(string) ([]byte, error) {
		return []byte("device,type,floor\nf3,oven,3\nf2,fridge,\nf1,freezer,1.50\n"), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string][]string{
		"all": {"f1", "f2", "f3"}, "byAttribute": {"f1", "f2"}, "byDevice": {"f9", "f1"}, "byBoth": {"f1"}, "byTag": nil,
	} {
		if got := slices.Collect(set.byID["g/"+rule].match.expected()); !slices.Equal(got, want) {
			t.Errorf("rule %s expects %q, want %q", rule, got, want)
		}
	}
	ev := event.Event{Device: "f1", Tags: []event.Tag{{Key: "type", Value: "tagged"}}}
	for name, want := range map[string]string{"type": "tagged", "floor": "1.5", "line": "", "device": ""} {
		if got, ok := set.label(name, &ev); got != want || ok != (want != "") {
			t.Errorf("%s of f1 is %q, %t, want %q", name, got, ok, want)
		}
	}
}
