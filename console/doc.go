// Package console serves weir's HTTP API: health, metrics, and the queries and
// repairs that the command line offers. Queries read projections of the log;
// the few commands (replay, drop, seek) name what they change.
//
//	GET    /healthz                        the process works
//	GET    /readyz                         it takes messages
//	GET    /metrics                        Prometheus text format
//	GET    /api/v1/devices                 ?prefix= &source= &online= &limit= &after=
//	GET    /api/v1/devices/{id}
//	GET    /api/v1/alerts                  pending and firing
//	GET    /api/v1/rules                   the rules in force
//	GET    /api/v1/consumers               cursor, lag and state of each
//	GET    /api/v1/audit                   the books of each consumer and partition
//	GET    /api/v1/events                  newline-delimited JSON; ?from= &partition= &topic= &device= &follow= &limit= &raw=
//	POST   /api/v1/consumers/{name}/replay ?from=
//	GET    /api/v1/dead-letters            newline-delimited JSON; ?consumer= &limit=
//	GET    /api/v1/dead-letters/{id...}
//	POST   /api/v1/dead-letters/{id...}    replays it
//	DELETE /api/v1/dead-letters/{id...}    drops it
//
// Errors are JSON: {"error": what is wrong and what would be right}. There are
// no credentials: the listener is meant for the loopback address or a proxy
// that authenticates. A browser on another origin is refused.
package console
