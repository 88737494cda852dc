package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"weir/simulator/bench"
	"weir/simulator/wire"
)

// benchFlags are the flags of bench that are not fields of its Config.
type benchFlags struct {
	version, client, payload, ackedFile, unit string
	sources                                   string
	qos                                       int
	idle                                      int
	interval                                  time.Duration
	connectRate                               float64
	json, quiet                               bool
}

func benchFlagSet(cfg *bench.Config, own *benchFlags) *flagSet {
	fs := newFlagSet("bench", "simulator bench publishes a fixed count as fast as the broker takes it, and measures.",
		"simulator bench --count 1000000 --connections 50 --window 100 --qos 1")
	fs.Uint64Var(&cfg.Schedule.Count, "count", cfg.Schedule.Count, "messages in all; without --count, --duration alone ends the run")
	fs.DurationVar(&cfg.Schedule.Duration, "duration", 0, "stop publishing after this time")
	fs.Float64Var(&cfg.Schedule.Rate, "rate", 0, "messages a second in all; latency then runs from when each was due (0: as fast as it goes)")
	fs.DurationVar(&cfg.Schedule.Tick, "tick", cfg.Schedule.Tick, "with --rate: messages of a connection that lie closer together are sent together; longer costs less CPU")
	fs.IntVar(&cfg.Client.Connections, "connections", cfg.Client.Connections, "connections that publish")
	fs.IntVar(&cfg.Schedule.Window, "window", cfg.Schedule.Window, "messages in flight a connection, QoS 1 and 2")
	fs.IntVar(&cfg.Schedule.Burst, "burst", 0, "send when this much of the window is free (default a quarter of it)")
	fs.IntVar(&own.qos, "qos", 1, "`QOS`: 0, 1 or 2")
	fs.IntVar(&cfg.Load.Devices, "devices", 0, "devices; each belongs to one connection (default one a connection)")
	fs.StringVar(&cfg.Load.Topic, "topic", cfg.Load.Topic, "`TOPIC`; {device} is d0, d1, ... and {n} the number alone")
	fs.IntVar(&cfg.Load.Size, "size", 0, "`BYTES` of JSON a message, filled up (default as it comes, about 90)")
	fs.StringVar(&own.payload, "payload", "", "`FILE` to publish instead; {seq}, {device} and {ts} in it are replaced")
	fs.StringVar(&own.unit, "time", string(cfg.Load.Time), "`UNIT` of the field ts: none, s, ms, us or ns; unique and growing for each device")
	fs.Uint64Var(&cfg.Load.SeqStart, "seq-start", 0, "sequence number of the first message")
	fs.StringVar(&own.version, "mqtt-version", "3.1.1", "MQTT `VERSION`: 3.1.1 or 5")
	fs.StringVar(&cfg.Client.IDPrefix, "client-id-prefix", cfg.Client.IDPrefix, "client ids are this and a number")
	fs.DurationVar(&cfg.Client.KeepAlive, "keepalive", cfg.Client.KeepAlive, "keepalive of the connections")
	fs.StringVar(&own.sources, "source-ips", "", "connect from these local `ADDRESSES` in turn, e.g. 127.0.0.1,127.0.0.2; each has about 28,000 ports")
	fs.StringVar(&own.client, "client", "raw", "`NAME` of the client: raw (the fast one) or paho")
	fs.BoolVar(&cfg.Fault.Reconnect, "reconnect", false, "when a connection breaks, dial again and send what is unacknowledged with DUP")
	fs.DurationVar(&cfg.Fault.Timeout, "timeout", cfg.Fault.Timeout, "give up when nothing moves for this long")
	fs.StringVar(&own.ackedFile, "acked-file", "", "append the seq of every acknowledged message to `FILE`, one a line")
	fs.IntVar(&own.idle, "idle-connections", 0, "instead of a load: hold `N` connections that publish once an --interval, for --duration")
	fs.DurationVar(&own.interval, "interval", time.Minute, "with --idle-connections: time between two messages of one")
	fs.Float64Var(&own.connectRate, "connect-rate", 2000, "with --idle-connections: new connections a second")
	fs.BoolVar(&own.json, "json", false, "print the result as JSON")
	fs.BoolVar(&own.quiet, "quiet", false, "no progress on stderr")
	return fs
}

