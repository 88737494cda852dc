package crash

import (
	"testing"
	"time"

	"weir/test/process"
)

const otherRules = `
groups:
  - name: cold
    match: {source: bench}
    rules:
      - {alert: Warm, expr: temperature > 1000}
`

// A device that is silent while weir does not run must not be missed for it: time
// must not pass in the log before weir listens again.
func TestARunBeginsInTheLogWithItsStart(t *testing.T) {
	setup := process.Setup{Log: "partitions: 2, min_free: 64MiB", Rules: map[string]string{"cold.yaml": ruleFile}}
	w := process.New(t, setup)
	var starts []time.Time
	for run := range 3 {
		if run == 2 { // so that it begins with a rule set, too
			w.WriteRules(t, "cold.yaml", otherRules)
		}
		before := time.Now()
		w.Start(t)
		starts = append(starts, before)
		process.Loaded(t, w.Load(t, "--count", "200", "--connections", "2", "--devices", "10"), process.Patience)
		w.Elapse(t, time.Millisecond) // for a tick
		if run == 1 {
			w.Stop(t)
		} else if run == 0 {
			w.Kill()
			time.Sleep(1500 * time.Millisecond) // longer than from one tick to the next
		}
	}
	w.Audit(t)
	began := map[uint16]int{}
	ticks := 0
	for _, l := range w.Everything(t) {
		p := l.Position.Partition
		if l.Kind == "started" {
			began[p]++
		}
		if l.Kind == "tick" {
			ticks++
		}
		run := 0
		for run < len(starts) && l.Received.After(starts[run]) {
			run++
		}
		if began[p] != run {
			t.Errorf("%v, a %s, was received in run %d; in the log run %d has begun", l.Position, l.Kind, run, began[p])
		}
	}
	if len(began) != 2 || ticks == 0 {
		t.Errorf("there are starts in %d partitions and %d ticks, want 2 and some", len(began), ticks)
	}
}
