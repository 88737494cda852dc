package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"weir/configs"
	"weir/console"
	"weir/devices"
	"weir/ingest/eventlog"
)

// Offline answers the API's questions from a data directory that no process
// has open.
type Offline struct {
	Handler http.Handler
	events  *eventlog.Log
}

// OpenOffline opens the data directory of a config. It fails with
// eventlog.ErrLocked when weir runs on it.
func OpenOffline(ctx context.Context, cfg *configs.Config) (*Offline, error) {
	lcfg := logConfig(cfg, discardLog())
	lcfg.Inspect = true // the log keeps the retention that it has, whatever this config says
	set, err := Sources(cfg)
	if err != nil {
		return nil, err
	}
	dec := newDecoding(set)
	lcfg.Decode = dec.decode
	l, err := eventlog.Open(ctx, lcfg)
	if errors.Is(err, eventlog.ErrNoLog) && cfg.Log.Embedded() {
		return nil, fmt.Errorf("there is no data in %s: has weir run with this config? data_dir is relative to the working directory", lcfg.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open the event log: %w", err)
	}
	reg := devices.NewRegistry(devices.Config{OfflineAfter: cfg.Devices.OfflineAfter, Partitions: l.Partitions()})
	for i := range l.Partitions() {
		_, state, err := l.LoadState(ctx, consumerDevices, i)
		if err == nil {
			err = reg.Partition(i).Restore(state)
		}
		if err != nil && !errors.Is(err, eventlog.ErrNoCursor) {
			l.Close()
			return nil, fmt.Errorf("load the devices: %w", err)
		}
	}
	past := offlinePast(l, cfg)
	return &Offline{
		Handler: console.New(console.Deps{Log: l, Devices: reg, Decode: dec.decode, Backtest: backtests(past), Explain: explanations(past), Shadow: shadows(past)}),
		events:  l,
	}, nil
}

// Close closes the log.
func (o *Offline) Close() error { return o.events.Close() }
