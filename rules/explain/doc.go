// Package explain says why an alert fired, and why one did not: it evaluates
// the rules of then over the part of the log that decided, and tells what the
// engine saw and did about one rule and one key.
//
//	incident's id ─▶ facts in the log ─▶ [active_at - what rules look back, resolved] ─┐
//	rule, key, time ───────────────────▶ [time - what rules look back, time] ──────────┤
//	                                                                                   ▼
//	                  rule set in force where the range begins ─▶ Engine with a watch ─▶ Report
//
// The engine is given the log as it is, with the rule sets and recordings of the
// time, so that it decides as it did. That it came to the same incident is
// checked: if it did not, more of the log is read, and at last the report says so.
//
// Times of alerts are those of events, the log is read by receive times. History
// that a device uploads late stands far behind its times, so the range is found by
// where the facts stand, and by the time that lay between events.
package explain
