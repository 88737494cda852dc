package app

import (
	"time"

	"weir/console"
	"weir/rules"
)

// started is when the process did: what monotonic is counted from.
var started = time.Now()

// monotonic is the clock by which evaluations are timed, ns.
func monotonic() int64 { return int64(time.Since(started)) }

// rulesInForce describes the rules with what they have done, in all partitions.
func (a *App) rulesInForce() []console.Rule {
	totals := a.ruleTotals()
	sizes := map[string]rules.RuleSize{}
	for _, r := range a.ruleSizes() {
		s := sizes[r.Rule]
		s.Keys, s.Size = s.Keys+r.Keys, s.Size+r.Size
		sizes[r.Rule] = s
	}
	all := []console.Rule{}
	for _, r := range a.rulers[0].rules() {
		t, s := totals[r.Rule], sizes[r.Rule]
		out := console.Rule{
			Info: r, Pending: t.Pending, Firing: t.Firing, Evaluations: t.Evaluations, Skipped: t.Skipped, Errors: t.Errors, LastError: t.LastError,
			Recordings: t.Recordings, Stopped: t.Stopped, Keys: s.Keys, StateBytes: s.Size,
		}
		if t.Timed > 0 {
			out.Nanos = float64(t.Nanos) / float64(t.Timed)
		}
		all = append(all, out)
	}
	return all
}

// ruleSizes returns how much the engines know, one after the other: each rests
// while it is looked through.
func (a *App) ruleSizes() (all []rules.RuleSize) {
	for _, rc := range a.rulers {
		all = append(all, rc.sizes()...)
	}
	if a.groups != nil {
		all = append(all, a.groups.sizes()...)
	}
	return all
}

func (c *ruleConsumer) sizes() []rules.RuleSize {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Sizes()
}

func (g *groups) sizes() []rules.RuleSize {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.engine.Sizes()
}
