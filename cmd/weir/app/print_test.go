package app

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/ingest/event"
)

func TestAnAlertIsOneLineThatIsSafeForATerminal(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alert event.Alert
		want  string
	}{
		{"plain", event.Alert{State: "firing", Rule: "g/r", Device: "f1"}, `alert firing g/r device=f1`},
		{"with labels in order, a value and a summary", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Value: -11.25,
			Labels: map[string]string{"team": "cold chain", "severity": "page"}, Annotations: map[string]string{"summary": `say "hi"`}},
			`alert firing g/r device=f1 severity=page team="cold chain" value=-11.25 "say \"hi\""`},
		{"about a site and a room", event.Alert{State: "firing", Rule: "g/r", Key: "oslo/cold", By: map[string]string{"site": "oslo", "room": "cold room"},
			Labels: map[string]string{"severity": "page"}}, `alert firing g/r room="cold room" site=oslo severity=page`},
		{"that nobody is told of", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Annotations: map[string]string{"summary": "s"}, Suppressed: event.SuppressedBackfill},
			`alert firing g/r device=f1 "s" suppressed=backfill`},
		{"that is told again", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Value: 1.0, Notice: event.NoticeRepeat}, `alert firing g/r device=f1 value=1 notice=repeat`},
		{"about a key", event.Alert{State: "resolved", Rule: "g/r", Key: "oslo"}, `alert resolved g/r key=oslo`},
		{"with a large number", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Value: 1e6}, `alert firing g/r device=f1 value=1000000`},
		{"with a tiny number", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Value: 1e-9}, `alert firing g/r device=f1 value=1e-09`},
		{"with text as its value", event.Alert{State: "firing", Rule: "g/r", Device: "f1", Value: "open wide"}, `alert firing g/r device=f1 value="open wide"`},
		{"of a device that draws", event.Alert{State: "firing", Rule: "g/r", Device: "\x1b[2J\u009b1m\n"}, `alert firing g/r device="\x1b[2J\u009b1m\n"`},
		{"of a device that pretends", event.Alert{State: "firing", Rule: "g/r", Device: "a severity=info"}, `alert firing g/r device="a severity=info"`},
	} {
		if got := alertLine(&tt.alert); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestThePrinterPrintsAlertsAndCountsTheRest(t *testing.T) {
	alert, err := json.Marshal(event.Alert{State: "firing", Rule: "g/r", Device: "f1"})
	if err != nil {
		t.Fatal(err)
	}
	shadow, err := json.Marshal(event.Alert{State: "firing", Rule: "g/r", Device: "f2", Suppressed: event.SuppressedShadow})
	if err != nil {
		t.Fatal(err)
	}
	b := event.NewBatch(nil)
	b.Messages = append(b.Messages, event.Message{Payload: []byte("{}")}, event.Message{Record: event.AlertFact, Payload: alert},
		event.Message{Record: event.Tick}, event.Message{Record: event.AlertFact, Payload: []byte("{")},
		event.Message{Record: event.AlertFact, Payload: shadow})
	var out strings.Builder
	got, err := printer{&out}.Handle(t.Context(), []*event.Batch{b})
	if err != nil || got.Filtered != 3 || len(got.Dead) != 1 || got.Dead[0].Message != 3 {
		t.Errorf("outcome %+v, %v", got, err)
	}
	if out.String() != "alert firing g/r device=f1\n" {
		t.Errorf("printed %q", out.String())
	}
}
