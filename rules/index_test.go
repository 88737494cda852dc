package rules_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

// someThresholds returns rules most of which an index can hold.
func someThresholds(r *rand.Rand, n int) string {
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	number := func() string {
		return pick("-1", "0", "1.5", "2", "3", "1e300", "-2.5", "9007199254740993", "2.0")
	}
	compare := func() string {
		if r.IntN(5) == 0 {
			return number() + " " + pick("<", ">", "<=", ">=") + " " + pick("a", "b")
		}
		return pick("a", "b", "c", `field("a")`, "t") + " " + pick("<", ">", "<=", ">=", "<", ">", "==", "!=") + " " + number()
	}
	var b strings.Builder
	b.WriteString("groups:\n")
	for i := range n {
		expr := compare()
		switch r.IntN(7) {
		case 0:
			expr += " && " + compare()
		case 1:
			expr += " and " + compare() + " and " + compare()
		case 2:
			expr += " or " + compare()
		case 3:
			expr = "round(a) > " + number()
		case 4:
			expr = "(b ?? 1) > " + number()
		}
		fmt.Fprintf(&b, "  - name: g%02d\n", i)
		if r.IntN(5) == 0 {
			fmt.Fprintf(&b, "    match: {%s}\n", pick("source: plant", "device: a", "t: x", "measurement: telemetry"))
		}
		fmt.Fprintf(&b, "    rules: [{alert: Hot, expr: '%s'", expr)
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, ", for: %ds", 1+r.IntN(4))
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, ", clear: '%s'", compare())
		}
		if r.IntN(3) == 0 {
			fmt.Fprintf(&b, ", keep_firing_for: %ds", 1+r.IntN(4))
		}
		b.WriteString("}]\n")
	}
	return b.String()
}

func someEvents(r *rand.Rand, n int) []line {
	values := []event.Value{
		event.FloatValue(0), event.FloatValue(1.5), event.FloatValue(-2.5), event.FloatValue(2), event.FloatValue(math.NaN()), event.FloatValue(math.Inf(1)),
		event.IntValue(2), event.IntValue(3), event.IntValue(1<<53 + 1), event.UintValue(math.MaxUint64), event.UintValue(1), event.StringValue("x"), event.BoolValue(true), {},
	}
	var log []line
	at := 1.0
	for range n {
		at += float64(r.IntN(4)) / 2
		l := line{at: at, device: string(rune('a' + r.IntN(3)))}
		for _, name := range []string{"a", "b", "c", "x"} {
			if r.IntN(3) > 0 {
				l.fields = append(l.fields, event.Field{Name: name, Value: values[r.IntN(len(values))]})
			}
		}
		r.Shuffle(len(l.fields), func(i, j int) { l.fields[i], l.fields[j] = l.fields[j], l.fields[i] })
		switch r.IntN(6) {
		case 0:
			l.tags = []event.Tag{{Key: "t", Value: "x"}}
		case 1:
			l.tags = []event.Tag{{Key: "a", Value: "x"}}
		}
		log = append(log, l)
	}
	return log
}

func TestAnIndexChangesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	facts := 0
	for range 40 {
		log := append([]line{setRecord(0, someThresholds(r, 20+r.IntN(30)))}, someEvents(r, 100)...)
		if r.IntN(2) == 0 {
			log = append(log, setRecord(200, someThresholds(r, 30)))
			for _, l := range someEvents(r, 50) {
				l.at += 201
				log = append(log, l)
			}
		}
		run := func(least int) ([]rules.Derived, rules.Stats) {
			was := rules.SetMinIndexed(least)
			defer rules.SetMinIndexed(was)
			e := rules.NewEngine(0)
			out := play(t, e, log)
			return out, e.Stats()
		}
		want, counts := run(math.MaxInt)
		got, have := run(1)
		if err := same(got, want); err != nil {
			t.Fatalf("with an index: %v\nrules:\n%s", err, log[0].rules)
		}
		for i := range counts.Rules {
			if !reflect.DeepEqual(have.Rules[i], counts.Rules[i]) {
				t.Fatalf("counts with an index are\n%+v, without\n%+v\nrules:\n%s", have.Rules[i], counts.Rules[i], log[0].rules)
			}
		}
		facts += len(want)
	}
	if facts < 1000 {
		t.Errorf("only %d facts were compared", facts)
	}
}
