package crash

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/rules/backtest"
	"weir/test/process"
)

// windowRules have state of every kind that must come through a kill.
const windowRules = `
groups:
  - name: cold
    match: {source: bench}
    rules:
      - {alert: Warm, expr: temperature > -16.2}
      - {alert: Held, expr: temperature > -100, for: 2s}
      - {alert: Mean, expr: 'avg_over_time(temperature, "1s") > -17.9'}
      - {alert: Silent, expr: 'absent("300ms")'}
`

// TestABacktestGivesWhatWasDecidedLiveThroughKills compares the alerts that are
// in the log, decided by processes that were killed, with those that the same
// rules give over the same log in one go.
func TestABacktestGivesWhatWasDecidedLiveThroughKills(t *testing.T) {
	rnd := seed(t)
	w := process.New(t, process.Setup{Log: "partitions: 2, min_free: 64MiB", Rules: map[string]string{"cold.yaml": windowRules}})
	w.Start(t)
	load := w.Load(t, "--reconnect", "--count", "40000", "--connections", "10", "--devices", "40", "--window", "200", "--rate", "6000")
	for range 3 {
		time.Sleep(time.Duration(300+rnd.IntN(1500)) * time.Millisecond) // the random moment
		w.Kill()
		w.Start(t)
	}
	process.Loaded(t, load, 2*process.Patience)
	w.Settled(t)
	compare(t, w, "while it runs")
	w.Kill()
	compare(t, w, "after a kill")
	w.Start(t)
	w.Settled(t)
	w.Stop(t)
	r := compare(t, w, "after an orderly end")
	if r.Events < 40_000 { // what was sent again may be there twice
		t.Errorf("%d events were evaluated, want 40,000 at least", r.Events)
	}
	for _, x := range r.Rules {
		if x.New == nil || x.New.Incidents == 0 {
			t.Errorf("rule %s had no incident: the test does not test it", x.Rule)
		}
	}
}

func compare(t *testing.T, w *process.Weir, when string) *backtest.Report {
	t.Helper()
	out, talk, status := w.CLI(t, "rules", "backtest", "--against", "log", "--json", "--fail-on-change")
	var r backtest.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%s: status %d: %v in\n%s%s", when, status, err, out, talk)
	}
	if status != 0 || r.Changed() {
		var text strings.Builder
		if err := backtest.WriteText(&text, &r); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s: status %d:\n%s%s", when, status, text.String(), talk)
	}
	t.Log(fmt.Sprintf("%s: %d events, %d incidents are the same", when, r.Events, r.Total.Unchanged))
	return &r
}
