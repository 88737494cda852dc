package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

// explosion is a log in which more and more devices appear.
func explosion(set string, devices int) []line {
	log := []line{setRecord(0, set)}
	for i := range devices {
		log = append(log, temp(float64(i+1), fmt.Sprintf("d%05d", i), 40))
	}
	return log
}

const bounded = `groups:
  - name: g
    rules:
      - {alert: Many, expr: 'avg_over_time(temperature, "1h") > 30', max_keys: 50}
      - {alert: Big, expr: 'quantile_over_time(0.5, temperature, "2h") > 30', max_state: 64KiB}
      - {alert: Plain, expr: temperature > 30, max_keys: 80}
      - {alert: Shared, expr: 'avg_over_time(temperature, "1h") > 35'}
      - {record: mean, expr: 'avg_over_time(temperature, "1h")'}
`

func stopped(e *rules.Engine) map[string]string {
	m := map[string]string{}
	for _, r := range e.Stats().Rules {
		if r.Stopped != "" {
			m[r.Rule] = r.Stopped
		}
	}
	return m
}

func TestARuleWhoseStatePassesItsBoundIsStoppedAlone(t *testing.T) {
	e := rules.NewEngine(0)
	out := play(t, e, explosion(bounded, 1000))
	got := stopped(e)
	for rule, want := range map[string]string{
		"g/Many": "stopped: it has more than 50 keys (max_keys)", "g/Plain": "stopped: it has more than 80 keys (max_keys)",
		"g/Big": "stopped: its state is larger than 64KiB (max_state)", "g/Shared": "", "g/mean": "",
	} {
		if got[rule] != want {
			t.Errorf("%s is %q, want %q", rule, got[rule], want)
		}
	}
	fired, resolved, recorded := map[string]int{}, map[string]int{}, 0
	for _, d := range out {
		switch {
		case d.Alert == nil:
			recorded++
		case d.Alert.State == event.Firing:
			fired[d.Alert.Rule]++
		default:
			resolved[d.Alert.Rule]++
			if d.Alert.Reason != got[d.Alert.Rule] || !d.Alert.Told() {
				t.Fatalf("%s is resolved because of %q, suppressed %q", d.Alert.Rule, d.Alert.Reason, d.Alert.Suppressed)
			}
		}
	}
	if fired["g/Many"] != 51 || resolved["g/Many"] != 51 || fired["g/Plain"] != 81 || resolved["g/Plain"] != 81 || fired["g/Big"] != resolved["g/Big"] || fired["g/Big"] < 20 {
		t.Errorf("fired %v, resolved %v", fired, resolved)
	}
	if fired["g/Shared"] != 1000 || resolved["g/Shared"] != 0 || recorded != 1000 {
		t.Errorf("neighbours: Shared fired %d and was resolved %d times, %d were recorded, want 1000, 0, 1000", fired["g/Shared"], resolved["g/Shared"], recorded)
	}
	if keys, size := e.Recount("g/Big"); keys != 0 || size != 0 {
		t.Errorf("a stopped rule keeps %d keys of %d bytes", keys, size)
	}
}

// Stopping happens at the same record in every run, through snapshots at any place.
func TestStoppingSurvivesSnapshots(t *testing.T) {
	log := append(explosion(bounded, 300), tick(400), temp(4000, "d00001", 20), temp(9000, "d00002", 50), tick(9100))
	whole := rules.NewEngine(0)
	want := story(play(t, whole, log))
	for _, cut := range []int{1, 49, 50, 51, 52, 53, 81, 82, 83, 150, 302} {
		e := rules.NewEngine(0)
		var out []rules.Derived
		emit := func(d rules.Derived) { out = append(out, d) }
		for i, l := range log {
			e.Process(batch(t, uint64(i+1), l), emit)
			if i+1 != cut {
				continue
			}
			snapshot, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			e = rules.NewEngine(0)
			if err := e.Restore(snapshot); err != nil {
				t.Fatal(err)
			}
			if again, err := e.Snapshot(); err != nil || string(again) != string(snapshot) {
				t.Fatalf("restored after %d records the engine is another (%v)", cut, err)
			}
		}
		if got := story(out); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("restored after %d records, another story: %d lines, want %d", cut, len(got), len(want))
		}
		a, _ := whole.Snapshot()
		if b, err := e.Snapshot(); err != nil || string(a) != string(b) {
			t.Errorf("restored after %d records, the state differs in the end (%v)", cut, err)
		}
	}
}

func TestARuleStaysStoppedUntilItIsEdited(t *testing.T) {
	e := rules.NewEngine(0)
	at := 1000.0
	log := explosion(bounded, 100)
	next := func(set string) map[string]string {
		play(t, e, append(log, setRecord(at, set), temp(at+1, "d00001", 40)))
		log = nil
		at += 10
		return stopped(e)
	}
	if got := next(bounded); got["g/Many"] == "" || got["g/Plain"] == "" {
		t.Fatalf("stopped are %v", got)
	}
	if got := next(bounded + "      - {alert: More, expr: temperature > 99}\n"); got["g/Many"] == "" || got["g/Plain"] == "" {
		t.Errorf("after an edit of another rule %v are stopped", got)
	}
	if got := next(strings.Replace(bounded, "max_keys: 80", "max_keys: 8000", 1)); got["g/Many"] == "" || got["g/Plain"] != "" {
		t.Errorf("after an edit of Plain's bound %v are stopped", got)
	}
	active := 0
	for _, s := range e.Active() {
		if s.Rule == "g/Plain" {
			active++
		}
	}
	if active != 1 {
		t.Errorf("the rule that goes on has %d alerts, want 1", active)
	}
	if got := next(strings.Replace(bounded, "2h\") > 30", "2h\") > 31", 1)); got["g/Big"] != "" {
		t.Errorf("after an edit of Big's text %v are stopped", got)
	}
	if got := next(strings.Replace(bounded, "max_keys: 50", "max_keys: 60", 1)); got["g/Many"] != "stopped: it has more than 60 keys (max_keys)" {
		t.Errorf("with a bound that its shared window passes too %v are stopped", got)
	}
}

func TestTheStateOfARuleIsCounted(t *testing.T) {
	e := rules.NewEngine(0)
	play(t, e, []line{
		setRecord(0, group("alert: Hot\nexpr: avg_over_time(temperature, \"10s\") > 30")),
		temp(1, "a", 40), temp(2, "b", 4), temp(3, "c", 4),
	})
	if s := e.Stats().Rules[0]; s.StateKeys != 3 || s.StateBytes < 300 {
		t.Errorf("%d keys and %d bytes are counted, want 3 and some hundred", s.StateKeys, s.StateBytes)
	}
	play(t, e, []line{temp(20, "a", 4), tick(60)})
	if s := e.Stats().Rules[0]; s.StateKeys != 0 || s.StateBytes != 0 {
		t.Errorf("%d keys and %d bytes are counted when the windows are empty, want none", s.StateKeys, s.StateBytes)
	}
}
