// Command weir ingests telemetry over MQTT, evaluates rules over it, and
// delivers it to sinks.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // zones that rules and sources name, on machines without them

	"weir/configs/strict"
)

// Exit statuses.
const (
	done   = 0
	failed = 1
	wrong  = 2 // the input: flags, config, rules
)

// usageError is an error in how a command was called.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }

// command is one of weir's commands.
type command struct {
	name, args, short string
	run               func(ctx context.Context, c *call) error
}

// call is one invocation of a command.
type call struct {
	name   string
	args   []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

var commands = []command{
	{"run", "-c weir.yaml", "run the broker, the log, the rules and the sinks", runRun},
	{"check", "-c weir.yaml", "check a config, its sources and its rules, and change nothing", runCheck},
	{"decode", "-c weir.yaml --topic T", "show the events that a payload becomes", runDecode},
	{"rules", "check", "check rule files", runRules},
	{"events", "tail|replay", "follow the log, or make a consumer read it again", runEvents},
	{"dead-letters", "list|show|replay|drop", "look at what could not be delivered, and repair it", runDeadLetters},
	{"devices", "list|show", "show the devices that have been heard of", runDevices},
	{"audit", "", "balance the books: received = delivered + filtered + dead-lettered + lost + pending", runAudit},
	{"users", "hash", "hash a password for the users file", runUsers},
	{"version", "", "print the version", runVersion},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without its effects on the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(stdout)
		if len(args) == 0 {
			return wrong
		}
		return done
	}
	names := make([]string, 0, len(commands))
	for _, c := range commands {
		if c.name == args[0] {
			return report(stderr, c.run(ctx, &call{name: "weir " + c.name, args: args[1:], stdin: stdin, stdout: stdout, stderr: stderr}))
		}
		names = append(names, c.name)
	}
	hint := "weir --help lists the commands"
	if s := strict.Suggest(args[0], names); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	return report(stderr, &usageError{fmt.Sprintf("unknown command %q", args[0]), hint})
}

func usage(w io.Writer) {
	fmt.Fprint(w, "weir ingests device telemetry over MQTT, makes it durable, evaluates rules and delivers it.\n\nUsage:\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  weir %-38s %s\n", c.name+" "+c.args, c.short)
	}
	fmt.Fprint(w, "\nweir COMMAND --help says more. For example: weir run -c configs/demo.yaml\n")
}

// report prints an error and returns the exit status that it means.
func report(w io.Writer, err error) int {
	var u *usageError
	var list strict.Errors
	switch {
	case err == nil || errors.Is(err, errHelp):
		return done
	case errors.As(err, &u):
		fmt.Fprintln(w, "weir:", u.msg)
		if u.hint != "" {
			fmt.Fprintln(w, "weir: hint:", u.hint)
		}
		return wrong
	case errors.As(err, &list):
		printErrors(w, list)
		return wrong
	}
	fmt.Fprintln(w, "weir:", err)
	return failed
}

// printErrors prints located errors, each with its hint.
func printErrors(w io.Writer, list strict.Errors) {
	for _, e := range list {
		fmt.Fprintln(w, "weir:", e)
		if e.Hint != "" {
			fmt.Fprintln(w, "weir: hint:", e.Hint)
		}
	}
}
