// Package console serves weir's HTTP API: health, metrics, and the queries and
// repairs that the command line offers. Queries read projections of the log;
// the few commands (replay, drop, seek) name what they change.
//
//	GET    /healthz                        the process works
//	GET    /readyz                         it takes messages
//	GET    /metrics                        Prometheus text format
//	GET    /api/v1/devices                 ?prefix= &source= &online= &limit= &after=
//	GET    /api/v1/devices/{id}
//	GET    /api/v1/alerts                  pending and firing, and who was told
//	GET    /api/v1/alerts/history          newline-delimited HistoryLine; ?since= &rule= &key= &id= &limit=
//	POST   /api/v1/alerts/{id}/ack         acknowledges it; a JSON object with by and comment, or nothing
//	DELETE /api/v1/alerts/{id}/ack         takes that back
//	GET    /api/v1/silences                those that have not ended
//	POST   /api/v1/silences                {"matchers": ["alertname=FreezerWarm"], "for": "2h", "by": ..., "comment": ...}
//	DELETE /api/v1/silences/{id}           ends it; ?by=
//	GET    /api/v1/rules                   the rules in force
//	GET    /api/v1/rules/explain           why an alert fired, or did not: an explain.Report
//	GET    /api/v1/rules/shadow            what shadow rules decide: a backtest.ShadowReport
//	POST   /api/v1/rules/backtest          a backtest.Request; newline-delimited BacktestLine
//	GET    /api/v1/consumers               cursor, lag and state of each
//	GET    /api/v1/audit                   the books of each consumer and partition
//	GET    /api/v1/events                  newline-delimited JSON; ?from= &partition= &topic= &device= &follow= &limit= &raw=
//	POST   /api/v1/consumers/{name}/replay ?from=
//	GET    /api/v1/dead-letters            newline-delimited JSON; ?consumer= &limit=
//	POST   /api/v1/dead-letters            replays ?id= (more than once) or ?all=true &consumer=; a line for each
//	DELETE /api/v1/dead-letters            drops them, in the same way
//	GET    /api/v1/dead-letters/{id...}
//	POST   /api/v1/dead-letters/{id...}    replays it
//	DELETE /api/v1/dead-letters/{id...}    drops it
//
// from is all, new, a time (RFC 3339), a duration back such as 10m, or a
// position partition/seq. An answer of newline-delimited JSON that fails half-way
// ends with a line that has an error and nothing else.
//
// /api/v1/audit answers
//
//	{"balanced": true, "dead_letters": 2,
//	 "entries": [{"consumer": "influx", "partition": 0, "received": 120, "delivered": 90, "filtered": 20,
//	              "dead_lettered": 2, "lost": 0, "pending": 8, "balanced": true, "cursor": 41, "head": 44}],
//	 "partitions": [{"partition": 0, "first": 1, "head": 44, "records": 120}]}
//
// where received = delivered + filtered + dead_lettered + lost + pending counts
// records of the log since the consumer began (publishes, ticks, alerts), and
// cursor, first and head are sequences of batches. See Entry.
//
// Errors are JSON: {"error": what is wrong and what would be right}, with status
// 400 for a query that is wrong, 403 for a page of another site, 404 for what is
// not there, 503 for what only a running weir can do or what can't be done just
// now. There are no credentials: the listener is meant for the loopback address
// or a proxy that authenticates. See origin.go for what browsers may do.
package console
