// Package ring is the bounded queue between the connections and the log: a
// byte ring with many producers and one consumer, in which what was written is
// already the log's wire format.
//
//	        head (released)        tail (claimed)
//	          │                      │
//	──────────▼──────────────────────▼───────────────▶ bytes, for ever
//	  free    │ chunk │ chunk │ chunk │  free
//	          └──────── committed ────┘
//	             Next returns this stretch, as it stands, as a batch
//
// A producer claims space for all that one socket read gave it with one
// compare-and-swap on tail, copies its encoded records in, and commits the
// chunk by storing its 8-byte header last. The consumer takes the contiguous
// committed stretch in place, without copying, and gives the space back with
// Release when it no longer needs the bytes.
//
// The header, and the padding that keeps chunks 8-byte aligned, are themselves
// valid protobuf fields that a reader of a batch skips (see batch.proto in
// package eventlog):
//
//	byte  0     0x15        field 2, fixed32
//	bytes 1–4   length      of the chunk in bytes: header, records, padding
//	byte  5     0x18        field 3, varint
//	bytes 6–7   records     how many, as a two-byte varint (at most 16,383)
//	...         records     encoded by the producer: fields of a Batch
//	pad         0x18 ...    field 3 again, as an overlong varint of 1–9 bytes
//
// A header of zero means "claimed, not committed": Release zeroes what it frees.
// Where a chunk does not fit before the end of the buffer, its producer claims
// the rest as filler (first byte 0xFF), which the consumer steps over.
//
// Bounded (P6): Append waits while the ring is full, so that publishers are
// held back and nothing is dropped. Never call it holding a lock that the
// consumer needs to make progress.
package ring
