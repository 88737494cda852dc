package rules

import "weir/rules/expression"

// timedOnce is of how many evaluations of a rule one is timed.
const timedOnce = 64

// SetStopwatch gives the engine a monotonic clock, ns, by which it times some of
// the evaluations. What it shows is reported and decides nothing. Without one
// nothing is timed.
func (e *Engine) SetStopwatch(now func() int64) { e.stopwatch = now }

// evaluate evaluates a rule on an event, and times one of timedOnce evaluations.
func (e *Engine) evaluate(p *lanePart, rs *ruleState, clk *clock, at int64, c cause, emit func(Derived)) {
	if rs.calls++; rs.calls%timedOnce != 1 || e.stopwatch == nil {
		e.evaluateRule(p, rs, clk, at, c, emit)
		return
	}
	began, before := e.stopwatch(), rs.stats.Evaluations
	e.evaluateRule(p, rs, clk, at, c, emit)
	if rs.stats.Evaluations > before {
		rs.stats.Timed++
		rs.stats.Nanos += max(0, e.stopwatch()-began)
	}
}

// outcome is what a condition comes to. That a window is empty, or was emptied
// by time, is no fault.
func (e *Engine) outcome(p *expression.Program) expression.Result {
	res := p.Holds(e.expr)
	if res == expression.Failed && (e.timed || p.Vacant(e.expr)) {
		return expression.Silent
	}
	return res
}

// RuleSize is how much an engine knows for a rule.
type RuleSize struct {
	Rule string `json:"rule"`
	Keys int    `json:"keys"`        // of which anything is known: a window, an alert
	Size int    `json:"state_bytes"` // of memory, about; what rules share counts for each
}

// Sizes returns how much is known for each rule, in the order of their ids. It
// looks at everything that the engine knows, once.
func (e *Engine) Sizes() []RuleSize {
	out := make([]RuleSize, len(e.rules))
	for i, rs := range e.rules {
		out[i].Rule = rs.rule.id
	}
	for i, sp := range e.spaces {
		readers := make([][]int, len(sp.cells)) // by slot: the rules that read the cell
		for _, rs := range sp.rules {
			for _, c := range rs.rule.cells {
				if c.space.index == i {
					readers[c.slot] = append(readers[c.slot], rs.rule.index)
				}
			}
		}
		counted := make([]int, len(e.rules)) // by rule: the last entry that was counted, from 1
		n := 0
		sp.each(func(en *entry) {
			n++
			count := func(rule, size int) {
				out[rule].Size += size
				if counted[rule] != n {
					counted[rule] = n
					out[rule].Keys++
					out[rule].Size += entrySize + len(en.key)
				}
			}
			for _, k := range en.cells {
				if k.empty() {
					continue
				}
				size := k.size()
				for _, rule := range readers[k.slot] {
					count(rule, size)
				}
			}
			for _, a := range en.alerts {
				count(a.rs.rule.index, a.size())
			}
		})
	}
	return out
}

// Sizes of what is kept for a key, and for an alert beside what it points at, in
// bytes.
const (
	entrySize = 200
	alertSize = 160
)

// size is about how much memory an alert takes.
func (a *alert) size() int {
	n := alertSize + len(a.event) + len(a.id)
	for k, v := range a.labels {
		n += len(k) + len(v) + 32
	}
	return n
}
