// Package backtest says what rules would have done: it evaluates them over a
// range of the log, beside other rules or beside what was decided live, and
// compares the incidents.
//
//	log ─▶ source, one a partition ─▶ new rules ─▶ ledger ─┬─▶ Report
//	       [from - warm-up, to)    └▶ old rules ─▶   of    │
//	                               └▶ facts ────▶ pairs ───┘
//
// Both sides see the same batches at the same time, so an incident that both
// have is forgotten as soon as it is over, and memory holds what differs.
//
// A range is one of receive times: what weir learnt in it. An incident counts
// if it was not over when the range began. What is evaluated before the range,
// the warm-up, fills windows and timers and counts for nothing else.
//
// Nothing here reads the clock to decide; relative times are resolved once.
package backtest
