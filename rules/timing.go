package rules

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
