package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"weir/configs"
	"weir/configs/strict"
)

// errHelp says that help was asked for and printed.
var errHelp = errors.New("help was printed")

// back is a time back from now, such as -10m, and no flag.
var back = regexp.MustCompile(`^-[0-9]`)

// flags parses the flags of a command and returns what is left. about is the
// first line of its help, example one that can be pasted.
func (c *call) flags(fs *flag.FlagSet, about, example string) ([]string, error) {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	rest := []string{}
	args := c.args
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(c.stdout, "%s\n\n", about)
			fs.VisitAll(func(f *flag.Flag) {
				name, usage := flag.UnquoteUsage(f)
				def := ""
				if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
					def = " (default " + f.DefValue + ")"
				}
				fmt.Fprintf(c.stdout, "  %-22s %s%s\n", dashes(f.Name)+" "+name, usage, def)
			})
			fmt.Fprintf(c.stdout, "\nFor example: %s\n", example)
			return nil, errHelp
		}
		if err != nil {
			return nil, &usageError{c.name + ": " + flagProblem(err), hintFor(fs, err, c.name)}
		}
		// Flags may stand after arguments too.
		args = fs.Args()
		for len(args) > 0 && (!strings.HasPrefix(args[0], "-") || args[0] == "-" || back.MatchString(args[0])) {
			rest = append(rest, args[0])
			args = args[1:]
		}
		if len(args) == 0 {
			return rest, nil
		}
	}
}

func dashes(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// undefinedFlag is how package flag says that it doesn't know one.
const undefinedFlag = "flag provided but not defined: -"

// flagProblem says what is wrong with flags, with the dashes that weir's help shows.
func flagProblem(err error) string {
	msg := err.Error()
	if name, ok := strings.CutPrefix(msg, undefinedFlag); ok {
		return "unknown flag " + dashes(strings.TrimPrefix(name, "-"))
	}
	msg = regexp.MustCompile(`(flag|argument:|for) -([a-z][a-z-]+)`).ReplaceAllString(msg, "$1 --$2")
	return strings.TrimSuffix(msg, ": parse error")
}

func hintFor(fs *flag.FlagSet, err error, name string) string {
	if got, ok := strings.CutPrefix(err.Error(), undefinedFlag); ok {
		var known []string
		fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
		if s := strict.Suggest(strings.TrimPrefix(got, "-"), known); s != "" {
			return fmt.Sprintf("did you mean %s?", dashes(s))
		}
	}
	return name + " --help lists the flags"
}

// noArgs complains about arguments that a command does not take.
func (c *call) noArgs(rest []string) error {
	if len(rest) > 0 {
		return &usageError{fmt.Sprintf("%s: unexpected argument %q", c.name, rest[0]), c.name + " --help says what it takes"}
	}
	return nil
}

// onlyFlags parses the flags of a command that takes no arguments.
func (c *call) onlyFlags(fs *flag.FlagSet, about, example string) error {
	rest, err := c.flags(fs, about, example)
	if err != nil {
		return err
	}
	return c.noArgs(rest)
}

// verb is a sub-command.
type verb struct {
	name string
	run  func(ctx context.Context, c *call) error
}

// sub runs the sub-command that the first argument names.
func (c *call) sub(ctx context.Context, verbs ...verb) error {
	var order []string
	for _, v := range verbs {
		order = append(order, v.name)
	}
	if len(c.args) == 0 || c.args[0] == "-h" || c.args[0] == "--help" || c.args[0] == "help" {
		if len(c.args) == 0 {
			return &usageError{c.name + ": which one?", c.name + " " + strings.Join(order, "|")}
		}
		fmt.Fprintf(c.stdout, "Usage: %s %s\n\n%s %s --help says more.\n", c.name, strings.Join(order, "|"), c.name, order[0])
		return errHelp
	}
	name := c.args[0]
	i := slices.Index(order, name)
	if i < 0 {
		hint := c.name + " " + strings.Join(order, "|")
		if s := strict.Suggest(name, order); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
		return &usageError{fmt.Sprintf("%s: unknown command %q", c.name, name), hint}
	}
	c.name, c.args = c.name+" "+name, c.args[1:]
	return verbs[i].run(ctx, c)
}

// configFlag adds -c.
func configFlag(fs *flag.FlagSet) *string {
	return fs.String("c", "", "the config `file`; without it the demo config that is built in")
}

// dataDirFlag adds --data-dir.
func dataDirFlag(fs *flag.FlagSet) *string {
	return fs.String("data-dir", "", "use this data `directory` instead of the config's data_dir")
}

// useDataDir puts a data directory in the place of the config's, if one was given.
func useDataDir(cfg *configs.Config, dir string) {
	if dir != "" {
		cfg.DataDir.Value = dir
	}
}

// loadConfig loads the config file, or the built-in one.
func loadConfig(path string) (*configs.Config, error) {
	if path == "" {
		return configs.LoadFS(configs.Demo(), "demo.yaml", os.Getenv)
	}
	cfg, err := configs.Load(path)
	var list strict.Errors
	if err != nil && !errors.As(err, &list) {
		return nil, &usageError{err.Error(), "-c names the config file; configs/weir.yaml explains every key"}
	}
	return cfg, err
}
