// Package broker is the embedded MQTT broker: it takes publishes from devices,
// puts those of a source into the log, and acknowledges them once they are on
// disk. MQTT itself (sessions, subscriptions, retained messages) is mochi-mqtt's.
//
//	listener ─▶ conn ─┬─ plain PUBLISH of a source ─▶ scratch ─▶ ring ─▶ (committer)
//	                  │                                  │                   │ durable
//	                  │                                  ▼                   ▼
//	                  │                               session: acks owed ◀─ acker ─▶ conn.put
//	                  └─ every other frame, byte for byte ─▶ mochi ─▶ hook ─▶ the same ring and session
//
// The life of one PUBLISH: conn.Read is called by mochi for more bytes. It reads
// the socket, works off the plain PUBLISH frames of that read itself, appends
// them to their partition's ring in one piece, pushes the acks owed on the
// session and goes on. Any other frame is handed to mochi when it is complete;
// mochi calls Read again only when it is done with it, so order holds.
//
// Acks wait in the session, first in first out, with the ring position that
// makes each durable. After a commit the session's durable prefix is written in
// one piece (promise P1). A session belongs to a client id and outlives its
// connection. Only the connection that published gets the ack: what was owed to
// a dead connection is remembered, and answers the client's DUP without being
// logged again.
//
// Nobody waits for a slow peer: writes go to a bounded buffer (conn.put), and a
// peer over the bound is dropped. A full ring holds the publisher back: its
// socket is not read (promise P6).
//
// What mochi sends passes the gate, which keeps it within the client's receive
// maximum and in order. Plain publishes to subscribers at QoS 0 don't take that
// way: deliveries of one socket read are gathered and written at once. A publisher
// whose messages mochi has delivered changes over to it when mochi has written
// what it had queued for those subscribers by then (flow), so order holds.
//
// Locks, in the order in which they may be taken:
//
//	conn.rmu (reader) ▸ session.mu ▸ writer.mu
//	gate.mu ▸ writer.mu
//	Broker.mu ▸ session.mu
//	conn.looking ▸ Broker.retained ▸ all of these
//	acker.mu, pending.mu, wills.mu: leaves
//
// No lock but conn.rmu is held while waiting for ring space; the committer and
// the acker never take conn.rmu.
package broker
