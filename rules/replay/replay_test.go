package replay_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
	"weir/rules/replay"
)

const second = int64(1e9)

// start is the log time at which the rule sets come into force.
const start = 1_700_000_000 * second

const chain = `
groups:
  - name: g
    rules:
      - record: fahrenheit
        expr: celsius * 9 / 5 + 32
      - record: excess
        expr: fahrenheit - 100
      - alert: Hot
        expr: excess > 10
        for: 5s
`

func load(t testing.TB, text string) *rules.Set {
	t.Helper()
	set, err := rules.Load([]rules.File{{Name: "rules.yaml", Data: []byte(text)}}, rules.Options{})
	if err != nil {
		t.Fatalf("load rules: %v", err)
	}
	return set
}

// reading adds a publish of device d, at seconds after start, to a batch.
func reading(b *event.Batch, at int64, d, field string, v float64) {
	ns := start + at*second
	b.Messages = append(b.Messages, event.Message{Received: ns})
	b.AddEvent(len(b.Messages)-1, event.Event{Source: "s", Measurement: "m", Device: d, Time: ns, Received: ns,
		Fields: []event.Field{{Name: field, Value: event.FloatValue(v)}}})
}

func record(b *event.Batch, kind event.Record, at int64, payload string) {
	b.Messages = append(b.Messages, event.Message{Record: kind, Received: start + at*second, Payload: []byte(payload)})
}

func numbered(seq uint64) *event.Batch {
	b := event.NewBatch(nil)
	b.Seq = seq
	return b
}

// story tells what was derived: "5 firing g/Hot a", "0 excess=3 a".
func story(d rules.Derived) string {
	at := (d.Time - start) / second
	if d.Alert != nil {
		return fmt.Sprintf("%d %s %s %s", at, d.Alert.State, d.Alert.Rule, d.Alert.Key)
	}
	var r event.Recorded
	if err := json.Unmarshal(d.Payload, &r); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s=%v %s of %v", at, r.Name, r.Value, r.Device, r.Cause)
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestRecordingsComeBackUntilNoneAreLeft(t *testing.T) {
	var got []string
	r := replay.New(load(t, chain), start, func(d rules.Derived) { got = append(got, story(d)) })
	b := numbered(7)
	reading(b, 1, "a", "celsius", 50)
	reading(b, 1, "b", "celsius", 20)
	r.Process(b)
	b = numbered(8)
	record(b, event.Tick, 10, "")
	r.Process(b)
	expect(t, got,
		"1 fahrenheit=122 a of 0/7/0/0", "1 fahrenheit=68 b of 0/7/1/0",
		"1 excess=22 a of 0/7/2/0", "1 excess=-32 b of 0/7/3/0",
		"8 firing g/Hot a")
	if err := r.Lost(); err != nil {
		t.Errorf("recordings were lost: %v", err)
	}
	if a := r.Engine().Active(); len(a) != 1 || a[0].State != event.Firing {
		t.Errorf("active alerts are %+v", a)
	}
}

func TestWhatTheRulesOfTheLogDerivedIsLeftOutButItsTimePasses(t *testing.T) {
	set := load(t, "groups:\n  - name: g\n    rules:\n      - {alert: Hot, expr: celsius > 40, for: 5s}\n      - {alert: Then, expr: fahrenheit > 1}\n")
	other := load(t, "groups:\n  - name: other\n    rules:\n      - {alert: Cold, expr: celsius < 40}\n")
	var got []string
	r := replay.New(set, start, func(d rules.Derived) { got = append(got, story(d)) })
	b := numbered(1)
	reading(b, 1, "a", "celsius", 50)
	record(b, event.RuleSet, 2, string(other.Marshal()))
	record(b, event.Recording, 2, `{"rule":"other/fahrenheit","name":"fahrenheit","device":"a","time":"2026-01-01T00:00:00Z","value":122}`)
	ev := event.Event{Measurement: "fahrenheit", Rule: "other/fahrenheit", Device: "a", Time: start, Received: start,
		Fields: []event.Field{{Name: "value", Value: event.FloatValue(122)}}}
	b.AddEvent(len(b.Messages)-1, ev)
	record(b, event.AlertFact, 3, `{}`)
	record(b, event.Operation, 6, `{}`)
	reading(b, 6, "b", "celsius", 50)
	messages := append([]event.Message{}, b.Messages...)
	r.Process(b)
	expect(t, got, "6 firing g/Hot a")
	for i := range messages {
		if messages[i].Record != b.Messages[i].Record {
			t.Errorf("message %d of the batch was changed", i)
		}
	}
	if h := r.Engine().Set().Hash(); h != set.Hash() {
		t.Error("the rule set of the log came into force")
	}
}

func TestTheSameLogGivesTheSameAlerts(t *testing.T) {
	run := func() (ids []string) {
		r := replay.New(load(t, chain), start, func(d rules.Derived) { ids = append(ids, d.ID) })
		for seq := range uint64(20) {
			b := numbered(seq + 1)
			for d := range 5 {
				reading(b, int64(seq), fmt.Sprint("d", d), "celsius", float64((int(seq)*7+d*13)%90))
			}
			r.Process(b)
		}
		return ids
	}
	a, b := run(), run()
	if len(a) == 0 || strings.Join(a, " ") != strings.Join(b, " ") {
		t.Errorf("two runs gave\n%v\n%v", a, b)
	}
	seen := map[string]bool{}
	for _, id := range a {
		if seen[id] {
			t.Errorf("id %s was given twice", id)
		}
		seen[id] = true
	}
}

func TestRecordingsThatCannotBeReadAreReported(t *testing.T) {
	r := replay.New(load(t, chain), start, func(rules.Derived) {})
	b := numbered(1)
	ev := event.Event{Source: "s", Measurement: "m", Device: "a", Time: start, Received: start,
		Fields: []event.Field{{Name: "celsius", Value: event.FloatValue(1)}}}
	for i := range 300 {
		ev.Tags = append(ev.Tags, event.Tag{Key: fmt.Sprintf("t%03d", i), Value: "x"})
	}
	b.Messages = append(b.Messages, event.Message{Received: start})
	b.AddEvent(0, ev)
	r.Process(b)
	if err := r.Lost(); err == nil || !strings.Contains(err.Error(), "more than 256 tags") {
		t.Errorf("Lost() = %v, want more than 256 tags", err)
	}
}

func TestABatchOfReadingsCostsNoAllocation(t *testing.T) {
	r := replay.New(load(t, "groups:\n  - name: g\n    rules:\n      - {alert: Hot, expr: celsius > 40}\n"), start, func(rules.Derived) {})
	b := numbered(1)
	for d := range 100 {
		reading(b, 1, fmt.Sprint("d", d), "celsius", 20)
	}
	r.Process(b)
	if n := testing.AllocsPerRun(100, func() { r.Process(b) }); n != 0 {
		t.Errorf("allocations per batch = %v, want 0", n)
	}
}
