package rules_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

// epoch is second 0 of the logs in the tests.
const epoch = int64(1_700_000_000_000_000_000)

// line is one record of a log that a test writes by hand.
type line struct {
	at     float64 // seconds after epoch
	time   float64 // the event's own; at if 0
	device string  // "" for a tick
	fields []event.Field
	tags   []event.Tag
	rules  string // a rule set record, if not ""
	source string
	record *event.Recorded
	starts bool // weir begins to listen
	decide *event.Decision
}

func f(name string, v any) event.Field {
	switch v := v.(type) {
	case float64:
		return event.Field{Name: name, Value: event.FloatValue(v)}
	case int:
		return event.Field{Name: name, Value: event.IntValue(int64(v))}
	case bool:
		return event.Field{Name: name, Value: event.BoolValue(v)}
	case string:
		return event.Field{Name: name, Value: event.StringValue(v)}
	}
	return event.Field{Name: name}
}

// temp is a record in which device d says that its temperature is t.
func temp(at float64, d string, t float64) line {
	return line{at: at, device: d, fields: []event.Field{f("temperature", t)}}
}

func tick(at float64) line { return line{at: at} }

// setRecord is a record that puts rules into force.
func setRecord(at float64, text string) line { return line{at: at, rules: text} }

func payloadOf(t testing.TB, text string) []byte {
	t.Helper()
	set, err := rules.Load([]rules.File{{Name: "rules.yaml", Data: []byte(text)}}, rules.Options{Sinks: []string{"ops"}})
	if err != nil {
		t.Fatalf("load rules: %v", err)
	}
	return set.Marshal()
}

// batch builds the batch of sequence seq from lines.
func batch(t testing.TB, seq uint64, lines ...line) *event.Batch {
	t.Helper()
	b := event.NewBatch(nil)
	b.Seq = seq
	for _, l := range lines {
		m := event.Message{Received: epoch + int64(l.at*1e9)}
		switch {
		case l.starts:
			m.Record = event.Started
		case l.rules != "":
			m.Record, m.Payload = event.RuleSet, payloadOf(t, l.rules)
		case l.decide != nil:
			m.Record, m.Payload = event.Operation, decision(t, m.Received, *l.decide)
		case l.record != nil:
			m.Record = event.Recording
		case l.device == "":
			m.Record = event.Tick
		}
		b.Messages = append(b.Messages, m)
		ev := event.Event{Source: "plant", Measurement: "telemetry", Device: l.device, Time: m.Received, Received: m.Received, Fields: l.fields, Tags: l.tags}
		if l.time != 0 {
			ev.Time = epoch + int64(l.time*1e9)
		}
		if l.source != "" {
			ev.Source = l.source
		}
		switch m.Record {
		case event.Publish:
			b.AddEvent(len(b.Messages)-1, ev)
		case event.Recording:
			ev.Source, ev.Measurement, ev.Rule, ev.Device = "", l.record.Name, l.record.Rule, l.record.Device
			ev.Fields = []event.Field{f("value", l.record.Value)}
			b.AddEvent(len(b.Messages)-1, ev)
		}
	}
	return b
}

// play runs a log, one batch a line, and returns what was derived.
func play(t testing.TB, e *rules.Engine, log []line) []rules.Derived {
	t.Helper()
	var out []rules.Derived
	for i, l := range log {
		e.Process(batch(t, uint64(i+1), l), func(d rules.Derived) { out = append(out, d) })
	}
	return out
}

// story tells what was derived: "60 firing cold/Warm f1" and so on.
func story(out []rules.Derived) []string {
	lines := []string{}
	for _, d := range out {
		at := float64(d.Time-epoch) / 1e9
		if d.Alert != nil {
			text := fmt.Sprintf("%g %s %s %s", at, d.Alert.State, d.Alert.Rule, d.Alert.Key)
			for _, more := range []string{d.Alert.Suppressed, d.Alert.Notice} {
				if more != "" {
					text += " " + more
				}
			}
			lines = append(lines, text)
			continue
		}
		var r event.Recorded
		if err := json.Unmarshal(d.Payload, &r); err != nil {
			lines = append(lines, err.Error())
			continue
		}
		lines = append(lines, fmt.Sprintf("%g %s=%v %s", at, r.Name, r.Value, r.Device))
	}
	return lines
}

