// Package consume runs every consumer of the event log in the same way.
//
//	Reader ─▶ gather batches ─▶ Handle ─┬─ done ────▶ count, move on, save the cursor now and then
//	                              ▲     ├─ outage ──▶ back off, the same batches again, for ever
//	                              │     ├─ a message's fault ─▶ again, a bounded number of times
//	                              └─────┴─ dead ────▶ dead letter with cause and bytes, move on
//
// One Runner serves one consumer in one partition, with one goroutine: the
// order of the log is the order of effects. Consumers know nothing of one
// another; one that is slow or down is behind, and that is all.
//
// Cursors are saved after effects, never before. After a crash a consumer is
// given again what it had done since its cursor was saved: effects must be
// idempotent. A Stateful consumer's state is saved together with its cursor, so
// the two never disagree.
//
// The books balance by construction: what Handle does not name as filtered or
// dead was delivered.
package consume
