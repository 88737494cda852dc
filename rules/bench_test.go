package rules_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

// pace is how far apart the events of telemetry are: 100 devices send one a second.
const pace = int64(10 * time.Millisecond)

// telemetry is a batch of n events of 100 devices, with the shape of a small
// sensor's messages. Their temperatures are below 30.
func telemetry(n int) *event.Batch {
	b := event.NewBatch(nil)
	b.Seq = 7
	for i := range n {
		b.Messages = append(b.Messages, event.Message{Received: epoch + int64(i)*pace})
		b.AddEvent(i, event.Event{
			Source: "plant", Measurement: "telemetry", Device: fmt.Sprintf("dev-%03d", i%100), Time: epoch + int64(i)*pace, Received: epoch + int64(i)*pace,
			Tags: []event.Tag{{Key: "site", Value: fmt.Sprintf("site-%d", i%100)}},
			Fields: []event.Field{
				f("seq", float64(i)), f("temperature", 20+float64(i%90)/10), f("humidity", 40.0), f("battery", 3.1),
			},
		})
	}
	return b
}

// next lets a batch of telemetry be the one that follows it.
func next(b *event.Batch) {
	b.Seq++
	span := int64(len(b.Messages)) * pace
	for i := range b.Messages {
		b.Messages[i].Received += span
		b.Events[i].Received += span
		b.Events[i].Time += span
	}
}

func engineWith(tb testing.TB, text string) *rules.Engine {
	tb.Helper()
	e := rules.NewEngine(0)
	e.Process(batch(tb, 1, setRecord(0, text)), func(rules.Derived) {})
	if e.Set().Len() == 0 {
		tb.Fatalf("rules were not taken over: %v", e.Stats().Rejection)
	}
	return e
}

// many returns n threshold rules, of which own can match an event of
// telemetry; the others are for other sources, sites and devices.
func many(n, own int) string { return manyOf(n, own, "temperature > %d") }

// manyOf is many of another expression; its %d is a number from 100 on.
func manyOf(n, own int, expr string) string {
	var b strings.Builder
	b.WriteString("groups:\n")
	for i := range n {
		match := "{source: plant}"
		if i >= own {
			match = []string{fmt.Sprintf("{source: s%d}", i%50), fmt.Sprintf("{site: other-%d}", i), fmt.Sprintf("{device: other-%d}", i)}[i%3]
		}
		fmt.Fprintf(&b, "  - name: g%d\n    match: %s\n    rules: [{alert: Hot, expr: '%s'}]\n", i, match, fmt.Sprintf(expr, 100+i))
	}
	return b.String()
}

// cpuTime is what this process has used so far: where other programs run too it
// says more than the time that passed.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// alike returns n rules that all match telemetry and differ in a number or a
// name: each %d of expr.
func alike(n int, expr string) string {
	var b strings.Builder
	b.WriteString("groups:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: g%d\n    match: {source: plant}\n    rules: [{alert: Hot, expr: '%s'}]\n", i, fmt.Sprintf(expr, i))
	}
	return b.String()
}

