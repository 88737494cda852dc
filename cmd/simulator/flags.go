package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"weir/configs/strict"
	"weir/simulator/endpoint"
)

// errHelp says that help was asked for and given.
var errHelp = errors.New("help was printed")

// usageError is wrong input: exit status 2.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }

// flagSet is a flag.FlagSet that speaks as this command does: flags with two
// dashes, errors with a hint, help with an example.
type flagSet struct {
	*flag.FlagSet
	about, example string
}

func newFlagSet(name, about, example string) *flagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	return &flagSet{fs, about, example}
}

// parse reads args; help goes to stdout.
func (f *flagSet) parse(args []string, stdout io.Writer) error {
	help := fmt.Sprintf("simulator %s --help lists the flags", f.Name())
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		f.help(stdout)
		return errHelp
	case err != nil:
		msg := strings.NewReplacer("flag provided but not defined: -", "unknown flag --", "for flag -", "for --", "flag needs an argument: -", "a value is missing after --").Replace(err.Error())
		if name, ok := strings.CutPrefix(msg, "unknown flag --"); ok {
			var known []string
			f.VisitAll(func(g *flag.Flag) { known = append(known, g.Name) })
			help = didYouMean(name, known, help)
			if !strings.HasPrefix(help, "simulator ") {
				help = strings.Replace(help, `"`, `"--`, 1)
			}
		}
		return &usageError{msg: f.Name() + ": " + msg, hint: help}
	}
	if f.NArg() > 0 {
		return &usageError{msg: fmt.Sprintf("%s: unexpected argument %q", f.Name(), f.Arg(0)), hint: help}
	}
	return nil
}

func (f *flagSet) help(w io.Writer) {
	fmt.Fprintf(w, "%s\n\nusage: simulator %s [flags]\n\nflags:\n", f.about, f.Name())
	f.VisitAll(func(g *flag.Flag) {
		kind, text := flag.UnquoteUsage(g)
		name := strings.TrimSpace("--" + g.Name + " " + kind)
		fmt.Fprintf(w, "  %-26s %s", name, text)
		zero := reflect.New(reflect.TypeOf(g.Value).Elem()).Interface().(flag.Value).String()
		if g.DefValue != zero && g.DefValue != "" {
			fmt.Fprintf(w, " (default %s)", g.DefValue)
		}
		fmt.Fprintln(w)
	})
	fmt.Fprintf(w, "\nexample:\n  %s\n", f.example)
}

// endpointFlags adds the flags that say where the broker is. The function that
// it returns makes the endpoint once the flags are parsed.
func endpointFlags(fs *flag.FlagSet) func() (endpoint.Endpoint, error) {
	var e endpoint.Endpoint
	fs.StringVar(&e.Broker, "broker", "tcp://127.0.0.1:1883", "`URL` of the broker; ssl:// for TLS")
	fs.StringVar(&e.Username, "username", "", "user `NAME`")
	fs.StringVar(&e.Password, "password", "", "password; better given in the environment as SIMULATOR_PASSWORD")
	ca := fs.String("tls-ca", "", "PEM `FILE` of the authorities to trust instead of the system's")
	cert := fs.String("tls-cert", "", "PEM `FILE` of a client certificate")
	key := fs.String("tls-key", "", "PEM `FILE` of its key")
	return func() (endpoint.Endpoint, error) {
		if e.Password == "" {
			e.Password = os.Getenv("SIMULATOR_PASSWORD")
		}
		if e.Password != "" && e.Username == "" {
			return e, &usageError{msg: "--password without --username"}
		}
		if _, _, err := e.Address(); err != nil {
			return e, &usageError{msg: err.Error()}
		}
		var err error
		if e.TLS, err = endpoint.LoadTLS(*ca, *cert, *key); err != nil {
			return e, &usageError{msg: err.Error()}
		}
		return e, nil
	}
}

// didYouMean is a hint that names the known word nearest to an unknown one, or
// otherwise if none is near.
func didYouMean(word string, known []string, otherwise string) string {
	if best := strict.Suggest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return otherwise
}
