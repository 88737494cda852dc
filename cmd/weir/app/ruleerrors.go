package app

import (
	"context"
	"time"

	"weir/rules"
)

const (
	// rulesLooked is how often the rules' counts are compared.
	rulesLooked = 2 * time.Second
	// ruleErrorsEvery is how often one rule's failures are logged at most.
	ruleErrorsEvery = time.Minute
)

// ruleTotals returns what the rules in force have done in all partitions, by
// group/name.
func (a *App) ruleTotals() map[string]rules.RuleStats {
	sums := map[string]rules.RuleStats{}
	for _, s := range a.ruleStats() {
		for _, r := range s.Rules {
			t := sums[r.Rule]
			t.Rule, t.Kind = r.Rule, r.Kind
			t.Evaluations += r.Evaluations
			t.Skipped += r.Skipped
			t.Errors += r.Errors
			t.Missing += r.Missing
			t.Recordings += r.Recordings
			t.DroppedActions += r.DroppedActions
			t.Pending += r.Pending
			t.Firing += r.Firing
			t.Timed += r.Timed
			t.Nanos += r.Nanos
			t.StateKeys += r.StateKeys
			t.StateBytes += r.StateBytes
			if r.Stopped != "" {
				t.Stopped = r.Stopped
			}
			if r.LastError != "" {
				t.LastError = r.LastError
			}
			sums[r.Rule] = t
		}
	}
	return sums
}

// ruleStats returns the counts of all engines.
func (a *App) ruleStats() []rules.Stats {
	var all []rules.Stats
	for _, rc := range a.rulers {
		all = append(all, rc.stats())
	}
	if a.groups != nil {
		all = append(all, a.groups.stats())
	}
	return all
}

// reportRules logs the failures of rules: a rule that fails on every event does
// nothing else that anybody would notice.
func (a *App) reportRules(ctx context.Context) error {
	t := time.NewTicker(rulesLooked)
	defer t.Stop()
	known, stopped := ruleFailures{}, map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-t.C:
			a.logRuleFailures(known, at)
			a.logStopped(stopped)
		}
	}
}

func (a *App) logRuleFailures(known ruleFailures, at time.Time) {
	for _, f := range known.due(a.ruleTotals(), at) {
		a.log.Warn("a rule fails: for these events it is neither true nor false", "rule", f.rule, "failures", f.count, "cause", f.cause)
	}
}

// logStopped logs rules that have passed a bound, once.
func (a *App) logStopped(known map[string]bool) {
	for rule, t := range a.ruleTotals() {
		if t.Stopped != "" && !known[rule] {
			a.log.Warn("a rule is stopped: its alerts are resolved and it evaluates no more until it is edited", "rule", rule, "cause", t.Stopped)
		}
		known[rule] = t.Stopped != ""
	}
}

// ruleFailures is what was logged of each rule.
type ruleFailures map[string]*reportedFailures

type reportedFailures struct {
	errors uint64 // that are accounted for
	at     time.Time
}

// failures of one rule since the last report of it.
type failures struct {
	rule, cause string
	count       uint64
}

// due returns the failures that are to be logged now: a rule's first at once,
// later ones once a minute.
func (r ruleFailures) due(totals map[string]rules.RuleStats, now time.Time) []failures {
	var out []failures
	for rule := range r {
		if _, ok := totals[rule]; !ok {
			delete(r, rule) // edited away
		}
	}
	for rule, t := range totals {
		k := r[rule]
		if k == nil {
			if t.Errors == 0 {
				continue
			}
			k = &reportedFailures{}
			r[rule] = k
		}
		if t.Errors < k.errors {
			k.errors = 0 // the engine was made anew, for a replay
		}
		if t.Errors == k.errors || !k.at.IsZero() && now.Sub(k.at) < ruleErrorsEvery {
			continue
		}
		out = append(out, failures{rule: rule, cause: t.LastError, count: t.Errors - k.errors})
		k.errors, k.at = t.Errors, now
	}
	return out
}
