// Package exchange is what sinks that speak HTTP have in common: a transport
// that reaches a receiver the same way for each of them, and what to make of an
// answer that is not the one hoped for.
//
//	said := exchange.Said(resp, body, 300)       // "400 Bad Request: unknown label", for people
//	after := exchange.RetryAfter(resp.Header)    // how long the receiver wants to be left alone
//	err = exchange.WithoutAddress(err)           // an address may hold a secret
//
// What a status means is for the sink to say: the same 404 is a wrong address to
// one receiver and a bucket that is not there yet to another.
package exchange