// workloads are rule sets for telemetry.
func workloads() []workload {
	return []workload{
		{"threshold-false", group("alert: Hot\nexpr: temperature > 30")},
		{"and-false", group("alert: Hot\nexpr: temperature > 25 && humidity < 30")},
		{"vm-false", group("alert: Hot\nexpr: round(temperature) > 30")},
		{"pending", group("alert: Hot\nexpr: temperature > 0\nfor: 8000h")},
		{"firing", group("alert: Hot\nexpr: temperature > 0")},
		{"record", group("record: fahrenheit\nexpr: temperature * 1.8 + 32")},
		{"rules=1,matching=1", many(1, 1)},
		{"rules=10,matching=10", many(10, 10)},
		{"rules=100,matching=10", many(100, 10)},
		{"rules=1000,matching=10", many(1000, 10)},
		{"rules=10000,matching=10", many(10000, 10)},
		{"thresholds=100,true=0", alike(100, "temperature > 1%03d")},
		{"thresholds=10000,true=0", alike(10000, "temperature > 1%05d")},
		{"ands=10000,true=0", alike(10000, "temperature > 1%05d && humidity < 60")},
		{"other-fields=10000", alike(10000, "temperature%d > 30")},
		{"avg-5m", group("alert: Mean\nexpr: avg_over_time(temperature, \"5m\") > 90")},
		{"shared-window", "groups: [{name: g, rules: [{alert: A, expr: 'avg_over_time(temperature, \"5m\") > 90'}, {alert: B, expr: 'max_over_time(temperature, \"5m\") > 90'}, {alert: C, expr: 'count_over_time(temperature, \"5m\") > 1e9'}]}]"},
		{"windows=10,matching=10", manyOf(10, 10, `avg_over_time(temperature, "%ds") > 90`)},
		{"windows=100,matching=10", manyOf(100, 10, `avg_over_time(temperature, "%ds") > 90`)},
		{"windows=1000,matching=10", manyOf(1000, 10, `avg_over_time(temperature, "%ds") > 90`)},
		{"windows=10000,matching=10", manyOf(10000, 10, `avg_over_time(temperature, "%ds") > 90`)},
		{"absent", group("alert: Silent\nexpr: absent(\"1h\")")},
		{"sequence", group("alert: Steps\nexpr: sequence(\"1h\", temperature > 0, temperature > 90)")},
		{"by-site", group("alert: Site\nexpr: avg_over_time(temperature, \"5m\") > 90\nby: [site]")},
		{"failing", group("alert: Hot\nexpr: temperature > nosuch")},
		{"timers", group("alert: Hot\nexpr: seq % 2 == 0\nfor: 8000h")},
	}
}

type workload struct{ name, text string }

func TestTheBenchmarksHaveRulesThatWork(t *testing.T) {
	for _, w := range workloads() {
		t.Run(w.name, func(t *testing.T) {
			if strings.Count(w.text, "name:") > 1000 {
				t.Skip("the same with fewer rules is tried")
			}
			e := engineWith(t, w.text)
			e.Process(telemetry(200), func(rules.Derived) {})
			for _, s := range e.Stats().Rules {
				if (s.Errors > 0) != (w.name == "failing") {
					t.Errorf("%s: %d errors, the last: %s", s.Rule, s.Errors, s.LastError)
				}
			}
		})
	}
}

func BenchmarkProcess(b *testing.B) {
	const events = 2000
	for _, bb := range workloads() {
		b.Run(bb.name, func(b *testing.B) {
			e := engineWith(b, bb.text)
			in := telemetry(events)
			emit := func(rules.Derived) {}
			e.Process(in, emit)
			b.ReportAllocs()
			cpu := time.Duration(0)
			for b.Loop() {
				next(in)
				began := cpuTime(b)
				e.Process(in, emit)
				cpu += cpuTime(b) - began
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
			b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/events, "cpu-ns/event")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			file := rules.File{Name: "many.yaml", Data: []byte(many(n, n))}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.Load([]rules.File{file}, rules.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	const devices = 100_000
	e := engineWith(b, group("alert: Hot\nexpr: temperature > 0\nfor: 10h"))
	in := event.NewBatch(nil)
	in.Seq = 2
	for i := range devices {
		in.Messages = append(in.Messages, event.Message{Received: epoch})
		in.AddEvent(i, event.Event{Source: "plant", Measurement: "telemetry", Device: fmt.Sprintf("dev-%06d", i), Fields: []event.Field{f("temperature", 20.0)}})
	}
	e.Process(in, func(rules.Derived) {})
	var snapshot []byte
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			snapshot, _ = e.Snapshot()
		}
		b.ReportMetric(float64(len(snapshot))/devices, "B/alert")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if err := rules.NewEngine(0).Restore(snapshot); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestProcessAllocatesNothingForKnownDevices(t *testing.T) {
	for _, text := range []string{
		group("alert: Hot\nexpr: temperature > 30"),
		group("alert: Hot\nexpr: temperature > 0\nfor: 10h"),
		group("alert: Hot\nexpr: temperature > 0"),
		group("alert: Hot\nexpr: temperature > 25\nclear: temperature < 10"),
		many(100, 10),
	} {
		e := engineWith(t, text)
		in := telemetry(200)
		for i := range in.Events { // sources alternate
			if i%3 == 0 {
				in.Events[i].Source = "other"
			}
		}
		emit := func(rules.Derived) {}
		e.Process(in, emit)
		if n := testing.AllocsPerRun(20, func() { next(in); e.Process(in, emit) }); n != 0 {
			t.Errorf("%.80s...: %v allocations a batch of 200 events, want 0", text, n)
		}
	}
}
