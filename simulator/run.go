package simulator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// Limits of a connection.
const (
	maxPending   = 1000 // messages that await their acknowledgement; then readings are skipped
	firstPause   = 250 * time.Millisecond
	maxPause     = 10 * time.Second
	connectLimit = 10 * time.Second
	quiesce      = 5 * time.Second // for the last acknowledgements
)

// Status is how far a run has come. Its JSON is the summary of --json.
type Status struct {
	Devices    int     `json:"devices"`
	Clients    int     `json:"clients"`
	Connected  int     `json:"connected"`
	Published  uint64  `json:"published"`
	Acked      uint64  `json:"acked"`   // QoS 0: written
	Failed     uint64  `json:"failed"`  // given up by the client library
	Skipped    uint64  `json:"skipped"` // not published, as too many awaited their acknowledgement or the time had passed
	Dropped    uint64  `json:"dropped"` // not published, as a dropout would have it
	Anomalies  uint64  `json:"anomalies"`
	Reconnects uint64  `json:"reconnects"`
	Seconds    float64 `json:"seconds"`
}

// fleetRun is a run in progress; its counters are shared by all clients.
type fleetRun struct {
	cfg   Config
	log   *slog.Logger
	begun time.Time

	connected                                  atomic.Int64
	published, acked, failed, skipped, dropped atomic.Uint64
	anomalies, connections, initialized        atomic.Uint64
}

// Run publishes cfg's fleet until ctx ends or cfg.Duration is over, and then
// waits a moment for the last acknowledgements. Brokers that are away are
// waited for; one that refuses the credentials is an error. observe, when not
// nil, is called every few seconds, by one goroutine.
func Run(ctx context.Context, cfg Config, observe func(Status)) (Status, error) {
	if err := cfg.Validate(); err != nil {
		return Status{}, err
	}
	r := &fleetRun{cfg: cfg, log: cfg.Log, begun: time.Now()}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if cfg.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
		defer cancel()
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var clients, watcher sync.WaitGroup
	for i, members := range cfg.fleet() {
		clients.Go(func() {
			if err := r.client(ctx, i, members); err != nil {
				cancel(err)
			}
		})
	}
	done := make(chan struct{})
	watcher.Go(func() { r.watch(done, observe) })
	clients.Wait()
	close(done)
	watcher.Wait()
	err := context.Cause(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil // it ended as it was to
	}
	return r.status(), err
}

func (r *fleetRun) watch(done <-chan struct{}, observe func(Status)) {
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		if observe != nil {
			observe(r.status())
		}
	}
}

func (r *fleetRun) status() Status {
	acked := r.acked.Load() // before published, which is never less
	return Status{
		Devices: r.cfg.Devices, Clients: r.cfg.clients(), Connected: int(r.connected.Load()),
		Published: r.published.Load(), Acked: acked, Failed: r.failed.Load(), Skipped: r.skipped.Load(), Dropped: r.dropped.Load(),
		Anomalies: r.anomalies.Load(), Reconnects: r.connections.Load() - r.initialized.Load(), Seconds: time.Since(r.begun).Seconds(),
	}
}

// client runs one connection and the devices behind it.
func (r *fleetRun) client(ctx context.Context, number int, members []member) error {
	conn, err := r.connect(ctx, number)
	if err != nil || conn == nil {
		return err
	}
	tokens := make(chan paho.Token, maxPending)
	var waiter sync.WaitGroup
	waiter.Go(func() { r.settle(ctx, tokens) })
	r.publish(ctx, conn, members, tokens)
	close(tokens)
	waiter.Wait()
	conn.Disconnect(250)
	return nil
}

