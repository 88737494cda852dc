package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"weir/configs"
	"weir/configs/strict"
	"weir/console"
	"weir/devices"
	"weir/ingest/broker"
	"weir/ingest/consume"
	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
)

func now() int64 { return time.Now().UnixNano() }

// Options are what the process gives the App.
type Options struct {
	Log     *slog.Logger
	Stdout  io.Writer // where transitions of alerts are printed; nil: nowhere
	Version string
	Reload  <-chan os.Signal // asks for a look at the rule files at once; may be nil
}

// App is weir: everything between the listeners and the sinks.
type App struct {
	cfg  *configs.Config
	opts Options
	log  *slog.Logger

	sources  *decode.Set
	decoding *decoding
	rules    *rules.Set // at the start

	events     *eventlog.Log
	rings      []*ring.Ring
	committers []*eventlog.Committer
	rulers     []*ruleConsumer
	groups     *groups // nil if the log has one partition, whose ruler does it all
	registry   *devices.Registry
	broker     *broker.Broker
	sinks      []sink
	runners    []*consume.Runner
	metrics    *prometheus.Registry
	api        *console.Server
	listener   net.Listener
	counts     counts
	refusal    [sha256.Size]byte // of the rule files that were refused last, and why; zero: they are right. Only watchRules'

	mu struct {
		sync.Mutex
		ready   bool
		stopped error // what ended that should not have
	}
	closeOnce sync.Once
}

// Summary counts what a config holds.
type Summary struct{ Sources, Rules, Sinks int }

// Check checks everything that can be judged without starting anything.
func Check(cfg *configs.Config) (Summary, error) {
	a, err := New(cfg, Options{})
	if err != nil {
		return Summary{}, err
	}
	defer a.Close()
	return Summary{len(cfg.Sources), a.rules.Len(), len(cfg.Sinks)}, nil
}

// New checks the config, the sources and the rules as a whole, and makes an App
// that does nothing yet.
func New(cfg *configs.Config, opts Options) (*App, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	a := &App{cfg: cfg, opts: opts, log: opts.Log, metrics: prometheus.NewRegistry()}
	var err, rerr, serr error
	a.sources, err = Sources(cfg)
	a.rules, rerr = LoadRules(cfg)
	a.sinks, serr = a.newSinks()
	if all := joined(err, rerr, serr, checkUsers(cfg), checkBroker(cfg)); all != nil {
		a.Close()
		return nil, all
	}
	a.decoding = newDecoding(a.sources)
	return a, nil
}

// Open starts the log and what reads it, then the listeners: when it returns,
// clients can connect.
func (a *App) Open(ctx context.Context) error {
	c := a.cfg
	lcfg := logConfig(c, a.log)
	lcfg.Decode = a.decoding.decode
	lcfg.LockWait = lockWait
	var err error
	if a.events, err = eventlog.Open(ctx, lcfg); errors.Is(err, eventlog.ErrPartitions) {
		return strict.Errors{{File: c.File, Pos: c.Log.At("partitions"), Msg: err.Error()}}
	} else if err != nil {
		return fmt.Errorf("open the event log: %w", err)
	}
	if err := a.checkRecord(a.rules); err != nil {
		return err
	}
	a.registry = a.newRegistry()
	for i := range a.events.Partitions() {
		r := ring.New(max(int(c.Log.Ring), 4*packet(c), 2*rules.MaxPayload+ringSlack)) // a chunk takes at most half of it
		a.rings = append(a.rings, r)
		c := a.events.Partition(i).NewCommitter(r)
		c.Quiet(true) // until weir listens
		a.committers = append(a.committers, c)
	}
	if err := a.openBroker(ctx); err != nil {
		return err
	}
	if err := a.openConsumers(ctx); err != nil {
		return err
	}
	a.openAPI()
	if addr := c.HTTP.Listen.Value; addr != "" {
		if a.listener, err = net.Listen("tcp", addr); err != nil {
			return fmt.Errorf("listen for HTTP on http.listen: %w", err)
		}
		if err := a.noteAPI(); err != nil {
			return err
		}
	}
	return nil
}

