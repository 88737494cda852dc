// Package replay evaluates a rule set over batches of events away from a
// running weir, as a running weir would: for tests of rules and for backtests.
//
//	batches ─▶ without what rules derived then ─▶ Engine.Process ─▶ emit
//	                                                 ▲        │
//	                                                 └─ decode ─ recordings
//
// It reads no clock: the same batches give the same alerts with the same ids.
package replay
