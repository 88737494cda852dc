// Package webhook delivers alerts to an HTTP address, each as one CloudEvents
// 1.0 JSON object.
//
//	alert record ─▶ chosen? ─▶ lane of its key ─▶ POST ─┬─ 2xx                       delivered
//	                 │ no                               ├─ network, 429, 503         *event.RetryError
//	                 ▼                                  ├─ 408, other 5xx            *event.MessageError
//	              filtered                              └─ other 4xx, 3xx            dead
//
// An alert is chosen when one of its actions is "send:" with this sink's name,
// or always if Config.All is set, when Config.On names its state, and when
// somebody is to be told of it at all.
//
// The transitions of one key are delivered in order; a few keys at a time. What
// was delivered is remembered until the call as a whole has succeeded, so that a
// retry does not repeat it; after a crash it may. Receivers tell repetitions by
// the event's id, which is also in the header Idempotency-Key.
//
// With a secret each request carries X-Weir-Signature-256: "sha256=" and the hex
// HMAC-SHA256 of the body.
//
// A Sink is safe for concurrent use; one serves all partitions.
package webhook
