package rules_test

import (
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

func TestAShadowDecidesAndActsNever(t *testing.T) {
	const set = `groups:
  - name: g
    repeat: 10s
    rules:
      - {alert: Live, expr: temperature > 30, actions: [{send: ops}]}
      - {alert: Next, expr: temperature > 25, mode: shadow, shadows: Live, actions: [{send: ops}, {mqtt: {topic: t, payload: p}}], escalate: [{after: 5s, actions: [{send: ops}]}]}
      - {record: twice, expr: temperature * 2, mode: shadow}
      - {alert: Twice, expr: twice > 1}
`
	e := rules.NewEngine(0)
	out := play(t, e, []line{setRecord(0, set), temp(1, "d", 28), temp(10, "d", 40), tick(30), temp(40, "d", 20)})
	counts := map[string]int{}
	for _, d := range out {
		if d.Record == event.Recording {
			t.Errorf("a shadow recorded %s", d.Payload)
			continue
		}
		counts[d.Alert.Rule+" "+d.Alert.State]++
		if d.Alert.Rule == "g/Next" && (d.Alert.Suppressed != event.SuppressedShadow || len(d.Alert.Actions) > 0) {
			t.Errorf("the shadow acts: %s", d.Payload)
		}
		if d.Alert.Rule == "g/Live" && !d.Alert.Told() {
			t.Errorf("the rule does not act: %s", d.Payload)
		}
	}
	if counts["g/Next firing"] != 1 || counts["g/Next resolved"] != 1 || counts["g/Live firing"] < 2 || counts["g/Live resolved"] != 1 {
		t.Errorf("facts: %v", counts)
	}
	for _, s := range e.Stats().Rules {
		if s.Rule == "g/twice" && s.Recordings != 3 {
			t.Errorf("the shadow record counts %d recordings, want 3", s.Recordings)
		}
	}
}

func TestAShadowThatIsMadeLiveTellsWhatFires(t *testing.T) {
	shadow := "groups: [{name: g, mode: shadow, rules: [{alert: Hot, expr: temperature > 30, actions: [{send: ops}]}]}]"
	live := "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30, actions: [{send: ops}]}]}]"
	e := rules.NewEngine(0)
	out := play(t, e, []line{setRecord(0, shadow), temp(1, "d", 40), setRecord(10, live), temp(20, "d", 20)})
	var got []string
	for _, d := range out {
		got = append(got, d.Alert.State+" "+d.Alert.Suppressed+d.Alert.Notice)
	}
	want := []string{"firing shadow", "firing resumed", "resolved "}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %q, want %q", got, want)
	}
}
