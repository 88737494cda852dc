package main

import (
	"context"
	"errors"
	"io"

	"weir/simulator/bench"
)

// runIdle is bench with --idle-connections.
func runIdle(ctx context.Context, cfg bench.Config, own benchFlags, stdout, stderr io.Writer) error {
	if own.interval <= 0 || own.connectRate <= 0 {
		return &usageError{msg: "bench: --interval and --connect-rate must be above 0"}
	}
	if cfg.Paho || cfg.Schedule.Rate > 0 {
		return &usageError{msg: "bench: --idle-connections goes with neither --client paho nor --rate", hint: "their rate is connections / --interval"}
	}
	if own.ackedFile != "" {
		return &usageError{msg: "bench: --idle-connections does not write an --acked-file"}
	}
	idle := bench.Idle{Interval: own.interval, ConnectRate: own.connectRate, Hold: cfg.Schedule.Duration}
	result, err := bench.RunIdle(ctx, cfg, idle, benchProgress(own, stderr))
	return errors.Join(printResult(stdout, own.json, &result), err)
}
