// Package mqtt delivers by MQTT. It has two sinks.
//
// Actions carries out what alerts ask of weir's own broker, through a Publisher:
//
//	alert record ─┬─▶ its JSON, retained, on weir/alerts/<group>/<rule>/<key>
//	              └─▶ each "mqtt:" action, on the topic that its rule has rendered
//
// Sink publishes events, alerts or both to another broker, and returns when that
// broker has acknowledged all of them:
//
//	letters ─▶ window of publishes ─▶ PUBACK ─▶ delivered
//	             │ connection lost, can't be opened again: *event.RetryError
//	             ▼ can be opened again
//	          one at a time: the message at which it breaks again is a *event.MessageError
//
// MQTT 3.1.1 knows no refusal of a single publish: a broker that won't have one
// (too large, not allowed) closes the connection. Publishing one at a time after
// a loss finds that one, so it does not hold up the others.
//
// A resolved alert replaces the firing one as the retained message of its topic;
// it is not removed, so that who subscribes later sees what came last.
//
// Both are safe for concurrent use and serve all partitions; order is kept
// within a partition. Sink uses one connection for all.
package mqtt