// lockWait is how long weir waits for the data directory: a command that looks
// at it, or a weir that is about to end, holds it for a moment.
const lockWait = 3 * time.Second

// ringSlack is what a ring needs beside the largest record.
const ringSlack = 64 << 10

// packet is how large a record of what a client sent may be.
func packet(c *configs.Config) int { return int(c.MQTT.Limits.MaxPacket) + eventlog.RecordOverhead }

// checkRecord reports a rule set that the log can't take as one record, which
// only a cluster's servers may not: rules.Load bounds it otherwise.
func (a *App) checkRecord(s *rules.Set) error {
	if n, most := len(s.Marshal())+eventlog.RecordOverhead, a.events.MaxMessage(); n > most {
		return strict.Errors{{
			File: a.cfg.File, Pos: a.cfg.Log.At("url"), Hint: "set max_payload: 8MB in their config, or make the tables of devices smaller",
			Msg: fmt.Sprintf("the rules take %d bytes of the log, more than the %d that its servers take in one record", n, most),
		}}
	}
	return nil
}

// logConfig converts the config's section log.
func logConfig(c *configs.Config, log *slog.Logger) eventlog.Config {
	return eventlog.Config{
		Dir: c.DataDir.Value, URL: c.Log.URL.Reveal(), Partitions: c.Log.Partitions, Replicas: c.Log.Replicas,
		MaxAge: c.Log.Retention.MaxAge, MaxBytes: int64(c.Log.Retention.MaxBytes), MinFree: int64(c.Log.MinFree),
		BatchBytes: int(c.Log.Batch), MaxMessage: max(packet(c), rules.MaxPayload+eventlog.RecordOverhead),
		Linger: c.Log.Linger, TailBytes: int(c.Log.Tail), Log: log.With("component", "log"),
	}
}

// route says whether a topic's messages are events, and in which partition.
func (a *App) route(topic string) broker.Route {
	r, ok := a.sources.Route(topic)
	if !ok {
		return broker.Route{}
	}
	return broker.Route{Partition: decode.Partition(r.Key, len(a.rings)), Logged: true}
}

func (a *App) openBroker(ctx context.Context) error {
	store, err := a.events.Store(ctx, "mqtt")
	if err != nil {
		return err
	}
	deps := broker.Deps{Route: a.route, Log: a.log.With("component", "broker"), Store: store}
	for i, r := range a.rings {
		deps.Partitions = append(deps.Partitions, broker.Partition{Ring: r, Mark: a.committers[i]})
	}
	bcfg := brokerConfig(a.cfg)
	bcfg.Limits.MaxPacket = min(bcfg.Limits.MaxPacket, a.events.MaxMessage()-eventlog.RecordOverhead)
	if a.broker, err = broker.New(bcfg, deps); err != nil {
		return fmt.Errorf("%s: %w", a.cfg.File, err)
	}
	return nil
}

// Run works until ctx ends, then stops within the configured time and loses
// nothing that was acknowledged.
func (a *App) Run(ctx context.Context) error {
	// Each stage outlives the one before it: see stop.
	logCtx, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	defer stopLog()
	var committing, consuming, serving sync.WaitGroup
	fatal := make(chan error, len(a.committers)+len(a.runners)+4)
	start := func(wg *sync.WaitGroup, what string, f func() error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(); err != nil && !errors.Is(err, context.Canceled) {
				fatal <- fmt.Errorf("%s: %w", what, err)
			}
		}()
	}
	for i, c := range a.committers {
		start(&committing, fmt.Sprintf("log partition %d", i), func() error { return c.Run(logCtx) })
	}
	consumeCtx, stopConsumers := context.WithCancel(logCtx)
	defer stopConsumers()
	for _, r := range a.runners {
		start(&consuming, "consumer "+r.Name(), func() error { return r.Run(consumeCtx) })
	}
	serveCtx, stopServing := context.WithCancel(logCtx)
	defer stopServing()

	err := a.serve(ctx, serveCtx, start, &serving, fatal)
	a.setReady(false)
	a.stop(&committing, &consuming, &serving, stopServing, stopConsumers, stopLog)
	return err
}

