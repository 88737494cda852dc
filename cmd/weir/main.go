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
	env := command.Env{Release: release, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !terminal(os.Stdin) {
		env.Reload = hangups
	} else if !signal.Ignored(syscall.SIGHUP) { // the terminal was closed
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	defer stop()
	os.Exit(command.Run(ctx, os.Args[1:], env))
}

// hangups returns the hangups of a service from now on: they end it no more.
func hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// terminal reports whether a file is a terminal. Services have /dev/null, which
// is a device too.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
