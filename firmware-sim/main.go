// Command firmware-sim runs the firmware of one simulated device: sensors, a
// queue in flash, MQTT over a network that comes and goes, and one command.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"weir/firmware-sim/firmware"
)

// Exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// flags are what the command line says beside the firmware's own Config.
type flags struct {
	ca, cert, key        string
	crashAfter, duration time.Duration
	quiet                bool
}

func newFlagSet(cfg *firmware.Config, own *flags) *flag.FlagSet {
	fs := flag.NewFlagSet("firmware-sim", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&cfg.Broker.URL, "broker", cfg.Broker.URL, "`URL` of the broker; ssl:// for TLS")
	fs.StringVar(&cfg.Broker.Username, "username", "", "user `NAME`")
	fs.StringVar(&cfg.Broker.Password, "password", "", "password; better given in the environment as FIRMWARE_PASSWORD")
	fs.StringVar(&own.ca, "tls-ca", "", "PEM `FILE` of the authorities to trust instead of the system's")
	fs.StringVar(&own.cert, "tls-cert", "", "PEM `FILE` of the device's certificate")
	fs.StringVar(&own.key, "tls-key", "", "PEM `FILE` of its key")
	fs.StringVar(&cfg.Device, "device", cfg.Device, "`ID` of the device")
	fs.StringVar(&cfg.Site, "site", cfg.Site, "`NAME` of its site")
	fs.DurationVar(&cfg.Interval, "interval", cfg.Interval, "time between two readings, until a command changes it")
	fs.StringVar(&cfg.DataDir, "data-dir", cfg.DataDir, "`DIRECTORY` that is the device's flash")
	fs.Int64Var(&cfg.QueueBytes, "queue-bytes", cfg.QueueBytes, "`BYTES` of flash for readings that wait; then the oldest go")
	fs.BoolVar(&cfg.Sync, "sync", cfg.Sync, "wait for the disk with each reading, to survive the power's end")
	fs.IntVar(&cfg.Window, "window", cfg.Window, "messages in flight")
	fs.DurationVar(&cfg.Backoff.First, "backoff", cfg.Backoff.First, "first pause between attempts to connect; it doubles")
	fs.DurationVar(&cfg.Backoff.Max, "backoff-max", cfg.Backoff.Max, "longest such pause")
	fs.DurationVar(&cfg.ClockDelay, "clock-delay", cfg.ClockDelay, "time from the connection until the device knows the time")
	fs.DurationVar(&cfg.ClockSkew, "clock-skew", 0, "fault: the device's clock is wrong by this")
	fs.DurationVar(&own.crashAfter, "crash-after", 0, "fault: the process kills itself (SIGKILL) after this time")
	fs.DurationVar(&own.duration, "duration", 0, "stop in good order after this time")
	fs.BoolVar(&own.quiet, "quiet", false, "no log on stderr")
	return fs
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cfg, own := firmware.Default(), flags{}
	fs := newFlagSet(&cfg, &own)
	wrong := func(err error) int {
		fmt.Fprintf(stderr, "firmware-sim: %v\nfirmware-sim: hint: firmware-sim --help lists the flags\n", err)
		return exitUsage
	}
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		help(stdout, fs)
		return exitDone
	} else if err != nil {
		return wrong(errors.New(strings.NewReplacer("flag provided but not defined: -", "unknown flag --", "for flag -", "for --", "flag needs an argument: -", "a value is missing after --").Replace(err.Error())))
	}
	if fs.NArg() > 0 {
		return wrong(fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	if cfg.Broker.Password == "" {
		cfg.Broker.Password = os.Getenv("FIRMWARE_PASSWORD")
	}
	var err error
	if cfg.Broker.TLS, err = loadTLS(own.ca, own.cert, own.key); err != nil {
		return wrong(err)
	}
	if err := cfg.Validate(); err != nil {
		return wrong(err)
	}
	if !own.quiet {
		cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
	}
	if err := live(ctx, cfg, own); err != nil {
		fmt.Fprintf(stderr, "firmware-sim: %v\n", err)
		return exitFailed
	}
	return exitDone
}

// live boots a device and runs it until it is interrupted.
func live(ctx context.Context, cfg firmware.Config, own flags) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if own.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, own.duration)
		defer cancel()
	}
	device := firmware.New(cfg)
	if err := device.Open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, device.Close()) }()
	if own.crashAfter > 0 {
		t := time.AfterFunc(own.crashAfter, func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) })
		defer t.Stop()
	}
	return device.Run(ctx)
}

func help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprint(w, "firmware-sim runs the firmware of one simulated device until it is interrupted.\n\nusage: firmware-sim [flags]\n\nflags:\n")
	fs.VisitAll(func(f *flag.Flag) {
		kind, text := flag.UnquoteUsage(f)
		fmt.Fprintf(w, "  %-24s %s", strings.TrimSpace("--"+f.Name+" "+kind), text)
		if f.DefValue != "" && f.DefValue != "0s" && f.DefValue != "false" {
			fmt.Fprintf(w, " (default %s)", f.DefValue)
		}
		fmt.Fprintln(w)
	})
	fmt.Fprint(w, "\nexample:\n  firmware-sim --broker tcp://127.0.0.1:1883 --site site-1 --device freezer-9 --interval 1s --data-dir ./freezer-9\n")
}

// loadTLS makes TLS settings of PEM files; nil if there are none.
func loadTLS(ca, cert, key string) (*tls.Config, error) {
	if ca == "" && cert == "" && key == "" {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--tls-ca: %s holds no PEM certificate", ca)
		}
	}
	if cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert and --tls-key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}