// serve opens the listeners once the rules are in force, and waits for the end.
func (a *App) serve(ctx, serveCtx context.Context, start func(*sync.WaitGroup, string, func() error), serving *sync.WaitGroup, fatal chan error) error {
	for _, c := range a.rulers {
		select {
		case <-c.started:
		case err := <-fatal:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	at := now()
	for i, c := range a.rulers {
		if err := c.listen(ctx, at); err != nil {
			return fmt.Errorf("begin to listen: %w", err)
		}
		a.committers[i].Quiet(false)
	}
	if a.listener != nil {
		start(serving, "HTTP", func() error { return a.api.Serve(serveCtx, a.listener) })
	}
	if err := a.broker.Open(ctx); err != nil {
		return fmt.Errorf("open the broker: %w", err)
	}
	start(serving, "broker", func() error { return a.broker.Run(ctx) })
	start(serving, "rule files", func() error { return a.watchRules(serveCtx) })
	start(serving, "rule failures", func() error { return a.reportRules(serveCtx) })
	start(serving, "metrics", func() error { return a.writeMetrics(serveCtx) })
	a.setReady(true)
	a.log.Info("weir is ready", "version", a.opts.Version, "mqtt", addrText(a.broker.Addr("tcp")), "tls", addrText(a.broker.Addr("tls")),
		"websocket", addrText(a.broker.Addr("websocket")), "http", a.httpAddr(), "partitions", len(a.rings), "rules", a.rules.Len(), "data_dir", a.cfg.DataDir.Value)
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		a.mu.Lock()
		a.mu.stopped = err
		a.mu.Unlock()
		return err
	}
}

func addrText(a net.Addr) string {
	if a == nil {
		return ""
	}
	return a.String()
}

func (a *App) httpAddr() string {
	if a.listener == nil {
		return ""
	}
	return a.listener.Addr().String()
}

// Addr returns where a listener listens: kind is tcp, tls, websocket or http.
func (a *App) Addr(kind string) net.Addr {
	if kind == "http" {
		if a.listener == nil {
			return nil
		}
		return a.listener.Addr()
	}
	return a.broker.Addr(kind)
}

func (a *App) setReady(on bool) {
	a.mu.Lock()
	a.mu.ready = on
	a.mu.Unlock()
}

var errNotReady = errors.New("weir is starting or stopping")

// Ready returns nil while clients can connect and publish.
func (a *App) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.stopped != nil {
		return a.mu.stopped
	}
	if !a.mu.ready {
		return errNotReady
	}
	return nil
}

// healthy returns what has stopped for good, or nil.
func (a *App) healthy() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mu.stopped
}

// stop ends in the order of the data: clients, rings, committers, consumers.
func (a *App) stop(committing, consuming, serving *sync.WaitGroup, stopServing, stopConsumers, stopLog func()) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), a.cfg.Shutdown.Timeout)
	defer cancel()
	a.log.Info("weir stops: no more messages are taken; what was taken is made durable and delivered as far as time allows", "timeout", a.cfg.Shutdown.Timeout)
	half, cancelHalf := context.WithTimeout(ctx, a.cfg.Shutdown.Timeout/2)
	a.broker.Drain(half)
	cancelHalf()
	for _, c := range a.committers {
		c.Quiet(true)
	}
	a.settle(ctx)
	stopConsumers()
	wait(ctx, consuming)
	for _, r := range a.rings {
		r.Close()
	}
	wait(ctx, committing)
	stopServing()
	stopLog()
	wait(ctx, serving)
	a.log.Info("weir has stopped", "took", time.Since(began).Round(time.Millisecond))
}

