// Package influxdb writes events, recordings and alerts to InfluxDB: 2.x (and
// what speaks its write API) with a token, 1.8 with user and password.
//
//	batches ─▶ encoder ─▶ one body of lines ─▶ POST /api/v2/write ─┬─ 2xx      delivered
//	            │    ▲                                             ├─ 400/422  repair: see below
//	            ▼    │                                             ├─ 413      two halves
//	          Types (measurement, field) ─▶ type                   └─ other    *event.RetryError
//
// # What a point is
//
// Measurement from the event, tags = device and the event's tags in the order of
// their keys, fields = the event's fields, time = event time. Nothing else goes
// into a point's identity, so the same event written twice is one point. Null,
// NaN and infinite fields are left out; an event without any field left is
// filtered.
//
// # Names
//
// InfluxDB takes no tag "time" and drops a field "time". A field named like a
// tag it takes, and from then on a condition on the name means the field, in
// every row of the measurement, so that no row is found by its tag. These names
// therefore get an underscore behind:
//
//	as it comes                           as it is written
//	tag    time                           time_
//	field  time                           time_
//	field  device                         device_, whether the event has a device or not
//	field  site, of an event tagged site  site_, whether the tag has a value or not
//	field  site_, of such an event        site__, so that it is never mistaken for site
//
// What a field becomes depends on its name and the event's tags, never on its
// other fields or on events before it: a replay writes the same points, and a
// column keeps its meaning. If the field says what the tag says ("device":"d1"
// from d1) it is left out, unless it is all that the event says: then it is
// written, as the sign of life that it is.
//
// The sink looks at one event at a time. Where two sources share a measurement
// and what is a tag of one is a field of the other, nothing is renamed: rename
// the field in its source.
//
// An alert's transition is a point of the measurement weir_alerts, at the time
// of the transition.
//
// # Types
//
// A field keeps the type that it was first seen with. A value that can be
// written in that type without loss of meaning is (integer to float, "52.6" to
// a float, a number to text in a string field), and is counted as coerced; the
// message of any other is dead-lettered with the measurement, the field and
// both types. When the server says that it knows a field as another type, it is
// right: that type is learnt. 1.8 keeps types per shard, so a late point may meet an
// older type: a field that was written as two types is disputed, and a value that
// does not fit the learnt type is put to the server before it is given up.
//
// # Repair
//
// A refusal is about single lines, so the rest must not suffer. The server's
// answer is read first, as it often says what is wrong:
//
//  1. a field's type conflicts: learn the type, encode the lines anew, send again;
//  2. the text names lines that it can't parse: those messages are dead, send the rest;
//  3. points beyond the retention policy: find the boundary in time by binary search;
//  4. anything else: halve the messages until each refused one stands alone.
//
// The messages that stay refused are dead-lettered with the server's words.
// Repair of n messages takes at most about 2n requests however wrong they are,
// and usually two. A refusal that is not about lines at all (a database that does
// not exist, a wrong token, an answer that is not InfluxDB's) is an outage that
// an operator must end: everything is retried, nothing is lost.
//
// # Concurrency
//
// One Sink serves all partitions: Handle may be called by several goroutines at
// a time. Each call takes an encoder of its own from a free list; the learnt
// types and the HTTP connections are shared.
package influxdb