func runBench(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	cfg, own := bench.Default(), benchFlags{}
	fs := benchFlagSet(&cfg, &own)
	where := endpointFlags(fs.FlagSet)
	if err := fs.parse(args, stdout); err != nil {
		return err
	}
	given := make(map[string]bool)
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["duration"] && !given["count"] {
		cfg.Schedule.Count = 0
	}
	if cfg.Endpoint, err = where(); err != nil {
		return err
	}
	if err := own.apply(&cfg); err != nil {
		return err
	}
	if own.idle > 0 {
		cfg.Client.Connections = own.idle
	}
	if err := cfg.Validate(); err != nil {
		return &usageError{msg: "bench: " + err.Error(), hint: "simulator bench --help lists the flags"}
	}
	if own.idle > 0 {
		return runIdle(ctx, cfg, own, stdout, stderr)
	}
	if own.ackedFile != "" {
		file, err := os.OpenFile(own.ackedFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open the file of acknowledged messages: %w", err)
		}
		w := bufio.NewWriterSize(file, 1<<20)
		cfg.Acked = w
		defer func() { err = errors.Join(err, w.Flush(), file.Close()) }()
	}
	result, err := bench.Run(ctx, cfg, benchProgress(own, stderr))
	return errors.Join(printResult(stdout, own.json, &result), err)
}

// apply turns what flags say in words into cfg.
func (b *benchFlags) apply(cfg *bench.Config) error {
	switch b.version {
	case "3.1.1", "4":
		cfg.Client.Version = wire.V311
	case "5", "5.0":
		cfg.Client.Version = wire.V5
	default:
		return &usageError{msg: fmt.Sprintf("bench: --mqtt-version %q is neither 3.1.1 nor 5", b.version)}
	}
	switch b.client {
	case "raw":
	case "paho":
		cfg.Paho = true
	default:
		return &usageError{msg: fmt.Sprintf("bench: --client %q is neither raw nor paho", b.client)}
	}
	if b.qos < 0 || b.qos > 2 {
		return &usageError{msg: fmt.Sprintf("bench: --qos %d is not 0, 1 or 2", b.qos)}
	}
	cfg.Load.QoS = byte(b.qos)
	cfg.Load.Time = bench.TimeUnit(b.unit)
	for text := range strings.SplitSeq(b.sources, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		ip := net.ParseIP(text)
		if ip == nil {
			return &usageError{msg: fmt.Sprintf("bench: --source-ips: %q is not an IP address", text)}
		}
		cfg.Client.Sources = append(cfg.Client.Sources, ip)
	}
	if b.payload != "" {
		text, err := os.ReadFile(b.payload)
		if err != nil {
			return &usageError{msg: "bench: --payload: " + err.Error()}
		}
		cfg.Load.Payload = text
	}
	return nil
}

// benchProgress prints a line a second.
func benchProgress(own benchFlags, stderr io.Writer) func(bench.Progress) {
	if own.quiet {
		return nil
	}
	var last bench.Progress
	return func(p bench.Progress) {
		seconds := max((p.Elapsed - last.Elapsed).Seconds(), 1e-9)
		fmt.Fprintf(stderr, "%4.0fs  sent %d  acked %d  %.0f msgs/s  connections %d  reconnects %d\n",
			p.Elapsed.Seconds(), p.Sent, p.Acked, float64(p.Acked-last.Acked)/seconds, p.Connected, p.Reconnects)
		last = p
	}
}

// result is what both kinds of bench return.
type result interface{ WriteText(io.Writer) error }

func printResult(w io.Writer, asJSON bool, r result) error {
	if !asJSON {
		return r.WriteText(w)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
