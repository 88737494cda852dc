package influxdb

import "sync/atomic"

// Metrics counts what a Sink did since it was made. All are totals.
type Metrics struct {
	Lines    atomic.Uint64 // lines that the server took; a batch that is tried again counts again
	Bytes    atomic.Uint64 // of those lines, before compression
	Requests atomic.Uint64 // write requests, whatever became of them
	Outages  atomic.Uint64 // calls that ended in a *event.RetryError
	Refused  atomic.Uint64 // requests that the server refused for what they held
	Rejected atomic.Uint64 // messages dead-lettered
	Coerced  atomic.Uint64 // values written in another type than they came in
	Skipped  atomic.Uint64 // values left out as no number that can be written: NaN, infinity
	Learnt   atomic.Uint64 // field types taken over from the server in a conflict
}
