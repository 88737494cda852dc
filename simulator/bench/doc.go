// Package bench loads a broker as fast as it goes, or at a bounded rate, and
// measures how it answers, at a small fraction of the broker's own cost: the
// two usually share a machine.
//
//	         writer goroutine                       reader goroutine
//	window ─▶ encode a burst of PUBLISH ─▶ socket ─▶ read many acks at once
//	  ▲       one write                              order, latency, sequence ids
//	  └───────────────── base moves, writer wakes ◀──┘
//
// Each connection has the two goroutines above. They share the slots of the
// messages in flight: slot c is the writer's until sent > c, then the reader's
// until base > c, then the writer's again. With Fault.Reconnect a connection
// that breaks is dialled again and everything from base on is sent again, byte
// for byte, with DUP set.
//
// Latency runs from the moment a message was due. At full speed that is the
// moment it was handed to the kernel; at a bounded rate it is the moment the
// schedule names, whether the window, the socket or the generator held it up
// or not, so that a stall is seen in every message that it delayed.
//
// An acknowledgement is a PUBACK or a PUBREC: the moment a broker takes
// responsibility. QoS 0 has none; there a PINGREQ after the last message shows
// that the broker has read all of them.
package bench
