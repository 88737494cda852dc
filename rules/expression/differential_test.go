package expression

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules/attributes"
)

// generator writes random expressions of the hot subset.
type generator struct {
	r     *rand.Rand
	cells bool // also cells and attributes of devices
}

// told returns options with a cell function, and a table that knows devices.
func told(t testing.TB) (Options, *Table) {
	t.Helper()
	known, err := attributes.Parse("devices.yaml", []byte("devices:\n  on: {limit: 1.5, site: upon, count: 3, x: true}\n  d1: {limit: -2, c: 7}\n"))
	if err != nil {
		t.Fatal(err)
	}
	table := NewTable()
	table.SetAttributes(known)
	return Options{Table: table, lax: true, Functions: []string{"cell"}, Cell: func(c *Call) (CellRef, []*Error) {
		n, _ := c.Args[0].Number()
		return CellRef{Identity: c.Text, Number: int32(n), Kind: AnyCell}, nil
	}}, table
}

func (g *generator) pick(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) expr(depth int) string {
	if depth == 0 || g.r.IntN(5) == 0 {
		if g.cells && g.r.IntN(3) == 0 {
			return g.pick("cell(0)", "cell(1)", "cell(2)", "limit", "site", "count", `attribute("x")`, `attribute("limit")`)
		}
		return g.pick("a", "b", "c", "a.b", "t", "device", `field("odd-name")`, "1", "2.5", "0", "-3", "1e18", `"on"`, `"off"`, `""`, "true", "false", "nil")
	}
	x := func() string { return g.expr(depth - 1) }
	switch g.r.IntN(12) {
	case 0, 1, 2:
		return "(" + x() + " " + g.pick("<", ">", "<=", ">=", "==", "!=") + " " + x() + ")"
	case 3, 4:
		return "(" + x() + " " + g.pick("and", "or", "&&", "||") + " " + x() + ")"
	case 5, 6:
		return "(" + x() + " " + g.pick("+", "-", "*", "/", "%", "**") + " " + x() + ")"
	case 7:
		return "(" + g.pick("not ", "-", "+") + x() + ")"
	case 8:
		return "(" + x() + " ?? " + x() + ")"
	case 9:
		return "(" + x() + " ? " + x() + " : " + x() + ")"
	case 10:
		return "(" + x() + g.pick(" in ", " not in ") + g.pick(`["on", "off"]`, "[1, 2.5, -3]", `[1, "on", true]`, "[]") + ")"
	}
	return "(" + x() + " " + g.pick("contains", "startsWith", "endsWith") + " " + x() + ")"
}

func (g *generator) value() event.Value {
	switch g.r.IntN(12) {
	case 0:
		return event.IntValue([]int64{0, 1, -3, math.MaxInt64, math.MinInt64, 1 << 53}[g.r.IntN(6)])
	case 1:
		return event.UintValue([]uint64{0, 7, math.MaxInt64, math.MaxUint64}[g.r.IntN(4)])
	case 2:
		return event.BoolValue(g.r.IntN(2) == 0)
	case 3, 4:
		return event.StringValue(g.pick("on", "off", "", "1", "upon"))
	case 5:
		return event.FloatValue([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1e18}[g.r.IntN(5)])
	case 6:
		return event.Value{}
	}
	return event.FloatValue(float64(g.r.IntN(9)-4) / 2)
}

func (g *generator) event() *event.Event {
	ev := &event.Event{Device: g.pick("on", "d1"), Source: "s", Measurement: "m"}
	for _, name := range []string{"a", "b", "c", "a.b", "odd-name", "x"} {
		if g.r.IntN(4) > 0 {
			ev.Fields = append(ev.Fields, event.Field{Name: name, Value: g.value()})
		}
	}
	g.r.Shuffle(len(ev.Fields), func(i, j int) { ev.Fields[i], ev.Fields[j] = ev.Fields[j], ev.Fields[i] })
	if g.r.IntN(2) == 0 {
		ev.Tags = []event.Tag{{Key: "t", Value: g.pick("on", "off")}}
	}
	return ev
}

