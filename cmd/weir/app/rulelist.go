package app

import (
	"time"

	"weir/console"
)

// started is when the process did: what monotonic is counted from.
var started = time.Now()

// monotonic is the clock by which evaluations are timed, ns.
func monotonic() int64 { return int64(time.Since(started)) }

// rulesInForce describes the rules with what they have done, in all partitions.
func (a *App) rulesInForce() []console.Rule {
	totals := a.ruleTotals()
	all := []console.Rule{}
	for _, r := range a.rulers[0].rules() {
		t := totals[r.Rule]
		out := console.Rule{
			Info: r, Pending: t.Pending, Firing: t.Firing, Evaluations: t.Evaluations, Skipped: t.Skipped, Errors: t.Errors, LastError: t.LastError,
			Recordings: t.Recordings, Stopped: t.Stopped, Keys: t.StateKeys, StateBytes: t.StateBytes,
		}
		if t.Timed > 0 {
			out.Nanos = float64(t.Nanos) / float64(t.Timed)
		}
		all = append(all, out)
	}
	return all
}
