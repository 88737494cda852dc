package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/simulator/hist"
)

// pahoPublisher is one connection of a run with paho.
type pahoPublisher struct {
	cfg      Config
	payloads *payloads
	number   int
	client   paho.Client
	latency  hist.Histogram // of the goroutine that waits for tokens
	sent     atomic.Uint64
	acked    atomic.Uint64
}

// pending is a message that paho has taken.
type pending struct {
	token paho.Token
	at    time.Time
	seq   uint64
}

// runPaho does what Run does, with paho: the client that device makers have,
// at what it can do.
func runPaho(ctx context.Context, cfg Config, payloads *payloads, observe func(Progress)) (Result, error) {
	url, err := cfg.Endpoint.URL()
	if err != nil {
		return Result{}, err
	}
	publishers := make([]*pahoPublisher, cfg.Client.Connections)
	for i := range publishers {
		options := paho.NewClientOptions().AddBroker(url).SetClientID(fmt.Sprintf("%s%d", cfg.Client.IDPrefix, i)).
			SetUsername(cfg.Endpoint.Username).SetPassword(cfg.Endpoint.Password).SetTLSConfig(cfg.Endpoint.TLS).
			SetProtocolVersion(4).SetKeepAlive(cfg.Client.KeepAlive).SetAutoReconnect(false).SetConnectTimeout(connectTimeout)
		p := &pahoPublisher{cfg: cfg, payloads: payloads, number: i, client: paho.NewClient(options)}
		if t := p.client.Connect(); t.Wait() && t.Error() != nil {
			return Result{}, fmt.Errorf("connection %d: connect to %s: %w", i, cfg.Endpoint.Broker, t.Error())
		}
		defer p.client.Disconnect(100)
		publishers[i] = p
	}
	return publishPaho(ctx, cfg, publishers, observe)
}

func publishPaho(ctx context.Context, cfg Config, publishers []*pahoPublisher, observe func(Progress)) (Result, error) {
	var logMu sync.Mutex
	start, cpu := time.Now(), cpuTime()
	progress := func() Progress {
		out := Progress{Connected: len(publishers), Elapsed: time.Since(start)}
		for _, p := range publishers {
			out.Acked += p.acked.Load()
			out.Sent += p.sent.Load()
		}
		return out
	}
	done := make(chan struct{})
	var watcher, wg sync.WaitGroup
	watcher.Go(func() {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				if observe != nil {
					observe(progress())
				}
			}
		}
	})
	errs := make([]error, len(publishers))
	for i, p := range publishers {
		wg.Go(func() { errs[i] = p.publish(ctx, start, &logMu) })
	}
	wg.Wait()
	close(done)
	watcher.Wait()
	result := newResult(cfg, time.Since(start), cpuTime()-cpu)
	var latency hist.Histogram
	for _, p := range publishers {
		result.Sent += p.sent.Load()
		result.Acked += p.acked.Load()
		latency.Merge(&p.latency)
	}
	result.finish(&latency)
	if err := errors.Join(errs...); err != nil {
		return result, err
	}
	return result, result.verdict()
}

// publish sends this connection's quota, a window of tokens at a time.
func (p *pahoPublisher) publish(ctx context.Context, start time.Time, logMu *sync.Mutex) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	tokens := make(chan pending, p.cfg.Schedule.Window-1) // and one that the waiter holds
	var waiter sync.WaitGroup
	waiter.Go(func() {
		for m := range tokens {
			if ctx.Err() != nil {
				continue
			}
			if err := p.settle(ctx, m, logMu); err != nil {
				cancel(err)
			}
		}
	})
	targets, quota := p.cfg.targets(p.number), p.cfg.quota(p.number)
	lag := p.cfg.headStart(quota, len(targets))
	for c := uint64(0); c < quota && ctx.Err() == nil; c++ {
		now := time.Now()
		if d := p.cfg.Schedule.Duration; d > 0 && now.Sub(start) > d {
			break
		}
		t := &targets[c%uint64(len(targets))]
		var ts int64
		if p.payloads.unit != 0 {
			ts = t.stamp(now.UnixNano()/int64(p.payloads.unit), lag)
		}
		seq := p.cfg.Load.SeqStart + c*uint64(p.cfg.Client.Connections) + uint64(p.number)
		payload := p.payloads.append(make([]byte, 0, 128), t.device, seq, ts)
		p.sent.Add(1)
		m := pending{p.client.Publish(string(t.topic), p.cfg.Load.QoS, false, payload), now, seq}
		select {
		case tokens <- m:
		case <-ctx.Done():
		}
	}
	close(tokens)
	waiter.Wait()
	return context.Cause(ctx)
}

// settle waits for the end of one message's exchange.
func (p *pahoPublisher) settle(ctx context.Context, m pending, logMu *sync.Mutex) error {
	select {
	case <-m.token.Done():
	case <-ctx.Done():
		return nil
	case <-time.After(p.cfg.Fault.Timeout):
		return fmt.Errorf("connection %d: %w for %v", p.number, ErrStalled, p.cfg.Fault.Timeout)
	}
	if err := m.token.Error(); err != nil {
		return fmt.Errorf("connection %d: publish: %w", p.number, err)
	}
	if p.cfg.Load.QoS > 0 {
		p.latency.Record(time.Since(m.at))
	}
	p.acked.Add(1)
	if p.cfg.Acked == nil {
		return nil
	}
	logMu.Lock()
	defer logMu.Unlock()
	if _, err := fmt.Fprintln(p.cfg.Acked, m.seq); err != nil {
		return fmt.Errorf("write acknowledged sequence numbers: %w", err)
	}
	return nil
}
