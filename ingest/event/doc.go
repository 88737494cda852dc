// Package event holds the nouns that the rest of weir speaks of: a Message is
// an MQTT publish as it was received, an Event is what a Message says once it
// is decoded, a Batch is the part of the log that one append made durable.
//
//	log ──▶ Batch ─┬─ Messages   raw, in log order (publishes, ticks, alerts, ...)
//	               ├─ Events     decoded, in log order; each names its Message
//	               └─ Rejects    Messages that could not be decoded, and why
//
// It does no I/O and imports the standard library only.
//
// A Batch, and every string and slice reached from it, belongs to whoever holds
// a reference to the Batch. After Release the memory is used again: clone what
// you keep.
package event