// settle waits until everything received is durable and every consumer that is
// not in trouble has come to the head of the log.
func (a *App) settle(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, a.cfg.Shutdown.Timeout/2)
	defer cancel()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for !a.settled() {
		select {
		case <-t.C:
		case <-limit.Done():
			a.log.Warn("some consumers are behind: they go on from their cursors at the next start", "consumers", a.behind())
			return
		}
	}
}

func (a *App) settled() bool {
	for _, r := range a.rings {
		if r.Used() > 0 {
			return false
		}
	}
	grouped, waits := false, false
	for _, r := range a.runners {
		s := r.Status()
		switch {
		case s.Consumer == consumerGroups: // it waits for each partition once it has taken all of one
			grouped, waits = true, waits || s.Lag == 0
		case s.Lag > 0 && s.State != "retrying":
			return false
		}
	}
	return waits || !grouped
}

func (a *App) behind() []string {
	var names []string
	for _, r := range a.runners {
		if s := r.Status(); s.Lag > 0 {
			names = append(names, fmt.Sprintf("%s/%d: %d", s.Consumer, s.Partition, s.Lag))
		}
	}
	return names
}

// wait waits for a group, but no longer than ctx.
func wait(ctx context.Context, wg *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Close gives everything back. It is idempotent, and fine before Open and after Run.
func (a *App) Close() error {
	a.closeOnce.Do(func() {
		if a.broker != nil {
			a.broker.Close()
		}
		if a.listener != nil {
			a.listener.Close()
			a.forgetAPI()
		}
		for _, r := range a.rings {
			r.Close()
		}
		for _, s := range a.sinks {
			if err := s.close(); err != nil {
				a.log.Warn("closing a sink failed", "sink", s.cfg.Name.Value, "err", err)
			}
		}
		if a.events != nil {
			a.events.Close()
		}
	})
	return nil
}

// reinsert appends a message to its partition of the log again.
func (a *App) reinsert(ctx context.Context, m *event.Message) error {
	r, ok := a.sources.Route(m.Topic)
	if !ok {
		return fmt.Errorf("no source takes topic %s", m.Topic)
	}
	i := decode.Partition(r.Key, len(a.rings))
	pos, err := a.rings[i].Append(ctx, eventlog.AppendRecord(nil, m), 1)
	if err != nil {
		return fmt.Errorf("put the message into the log again: %w", err)
	}
	return a.durable(ctx, i, pos)
}

// durable waits until a position of a ring is on disk.
func (a *App) durable(ctx context.Context, partition int, pos uint64) error {
	return awaitDurable(ctx, a.committers[partition], pos)
}

func (a *App) openAPI() {
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a.metrics.MustRegister(a.events.Metrics().Collectors()...)
	a.metrics.MustRegister(consumerMetrics(a)...)
	a.metrics.MustRegister(newCollector(a))
	a.api = console.New(console.Deps{
		Log: a.events, Devices: a.registry, Runners: func() []*consume.Runner { return a.runners },
		Alerts: a.alerts, Silences: a.silences, Decide: a.decide, Rules: a.rulesInForce, Refused: a.counts.refused.Load, Sources: a.sourceNames,
		Backtest: backtests(a.past()), Explain: explanations(a.past()), Shadow: shadows(a.past()),
		Ready: a.Ready, Healthy: a.healthy, Decode: a.decoding.decode, Reinsert: a.reinsert, Seek: a.seek,
		Gatherer: a.metrics, Logger: a.log.With("component", "http"), Pprof: a.cfg.HTTP.Pprof,
	})
}

func (a *App) sourceNames() []string {
	names := make([]string, len(a.cfg.Sources))
	for i := range a.cfg.Sources {
		names[i] = a.cfg.Sources[i].Name.Value
	}
	return names
}

// alerts returns the pending and firing alerts of all partitions.
func (a *App) alerts() []rules.Status {
	all := []rules.Status{}
	for _, c := range a.rulers {
		all = append(all, c.active()...)
	}
	if a.groups != nil {
		all = append(all, a.groups.active()...)
	}
	return all
}
