// Package app wires the parts into the process that weir run is.
//
//	config ─▶ sources ─▶ log ─▶ rings, committers ─▶ consumers ─▶ broker ─▶ HTTP
//
// They start in that order, so that whoever can send finds everything behind
// it at work. They stop in the order of the data: the listeners take nothing
// more, what was taken becomes durable and is consumed as far as time allows,
// then consumers, rings, committers, HTTP and the log end. The end-to-end tests
// start the same App as the command.
package app
