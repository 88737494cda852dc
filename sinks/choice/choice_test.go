package choice_test

import (
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/sinks/choice"
)

func TestAnAlertIsTakenIfItWasSentHereAndPeopleAreTold(t *testing.T) {
	alert := func(state, suppressed string, sinks ...string) *event.Alert {
		a := &event.Alert{ID: "1", Rule: "g/r", State: state, Suppressed: suppressed, Actions: []event.Action{{MQTT: &event.MQTTAction{Topic: "t"}}}}
		for _, s := range sinks {
			a.Actions = append(a.Actions, event.Action{Send: s})
		}
		return a
	}
	ops := choice.Choice{Name: "ops", On: choice.Default()}
	all := choice.Choice{Name: "ops", All: true, On: choice.Default()}
	for _, tt := range []struct {
		name string
		c    choice.Choice
		a    *event.Alert
		want bool
	}{
		{"sent here", ops, alert(event.Firing, "", "mail", "ops"), true},
		{"resolved", ops, alert(event.Resolved, "", "ops"), true},
		{"sent elsewhere", ops, alert(event.Firing, "", "mail"), false},
		{"sent nowhere", ops, alert(event.Firing, ""), false},
		{"nobody is told", ops, alert(event.Firing, event.SuppressedSilence, "ops"), false},
		{"all, and sent nowhere", all, alert(event.Firing, ""), true},
		{"all, and nobody is told", all, alert(event.Firing, event.SuppressedShadow), false},
		{"another state", choice.Choice{Name: "ops", All: true, On: []string{event.Resolved}}, alert(event.Firing, "", "ops"), false},
		{"a sink without a name, and actions that send nothing", choice.Choice{On: choice.Default()}, alert(event.Firing, ""), false},
	} {
		if got := tt.c.Takes(tt.a); got != tt.want {
			t.Errorf("%s: taken %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	for _, tt := range []struct {
		c    choice.Choice
		want []string
	}{
		{choice.Choice{Name: "ops", On: choice.Default()}, nil},
		{choice.Choice{All: true, On: []string{event.Firing}}, nil},
		{choice.Choice{}, []string{"name: missing", "on: empty"}},
		{choice.Choice{Name: "ops", On: []string{"pending", "firng"}}, []string{`on: "pending" is not one of`, `on: "firng" is not one of`}},
	} {
		err := tt.c.Validate()
		var lines []string
		if err != nil {
			lines = strings.Split(err.Error(), "\n")
		}
		if len(lines) != len(tt.want) {
			t.Errorf("%+v: %v, want %q", tt.c, err, tt.want)
			continue
		}
		for i, w := range tt.want {
			if !strings.HasPrefix(lines[i], w) {
				t.Errorf("%+v: %q, want %q", tt.c, lines[i], w)
			}
		}
	}
}

func TestParseWantsWhatIdentifiesATransition(t *testing.T) {
	a, err := choice.Parse([]byte(`{"id":"1","state":"firing","rule":"g/r","key":"f3"}`))
	if err != nil || a.Key != "f3" {
		t.Errorf("a whole alert: %+v, %v", a, err)
	}
	for _, payload := range []string{``, `{"id":`, `{}`, `{"state":"firing","rule":"g/r"}`, `{"id":"1","rule":"g/r"}`, `{"id":"1","state":"firing"}`} {
		if _, err := choice.Parse([]byte(payload)); err == nil || !strings.HasPrefix(err.Error(), "parse the alert: ") {
			t.Errorf("Parse(%s): %v, want an error", payload, err)
		}
	}
}
