// Package sink stands in for InfluxDB: it takes line protocol over HTTP, counts
// it, and answers as told, in order to measure and to break what writes to it.
//
//	POST /write, /api/v2/write ──▶ gunzip? ──▶ count lines ──┬─▶ 204
//	                                           (distinct     ├─▶ Fault: late, or another status
//	                                            points?)     └─▶ GET /stats   POST /reset
//	GET /ping, /health ──▶ up
//
// Counting looks for line ends only, so it takes well under a nanosecond a
// byte. With Config.Distinct each line is also taken apart, and its identity,
// which is measurement, tags and time, goes into a set as a hash of 64 bits.
// Of n points about n²/2⁶⁵ are then wrongly taken for duplicates: none, up to
// some hundred million.
package sink
