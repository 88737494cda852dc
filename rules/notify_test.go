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

// decision returns the payload of the record of a decision, whose times are
// seconds after epoch in the table below.
func decision(t testing.TB, at int64, d event.Decision) []byte {
	t.Helper()
	if d.ID == "" {
		d.ID = "op"
	}
	d.At = time.Unix(0, at).UTC()
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func second(at float64) *time.Time {
	t := time.Unix(0, epoch+int64(at*1e9)).UTC()
	return &t
}

// silence is a record with which an operator silences what matches.
func silence(at float64, id string, from, until float64, matchers ...string) line {
	d := event.Decision{Kind: event.Silence, ID: id, Starts: second(from), Until: second(until)}
	for _, text := range matchers {
		m, err := event.ParseMatcher(text)
		if err != nil {
			panic(err)
		}
		d.Matchers = append(d.Matchers, m)
	}
	return line{at: at, decide: &d}
}

func expire(at float64, id string) line {
	return line{at: at, decide: &event.Decision{Kind: event.Expire, ID: id}}
}

// ack is a record with which an operator acknowledges the alert of a rule and a
// key that began to fire at a second.
func ack(at float64, kind, rule, key string, starts float64) line {
	group, name, _ := strings.Cut(rule, "/")
	return line{at: at, decide: &event.Decision{Kind: kind, Alert: rules.IncidentID(group, name, key, epoch+int64(starts*1e9)), By: "eva"}}
}

// at is a record of a device at a site.
func at(sec float64, device, site, field string, v any) line {
	return line{at: sec, device: device, tags: []event.Tag{{Key: "site", Value: site}}, fields: []event.Field{f(field, v)}}
}

const inhibiting = `groups:
  - name: g
    rules:
      - alert: Down
        expr: up == 0
        inhibit: [{rules: [Hot], equal: [site]}]
      - alert: Hot
        expr: temperature > 30
`

const limited = `groups:
  - name: g
    limit: 2
    labels: {team: plant}
    rules:
      - alert: Hot
        expr: temperature > 30
        actions: [{send: ops}]
`

func init() { lifecycles = append(lifecycles, notices...) }

var notices = []struct {
	name  string
	rules string
	log   []line
	want  []string
}{
	{
		"nobody is told of a silenced alert until the silence ends",
		"alert: Hot\nexpr: temperature > 30",
		[]line{silence(1, "s1", 1, 20, "device=a"), temp(2, "a", 31), temp(3, "b", 31), temp(4, "b", 3), tick(19), tick(21), temp(22, "a", 3)},
		[]string{"2 firing g/Hot a silence", "3 firing g/Hot b", "4 resolved g/Hot b", "20 firing g/Hot a resumed", "22 resolved g/Hot a"},
	},
	{
		"what was never told is resolved without a word",
		"alert: Hot\nexpr: temperature > 30",
		[]line{silence(1, "s1", 1, 20, "alertname=Hot", "group=g", "rule=g/Hot", "key=a"), temp(2, "a", 31), temp(4, "a", 3), tick(30)},
		[]string{"2 firing g/Hot a silence", "4 resolved g/Hot a silence"},
	},
	{
		"what was told is told to be over, silenced or not",
		"alert: Hot\nexpr: temperature > 30",
		[]line{temp(2, "a", 31), silence(3, "s1", 3, 20, "device=~.+"), temp(4, "a", 3), temp(5, "a", 40), tick(30)},
		[]string{"2 firing g/Hot a", "4 resolved g/Hot a", "5 firing g/Hot a silence", "20 firing g/Hot a resumed"},
	},
	{
		"a silence that is removed is over at once",
		"alert: Hot\nexpr: temperature > 30",
		[]line{silence(1, "s1", 1, 20, "device=a"), temp(2, "a", 31), expire(5, "nosuch"), expire(6, "s1"), tick(30)},
		[]string{"2 firing g/Hot a silence", "6 firing g/Hot a resumed"},
	},
	{
		"one silence after another is one",
		"alert: Hot\nexpr: temperature > 30",
		[]line{silence(1, "s2", 1, 20, "device=a"), silence(1, "s1", 1, 10, "device=a"), temp(2, "a", 31), tick(15), tick(30)},
		[]string{"2 firing g/Hot a silence", "20 firing g/Hot a resumed"},
	},
	{
		"a silence starts when it says",
		"alert: Hot\nexpr: temperature > 30",
		[]line{silence(1, "s1", 10, 20, "device=a"), temp(2, "a", 31), temp(3, "a", 3), temp(10, "a", 31), tick(19), tick(25)},
		[]string{"2 firing g/Hot a", "3 resolved g/Hot a", "10 firing g/Hot a silence", "20 firing g/Hot a resumed"},
	},
	{
		"silences know labels and tags",
		"alert: Hot\nexpr: temperature > 30\nlabels: {severity: '{{ temperature > 50 ? \"page\" : \"warn\" }}'}",
		[]line{silence(1, "s1", 1, 20, "severity=warn", "site!=rome"), at(2, "a", "oslo", "temperature", 31.0), at(3, "b", "rome", "temperature", 31.0), at(4, "c", "oslo", "temperature", 60.0)},
		[]string{"2 firing g/Hot a silence", "3 firing g/Hot b", "4 firing g/Hot c"},
	},
	{
		"a decision that cannot be read changes nothing",
		"alert: Hot\nexpr: temperature > 30",
		[]line{{at: 1, decide: &event.Decision{Kind: "mute"}}, {at: 1, decide: &event.Decision{Kind: event.Silence, ID: "x"}}, temp(2, "a", 31)},
		[]string{"2 firing g/Hot a"},
	},
	{
		"a firing alert is told again until somebody acknowledges it",
		"alert: Hot\nexpr: temperature > 30\nrepeat: 10s",
		[]line{temp(2, "a", 31), tick(13), tick(23), ack(25, event.Ack, "g/Hot", "a", 2), tick(34), tick(44), ack(50, event.Unack, "g/Hot", "a", 2), tick(51), tick(62), temp(63, "a", 3), tick(90)},
		[]string{"2 firing g/Hot a", "12 firing g/Hot a repeat", "22 firing g/Hot a repeat", "50 firing g/Hot a repeat", "60 firing g/Hot a repeat", "63 resolved g/Hot a"},
	},
	{
		"of repetitions that nothing was heard in only the last is told",
		"alert: Hot\nexpr: temperature > 30\nrepeat: 10s",
		[]line{temp(1, "a", 31), tick(1000), tick(1003)},
		[]string{"1 firing g/Hot a", "991 firing g/Hot a repeat", "1001 firing g/Hot a repeat"},
	},
	{
		"a repetition waits for the end of a silence",
		"alert: Hot\nexpr: temperature > 30\nrepeat: 10s",
		[]line{temp(1, "a", 31), silence(2, "s1", 2, 33, "device=a"), tick(12), tick(22), tick(34), tick(35), tick(44)},
		[]string{"1 firing g/Hot a", "33 firing g/Hot a repeat", "43 firing g/Hot a repeat"},
	},
	{
		"an alert that nobody acknowledges is escalated step by step",
		"alert: Hot\nexpr: temperature > 30\nescalate: [{after: 10s, actions: [{send: ops}]}, {after: 30s, actions: [{send: ops}]}]",
		[]line{temp(1, "a", 31), temp(2, "b", 31), tick(9), tick(12), ack(15, event.Ack, "g/Hot", "b", 2), tick(32), tick(60), temp(61, "a", 3)},
		[]string{"1 firing g/Hot a", "2 firing g/Hot b", "11 firing g/Hot a escalation", "12 firing g/Hot b escalation", "31 firing g/Hot a escalation", "61 resolved g/Hot a"},
	},
	{
		"time until an escalation runs from when people were told",
		"alert: Hot\nexpr: temperature > 30\nescalate: [{after: 10s, actions: [{send: ops}]}]",
		[]line{silence(1, "s1", 1, 20, "device=a"), temp(2, "a", 31), tick(15), tick(21), tick(31)},
		[]string{"2 firing g/Hot a silence", "20 firing g/Hot a resumed", "30 firing g/Hot a escalation"},
	},
	{
		"an alert inhibits others that are equal to it, as long as it fires",
		inhibiting,
		[]line{
			at(1, "gw", "oslo", "up", 0.0), at(2, "a", "oslo", "temperature", 31.0), at(3, "b", "rome", "temperature", 31.0), temp(4, "c", 31),
			at(5, "d", "oslo", "temperature", 31.0), at(6, "d", "oslo", "temperature", 1.0), at(7, "gw", "oslo", "up", 1.0), at(8, "a", "oslo", "temperature", 1.0),
		},
		[]string{
			"1 firing g/Down gw", "2 firing g/Hot a inhibited", "3 firing g/Hot b", "4 firing g/Hot c",
			"5 firing g/Hot d inhibited", "6 resolved g/Hot d inhibited", "7 resolved g/Down gw", "7 firing g/Hot a resumed", "8 resolved g/Hot a",
		},
	},
	{
		"two alerts that inhibit one must both be over",
		inhibiting,
		[]line{
			at(1, "gw1", "oslo", "up", 0.0), at(1, "gw2", "oslo", "up", 0.0), at(2, "a", "oslo", "temperature", 31.0),
			at(3, "gw1", "oslo", "up", 1.0), at(4, "gw2", "oslo", "up", 1.0),
		},
		[]string{"1 firing g/Down gw1", "1 firing g/Down gw2", "2 firing g/Hot a inhibited", "3 resolved g/Down gw1", "4 resolved g/Down gw2", "4 firing g/Hot a resumed"},
	},
	{
		"an inhibited alert that is silenced meanwhile waits for that too",
		inhibiting,
		[]line{
			at(1, "gw", "oslo", "up", 0.0), at(2, "a", "oslo", "temperature", 31.0), silence(3, "s1", 3, 20, "device=a"),
			at(4, "gw", "oslo", "up", 1.0), tick(10), tick(30),
		},
		[]string{"1 firing g/Down gw", "2 firing g/Hot a inhibited", "4 resolved g/Down gw", "20 firing g/Hot a resumed"},
	},
	{
		"an alert that comes and goes too often is told once it has come to rest",
		"alert: Hot\nexpr: temperature > 30\nflapping: {changes: 3, within: 20s}",
		[]line{
			temp(1, "a", 31), temp(2, "a", 3), temp(3, "a", 31), temp(4, "a", 3), temp(5, "a", 31), temp(6, "a", 3), temp(7, "a", 31), temp(8, "a", 3),
			tick(20), tick(30), temp(31, "a", 31), temp(32, "a", 3),
		},
		[]string{
			"1 firing g/Hot a", "2 resolved g/Hot a", "3 firing g/Hot a", "4 resolved g/Hot a", "5 firing g/Hot a", "6 resolved g/Hot a flapping",
			"7 firing g/Hot a flapping", "8 resolved g/Hot a flapping", "28 resolved g/Hot a resumed", "31 firing g/Hot a", "32 resolved g/Hot a",
		},
	},
	{
		"an alert that flaps and then stays is told with its own id",
		"alert: Hot\nexpr: temperature > 30\nflapping: {changes: 2, within: 20s}",
		[]line{temp(1, "a", 31), temp(2, "a", 3), temp(3, "a", 31), temp(4, "a", 3), temp(5, "a", 31), tick(20), tick(30), temp(31, "a", 3)},
		[]string{
			"1 firing g/Hot a", "2 resolved g/Hot a", "3 firing g/Hot a", "4 resolved g/Hot a flapping", "5 firing g/Hot a flapping",
			"25 resolved g/Hot a resumed", "25 firing g/Hot a resumed", "31 resolved g/Hot a",
		},
	},
	{
		"an alert that does not change any more goes on as it was told",
		"alert: Hot\nexpr: temperature > 30\nflapping: {changes: 2, within: 20s}",
		[]line{temp(1, "a", 31), temp(2, "a", 3), temp(3, "a", 31), tick(40), temp(41, "a", 3)},
		[]string{"1 firing g/Hot a", "2 resolved g/Hot a", "3 firing g/Hot a", "41 resolved g/Hot a"},
	},
	{
		"a group tells of so many alerts and then of one storm",
		limited,
		[]line{
			temp(1, "a", 31), temp(2, "b", 31), temp(3, "c", 31), temp(4, "d", 31), temp(5, "d", 3), temp(6, "e", 31), temp(7, "a", 3),
			temp(8, "f", 31), temp(9, "b", 3), temp(10, "c", 3), temp(11, "e", 3), temp(12, "f", 3),
		},
		[]string{
			"1 firing g/Hot a", "2 firing g/Hot b", "3 firing g/Hot c limit", "3 firing g/limit all", "4 firing g/Hot d limit", "5 resolved g/Hot d limit",
			"6 firing g/Hot e limit", "7 resolved g/Hot a", "8 firing g/Hot f limit", "9 resolved g/Hot b", "10 resolved g/Hot c limit",
			"10 firing g/Hot e resumed", "10 firing g/Hot f resumed", "10 resolved g/limit all", "11 resolved g/Hot e", "12 resolved g/Hot f",
		},
	},
	{
		"a storm that is silenced is silent",
		limited,
		[]line{silence(0.5, "s1", 0, 20, "alertname=limit", "team=plant"), temp(1, "a", 31), temp(2, "b", 31), temp(3, "c", 31), temp(4, "b", 3)},
		[]string{"1 firing g/Hot a", "2 firing g/Hot b", "3 firing g/Hot c limit", "3 firing g/limit all silence", "4 resolved g/Hot b", "4 firing g/Hot c resumed", "4 resolved g/limit all silence"},
	},
	{
		"when a silence ends the limit holds for what it hid",
		limited,
		[]line{silence(0.5, "s1", 0, 20, "alertname=Hot"), temp(1, "a", 31), temp(2, "b", 31), temp(3, "c", 31), temp(4, "d", 31), tick(21), temp(22, "a", 3), temp(23, "b", 3)},
		[]string{
			"1 firing g/Hot a silence", "2 firing g/Hot b silence", "3 firing g/Hot c silence", "4 firing g/Hot d silence",
			"20 firing g/Hot a resumed", "20 firing g/Hot b resumed", "20 firing g/limit all", "22 resolved g/Hot a", "23 resolved g/Hot b",
			"23 firing g/Hot c resumed", "23 firing g/Hot d resumed", "23 resolved g/limit all",
		},
	},
	{
		"an edit tells of what the rules before held back",
		inhibiting,
		[]line{
			at(1, "gw", "oslo", "up", 0.0), at(2, "a", "oslo", "temperature", 31.0),
			setRecord(3, strings.Replace(inhibiting, "        inhibit: [{rules: [Hot], equal: [site]}]\n", "", 1)), at(4, "a", "oslo", "temperature", 3.0),
		},
		[]string{"1 firing g/Down gw", "2 firing g/Hot a inhibited", "3 firing g/Hot a resumed", "4 resolved g/Hot a"},
	},
	{
		"an edit without the limit ends the storm",
		limited,
		[]line{
			temp(1, "a", 31), temp(2, "b", 31), temp(3, "c", 31), silence(3, "s1", 3, 9, "device=z"),
			setRecord(4, strings.Replace(limited, "    limit: 2\n", "", 1)), temp(5, "d", 31), temp(6, "z", 31), tick(12),
		},
		[]string{
			"1 firing g/Hot a", "2 firing g/Hot b", "3 firing g/Hot c limit", "3 firing g/limit all", "4 firing g/Hot c resumed", "4 resolved g/limit all",
			"5 firing g/Hot d", "6 firing g/Hot z silence", "9 firing g/Hot z resumed",
		},
	},
	{
		"an edit without flapping tells how it is",
		"alert: Hot\nexpr: temperature > 30\nflapping: {changes: 2, within: 20s}",
		[]line{temp(1, "a", 31), temp(2, "a", 3), temp(3, "a", 31), temp(4, "a", 3), setRecord(5, group("alert: Hot\nexpr: temperature > 30\n")), tick(60)},
		[]string{"1 firing g/Hot a", "2 resolved g/Hot a", "3 firing g/Hot a", "4 resolved g/Hot a flapping", "5 resolved g/Hot a resumed"},
	},
	{
		"an edit keeps what is silenced, acknowledged or flaps",
		"alert: Hot\nexpr: temperature > 30\nrepeat: 10s\nflapping: {changes: 2, within: 20s}",
		[]line{
			temp(1, "a", 31), temp(1, "b", 31), ack(2, event.Ack, "g/Hot", "a", 1), silence(2, "s1", 2, 30, "device=c"), temp(2, "b", 3), temp(3, "b", 31), temp(4, "b", 3), temp(4, "c", 31),
			setRecord(5, group("alert: Hot\nexpr: temperature > 29\nrepeat: 15s\nflapping: {changes: 2, within: 20s}")), tick(20), tick(25), temp(26, "b", 3), temp(27, "a", 3), tick(40),
		},
		[]string{
			"1 firing g/Hot a", "1 firing g/Hot b", "2 resolved g/Hot b", "3 firing g/Hot b", "4 resolved g/Hot b flapping", "4 firing g/Hot c silence",
			"24 resolved g/Hot b resumed", "27 resolved g/Hot a", "30 firing g/Hot c resumed",
		},
	},
}

func TestFactsSayWhyNobodyIsTold(t *testing.T) {
	out := play(t, rules.NewEngine(0), append([]line{setRecord(0, limited)}, silence(1, "s1", 1, 90, "device=a"), temp(2, "a", 31), temp(3, "b", 31), temp(4, "c", 31), temp(5, "d", 31)))
	var got []string
	ids := map[string]bool{}
	for _, d := range out {
		a := d.Alert
		got = append(got, fmt.Sprintf("%s %s %s:%s %d %v", a.Rule, a.Key, a.Suppressed, a.Reason, len(a.Actions), a.Labels))
		if ids[d.ID] {
			t.Errorf("two records have the id %s", d.ID)
		}
		ids[d.ID] = true
	}
	want := []string{
		"g/Hot a silence:s1 0 map[team:plant]", "g/Hot b : 1 map[team:plant]", "g/Hot c : 1 map[team:plant]",
		"g/Hot d limit:g 0 map[team:plant]", "g/limit all : 1 map[team:plant]",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("facts are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if a := out[4].Alert; fmt.Sprint(a.Value) != "3" || a.Event != nil || out[4].Topic != "weir/alerts/g/limit/all" {
		t.Errorf("the storm is told on %s as %s", out[4].Topic, out[4].Payload)
	}
}

func TestWhoWasEscalatedToIsToldTheEnd(t *testing.T) {
	text := "alert: Hot\nexpr: temperature > 30\nactions: [{send: ops, on: [firing]}]\nescalate: [{after: 10s, actions: [{send: ops}, {mqtt: {topic: boss, payload: '{{ alert.state }}'}}]}]"
	out := play(t, rules.NewEngine(0), []line{setRecord(0, group(text)), temp(1, "a", 31), tick(20), temp(21, "a", 3), temp(22, "a", 31), temp(23, "a", 3)})
	var got []string
	for _, d := range out {
		text := d.Alert.State + d.Alert.Notice
		for _, a := range d.Alert.Actions {
			if a.MQTT != nil {
				text += " " + a.MQTT.Topic + "=" + a.MQTT.Payload
			} else {
				text += " " + a.Send
			}
		}
		got = append(got, text)
	}
	if want := "firing ops,firingescalation ops boss=firing,resolved ops boss=resolved,firing ops,resolved"; strings.Join(got, ",") != want {
		t.Errorf("told are %q, want %q", strings.Join(got, ","), want)
	}
}

func TestStatusSaysWhoWasTold(t *testing.T) {
	e := rules.NewEngine(0)
	play(t, e, []line{setRecord(0, group("alert: Hot\nexpr: temperature > 30")), silence(1, "s1", 1, 90, "device=a"), temp(2, "a", 31), temp(3, "b", 31), ack(4, event.Ack, "g/Hot", "b", 3), silence(5, "s2", 5, 90, "device=b")})
	var got []string
	for _, s := range e.Active() {
		text := fmt.Sprintf("%s told=%v %s:%s by %v", s.Key, s.Told, s.Suppressed, s.Reason, s.Silences)
		if s.Acked != nil {
			text += fmt.Sprintf(" acked by %s at %v", s.Acked.By, s.Acked.At.Sub(time.Unix(0, epoch)))
		}
		got = append(got, text)
	}
	if want := "a told=false silence:s1 by [s1], b told=true : by [s2] acked by eva at 4s"; strings.Join(got, ", ") != want {
		t.Errorf("alerts are %q, want %q", strings.Join(got, ", "), want)
	}
	if s := e.Silences(); len(s) != 2 || s[0].ID != "s1" || s[1].Matchers[0].String() != "device=b" {
		t.Errorf("silences are %+v", s)
	}
	e.Process(batch(t, 99, line{at: 6, decide: &event.Decision{Kind: "mute"}}), func(rules.Derived) {})
	if s := e.Stats(); s.RejectedOperations != 1 || !strings.Contains(s.OperationRejection, "mute") {
		t.Errorf("counts are %+v", s)
	}
}

func TestAPartitionKeepsABoundedNumberOfSilences(t *testing.T) {
	e := rules.NewEngine(0)
	var log []line
	for i := range 1001 {
		log = append(log, silence(1, fmt.Sprintf("s%04d", i), 1, 90, "device=a"))
	}
	play(t, e, log)
	if n := len(e.Silences()); n != 1000 {
		t.Errorf("%d silences are kept, want 1000", n)
	}
	if n := e.Stats().RejectedOperations; n != 1 {
		t.Errorf("%d were refused, want 1", n)
	}
	play(t, e, []line{tick(100)})
	if n := len(e.Silences()); n != 0 {
		t.Errorf("%d silences are left after their end", n)
	}
}