// differ compares closures with the VM on one event, and returns how they differ.
func differ(p *Program, s *Scope) string {
	s.load(p)
	v, ok := p.val(s)
	x, err := s.run(p)
	if ok != (err == nil) {
		return fmt.Sprintf("closures give %v %t, the VM %v %v", v.any(), ok, x, err)
	}
	if ok {
		w, isScalar := scalar(x)
		if !isScalar || v.kind != w.kind || v.str != w.str || v.num != w.num && !(v.kind == vFloat && math.IsNaN(v.float()) && math.IsNaN(w.float())) {
			return fmt.Sprintf("closures give %T %v, the VM %T %v", v.any(), v.any(), x, x)
		}
	}
	want := Failed
	if b, isBool := x.(bool); err == nil && isBool {
		want = result(b)
	}
	if p.cond == nil {
		return "there is no condition"
	}
	if got := p.cond(s); got != want {
		return fmt.Sprintf("the condition is %d, the VM %v %v", got, x, err)
	}
	return ""
}

func dump(ev *event.Event) string {
	var b strings.Builder
	for _, f := range ev.Fields {
		fmt.Fprintf(&b, "%s=%s %v; ", f.Name, f.Value.Kind(), f.Value)
	}
	fmt.Fprintf(&b, "tags %v, device %s", ev.Tags, ev.Device)
	return b.String()
}

func TestClosuresDoWhatTheVMDoes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &generator{r: rand.New(rand.NewPCG(seed, 0)), cells: true}
	compiled, total := 0, 0
	for range 3000 {
		src := g.expr(1 + g.r.IntN(4))
		o, table := told(t)
		p, errs := Compile(src, o)
		if errs != nil {
			continue // the checker knows that it cannot work
		}
		total++
		if !p.Compiled() {
			continue
		}
		compiled++
		s := NewScope(table)
		var values [3]event.Value
		s.Cells = func(n int32) (event.Value, bool) { return values[n], true }
		for range 20 {
			for i := range values {
				values[i] = g.value()
			}
			ev := g.event()
			s.Begin(ev)
			if d := differ(p, s); d != "" {
				t.Fatalf("%s\non %s:\n%s", src, dump(ev), d)
			}
		}
	}
	if total < 1000 || compiled < total*95/100 {
		t.Errorf("of %d expressions %d are closures, want at least 1000 and 95 %%", total, compiled)
	}
}

// FuzzCompile compiles any text: it must give a program or errors with places
// in the text, and a program's closures must do what the VM does.
func FuzzCompile(f *testing.F) {
	g := &generator{r: rand.New(rand.NewPCG(1, 2))}
	for range 30 {
		f.Add(g.expr(3), uint64(1))
	}
	for _, tt := range problems {
		f.Add(tt.expr, uint64(2))
	}
	for _, src := range []string{`0 < a < 3`, `let x = a; x + 1 > 2`, `a.b?.c ?? 3`, `filter([1,2], # > a)`, `time.Hour() > 3`, `a[0].b["c"] == 1`, `x matches "^a"`} {
		f.Add(src, uint64(3))
	}
	f.Fuzz(func(t *testing.T, src string, seed uint64) {
		table := NewTable()
		p, errs := Compile(src, Options{Table: table, Condition: seed%2 == 0})
		if (p == nil) != (len(errs) > 0) {
			t.Fatalf("program %v and errors %v", p, errs)
		}
		for _, e := range errs {
			if e.Offset < 0 || e.Offset > len(src) || e.Msg == "" {
				t.Fatalf("error %+v of a text of %d bytes", e, len(src))
			}
			if strings.Contains(e.Msg, "cannot be compiled") {
				t.Fatalf("the compiler panicked: %s", e.Msg)
			}
		}
		if p == nil || !p.Compiled() {
			return
		}
		g := &generator{r: rand.New(rand.NewPCG(seed, 0))}
		s := NewScope(table)
		for range 5 {
			ev := g.event()
			s.Begin(ev)
			if d := differ(p, s); d != "" {
				t.Fatalf("%s\non %s:\n%s", src, dump(ev), d)
			}
		}
	})
}