// group returns a rule as a file; what has groups is one.
func group(rule string) string {
	if strings.HasPrefix(rule, "groups:") {
		return rule
	}
	return "groups:\n  - name: g\n    rules:\n      - " + strings.ReplaceAll(strings.TrimSpace(rule), "\n", "\n        ") + "\n"
}

var lifecycles = []struct {
	name  string
	rules string
	log   []line
	want  []string
}{
	{
		"an alert without for fires at once and is resolved when its expression is false",
		"alert: Hot\nexpr: temperature > 30",
		[]line{temp(1, "a", 20), temp(2, "a", 31), temp(3, "a", 32), temp(4, "a", 30)},
		[]string{"2 firing g/Hot a", "4 resolved g/Hot a"},
	},
	{
		"devices have alerts of their own",
		"alert: Hot\nexpr: temperature > 30",
		[]line{temp(1, "a", 31), temp(2, "b", 31), temp(3, "a", 3), temp(4, "b", 3)},
		[]string{"1 firing g/Hot a", "2 firing g/Hot b", "3 resolved g/Hot a", "4 resolved g/Hot b"},
	},
	{
		"for delays firing to its exact deadline, though the device sends nothing more",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s",
		[]line{temp(1, "a", 31), tick(5), tick(10.5), tick(11.5), tick(20)},
		[]string{"11 firing g/Hot a"},
	},
	{
		"an event at the deadline decides, as in Prometheus",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s",
		[]line{temp(1, "a", 31), temp(11, "a", 3), temp(20, "a", 31), temp(30, "a", 31), temp(31, "a", 3), temp(40, "a", 31), temp(51, "a", 3)},
		[]string{"30 firing g/Hot a", "31 resolved g/Hot a", "50 firing g/Hot a", "51 resolved g/Hot a"},
	},
	{
		"a pending alert whose expression is false is forgotten and starts anew",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s",
		[]line{temp(1, "a", 31), temp(9, "a", 30), temp(10, "a", 31), tick(19), tick(21)},
		[]string{"20 firing g/Hot a"},
	},
	{
		"an event without the field says nothing",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s",
		[]line{temp(1, "a", 31), {at: 5, device: "a", fields: []event.Field{f("humidity", 3.0)}}, tick(12), {at: 13, device: "a", fields: []event.Field{f("humidity", 3.0)}}},
		[]string{"11 firing g/Hot a"},
	},
	{
		"an expression that fails says nothing",
		"alert: Hot\nexpr: temperature > 30 and humidity > 3",
		[]line{
			{at: 1, device: "a", fields: []event.Field{f("temperature", 31.0), f("humidity", 4.0)}},
			{at: 2, device: "a", fields: []event.Field{f("temperature", 31.0)}},
			{at: 3, device: "a", fields: []event.Field{f("temperature", 31.0), f("humidity", "wet")}},
			{at: 4, device: "a", fields: []event.Field{f("temperature", 3.0)}},
		},
		[]string{"1 firing g/Hot a", "4 resolved g/Hot a"},
	},
	{
		"clear is a condition of its own",
		"alert: Hot\nexpr: temperature > 30\nclear: temperature < 25",
		[]line{temp(1, "a", 31), temp(2, "a", 28), temp(3, "a", 25), temp(4, "a", 24), temp(5, "a", 28)},
		[]string{"1 firing g/Hot a", "4 resolved g/Hot a"},
	},
	{
		"keep_firing_for holds the alert after it cleared",
		"alert: Hot\nexpr: temperature > 30\nkeep_firing_for: 10s",
		[]line{temp(1, "a", 31), temp(2, "a", 20), temp(5, "a", 20), tick(11), tick(13)},
		[]string{"1 firing g/Hot a", "12 resolved g/Hot a"},
	},
	{
		"keep_firing_for begins anew when the condition came back",
		"alert: Hot\nexpr: temperature > 30\nkeep_firing_for: 10s",
		[]line{temp(1, "a", 31), temp(2, "a", 20), temp(11, "a", 31), tick(13), temp(14, "a", 20), tick(30)},
		[]string{"1 firing g/Hot a", "24 resolved g/Hot a"},
	},
	{
		"between expr and clear keep_firing_for runs on",
		"alert: Hot\nexpr: temperature > 30\nclear: temperature < 25\nkeep_firing_for: 10s",
		[]line{temp(1, "a", 31), temp(2, "a", 24), temp(5, "a", 28), tick(11), tick(12)},
		[]string{"1 firing g/Hot a", "12 resolved g/Hot a"},
	},
	{
		"timers fire in the order of their deadlines, then of rule and key",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s\n",
		[]line{temp(2, "b", 31), temp(2, "a", 31), temp(1, "c", 31), tick(100)},
		[]string{"12 firing g/Hot a", "12 firing g/Hot b", "12 firing g/Hot c"},
	},
	{
		"log time does not go back",
		"alert: Hot\nexpr: temperature > 30\nfor: 10s\n",
		[]line{tick(50), temp(2, "b", 31), tick(59), tick(60)},
		[]string{"60 firing g/Hot b"},
	},
	{
		"a record derives a value when there is one",
		"record: fahrenheit\nexpr: temperature * 9 / 5 + 32",
		[]line{temp(1, "a", 100), {at: 2, device: "a", fields: []event.Field{f("humidity", 3.0)}}, temp(3, "b", 0)},
		[]string{"1 fahrenheit=212 a", "3 fahrenheit=32 b"},
	},
	{
		"a record that is nil is not made",
		"record: worst\nexpr: 'temperature > 10 ? temperature : nil'",
		[]line{temp(1, "a", 100), temp(2, "a", 1)},
		[]string{"1 worst=100 a"},
	},
	{
		"rules read recordings by their name",
		"alert: Hot\nexpr: fahrenheit > 100",
		[]line{
			temp(1, "a", 200),
			{at: 2, record: &event.Recorded{Rule: "x/fahrenheit", Name: "fahrenheit", Device: "a", Value: 120.0}},
			{at: 3, record: &event.Recorded{Rule: "x/celsius", Name: "celsius", Device: "a", Value: 1.0}},
			{at: 4, record: &event.Recorded{Rule: "x/fahrenheit", Name: "fahrenheit", Device: "a", Value: 1.0}},
		},
		[]string{"2 firing g/Hot a", "4 resolved g/Hot a"},
	},
	{
		"a record does not see its own recordings",
		"record: t\nmatch: {measurement: telemetry}\nexpr: t * 2",
		[]line{
			{at: 1, device: "a", fields: []event.Field{f("t", 2.0)}},
			{at: 2, record: &event.Recorded{Rule: "g/t", Name: "t", Device: "a", Value: 4.0}},
		},
		[]string{"1 t=4 a"},
	},
	{
		"match keeps a rule to its events",
		"alert: Hot\nmatch: {source: plant, type: [freezer, fridge]}\nexpr: temperature > 30",
		[]line{
			temp(1, "a", 31),
			{at: 2, device: "b", fields: []event.Field{f("temperature", 31.0)}, tags: []event.Tag{{Key: "type", Value: "oven"}}},
			{at: 3, device: "c", fields: []event.Field{f("temperature", 31.0)}, tags: []event.Tag{{Key: "type", Value: "fridge"}}},
			{at: 4, device: "d", source: "other", fields: []event.Field{f("temperature", 31.0)}, tags: []event.Tag{{Key: "type", Value: "fridge"}}},
		},
		[]string{"3 firing g/Hot c"},
	},
	{
		"an average slides, and its alert is looked at again when samples leave the window",
		"alert: Hot\nexpr: avg_over_time(temperature, \"10s\") > 30",
		[]line{temp(1, "a", 20), temp(5, "a", 50), temp(9, "a", 20), temp(12, "a", 35), tick(30)},
		[]string{"5 firing g/Hot a", "9 resolved g/Hot a", "11 firing g/Hot a", "15 resolved g/Hot a", "19 firing g/Hot a"},
	},
	{
		"a count falls though nothing comes",
		"alert: Many\nexpr: count_over_time(temperature, \"10s\") >= 3",
		[]line{temp(1, "a", 20), temp(2, "a", 50), temp(3, "a", 20), tick(10), tick(12), tick(15)},
		[]string{"3 firing g/Many a", "11 resolved g/Many a"},
	},
	{
		"absent fires after silence and is resolved by the next event",
		"alert: Silent\nexpr: absent(\"10s\")",
		[]line{temp(1, "a", 20), temp(6, "b", 20), tick(12), tick(20), temp(30, "b", 3), temp(31, "a", 3)},
		[]string{"11 firing g/Silent a", "16 firing g/Silent b", "30 resolved g/Silent b", "31 resolved g/Silent a"},
	},
	{
		"a device that is named is missed though it was never heard of",
		"alert: Silent\nexpr: absent(\"10s\")\nmatch: {device: [a, b]}",
		[]line{temp(6, "b", 20), tick(12), tick(20), temp(30, "b", 3), temp(31, "a", 3)},
		[]string{"10 firing g/Silent a", "16 firing g/Silent b", "30 resolved g/Silent b", "31 resolved g/Silent a"},
	},
	{
		"a sequence holds from its last step until the first is too long ago",
		"alert: S\nexpr: sequence(\"10s\", door == \"open\", temperature > 30)",
		[]line{temp(1, "a", 40), {at: 2, device: "a", fields: []event.Field{f("door", "open")}}, temp(5, "a", 31), temp(6, "a", 3), tick(30), temp(31, "a", 40)},
		[]string{"5 firing g/S a", "12 resolved g/S a"},
	},
	{
		"a sequence fires when what should have come did not",
		"alert: S\nexpr: sequence(\"10s\", door == \"open\", not (door == \"closed\"))",
		[]line{
			{at: 2, device: "a", fields: []event.Field{f("door", "open")}}, {at: 9, device: "a", fields: []event.Field{f("door", "closed")}},
			{at: 22, device: "a", fields: []event.Field{f("door", "open")}}, tick(40), {at: 45, device: "a", fields: []event.Field{f("door", "closed")}},
		},
		[]string{"32 firing g/S a", "45 resolved g/S a"},
	},
	{
		"a state counts once it has lasted",
		"alert: S\nexpr: in_state(door == \"open\", \"10s\")",
		[]line{
			{at: 2, device: "a", fields: []event.Field{f("door", "open")}}, {at: 9, device: "a", fields: []event.Field{f("door", "closed")}},
			{at: 22, device: "a", fields: []event.Field{f("door", "open")}}, tick(40), {at: 45, device: "a", fields: []event.Field{f("door", "closed")}},
		},
		[]string{"32 firing g/S a", "45 resolved g/S a"},
	},
	{
		"the time in a state is looked at when it reaches what it is compared with",
		"alert: S\nexpr: time_in_state(door == \"open\", \"60s\") >= 15",
		[]line{
			{at: 2, device: "a", fields: []event.Field{f("door", "open")}}, {at: 12, device: "a", fields: []event.Field{f("door", "closed")}},
			{at: 22, device: "a", fields: []event.Field{f("door", "open")}}, tick(40), {at: 45, device: "a", fields: []event.Field{f("door", "closed")}}, tick(200),
		},
		[]string{"27 firing g/S a", "90 resolved g/S a"},
	},
	{
		"a group has one alert for all its devices",
		"alert: Hot\nexpr: avg_over_time(temperature, \"10s\") > 30\nby: [site]",
		[]line{
			{at: 1, device: "a", tags: []event.Tag{{Key: "site", Value: "oslo"}}, fields: []event.Field{f("temperature", 40.0)}},
			{at: 2, device: "b", tags: []event.Tag{{Key: "site", Value: "oslo"}}, fields: []event.Field{f("temperature", 10.0)}},
			{at: 3, device: "c", tags: []event.Tag{{Key: "site", Value: "rome"}}, fields: []event.Field{f("temperature", 33.0)}},
			temp(4, "d", 99), tick(20),
		},
		[]string{"1 firing g/Hot oslo", "2 resolved g/Hot oslo", "3 firing g/Hot rome"},
	},
	{
		"a group without an aggregate is about its latest event",
		"alert: Hot\nexpr: temperature > 30\nby: [site, room]\nfor: 5s",
		[]line{
			{at: 1, device: "a", tags: []event.Tag{{Key: "room", Value: "x/y"}, {Key: "site", Value: "oslo"}}, fields: []event.Field{f("temperature", 40.0)}},
			{at: 3, device: "b", tags: []event.Tag{{Key: "room", Value: "z"}, {Key: "site", Value: "oslo"}}, fields: []event.Field{f("temperature", 10.0)}},
			tick(10),
			{at: 11, device: "c", tags: []event.Tag{{Key: "room", Value: "x/y"}, {Key: "site", Value: "oslo"}}, fields: []event.Field{f("temperature", 10.0)}},
		},
		[]string{"6 firing g/Hot oslo/x%2Fy", "11 resolved g/Hot oslo/x%2Fy"},
	},
	{
		"a tumbling window is evaluated at its end",
		"record: mean\nexpr: avg_over_time(temperature)\nwindow: {tumbling: 10s}",
		[]line{temp(1, "a", 1), temp(9, "a", 3), temp(10, "a", 5), temp(15, "b", 5), tick(19), tick(21), tick(60), temp(61, "a", 9), tick(80)},
		[]string{"10 mean=2 a", "20 mean=5 a", "20 mean=5 b", "70 mean=9 a"},
	},
	{
		"a hopping window is evaluated as long as it holds something",
		"record: n\nexpr: count_over_time(temperature)\nwindow: {hopping: 20s, every: 10s}",
		[]line{temp(1, "a", 1), temp(11, "a", 3), tick(60)},
		[]string{"10 n=1 a", "20 n=2 a", "30 n=1 a"},
	},
	{
		"a session ends after a gap",
		"record: n\nexpr: count_over_time(temperature)\nwindow: {session: 5s}",
		[]line{temp(1, "a", 1), temp(4, "a", 3), temp(8, "a", 3), temp(13, "a", 1), tick(60)},
		[]string{"13 n=3 a", "18 n=1 a"},
	},
	{
		"a count window is evaluated after so many events",
		"record: sum\nexpr: sum_over_time(temperature)\nwindow: {count: 3, every: 2}",
		[]line{temp(1, "a", 1), temp(2, "a", 2), temp(3, "a", 3), temp(4, "a", 4), temp(5, "a", 5), temp(6, "a", 6)},
		[]string{"3 sum=6 a", "5 sum=12 a"},
	},
	{
		"late events are put in order as long as they are allowed to be late",
		"alert: Hot\nexpr: temperature > 30\nallowed_lateness: 10s",
		[]line{
			{at: 1, device: "a", fields: []event.Field{f("temperature", 1.0)}}, {at: 5, device: "a", fields: []event.Field{f("temperature", 2.0)}},
			{at: 6, time: 3, device: "a", fields: []event.Field{f("temperature", 40.0)}}, {at: 20, device: "a", fields: []event.Field{f("temperature", 3.0)}},
			{at: 21, time: 7, device: "a", fields: []event.Field{f("temperature", 40.0)}}, tick(60),
		},
		[]string{"13 firing g/Hot a", "15 resolved g/Hot a"},
	},
	{
		"an event that is late is not evaluated",
		"alert: Hot\nexpr: temperature > 30",
		[]line{temp(1, "a", 1), temp(5, "a", 2), {at: 6, time: 3, device: "a", fields: []event.Field{f("temperature", 40.0)}}},
		[]string{},
	},
	{
		"history is evaluated as of then, behind what is known",
		"alert: Hot\nexpr: temperature > 30\nfor: 60s",
		[]line{
			temp(10000, "a", 1),
			{at: 10001, time: 1000, device: "a", fields: []event.Field{f("temperature", 40.0)}},
			temp(10002, "a", 2),
			{at: 10003, time: 1050, device: "a", fields: []event.Field{f("temperature", 41.0)}},
			{at: 10004, time: 1100, device: "a", fields: []event.Field{f("temperature", 42.0)}},
			{at: 10005, time: 1200, device: "a", fields: []event.Field{f("temperature", 3.0)}},
			tick(10100), temp(10101, "a", 40), tick(10200),
		},
		[]string{"10004 firing g/Hot a backfill", "10005 resolved g/Hot a backfill", "10161 firing g/Hot a"},
	},
	{
		"history that leads up to now is told once it is now",
		"alert: Hot\nexpr: temperature > 30\nfor: 60s",
		[]line{
			{at: 10001, time: 1000, device: "a", fields: []event.Field{f("temperature", 40.0)}},
			{at: 10003, time: 1100, device: "a", fields: []event.Field{f("temperature", 41.0)}},
			temp(10004, "a", 42), temp(10005, "a", 2),
		},
		[]string{"10003 firing g/Hot a backfill", "10004 firing g/Hot a resumed", "10005 resolved g/Hot a"},
	},
	{
		"a clock that is far ahead counts as when it was received",
		"alert: Hot\nexpr: temperature > 30\nfor: 60s",
		[]line{{at: 10, time: 5000, device: "a", fields: []event.Field{f("temperature", 40.0)}}, tick(60), tick(69), tick(73)},
		[]string{"70 firing g/Hot a"},
	},
	{
		"what is due in silence is decided with the latest event",
		"alert: A\nexpr: absent(\"10s\") and mode == \"auto\"",
		[]line{{at: 1, device: "a", fields: []event.Field{f("mode", "auto")}}, {at: 2, device: "b", fields: []event.Field{f("mode", "off")}}, tick(30)},
		[]string{"11 firing g/A a"},
	},
	{
		"an alert of a field and a window ends with the window",
		"alert: A\nexpr: temperature > 30 and count_over_time(err, \"10s\") >= 1",
		[]line{{at: 1, device: "a", fields: []event.Field{f("temperature", 31.0), f("err", "E1")}}, tick(30)},
		[]string{"1 firing g/A a", "11 resolved g/A a"},
	},
	{
		"a device with a slow clock is told of once its clock is known to go at the pace of ours",
		"alert: Hot\nexpr: temperature > 30",
		[]line{
			{at: 5000, time: 1000, device: "a", fields: []event.Field{f("temperature", 3.0)}}, {at: 5020, time: 1020, device: "a", fields: []event.Field{f("temperature", 31.0)}},
			{at: 5040, time: 1040, device: "a", fields: []event.Field{f("temperature", 31.0)}}, {at: 5060, time: 1060, device: "a", fields: []event.Field{f("temperature", 3.0)}},
			{at: 5080, time: 1080, device: "a", fields: []event.Field{f("temperature", 31.0)}},
		},
		[]string{"5020 firing g/Hot a backfill", "5040 firing g/Hot a resumed", "5060 resolved g/Hot a", "5080 firing g/Hot a"},
	},
	{
		"silence after an upload of history is told",
		"alert: Silent\nexpr: absent(\"600s\")",
		[]line{temp(5000, "x", 1), {at: 5001, time: 1000, device: "a", fields: []event.Field{f("temperature", 3.0)}}, temp(5550, "x", 1), tick(5605)},
		[]string{"5603 firing g/Silent a"},
	},
	{
		"what an event shows to have been long ago is nobody's business now, unless it still is so",
		"alert: Silent\nexpr: absent(\"600s\")\n",
		[]line{
			{at: 9000, time: 1000, device: "a", fields: []event.Field{f("temperature", 3.0)}},
			{at: 9001, time: 8990, device: "a", fields: []event.Field{f("temperature", 3.0)}},
		},
		[]string{"9001 firing g/Silent a backfill", "9001 resolved g/Silent a backfill"},
	},
	{
		"an alert that was due long ago is told if the event says that it is still so",
		"alert: Hot\nexpr: temperature > 30\nfor: 600s\n",
		[]line{
			{at: 9000, time: 1000, device: "a", fields: []event.Field{f("temperature", 31.0)}},
			{at: 9001, time: 8990, device: "a", fields: []event.Field{f("temperature", 31.0)}},
		},
		[]string{"9001 firing g/Hot a backfill", "9001 firing g/Hot a resumed"},
	},
}

