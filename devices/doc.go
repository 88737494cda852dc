// Package devices keeps the registry of devices: who has ever published, when
// they were first and last heard, whether they are online, and what they last
// reported. Nobody enters devices by hand; the registry is learnt from traffic
// as a consumer of the event log.
//
//	log, partition 0 ──▶ Partition.Handle ──▶ table ─┐
//	log, partition 1 ──▶ Partition.Handle ──▶ table ─┼─▶ Registry.List, Get, Counts
//	                        ▲        │              ─┘
//	                    Restore   Snapshot   (kept beside the consumer's cursor)
//
// # A function of the log
//
// The state of a partition depends on the records of that partition and on
// nothing else: not on the wall clock, not on how the records were cut into
// batches, not on restarts. Two partitions that handled the same records give
// the same snapshot, byte for byte. Time is the log's: the latest receive time
// seen, ticks included, so silence is noticed as long as ticks arrive and a
// replay decides as live processing did.
//
// # What is kept of a device
//
// Last is the event that arrived last, as it was. Reported is merged over all
// events: for each field the value with the newest event time, so that a
// device which uploads stored history does not set its own state back. An
// event time after the receive time, or more than 30 days before it, is taken
// for a clock that is wrong, and the receive time is used in its place.
//
// # Bounds
//
// Devices per registry, fields per device, and the length of ids, names and
// texts are bounded (see Config and the Max constants); what does not fit is
// refused, marked or counted, and never grows memory.
//
// # Locks
//
// Each Partition has one lock that Handle takes for at most a few thousand
// events at a time and readers for a few hundred devices at a time. The order is
// Partition.order.mu, Partition.mu; Registry.mu is held with no other, and no two
// partitions are locked at once.
package devices
