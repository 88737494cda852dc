// Package influxd starts a real InfluxDB 1.8 for a test.
//
//	srv := influxd.Start(t)            // skips the test if there is no binary
//	srv.CreateDatabase(t, "plant")
//	... write to srv.URL() ...
//	rows := srv.Query(t, "plant", `SELECT * FROM telemetry`)
//	srv.Stop(t); srv.Restart(t)        // an outage: same address, same data
//
// The binary is the one that the environment variable WEIR_INFLUXD names, or
// .tools/bin/influxd beside go.mod (make test puts it there). Where neither is,
// the test is skipped on a developer's machine, and fails where
// WEIR_REQUIRE_SERVERS is set: a suite that passes must have run.
//
// Each server has a directory and loopback ports of its own, reports no usage,
// and dies with the test, also when the test process is killed.
package influxd
