// Package email mails alerts through an SMTP server.
//
//	alert record ─▶ chosen? ─▶ mail ─▶ MAIL, RCPT..., DATA ─┬─ 250                      delivered
//	                 │ no                                   ├─ no connection, 421        *event.RetryError
//	                 ▼                                      ├─ other 4xx                 *event.RetryError, then dead
//	              filtered                                  └─ 5xx                       dead
//
// An alert is chosen when one of its actions is "send:" with this sink's name,
// or always if Config.All is set, when Config.On names its state, and when
// somebody is to be told of it at all.
//
// Each recipient is judged by itself: one that the server refuses keeps the mail
// from no other. What was delivered is remembered until the call as a whole has
// succeeded, so that a retry does not repeat it; after a crash, or when the
// connection breaks before the server's last answer, it may. The Message-ID of a
// mail is a function of the alert's id and state, so that receivers can tell.
// The mail that says that an alert has ended is a reply to the one that said
// that it fires.
//
// Texts of devices go into headers without their control characters.
//
// A Sink is safe for concurrent use; one serves all partitions, each call with
// a connection of its own.
package email
