package expression

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
)

var problems = []struct{ name, expr, want string }{
	{"nothing", " ", "0: the expression is empty"},
	{"a number is compared with a text", `temperature > "hot"`, `12: temperature > "hot" compares with a text, not with a number`},
	{"a text is compared with a number", `"a" > 3`, `4: invalid operation: > (mismatched types string and number)`},
	{"a name is a number and a text", `temperature > 3 and temperature contains "hot"`, `20: temperature must be text here, but a number in "temperature > 3 and temp…"`},
	{"a name is a number and a condition", `door or door > 3`, `0: door must be true or false here, but a number in "door > 3"`},
	{"a fallback is of the wrong kind", `(temperature ?? "none") > 3`, `16: this is text where a number is needed`},
	{"a sum is no condition", `temperature + 1`, `12: this must be true or false, but it is a number`},
	{"a text is no condition", `"on"`, `0: this must be true or false, but it is text`},
	{"a branch is no condition", `door ? 1 : 2`, `11: this must be true or false, but it is a number`},
	{"an unknown function", `avg(temperature) > 3`, `0: unknown function avg`},
	{"a misspelt function", `rond(temperature) > 3`, `0: unknown function rond (did you mean round?)`},
	{"the wall clock", `now() > time`, `0: now() cannot be used in rules (a replay would decide otherwise: use time (when the device measured) or received)`},
	{"the order of a map", `keys({a: 1})[0] == "a"`, `0: keys() cannot be used in rules`},
	{"one = for two", `temperature = 3`, `12: unexpected token Operator("=") (to compare, write ==)`},
	{"AND for and", `a > 3 AND b > 3`, `6: unexpected token Identifier("AND") (write and, or &&)`},
	{"it ends too early", `temperature >`, `12: the expression ends too early`},
	{"an open bracket", `(temperature > 3`, `15: the expression ends too early`},
	{"the environment", `$env["a"] == 1`, `0: $env is not available here`},
	{"a name of Prometheus's templates", `$value > 3`, `0: $value is not available here (names stand for themselves: write value)`},
	{"a computed name", `values[i] > 3`, `6: values cannot be indexed by an expression`},
	{"a method of a field", `a.b() > 3`, `2: a has no function b`},
	{"a method that time has not", `time.Hours() > 3`, `5: type time has no method Hours`},
	{"field without a name", `field(x) > 3`, `0: field takes one name in quotes`},
	{"a bad pattern", `name matches "("`, "5: bad regular expression: missing closing ): `(`"},
	{"a number that is compared with a text", `x > 3 and x == "hot"`, `10: x is compared with text here, but must be a number in "x > 3 and x == \"hot\"" (if devices send both, ask which it is: type(x) == "string")`},
	{"a number in a list of texts", `x in ["a", "b"] or -x < 3`, `0: x is compared with text here, but must be a number in`},
	{"two at once", `foo(1) > bar(2)`, `0: unknown function foo (did you mean floor?); 9: unknown function bar`},
	{"characters count, bytes are given", `"äöü" > 3`, `9: invalid operation: > (mismatched types string and number)`},
	{"comparisons that share their middle", strings.Repeat("1<(", 40) + "1" + strings.Repeat(")<1", 40), "the expression is too complex"},
	{"conditions that share their middle", strings.Repeat("(", 40) + "a" + strings.Repeat(" ?: a)", 40), "the expression is too complex"},
	{"the machine's time zone", `time.In(timezone("Local")).Hour() > 3`, `17: the machine's time zone cannot be used in rules`},
	{"no time zone", `time.In(timezone("Europe/Berln")).Hour() > 3`, `17: unknown time zone "Europe/Berln"`},
	{"very deep", strings.Repeat("(", 20_000), "0: the expression has 20000 bytes, more than 16384"},
}

func TestProblemsOfExpressions(t *testing.T) {
	for _, tt := range problems {
		t.Run(tt.name, func(t *testing.T) {
			_, errs := Compile(tt.expr, Options{Table: NewTable(), Condition: true})
			var got []string
			for _, e := range errs {
				text := fmt.Sprintf("%d: %s", e.Offset, e.Msg)
				if e.Hint != "" {
					text += " (" + e.Hint + ")"
				}
				got = append(got, text)
			}
			if all := strings.Join(got, "; "); !strings.Contains(strings.ReplaceAll(all, "; ", "\n")+"\n"+all, tt.want) || len(errs) == 0 {
				t.Errorf("compile %.60s\n got %s\nwant %s", tt.expr, all, tt.want)
			}
		})
	}
}

func TestWhatAnEarlierVersionTookIsTakenFromALog(t *testing.T) {
	for _, source := range []string{`x > 3 and x == "hot"`, `x in ["a", "b"] or -x < 3`} {
		if _, errs := Compile(source, Options{Table: NewTable(), Condition: true, Accepted: true}); len(errs) > 0 {
			t.Errorf("%s: %v", source, errs[0])
		}
		if _, errs := Compile(source, Options{Table: NewTable(), Condition: true}); len(errs) == 0 {
			t.Errorf("%s is accepted from a file", source)
		}
	}
}

