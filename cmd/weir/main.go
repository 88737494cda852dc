// Command weir ingests telemetry over MQTT, evaluates rules over it, and
// delivers it to sinks.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones that rules and sources name, on machines without them

	"weir/cmd/weir/command"
)

// release is the version of this source tree; a build of a tag may override it
// with -ldflags "-X main.release=...".
var release = "0.1.0"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], command.Env{Release: release, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
}
