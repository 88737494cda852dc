// Package alertmanagerd starts a real Prometheus Alertmanager for a test.
//
//	am := alertmanagerd.Start(t)       // skips the test if there is no binary
//	... post to am.URL() ...
//	alerts := am.Alerts(t)             // what it holds to fire now
//	am.Told()                          // what it told its receiver
//	am.Stop(t); am.Restart(t)          // an outage: same address; it forgets its alerts
//
// The binary is the one that the environment variable WEIR_ALERTMANAGER names,
// or .tools/bin/alertmanager beside go.mod (make test puts it there). Where
// neither is, the test is skipped on a developer's machine, and fails where
// WEIR_REQUIRE_SERVERS is set: a suite that passes must have run.
//
// Each server has a directory and a loopback port of its own, no cluster, and
// dies with the test, also when the test process is killed.
package alertmanagerd
