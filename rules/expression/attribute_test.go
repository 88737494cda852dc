package expression_test

import (
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules/attributes"
	"weir/rules/expression"
)

// knowing returns a table of names with what is known about some devices.
func knowing(t testing.TB) *expression.Table {
	t.Helper()
	known, err := attributes.Parse("devices.yaml", []byte(`devices:
  f1: {site: oslo, limits: {max: -15}, critical: true, serial: 9007199254740993}
  f2: {site: bergen, alias: f1}
`))
	if err != nil {
		t.Fatal(err)
	}
	table := expression.NewTable()
	table.SetAttributes(known)
	return table
}

func TestNamesAreFieldsOrElseTagsOrElseAttributes(t *testing.T) {
	for _, tt := range []struct {
		source, device string
		field, tag     string // what site is in the event, "" if it is not there
		want           expression.Result
	}{
		{`site == "oslo"`, "f1", "", "", expression.True},
		{`site == "oslo"`, "f1", "", "tagged", expression.False},
		{`site == "tagged"`, "f1", "", "tagged", expression.True},
		{`site == "measured"`, "f1", "measured", "tagged", expression.True},
		{`attribute("site") == "oslo"`, "f1", "measured", "tagged", expression.True},
		{`tag("site") == "tagged" and attribute("site") == "bergen"`, "f2", "measured", "tagged", expression.True},
		{`field("site") == "oslo"`, "f1", "", "", expression.Silent},
		{`tag("site") == "oslo"`, "f1", "", "", expression.Silent},
		{`site == "oslo"`, "f9", "", "", expression.Silent},
		{`temperature > limits.max`, "f1", "", "", expression.True},
		{`temperature > (limits.max ?? 5)`, "f2", "", "", expression.False},
		{`temperature > (limits.max ?? -15)`, "unknown", "", "", expression.True},
		{`temperature > limits.max`, "f2", "", "", expression.Failed},
		{`temperature > limits["max"]`, "f1", "", "", expression.True},
		{`critical and temperature > -20`, "f1", "", "", expression.True},
		{`critical`, "f1", "", "", expression.True},
		{`critical == nil`, "f2", "", "", expression.True},
		{`humidity > 1 and critical`, "f1", "", "", expression.Silent},
		{`serial == 9007199254740993`, "f1", "", "", expression.True},
		{`device in [alias, "f1"]`, "f2", "", "", expression.False},
		{`len(site) == 4`, "f1", "", "", expression.True},
	} {
		table := knowing(t)
		p, errs := expression.Compile(tt.source, expression.Options{Table: table, Condition: true})
		if len(errs) > 0 {
			t.Errorf("compile %s: %v", tt.source, errs)
			continue
		}
		ev := event.Event{Device: tt.device, Fields: []event.Field{{Name: "temperature", Value: event.FloatValue(-10)}}}
		if tt.field != "" {
			ev.Fields = append(ev.Fields, event.Field{Name: "site", Value: event.StringValue(tt.field)})
		}
		if tt.tag != "" {
			ev.Tags = []event.Tag{{Key: "site", Value: tt.tag}}
		}
		s := expression.NewScope(table)
		s.Begin(&ev)
		if got := p.Holds(s); got != tt.want {
			t.Errorf("%s of %s with field %q and tag %q gave %v, want %v", tt.source, tt.device, tt.field, tt.tag, got, tt.want)
		}
	}
}

func TestAttributesAreThoseOfTheCurrentEventsDevice(t *testing.T) {
	table := knowing(t)
	p, errs := expression.Compile(`site`, expression.Options{Table: table})
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	s := expression.NewScope(table)
	for _, tt := range []struct{ device, want string }{{"f1", "oslo"}, {"f2", "bergen"}, {"f3", "null"}, {"f1", "oslo"}} {
		s.Begin(&event.Event{Device: tt.device, Fields: []event.Field{{Name: "x"}}})
		v, _ := p.Value(s)
		if got := v.String(); got != tt.want {
			t.Errorf("the site of %s is %s, want %s", tt.device, got, tt.want)
		}
		if got := s.Lookup(expression.Ref{Origin: expression.Attribute, Name: "site"}).String(); got != tt.want {
			t.Errorf("looked up, the site of %s is %s, want %s", tt.device, got, tt.want)
		}
	}
}

func TestAttributesThatNoDeviceHasAreRefused(t *testing.T) {
	for _, tt := range []struct {
		source, msg, hint string
		table             *expression.Table
	}{
		{`attribute("sites") == "x"`, `no device has an attribute "sites"`, `did you mean "site"?`, knowing(t)},
		{`attribute("x") == "x"`, `no device has an attribute "x"`, "there are alias, critical, limits.max, serial, site", knowing(t)},
		{`attribute(site) == "x"`, "attribute takes one name in quotes", `attribute("limits.max")`, knowing(t)},
		{`attribute("site") == "x"`, "no attributes of devices are known", "attributes: devices.yaml", expression.NewTable()},
		{`atribute("site") == "x"`, "unknown function atribute", "did you mean attribute?", knowing(t)},
	} {
		_, errs := expression.Compile(tt.source, expression.Options{Table: tt.table, Condition: true})
		if len(errs) != 1 || errs[0].Msg != tt.msg || !strings.Contains(errs[0].Hint, tt.hint) {
			t.Errorf("compile %s: %v, want %s (%s)", tt.source, errs, tt.msg, tt.hint)
		}
	}
}

func TestAttributesAllocateNothing(t *testing.T) {
	table := knowing(t)
	p, errs := expression.Compile(`temperature > (limits.max ?? -15) and critical and site == "oslo"`, expression.Options{Table: table, Condition: true})
	if len(errs) > 0 || !p.Compiled() {
		t.Fatalf("not compiled: %v", errs)
	}
	s := expression.NewScope(table)
	ev := event.Event{Device: "f1", Fields: []event.Field{{Name: "temperature", Value: event.FloatValue(-10)}}}
	if n := testing.AllocsPerRun(100, func() {
		s.Begin(&ev)
		if p.Holds(s) != expression.True {
			t.Fatal("it does not hold")
		}
	}); n != 0 {
		t.Errorf("allocations per evaluation = %v, want 0", n)
	}
}

func BenchmarkAttributes(b *testing.B) {
	for _, bench := range []struct{ name, source string }{
		{"fields-only", `temperature > -15`},
		{"one-attribute", `temperature > (limits.max ?? -15)`},
		{"three-attributes", `temperature > limits.max and critical and site == "oslo"`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			table := knowing(b)
			p, errs := expression.Compile(bench.source, expression.Options{Table: table, Condition: true})
			if len(errs) > 0 {
				b.Fatal(errs)
			}
			s := expression.NewScope(table)
			ev := event.Event{Device: "f1", Fields: []event.Field{{Name: "temperature", Value: event.FloatValue(-10)}}}
			b.ReportAllocs()
			for b.Loop() {
				s.Begin(&ev)
				p.Holds(s)
			}
		})
	}
}
