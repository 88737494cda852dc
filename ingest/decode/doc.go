// Package decode turns messages into events, as the configured sources say.
//
//	topic ──▶ Set.Route ──▶ partition key                     write side, cached by the broker
//
//	Batch ──▶ Decoder ─┬─ topic ──▶ source, device, tags      cached
//	                   ├─ payload ──▶ format ──▶ fields        json, value, line-protocol
//	                   └─▶ Batch.Events, Batch.Rejects
//
// A document is read in one pass. The scanner compares each key with the one
// that followed last time, and what the name means for the source (a field and
// its name, the time, a tag, nothing) is found once and kept in a tree that
// has the shape of the documents. Strings alias the payload.
//
// A message is all or nothing: it gives its events, or a reject with the
// cause and place, or, when it carries no reading (an empty payload, nan,
// null, a condition that is not met), neither.
//
// The partition of a key is Partition: 64-bit FNV-1a, mixed by MurmurHash3's
// finalizer, modulo the number of partitions. Stored data depends on it.
package decode
