// Package wire encodes the MQTT packets that a publisher sends and decodes the
// ones it gets back, for 3.1.1 and 5.0, and nothing else of the protocol.
//
//	publisher                                  broker
//	    │  AppendConnect ─────────────────────▶  │
//	    │  ◀───────── Parse: ConnAck             │
//	    │  AppendPublish ×n, in one write ─────▶ │
//	    │  ◀───────── Parse: PubAck ×n, one read │   QoS 1
//	    │  ◀───────── Parse: PubRec              │   QoS 2
//	    │  AppendAck(PubRel) ─────────────────▶  │
//	    │  ◀───────── Parse: PubComp             │
//
// Encoding appends to a caller's slice and decoding points into one, so that
// a load generator can put a window of messages in one write and take a
// window of acknowledgements from one read without allocating.
package wire
