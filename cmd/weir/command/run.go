package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"weir/cmd/weir/app"
	"weir/configs"
)

func runRun(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	file := configFlag(fs)
	dataDir := dataDirFlag(fs)
	if err := c.onlyFlags(fs, "Run the broker, the log, the rules and the sinks until SIGINT or SIGTERM. SIGHUP makes a service look at its rule files at once, and ends a weir whose terminal was closed.", "weir run -c configs/demo.yaml"); err != nil {
		return err
	}
	cfg, err := loadConfig(*file)
	if err != nil {
		return err
	}
	useDataDir(cfg, *dataDir)
	log := logger(cfg, c)
	for _, w := range cfg.Warnings {
		log.Warn("config", "at", w.Error(), "hint", w.Hint)
	}
	for _, n := range cfg.Notes {
		log.Info("config", "at", n.Error())
	}
	o := app.Options{Log: log, Stdout: c.stdout, Version: c.version()}
	if c.reload != nil {
		o.Reload = c.reload()
	}
	a, err := app.New(cfg, o)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Open(ctx); err != nil {
		return err
	}
	return a.Run(ctx)
}

// logger writes weir's own log to stderr: stdout is for data.
func logger(cfg *configs.Config, c *call) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Logging.Level.Value)); err != nil {
		level = slog.LevelInfo // the config was checked
	}
	o := &slog.HandlerOptions{Level: level}
	if cfg.Logging.Format.Value == "json" {
		return slog.New(slog.NewJSONHandler(c.stderr, o))
	}
	return slog.New(slog.NewTextHandler(c.stderr, o))
}

func runCheck(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	file := configFlag(fs)
	if err := c.onlyFlags(fs, "Check a config, its sources, users and rules, and change nothing.", "weir check -c weir.yaml"); err != nil {
		return err
	}
	cfg, err := loadConfig(*file)
	if err != nil {
		return err
	}
	sum, err := app.Check(cfg)
	printErrors(c.stderr, cfg.Warnings)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stdout, "%s: ok: %s, %s, %s\n", cfg.File, count(sum.Sources, "source"), count(sum.Rules, "rule"), count(sum.Sinks, "sink"))
	return nil
}

// count writes a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// version returns the release and the revision it was built from.
func (c *call) version() string {
	v := c.release
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" && len(s.Value) >= 12 {
				v += "+" + s.Value[:12]
			}
		}
	}
	return v
}

func runVersion(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("version", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	if err := c.onlyFlags(fs, "Print the version of weir and of Go.", "weir version --json"); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(c.stdout).Encode(map[string]string{"version": c.version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH})
	}
	fmt.Fprintf(c.stdout, "weir %s (%s, %s/%s)\n", c.version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}
