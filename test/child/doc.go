// Package child runs programs for a test: processes that are killed when the
// test ends, and by the kernel when the test binary dies, and servers among
// them that can be stopped and started again where they were.
//
//	p := child.Spawn(t, "nats-server", child.Tool(t, "WEIR_NATS_SERVER", "nats-server"), args...)
//	... p.Err, p.Kill(), p.Wait(t, time.Minute)
//
//	s := child.Program{Name: "influxd", Binary: ..., Args: ..., Ready: "/ping"}.Serve(t)
//	... s.URL() ...
//	s.Stop(t); s.Restart(t)            // an outage: same address
//
// The servers that make tools installs are found in .tools/bin beside go.mod or
// where an environment variable says. Where one is not there the test is skipped
// on a developer's machine, and fails where WEIR_REQUIRE_SERVERS is set: a suite
// that passes must have run.
package child