func TestWhatExpressionsRead(t *testing.T) {
	ev := &event.Event{
		Source: "plant", Measurement: "telemetry", Device: "f3", Time: 1_700_000_000_000_000_000, Received: 1_700_000_005_000_000_000,
		Tags: []event.Tag{{Key: "site", Value: "north"}, {Key: "temperature", Value: "tag"}},
		Fields: []event.Field{
			{Name: "temperature", Value: event.FloatValue(21.5)}, {Name: "limits.max", Value: event.FloatValue(20)},
			{Name: "DS18B20-1", Value: event.IntValue(7)}, {Name: "sensors.0.t", Value: event.FloatValue(3)},
			{Name: "device.name", Value: event.StringValue("Freezer")}, {Name: "big", Value: event.UintValue(1<<64 - 1)},
			{Name: "count", Value: event.FloatValue(125)}, {Name: "device", Value: event.StringValue("field")},
		},
	}
	for _, tt := range []struct{ expr, want string }{
		{`temperature`, "21.5"},
		{`temperature > limits.max`, "true"},
		{`tag("temperature")`, "tag"},
		{`site`, "north"},
		{`device + "@" + source + "/" + measurement`, "f3@plant/telemetry"},
		{`field("device")`, "field"},
		{`device.name`, "Freezer"},
		{`field("DS18B20-1") + 1`, "8"},
		{`sensors[0].t`, "3"},
		{`sensors["0"]?.t`, "3"},
		{`nosuch ?? nil`, "null"},
		{`nosuch.deeper ?? 5`, "5"},
		{`nosuch == nil`, "true"},
		{`count % 60`, "5"},
		{`big > 9e18`, "true"},
		{`time.Hour()`, "22"},
		{`(received - time).Seconds()`, "5"},
		{`time.In(timezone("Asia/Tokyo")).Hour()`, "7"},
		{`0 < temperature < 22`, "true"},
		{`let t = temperature - 1; t * t`, "420.25"},
		{`temperature in [1, 21.5]`, "true"},
		{`round(temperature)`, "22"},
		{`len(filter([1, 30], # > temperature))`, "1"},
		{`if temperature > 3 { "warm" } else { "cold" }`, "warm"},
		{`temperature in ["a"]`, "false"},
		{`device matches "^f[0-9]$"`, "true"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			table := NewTable()
			p, errs := Compile(tt.expr, Options{Table: table})
			if errs != nil {
				t.Fatalf("compile: %v", errs[0])
			}
			s := NewScope(table)
			s.Begin(ev)
			if got, res := p.Value(s); got.String() != tt.want || res != True {
				t.Errorf("value is %s (%d), want %s: %v", got, res, tt.want, p.Explain(s))
			}
		})
	}
}

func TestEventsThatSayNothing(t *testing.T) {
	ev := &event.Event{Fields: []event.Field{{Name: "humidity", Value: event.FloatValue(50)}}, Tags: []event.Tag{{Key: "site", Value: "n"}}}
	for _, tt := range []struct {
		expr string
		want Result
	}{
		{`state != "ok"`, Silent},
		{`site == "n" and state != "ok"`, Silent},
		{`temperature > 3`, Silent},
		{`humidity > 3`, True},
		{`humidity > 90`, False},
		{`humidity > temperature`, Failed},
		{`temperature > 3 and humidity > 3`, Failed},
		{`humidity > 3 or temperature > 3`, True},
		{`(temperature ?? 5) > 3`, True},
		{`temperature == nil`, True},
		{`limits?.max == 3`, False},
		{`site == "n"`, True},
		{`humidity`, Failed},
		{`round(temperature) > 3`, Silent},
		{`round(humidity) + temperature > 3`, Failed},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			table := NewTable()
			p, errs := Compile(tt.expr, Options{Table: table, Condition: true})
			if errs != nil {
				t.Fatalf("compile: %v", errs[0])
			}
			s := NewScope(table)
			s.Begin(ev)
			if got := p.Holds(s); got != tt.want {
				t.Errorf("result is %d, want %d: %v", got, tt.want, p.Explain(s))
			}
		})
	}
}

func TestCompiledExpressionsAllocateNothing(t *testing.T) {
	ev := &event.Event{Device: "d", Fields: []event.Field{{Name: "temperature", Value: event.FloatValue(21)}, {Name: "door", Value: event.StringValue("open")}}}
	for _, src := range []string{
		"temperature > 30", "temperature > 30 && humidity < 60", "temperature > (limits.max ?? -15)",
		`door in ["open", "ajar"] and temperature * 1.8 + 32 > 100`, `door == "open" ? temperature > 3 : temperature > 5`, `device startsWith "d"`,
	} {
		table := NewTable()
		p, errs := Compile(src, Options{Table: table, Condition: true})
		if errs != nil || !p.Compiled() {
			t.Fatalf("%s: errors %v", src, errs)
		}
		s := NewScope(table)
		if n := testing.AllocsPerRun(100, func() { s.Begin(ev); p.Holds(s) }); n != 0 {
			t.Errorf("%s: %v allocations an evaluation, want 0", src, n)
		}
	}
}

func BenchmarkHolds(b *testing.B) {
	ev := &event.Event{Device: "d", Fields: []event.Field{
		{Name: "humidity", Value: event.FloatValue(50)}, {Name: "temperature", Value: event.FloatValue(31)}, {Name: "door", Value: event.StringValue("open")},
	}}
	for _, bb := range []struct{ shape, src string }{
		{"threshold", "temperature > 30"},
		{"and", "temperature > 30 && humidity < 60"},
		{"fallback", "temperature > (limits.max ?? -15)"},
		{"arithmetic", "temperature * 1.8 + 32 > 100"},
		{"text", `door == "open"`},
		{"in", `door in ["closed", "ajar", "open"]`},
		{"ternary", `door == "open" ? temperature > 3 : temperature > 5`},
	} {
		table := NewTable()
		p, errs := Compile(bb.src, Options{Table: table, Condition: true})
		if errs != nil {
			b.Fatal(errs[0])
		}
		s := NewScope(table)
		for _, impl := range []string{"closures", "vm"} {
			b.Run(fmt.Sprintf("shape=%s/impl=%s", bb.shape, impl), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s.Begin(ev)
					if impl == "closures" {
						p.Holds(s)
					} else {
						s.load(p)
						p.holdsVM(s)
					}
				}
			})
		}
	}
}
