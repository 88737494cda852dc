package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"time"

	"weir/simulator"
	"weir/simulator/model"
)

func runFleet(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg := simulator.Default()
	fs := newFlagSet("run", "simulator run publishes a fleet of simulated devices, with faults, until it is interrupted.",
		"simulator run --devices 20 --sites 2 --interval 1s --anomalies fail,spike")
	where := endpointFlags(fs.FlagSet)
	fs.IntVar(&cfg.Devices, "devices", cfg.Devices, "devices in all")
	fs.IntVar(&cfg.Sites, "sites", cfg.Sites, "sites that they are spread over")
	fs.DurationVar(&cfg.Interval, "interval", cfg.Interval, "time between two messages of a device")
	rate := fs.Float64("rate", 0, "messages a second of each device, instead of --interval")
	qos := fs.Int("qos", int(cfg.QoS), "`QOS`: 0, 1 or 2")
	profile := fs.String("profile", string(cfg.Profile), "`PROFILE`: freezer, room, machine, meter, value or line-protocol")
	fs.StringVar(&cfg.Topic, "topic", cfg.Topic, "`TOPIC`; {site}, {device} and {profile} are replaced")
	anomalies := fs.String("anomalies", "all", "`LIST` of fail, spike, drift, stuck, dropout, flapping; or all, or none")
	fs.DurationVar(&cfg.AnomalyEvery, "anomaly-every", cfg.AnomalyEvery, "mean time between two anomalies of one device (0: only the first one)")
	fs.DurationVar(&cfg.FirstAnomaly, "first-anomaly", cfg.FirstAnomaly, "when the first device has its first anomaly (0: at random)")
	fs.DurationVar(&cfg.Duration, "duration", 0, "stop after this time")
	fs.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "the same seed gives the same readings")
	fs.IntVar(&cfg.Clients, "clients", 0, "connections that the devices share (default one a device, 100 at most)")
	fs.StringVar(&cfg.IDPrefix, "client-id-prefix", cfg.IDPrefix, "client ids are this and a number")
	asJSON := fs.Bool("json", false, "print the summary as JSON")
	quiet := fs.Bool("quiet", false, "no status lines and no log on stderr")
	if err := fs.parse(args, stdout); err != nil {
		return err
	}
	if cfg.Endpoint, err = where(); err != nil {
		return err
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["rate"] && given["interval"]:
		return &usageError{msg: "run: --rate and --interval say the same thing: give one"}
	case given["rate"] && *rate <= 0:
		return &usageError{msg: fmt.Sprintf("run: --rate %v is not above 0", *rate)}
	case given["rate"]:
		cfg.Interval = time.Duration(float64(time.Second) / *rate)
	}
	if *qos < 0 || *qos > 2 {
		return &usageError{msg: fmt.Sprintf("run: --qos %d is not 0, 1 or 2", *qos)}
	}
	cfg.QoS, cfg.Profile = byte(*qos), model.Profile(*profile)
	if cfg.Anomalies, err = model.ParseAnomalies(*anomalies); err != nil {
		return &usageError{msg: "run: --anomalies: " + err.Error()}
	}
	if err := cfg.Validate(); err != nil {
		return &usageError{msg: "run: " + err.Error(), hint: "simulator run --help lists the flags"}
	}
	var observe func(simulator.Status)
	if !*quiet {
		cfg.Log = slog.New(slog.NewTextHandler(stderr, nil))
		observe = fleetStatus(stderr)
	}
	status, err := simulator.Run(ctx, cfg, observe)
	return errors.Join(printSummary(stdout, *asJSON, status), err)
}

// fleetStatus prints a line each time.
func fleetStatus(w io.Writer) func(simulator.Status) {
	var last simulator.Status
	return func(s simulator.Status) {
		rate := float64(s.Acked-last.Acked) / max(s.Seconds-last.Seconds, 1e-9)
		fmt.Fprintf(w, "%5.0fs  published %d  acked %d  %.0f msgs/s  connected %d/%d  reconnects %d  skipped %d\n",
			s.Seconds, s.Published, s.Acked, rate, s.Connected, s.Clients, s.Reconnects, s.Skipped)
		last = s
	}
}

func printSummary(w io.Writer, asJSON bool, s simulator.Status) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	_, err := fmt.Fprintf(w, "%d devices published %d messages in %.0f s: %d acked, %d failed, %d skipped, %d dropped out; %d anomalies, %d reconnects\n",
		s.Devices, s.Published, s.Seconds, s.Acked, s.Failed, s.Skipped, s.Dropped, s.Anomalies, s.Reconnects)
	return err
}
