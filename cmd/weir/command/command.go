package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"weir/configs/strict"
)

// Exit statuses.
const (
	done        = 0
	failed      = 1
	wrong       = 2 // the input: flags, config, rules
	interrupted = 130
)

// usageError is an error in how a command was called.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }

// command is one of weir's commands.
type command struct {
	name, args, short string
	run               func(ctx context.Context, c *call) error
}

// Env is what a command has of its process.
type Env struct {
	Release string // version of the source tree, e.g. 0.1.0
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	// Reload begins to take the signals that ask a running weir to look at its rule
	// files at once; nil: there are none.
	Reload func() <-chan os.Signal
}

// call is one invocation of a command.
type call struct {
	name    string
	args    []string
	release string
	stdin   io.Reader
	stdout  io.Writer
	stderr  io.Writer
	reload  func() <-chan os.Signal
}

func commands() []command {
	return []command{
		{"run", "-c weir.yaml", "run the broker, the log, the rules and the sinks", runRun},
		{"check", "-c weir.yaml", "check a config, its sources and its rules, and change nothing", runCheck},
		{"decode", "-c weir.yaml --topic T", "show the events that a payload becomes", runDecode},
		{"rules", "check|test|list|backtest|explain|shadow", "check rule files, test them, say what they would have done, and why alerts fired", runRules},
		{"events", "tail|replay", "follow the log, or make a consumer read it again", runEvents},
		{"dead-letters", "list|show|replay|drop", "look at what could not be delivered, and repair it", runDeadLetters},
		{"alerts", "list|history|ack|unack", "show alerts and what became of them, and acknowledge them", runAlerts},
		{"silences", "list|add|expire", "tell nobody of some alerts for a time", runSilences},
		{"devices", "list|show", "show the devices that have been heard of", runDevices},
		{"audit", "", "balance the books: received = delivered + filtered + dead-lettered + lost + pending", runAudit},
		{"users", "hash", "hash a password for the users file", runUsers},
		{"version", "", "print the version", runVersion},
	}
}

// Run runs the command that args, without the program's name, ask for, until
// it is done or ctx ends, and returns the exit status.
func Run(ctx context.Context, args []string, env Env) int {
	if len(args) == 0 {
		usage(env.Stderr)
		return wrong
	}
	if args[0] == "-h" || args[0] == "--help" || args[0] == "help" {
		usage(env.Stdout)
		return done
	}
	var names []string
	for _, c := range commands() {
		if c.name == args[0] {
			return report(env.Stderr, c.run(ctx, &call{name: "weir " + c.name, args: args[1:],
				release: env.Release, stdin: env.Stdin, stdout: env.Stdout, stderr: env.Stderr, reload: env.Reload}))
		}
		names = append(names, c.name)
	}
	hint := "weir --help lists the commands"
	if s := strict.Suggest(args[0], names); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	return report(env.Stderr, &usageError{fmt.Sprintf("unknown command %q", args[0]), hint})
}

func usage(w io.Writer) {
	fmt.Fprint(w, "weir ingests device telemetry over MQTT, makes it durable, evaluates rules and delivers it.\n\nUsage:\n")
	for _, c := range commands() {
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
	case errors.Is(err, context.Canceled):
		return interrupted
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
