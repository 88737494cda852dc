// Command simulator publishes simulated fleets, loads brokers and stands in
// for a database. It speaks MQTT and HTTP only, so it works with any broker.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// command is one of the words after "simulator".
type command struct {
	name, brief string
	run         func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"run", "publish a fleet of simulated devices, with faults", runFleet},
		{"bench", "load a broker and measure how it answers", runBench},
		{"sink", "take InfluxDB writes over HTTP and count them", runSink},
	}
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		usage(stderr)
		return exitUsage
	}
	name := args[0]
	switch name {
	case "help", "-h", "-help", "--help":
		usage(stdout)
		return exitDone
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var names []string
	for _, c := range commands() {
		if c.name == name {
			return finish(c.run(ctx, args[1:], stdout, stderr), stderr)
		}
		names = append(names, c.name)
	}
	return finish(&usageError{msg: fmt.Sprintf("unknown command %q", name), hint: didYouMean(name, names, "simulator --help lists the commands")}, stderr)
}

// finish prints what went wrong, if anything did, and picks the exit status.
func finish(err error, stderr io.Writer) int {
	var wrong *usageError
	switch {
	case err == nil, errors.Is(err, errHelp):
		return exitDone
	case errors.As(err, &wrong):
		fmt.Fprintf(stderr, "simulator: %v\n", err)
		if wrong.hint != "" {
			fmt.Fprintf(stderr, "simulator: hint: %s\n", wrong.hint)
		}
		return exitUsage
	}
	fmt.Fprintf(stderr, "simulator: %v\n", err)
	return exitFailed
}

func usage(w io.Writer) {
	fmt.Fprint(w, "simulator publishes simulated fleets, loads brokers and stands in for a database.\n\nusage: simulator COMMAND [flags]\n\ncommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-7s %s\n", c.name, c.brief)
	}
	fmt.Fprint(w, "\nsimulator COMMAND --help lists the flags of a command. Try:\n\n  simulator run --broker tcp://127.0.0.1:1883 --devices 20 --interval 1s\n")
}
