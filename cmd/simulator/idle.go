package main

import (
	"context"
	"errors"
	"io"

	"weir/simulator/bench"
)

// runIdle is bench with --idle-connections.
func runIdle(ctx context.Context, cfg bench.Config, own benchFlags, stdout, stderr io.Writer) error {
	cfg.Client.Connections = own.idle
	if own.interval <= 0 || own.connectRate <= 0 {
		return &usageError{msg: "bench: --interval and --connect-rate must be above 0"}
	}
	if cfg.Paho || cfg.Schedule.Rate > 0 {
		return &usageError{msg: "bench: --idle-connections goes with neither --client paho nor --rate", hint: "their rate is connections / --interval"}
	}
	hold := cfg.Schedule.Duration
	if hold < 0 {
		return &usageError{msg: "bench: --duration is negative"}
	}
	idle := bench.Idle{Interval: own.interval, ConnectRate: own.connectRate, Hold: hold}
	result, err := bench.RunIdle(ctx, cfg, idle, benchProgress(own, stderr))
	return errors.Join(printResult(stdout, own.json, &result), err)
}
