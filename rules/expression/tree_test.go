package expression_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules/expression"
)

// told writes a tree as "text = value" lines, indented.
func told(n *expression.Node, indent string, b *strings.Builder) {
	v := fmt.Sprint(n.Value)
	if n.Error != "" {
		v = "failed: " + n.Error
	}
	if n.From != "" {
		v += " (" + n.From + ")"
	}
	if n.Unused {
		v += " unused"
	}
	fmt.Fprintf(b, "%s%s = %s\n", indent, n.Text, v)
	for _, o := range n.Of {
		told(o, indent+"  ", b)
	}
}

func TestATreeShowsHowAValueComesAbout(t *testing.T) {
	ev := &event.Event{
		Device: "d1", Source: "plant", Time: 1_700_000_000_000_000_000,
		Tags:   []event.Tag{{Key: "site", Value: "oslo"}},
		Fields: []event.Field{{Name: "temperature", Value: event.FloatValue(-12)}, {Name: "door", Value: event.StringValue("open")}, {Name: "seq", Value: event.IntValue(5)}, {Name: "values.0", Value: event.FloatValue(2)}},
	}
	for _, tt := range []struct{ source, want string }{
		{`temperature > (limits.max ?? -15)`, `
temperature > (limits.max ?? -15) = true
  temperature = -12 (field)
  limits.max ?? -15 = -15
    limits.max = <nil> (missing)
`},
		{`temperature > limits.max`, `
temperature > limits.max = failed: invalid operation: number > nil
  temperature = -12 (field)
  limits.max = <nil> (missing)
`},
		{`site == "oslo" and temperature > 30 and seq % 2 == 1`, `
site == "oslo" and temperature > 30 and seq % 2 == 1 = false
  site == "oslo" and temperature > 30 = false
    site == "oslo" = true
      site = oslo (tag)
    temperature > 30 = false
      temperature = -12 (field)
  modulo(seq, 2) == 1 = true unused
    modulo(seq, 2) = 1 unused
      seq = 5 (field) unused
`},
		{`door == "open" or humidity > 3`, `
door == "open" or humidity > 3 = true
  door == "open" = true
    door = open (field)
  humidity > 3 = failed: invalid operation: nil > number unused
    humidity = <nil> (missing) unused
`},
		{`let x = temperature + 1; x > 3`, `
let x = temperature + 1; x > 3 = false
`},
		{`any([1, 2], # > temperature) and field("values.0") == 2 and tag("site") == "@site"`, `
any([1, 2], # > temperature) and field("values.0") == 2 and tag("site") == "@site" = false
  any([1, 2], # > temperature) and field("values.0") == 2 = true
    any([1, 2], # > temperature) = true
    field("values.0") == 2 = true
      field("values.0") = 2 (field)
  tag("site") == "@site" = false
    tag("site") = oslo (tag)
`},
		{`time.Hour() >= 22 ? abs(temperature) > 3 : device == "d1"`, `
time.Hour() >= 22 ? abs(temperature) > 3 : device == "d1" = true
  time.Hour() >= 22 = true
    time.Hour() = 22
  abs(temperature) > 3 = true
    abs(temperature) = 12
      temperature = -12 (field)
  device == "d1" = true unused
    device = d1 unused
`},
	} {
		t.Run(tt.source, func(t *testing.T) {
			table := expression.NewTable()
			p, errs := expression.Compile(tt.source, expression.Options{Table: table, Condition: true})
			if len(errs) > 0 {
				t.Fatal(errs[0])
			}
			s := expression.NewScope(table)
			s.Begin(ev)
			tree := p.Tree()
			for range 2 { // the second is told from the same
				var b strings.Builder
				b.WriteString("\n")
				told(tree.Eval(s), "", &b)
				if b.String() != tt.want {
					t.Errorf("got%s\nwant%s", b.String(), tt.want)
				}
			}
			res := p.Holds(s)
			if n := tree.Eval(s); (n.Value == true) != (res == expression.True) || (n.Error != "") != (res == expression.Failed) {
				t.Errorf("the tree says %v %q, the program %v", n.Value, n.Error, res)
			}
		})
	}
}
