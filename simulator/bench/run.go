package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"weir/simulator/hist"
)

// ErrStalled is why a run gave up: nothing moved for Fault.Timeout.
var ErrStalled = errors.New("no acknowledgement arrived")

// Progress is where a run is.
type Progress struct {
	Connected  int
	Sent       uint64 // messages; QoS 0 counts when written
	Acked      uint64
	Reconnects uint64
	Elapsed    time.Duration // since publishing began; 0 while connecting
}

// job is a run in progress.
type job struct {
	plan
	publishers []*publisher
}

// Run connects, publishes as cfg says and waits for the acknowledgements. A
// nil error means that every message was sent and acknowledged, in order and
// without refusals. With an error, the Result says how far it came.
// observe, when not nil, is called every second, by one goroutine.
func Run(ctx context.Context, cfg Config, observe func(Progress)) (Result, error) {
	if err := cfg.Validate(); err != nil {
		return Result{}, err
	}
	payloads, err := newPayloads(cfg.Load)
	if err != nil {
		return Result{}, err
	}
	if cfg.Paho {
		return runPaho(ctx, cfg, payloads, observe)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	j := &job{plan: plan{Config: cfg, payloads: payloads, epoch: time.Now(), ending: make(chan struct{}), abort: cancel}}
	for i := range cfg.Client.Connections {
		j.publishers = append(j.publishers, newPublisher(&j.plan, i))
	}
	conns, err := j.connectAll(ctx)
	if err != nil {
		return j.result(0, 0), err
	}
	return j.publishAll(ctx, conns, observe)
}

// connectAll opens every connection, some at a time; on an error it closes
// those that it opened.
func (j *job) connectAll(ctx context.Context) ([]net.Conn, error) {
	if j.Fault.Reconnect { // patience is bounded here; later the monitor does that
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, j.Fault.Timeout, fmt.Errorf("no connection within %v", j.Fault.Timeout))
		defer cancel()
	}
	conns := make([]net.Conn, len(j.publishers))
	errs := make([]error, len(j.publishers))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i, p := range j.publishers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if conns[i], errs[i] = p.open(ctx, true); errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	first := firstCause(errs)
	if first == nil {
		return conns, nil
	}
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	return nil, first
}

// publishAll starts every publisher at once and waits for all.
func (j *job) publishAll(ctx context.Context, conns []net.Conn, observe func(Progress)) (Result, error) {
	j.start = j.clock()
	cpu := cpuTime()
	if d := j.Schedule.Duration; d > 0 {
		t := time.AfterFunc(d, func() { close(j.ending) })
		defer t.Stop()
	}
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { j.monitor(done, observe) })

	errs := make([]error, len(conns))
	var wg sync.WaitGroup
	for i, p := range j.publishers {
		wg.Go(func() {
			if errs[i] = p.publish(ctx, conns[i]); errs[i] != nil {
				j.abort(errs[i]) // one failed: the measurement is void
			}
		})
	}
	wg.Wait()
	elapsed := j.clock() - j.start
	cpu = cpuTime() - cpu
	close(done)
	watcher.Wait()
	result := j.result(elapsed, cpu)
	if ctx.Err() != nil {
		return result, context.Cause(ctx)
	}
	if err := firstCause(errs); err != nil {
		return result, err
	}
	return result, result.verdict()
}

// monitor reports progress each second and ends a run that stands still.
func (j *job) monitor(done <-chan struct{}, observe func(Progress)) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var last Progress
	moved := j.clock()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		now := j.progress()
		if observe != nil {
			observe(now)
		}
		idle := now.Connected == len(j.publishers) && now.Acked == now.Sent && j.Schedule.Rate > 0
		if idle || now.Sent != last.Sent || now.Acked != last.Acked {
			moved = j.clock()
		}
		last = now
		if j.clock()-moved > j.Fault.Timeout {
			j.abort(fmt.Errorf("%w for %v: %d of %d sent messages are not acknowledged, %d of %d connections are up",
				ErrStalled, j.Fault.Timeout, now.Sent-now.Acked, now.Sent, now.Connected, len(j.publishers)))
		}
	}
}

func (j *job) progress() Progress {
	out := Progress{Elapsed: j.clock() - j.start}
	for _, p := range j.publishers {
		acked := p.acked.Load() // before sent, which is never less
		if j.Load.QoS == 0 {
			acked = p.base.Load()
		}
		out.Acked += acked
		out.Sent += p.sent.Load()
		out.Reconnects += p.stats.reconnects.Load()
		if p.stats.connected.Load() {
			out.Connected++
		}
	}
	return out
}

// result sums the publishers up; they must be done.
func (j *job) result(elapsed, cpu time.Duration) Result {
	out := newResult(j.Config, elapsed, cpu)
	var latency hist.Histogram
	for _, p := range j.publishers {
		out.Sent += p.sent.Load()
		out.Acked += p.acked.Load()
		if j.Load.QoS == 0 && p.pongs.Load() > 0 {
			out.Acked += p.base.Load()
		}
		out.Resent += p.stats.resent.Load()
		out.Refused += p.stats.refused.Load()
		out.OutOfOrder += p.stats.outOfOrder.Load()
		out.Unexpected += p.stats.unexpected.Load()
		out.Reconnects += p.stats.reconnects.Load()
		latency.Merge(&p.r.latency)
		out.Window = min(out.Window, int(p.window))
	}
	out.finish(&latency)
	return out
}

// firstCause is the first error that is not merely that the others were
// stopped.
func firstCause(errs []error) error {
	var any error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if any == nil || errors.Is(any, context.Canceled) {
			any = err
		}
	}
	return any
}