func TestLifecycle(t *testing.T) {
	for _, tt := range lifecycles {
		t.Run(tt.name, func(t *testing.T) {
			log := append([]line{setRecord(0, group(tt.rules))}, tt.log...)
			got := story(play(t, rules.NewEngine(0), log))
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

func same(a, b []rules.Derived) error {
	if len(a) != len(b) {
		return fmt.Errorf("%d derived, want %d:\n%v\nwant\n%v", len(a), len(b), story(a), story(b))
	}
	for i := range a {
		if a[i].ID != b[i].ID || a[i].Topic != b[i].Topic || a[i].Time != b[i].Time || a[i].Record != b[i].Record || string(a[i].Payload) != string(b[i].Payload) {
			return fmt.Errorf("record %d is\n%s %s %s\nwant\n%s %s %s", i, a[i].ID, a[i].Topic, a[i].Payload, b[i].ID, b[i].Topic, b[i].Payload)
		}
	}
	return nil
}

func TestRestartAtEveryPositionDerivesTheSame(t *testing.T) {
	for _, tt := range lifecycles {
		t.Run(tt.name, func(t *testing.T) {
			log := append([]line{setRecord(0, group(tt.rules))}, tt.log...)
			want := play(t, rules.NewEngine(0), log)
			for stop := range len(log) + 1 {
				before := rules.NewEngine(0)
				got := play(t, before, log[:stop])
				snapshot, err := before.Snapshot()
				if err != nil {
					t.Fatalf("snapshot after %d records: %v", stop, err)
				}
				after := rules.NewEngine(0)
				if err := after.Restore(snapshot); err != nil {
					t.Fatalf("restore after %d records: %v", stop, err)
				}
				if again, _ := after.Snapshot(); string(again) != string(snapshot) {
					t.Errorf("the snapshot of a restored engine differs after %d records", stop)
				}
				for i := stop; i < len(log); i++ {
					after.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { got = append(got, d) })
				}
				if err := same(got, want); err != nil {
					t.Errorf("restarted after %d records: %v", stop, err)
				}
			}
		})
	}
}

func TestAnAlertThatStartsTwiceInAnInstantHasTwoIDs(t *testing.T) {
	log := []line{setRecord(0, group("alert: Hot\nexpr: temperature > 30")), temp(1, "a", 31), temp(1, "a", 3), temp(1, "a", 31), temp(1, "b", 31)}
	out := play(t, rules.NewEngine(0), log)
	ids := map[string]bool{}
	for _, d := range out {
		if ids[d.ID] {
			t.Errorf("id %s was given twice", d.ID)
		}
		ids[d.ID] = true
	}
	if len(out) != 4 {
		t.Errorf("derived %v, want 4 transitions", story(out))
	}
	if out[0].Alert.ID != out[1].Alert.ID || out[0].Alert.ID == out[2].Alert.ID {
		t.Errorf("incidents are %s %s %s, want the first two equal", out[0].Alert.ID, out[1].Alert.ID, out[2].Alert.ID)
	}
}

func TestTheFactOfAnAlert(t *testing.T) {
	text := `
groups:
  - name: cold room
    labels: {team: plant, site: "{{ site }}"}
    rules:
      - alert: FreezerWarm
        expr: temperature > (limits.max ?? -15)
        for: 10s
        labels: {severity: page}
        annotations:
          summary: "{{ device }} is at {{ temperature }} °C ({{ labels.severity }}, {{ alert.state }})"
          computed: "{{ 0.1 + 0.2 }} {{ temperature > 0 ? 'thawed' : 'cold' }} {{ missing }} {{ missing * 2 }}"
        actions:
          - mqtt: {topic: "plant/{{ site }}/siren", payload: "ON", on: [firing], qos: 1, retain: true}
          - mqtt: {topic: "plant/{{ nosuch }}/siren", payload: "ON"}
          - send: ops
`
	tags := []event.Tag{{Key: "site", Value: "north"}}
	log := []line{
		setRecord(0, text),
		{at: 1, device: "f/3+#", tags: tags, fields: []event.Field{f("door", "open"), f("temperature", -12.5)}},
		tick(20),
	}
	e := rules.NewEngine(0)
	out := play(t, e, log)
	if len(out) != 1 {
		t.Fatalf("derived %v, want one alert", story(out))
	}
	got, want := string(out[0].Payload), `{"id":"`+out[0].Alert.ID+`","state":"firing","rule":"cold room/FreezerWarm","key":"f/3+#","device":"f/3+#",`+
		`"labels":{"severity":"page","site":"north","team":"plant"},`+
		`"annotations":{"computed":"0.3 cold <no missing> <error: invalid operation: nil * number>","summary":"f/3+# is at -12.5 °C (page, firing)"},`+
		`"starts_at":"2023-11-14T22:13:31Z","active_at":"2023-11-14T22:13:21Z","value":-12.5,"event":{"position":"0/2/0/0","time":"2023-11-14T22:13:21Z","received":"2023-11-14T22:13:21Z",`+
		`"source":"plant","device":"f/3+#","tags":{"site":"north"},"fields":{"door":"open","temperature":-12.5}},`+
		`"actions":[{"mqtt":{"topic":"plant/north/siren","payload":"ON","qos":1,"retain":true}},{"send":"ops"}],"rule_set":"`+e.Set().Hash()+`"}`
	if got != want {
		t.Errorf("fact is\n%s\nwant\n%s", got, want)
	}
	if want := "weir/alerts/cold room/FreezerWarm/f%2F3%2B%23"; out[0].Topic != want {
		t.Errorf("topic is %s, want %s", out[0].Topic, want)
	}
	if n := e.Stats().Rules[0].DroppedActions; n != 1 {
		t.Errorf("%d actions dropped, want 1", n)
	}
}

func TestActiveAlertsAndCounts(t *testing.T) {
	e := rules.NewEngine(0)
	play(t, e, []line{
		setRecord(0, group("alert: Hot\nexpr: temperature > 30\nfor: 10s\nkeep_firing_for: 5s\nlabels: {severity: page}")),
		temp(1, "a", 31), temp(2, "b", 31), tick(11), temp(11.5, "a", 3), temp(11.5, "c", 3),
		{at: 11.5, device: "c", fields: []event.Field{f("temperature", "hot")}},
		{at: 11.5, device: "c", fields: []event.Field{f("humidity", 1.0)}},
	})
	var got []string
	for _, s := range e.Active() {
		got = append(got, fmt.Sprintf("%s %s %s due %s", s.Rule, s.Key, s.State, s.Due.Sub(time.Unix(0, epoch))))
	}
	if want := "g/Hot a firing due 16.5s,g/Hot b pending due 12s"; strings.Join(got, ",") != want {
		t.Errorf("active alerts are %q, want %q", got, want)
	}
	s := e.Stats().Rules[0]
	if s.Pending != 1 || s.Firing != 1 || s.Evaluations != 5 || s.Errors != 1 || s.Missing != 0 || s.Skipped != 1 {
		t.Errorf("counts are %+v", s)
	}
	if !strings.Contains(s.LastError, "string > number") {
		t.Errorf("last error is %q", s.LastError)
	}
}
