package app

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/configs"
	"weir/console"
	"weir/devices"
	"weir/ingest/consume"
	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
	"weir/sinks/mqtt"
)

// Names of the built-in consumers. Sinks have the names that the config gives them.
const (
	consumerRules   = "rules"
	consumerGroups  = "rules-groups"
	consumerDevices = "devices"
	consumerActions = "actions"
	consumerPrint   = "terminal"
)

// openConsumers makes a runner for every consumer in every partition.
func (a *App) openConsumers(ctx context.Context) error {
	metrics := consume.NewMetrics()
	a.metrics.MustRegister(metrics.Collectors()...)
	if a.events.Partitions() > 1 {
		var err error
		if a.groups, err = a.openGroups(ctx); err != nil {
			return err
		}
	}
	for i := range a.events.Partitions() {
		p := a.events.Partition(i)
		add := func(name string, h consume.Handler, start consume.Start, change func(*consume.Config)) {
			c := consume.Config{Name: name, Log: a.events, Partition: p, Handler: h, Start: start, Metrics: metrics, Logger: a.log}
			if change != nil {
				change(&c)
			}
			a.runners = append(a.runners, consume.New(c))
		}
		rc := newRuleConsumer(p, a.rings[i], a.committers[i], a.rules, a.log)
		if n := a.events.Partitions(); n > 1 {
			rc.engine.SetOwner(func(device string) bool { return decode.Partition(device, n) == i })
		}
		a.rulers = append(a.rulers, rc)
		add(consumerRules, rc, consume.Start{}, nil)
		if a.groups != nil {
			rc.engine.SetScope(rules.PartitionRules)
			add(consumerGroups, groupsIn{a.groups, i}, consume.Start{}, func(c *consume.Config) {
				c.RetryMin, c.SaveEvery = groupsLater, groupsSave*time.Duration(a.events.Partitions())
			})
		}
		add(console.DecodeConsumer, decodeHandler{}, consume.Start{}, nil)
		add(consumerDevices, a.registry.Partition(i), consume.Start{}, nil)
		add(consumerActions, mqtt.NewActions(a.broker), consume.Start{}, nil)
		if a.opts.Stdout != nil {
			add(consumerPrint, printer{a.opts.Stdout}, consume.Start{}, nil)
		}
		for _, s := range a.sinks {
			add(s.cfg.Name.Value, s.of(i), startOf(s.cfg.Start), func(c *consume.Config) {
				c.RetryMin, c.RetryMax, c.MaxAttempts = s.cfg.Retry.Min, s.cfg.Retry.Max, s.cfg.Retry.MaxAttempts
			})
		}
	}
	for _, s := range a.sinks {
		if err := s.open(ctx, a); err != nil {
			return fmt.Errorf("open sink %s: %w", s.cfg.Name.Value, err)
		}
	}
	return nil
}

func startOf(s configs.Start) consume.Start {
	switch s.Mode {
	case configs.StartAll:
		return consume.Start{}
	case configs.StartTime:
		return consume.Start{Time: s.Time}
	}
	return consume.Start{New: true}
}

// decodeHandler puts what could not be decoded to the dead letters, once for
// all consumers: to the others such messages are simply not for them.
type decodeHandler struct{}

func (decodeHandler) Handle(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	for n, b := range batches {
		for _, r := range b.Rejects {
			out.Dead = append(out.Dead, event.Dead{Batch: n, Message: r.Message, Err: r.Err})
		}
		withEvents := 0
		for i := range b.Messages {
			if len(b.EventsOf(i)) > 0 {
				withEvents++
			}
		}
		out.Filtered += len(b.Messages) - withEvents - len(b.Rejects)
	}
	return out, nil
}

// seek makes a consumer read again from a place, in every partition that the
// place concerns.
func (a *App) seek(ctx context.Context, name string, from console.From) error {
	if name == consumerGroups && a.groups != nil {
		return a.seekGroups(ctx, from)
	}
	found := false
	for _, r := range a.runners {
		if r.Name() != name {
			continue
		}
		found = true
		p := a.events.Partition(r.Partition())
		after, concerns, err := from.After(ctx, p)
		if err != nil {
			return err
		}
		if !concerns {
			continue
		}
		var reset func() error
		switch name {
		case consumerRules:
			reset = a.rulers[r.Partition()].reset
		case consumerDevices:
			reset = func() error { return a.forgetDevices(r.Partition()) }
		}
		if err := r.Seek(ctx, after+1, reset); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("consumer %q: %w", name, console.ErrUnknownConsumer)
	}
	return nil
}

// forgetDevices empties a partition of the registry, for a replay.
func (a *App) forgetDevices(partition int) error {
	empty, err := a.newRegistry().Partition(partition).Snapshot()
	if err != nil {
		return fmt.Errorf("empty the registry: %w", err)
	}
	return a.registry.Partition(partition).Restore(empty)
}

func (a *App) newRegistry() *devices.Registry {
	return devices.NewRegistry(devices.Config{OfflineAfter: a.cfg.Devices.OfflineAfter, Partitions: a.events.Partitions()})
}

func consumerMetrics(a *App) []prometheus.Collector {
	return []prometheus.Collector{consume.LagCollector{Runners: func() []*consume.Runner { return a.runners }}}
}

// awaitDurable waits until a position is on disk.
func awaitDurable(ctx context.Context, c *eventlog.Committer, pos uint64) error {
	moved := make(chan struct{}, 1)
	w := &eventlog.Waiter{Wake: func() {
		select {
		case moved <- struct{}{}:
		default:
		}
	}}
	for c.Durable() < pos {
		c.Register(w, pos)
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait until it is durable: %w", ctx.Err())
		}
	}
	return nil
}
