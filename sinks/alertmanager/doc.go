// Package alertmanager keeps a Prometheus Alertmanager told of the alerts that
// fire, by its API v2 (POST /api/v2/alerts).
//
//	alert record ─▶ chosen? ─▶ state ─▶ POST to every member ─┬─ one takes it      delivered
//	                 │ no        │                            ├─ one refuses it    dead, alone
//	                 ▼           ▼ every Config.Resend        └─ none has time     *event.RetryError
//	              filtered    POST all that fires
//
// Alertmanager forgets an alert that nobody repeats. So a Partition keeps what
// fires and sends all of it again every Config.Resend, with an endsAt four times
// that far ahead: if weir dies, Alertmanager resolves its alerts by itself. What
// was resolved is repeated for a while too, for a member that was away.
//
// The state is saved with the cursor, and all of it is sent at once after a
// restart. It is driven by the records of the log, of which there is at least a
// tick a second. The wall clock decides what time a request says, because
// Alertmanager judges it by its own; it decides nothing else.
//
// An alert is chosen when one of its actions is "send:" with this sink's name,
// or always if Config.All is set. One that nobody is to be told of is not
// chosen; but the end of an alert that Alertmanager was told of always is, for
// else it would fire there for ever. One that flaps fires until it has come to
// rest.
//
// A Sink is safe for concurrent use; a Partition is its consumer of one
// partition, for one goroutine.
package alertmanager
