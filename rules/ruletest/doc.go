// Package ruletest runs tests of rules that are written in YAML, in the shape
// that promtool test rules has: series and events go in, and what the rules
// make of them is compared with what is expected.
//
//	test file ─▶ Load ─▶ File ─▶ Run ─┬─ events, ticks ─▶ replay.Replay ─▶ alerts, recordings
//	             every problem,       └─ compare at each eval_time and at the end ─▶ Result
//	             with its place
//
// A test runs from its start in the time of its events: nothing waits, and no
// clock is read. Each test has an engine of its own.
package ruletest
