// Package eventlog is the append-only record of everything that arrived: the
// one place where an event becomes durable, and the one place it is read from.
//
//	ring ──▶ Committer ──▶ JetStream stream, one a partition ──▶ Reader ──▶ consumer
//	             │  fsync, then                    ▲                │
//	             ├─▶ durable position ─▶ acks      └── falls behind ┘
//	             └─▶ Tail: the newest batches in memory, shared by all Readers
//
// The log lives in NATS JetStream, embedded in the process (nothing listens,
// every append is fsynced before its acknowledgement) or in a cluster, reached
// by the same client API. A batch is described in batch.proto.
//
// Order of locks: a Partition's mu is a leaf; nothing is called with it held.
//
// What is promised: a position at or below Durable() is on disk. Batches of a
// partition are numbered without a gap by the stream's sequence, and each names
// the one before it and carries a CRC-32C, so that a Reader reports damage with
// its exact range (Damage) and never passes over it in silence.
package eventlog
