// Package process runs the built weir and simulator as an operator would: real
// processes, real ports on the loopback address, real data directories. Tests
// that kill, starve or damage weir are built on it.
//
//	Main ─▶ builds once ─▶ New ─▶ Start ─▶ Ready ─▶ Kill | Stop ─▶ Start ...
//	                        │ config and rules in a temporary folder
//	                        └─ CLI, Audit, Events, Metric: what an operator would look at
//
// Every process is killed when its test ends, and by the kernel when the test
// binary dies. Ports are below those that the kernel gives out by itself, so
// that they are still free when a process that was killed comes back.
package process