// connect connects, again and again until the broker answers. It returns nil
// when ctx ends first.
func (r *fleetRun) connect(ctx context.Context, number int) (paho.Client, error) {
	url, err := r.cfg.Endpoint.URL()
	if err != nil {
		return nil, err
	}
	id := fmt.Sprintf("%s%d", r.cfg.IDPrefix, number+1)
	options := paho.NewClientOptions().AddBroker(url).SetClientID(id).
		SetUsername(r.cfg.Endpoint.Username).SetPassword(r.cfg.Endpoint.Password).SetTLSConfig(r.cfg.Endpoint.TLS).
		SetProtocolVersion(4).SetKeepAlive(30 * time.Second).SetConnectTimeout(connectLimit).
		SetMaxReconnectInterval(maxPause).SetMessageChannelDepth(maxPending).
		// An unfinished message outlives its connection on both sides.
		SetCleanSession(r.cfg.QoS == 0)
	options.SetOnConnectHandler(func(paho.Client) {
		r.connected.Add(1)
		r.connections.Add(1)
		r.log.Debug("client connected", "client", id)
	})
	options.SetConnectionLostHandler(func(_ paho.Client, err error) {
		r.connected.Add(-1)
		r.log.Warn("connection lost, will connect again", "client", id, "err", err)
	})
	pause := firstPause
	for attempt := 1; ; attempt++ {
		conn := paho.NewClient(options)
		token := conn.Connect()
		select {
		case <-token.Done():
		case <-ctx.Done():
			conn.Disconnect(0)
			return nil, nil
		}
		err := token.Error()
		if err == nil {
			r.initialized.Add(1)
			return conn, nil
		}
		if refused(err) {
			return nil, fmt.Errorf("%s refused client %s: %w", r.cfg.Endpoint.Broker, id, err)
		}
		if attempt == 1 {
			r.log.Warn("no connection yet, will try again", "client", id, "err", err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return nil, nil
		}
		pause = min(2*pause, maxPause)
	}
}

// refused reports that trying again would not help.
func refused(err error) bool {
	for _, hopeless := range []error{packets.ErrorRefusedBadProtocolVersion, packets.ErrorRefusedIDRejected,
		packets.ErrorRefusedBadUsernameOrPassword, packets.ErrorRefusedNotAuthorised} {
		if errors.Is(err, hopeless) {
			return true
		}
	}
	return false
}

// publish lets each device read and publish once an interval, at its phase.
func (r *fleetRun) publish(ctx context.Context, conn paho.Client, members []member, tokens chan<- paho.Token) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for turn := time.Duration(0); ; turn++ {
		for i := range members {
			m := &members[i]
			due := start.Add(turn*r.cfg.Interval + m.phase)
			timer.Reset(time.Until(due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			was := m.Anomaly()
			sends := m.Read()
			if now := m.Anomaly(); now != "" && now != was {
				r.anomalies.Add(1)
				r.log.Info("anomaly begins", "device", m.Name(), "anomaly", string(now))
			}
			switch {
			case !sends:
				r.dropped.Add(1)
				continue
			case time.Since(due) > r.cfg.Interval+time.Second: // the connection held it up: this reading is history
				r.skipped.Add(1)
				continue
			}
			r.send(conn, m, tokens)
		}
	}
}

// send publishes the latest reading of m, unless too many are pending.
func (r *fleetRun) send(conn paho.Client, m *member, tokens chan<- paho.Token) {
	if len(tokens) >= maxPending-1 {
		r.skipped.Add(1)
		return
	}
	// Readings that were held up and are sent together still have times of their
	// own: device and time are what a database tells them apart by.
	m.last = latest(time.Now(), m.last.Add(time.Millisecond))
	payload := m.Append(make([]byte, 0, 160), m.last)
	token := conn.Publish(m.topic, r.cfg.QoS, false, payload)
	r.published.Add(1)
	tokens <- token
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// settle waits for acknowledgements; once ctx has ended, only a moment longer.
func (r *fleetRun) settle(ctx context.Context, tokens <-chan paho.Token) {
	giveUp := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(quiesce, func() { close(giveUp) }) })
	defer stop()
	for token := range tokens {
		select {
		case <-token.Done():
			if token.Error() != nil {
				r.failed.Add(1)
			} else {
				r.acked.Add(1)
			}
		case <-giveUp:
			r.failed.Add(1)
		}
	}
}
