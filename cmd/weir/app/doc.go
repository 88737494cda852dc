// Package app wires the parts into the process that weir run is.
//
//	config ─▶ sources ─▶ log ─▶ rings, committers ─▶ consumers ─▶ broker ─▶ HTTP
//
// They start in that order, so that whoever can send finds everything behind
// it at work, and stop in the order of the data: listeners, rings, committers,
// consumers, log. The end-to-end tests start the same App as the command.
package app
