package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"golang.org/x/time/rate"

	"weir/ingest/broker/access"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
)

// Mark is the durable position of a partition's committer.
type Mark interface {
	// Durable returns the ring position up to which everything is on disk.
	Durable() uint64
	// Register asks for one call of the waiter's Wake once the durable position
	// has reached pos, or has moved at all; at once if it is there already.
	Register(w *eventlog.Waiter, pos uint64)
}

// Partition is where the messages of a part of the devices go.
type Partition struct {
	Ring *ring.Ring
	Mark Mark
}

// Deps are what the broker works with.
type Deps struct {
	Partitions []Partition
	// Route says what becomes of a topic. It is called by many goroutines and
	// must not block; answers are kept until Invalidate.
	Route func(topic string) Route
	Log   *slog.Logger
	Now   func() int64 // ns since the Unix epoch; nil: the system's clock
	Store Store        // retained messages and sessions across restarts; nil: in memory only
}

// Broker is an MQTT broker whose publishes to source topics are durable before
// they are acknowledged. All methods may be called by any goroutine.
type Broker struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	server  *mqtt.Server
	access  *access.Control
	acker   *acker
	pending *pending // for the store
	wills   *wills
	stats   stats
	notices notices
	own     ownTopics

	retained sync.RWMutex // mochi's tree of retained messages: see conn.look

	buffers, batches *sync.Pool
	gen              atomic.Uint64 // of every connection's topic cache
	turn             atomic.Uint64 // of shared subscriptions
	draining         atomic.Bool
	drain            chan struct{} // closed when draining begins

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines of listeners, connections and the broker

	mu        sync.Mutex
	state     state
	listeners []*listener
	sessions  map[string]*session
	conns     map[*conn]struct{}
	clients   map[*conn]struct{} // with a CONNACK
	perAddr   map[string]int
}

// state is how far the broker's life has come.
type state int

const (
	made state = iota
	opened
	running
	closed
)

// New returns a broker that does nothing yet. An error lists every problem of
// the configuration.
func New(cfg Config, deps Deps) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(deps.Partitions) == 0 || deps.Route == nil || deps.Log == nil {
		return nil, errors.New("broker: partitions, route and log are needed")
	}
	for i, p := range deps.Partitions {
		if least := 2 * (cfg.Limits.MaxPacket + batchBytes + 64<<10); p.Ring.Size() < least {
			return nil, fmt.Errorf("broker: the ring of partition %d holds %d bytes, at least %d are needed for packets of %d", i, p.Ring.Size(), least, cfg.Limits.MaxPacket)
		}
	}
	if deps.Now == nil {
		deps.Now = func() int64 { return time.Now().UnixNano() }
	}
	b := &Broker{
		cfg: cfg, deps: deps, log: deps.Log, acker: newAcker(), pending: newPending(), wills: newWills(),
		buffers: newBuffers(), batches: newBatches(len(deps.Partitions)),
		sessions: map[string]*session{}, conns: map[*conn]struct{}{}, clients: map[*conn]struct{}{}, perAddr: map[string]int{},
	}
	b.drain = make(chan struct{})
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.gen.Store(1)
	l := cfg.Limits
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = int64(l.Connections)
	caps.MaximumMessageExpiryInterval = 0 // none: mochi would also delete retained messages by it
	caps.MaximumClientWritesPending = int32(l.PendingWrites)
	caps.MaximumSessionExpiryInterval = uint32(l.SessionExpiry / time.Second)
	caps.MaximumPacketSize = uint32(l.MaxPacket)
	caps.ReceiveMaximum = uint16(l.ReceiveMaximum)
	caps.MaximumInflight = uint16(l.MaxInflight)
	caps.TopicAliasMaximum = uint16(l.TopicAliasMaximum)
	caps.MinimumProtocolVersion = 4
	caps.Compatibilities.NoInheritedPropertiesOnAck = true
	b.server = mqtt.New(&mqtt.Options{
		Capabilities: caps, InlineClient: true, SysTopicResendInterval: 10,
		ClientNetReadBufferSize: 256, // our own buffer is behind it
		Logger:                  slog.New(redact{b.log.Handler()}),
	})
	if err := b.server.AddHook(&hook{b: b}, nil); err != nil {
		return nil, fmt.Errorf("set up mqtt server: %w", err)
	}
	b.access = access.New(access.Config{Anonymous: cfg.Anonymous, File: cfg.UsersFile})
	return b, nil
}

// Open reads the users file and what the store holds, and listens. After an
// error nothing is left open.
func (b *Broker) Open(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.state != made {
		return errors.New("open broker: it was opened before")
	}
	if err := b.access.Load(); err != nil {
		return err
	}
	if err := b.restore(ctx); err != nil {
		return err
	}
	if err := b.listen(ctx); err != nil {
		for _, l := range b.listeners {
			_ = l.close()
		}
		b.listeners = nil
		return err
	}
	b.state = opened
	return nil
}

// Run serves clients until ctx ends, drains for up to ten seconds, and closes.
func (b *Broker) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.state != opened {
		b.mu.Unlock()
		return errors.New("run broker: it is not open")
	}
	b.state = running
	if err := b.server.Serve(); err != nil {
		b.mu.Unlock()
		return fmt.Errorf("start mqtt server: %w", err)
	}
	b.spawn(func() { b.acker.run(b.ctx) })
	b.spawn(b.sweep)
	b.spawn(b.sendWills)
	b.spawn(b.watchSlow)
	b.spawn(b.watchUsers)
	b.spawn(b.writeBehind)
	for _, l := range b.listeners {
		b.spawn(func() { l.serve(b) })
	}
	b.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-b.ctx.Done():
	}
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	b.Drain(dctx)
	return b.Close()
}

const drainTime = 10 * time.Second

// spawn starts a goroutine that ends with b.ctx; Close waits for it.
func (b *Broker) spawn(f func()) {
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		f()
	}()
}

// Drain stops gracefully: no new connections, nothing more is read, the acks
// owed go out as their messages become durable, until ctx ends at the latest;
// then every client is told that the server shuts down, and disconnected.
func (b *Broker) Drain(ctx context.Context) {
	first := b.startDraining()
	b.mu.Lock()
	var conns []*conn
	for c := range b.conns {
		conns = append(conns, c)
	}
	listeners := b.listeners
	b.mu.Unlock()
	for _, l := range listeners {
		_ = l.close()
	}
	if first {
		for _, c := range conns {
			_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // the reader parks
		}
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !b.acksOut() {
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		case <-b.ctx.Done():
		}
		break
	}
	b.mu.Lock()
	clients := make([]*conn, 0, len(b.clients))
	for c := range b.clients {
		clients = append(clients, c)
	}
	b.mu.Unlock()
	for _, c := range clients {
		_ = b.server.DisconnectClient(c.cl, packets.ErrServerShuttingDown)
	}
}

// startDraining reports whether draining had not begun before.
func (b *Broker) startDraining() bool {
	first := !b.draining.Swap(true)
	if first {
		close(b.drain)
	}
	return first
}

// acksOut reports whether no connected client is owed an ack and no publish is
// on its way into the log.
func (b *Broker) acksOut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.clients {
		if c.busy() || !c.sess.empty() {
			return false
		}
	}
	return true
}

// Close ends everything at once. It is idempotent.
func (b *Broker) Close() error {
	b.mu.Lock()
	was := b.state
	b.state = closed
	listeners := b.listeners
	conns := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		conns = append(conns, c)
	}
	b.mu.Unlock()
	if was == closed {
		return nil
	}
	b.startDraining()
	b.cancel()
	var errs []error
	for _, l := range listeners {
		if err := l.close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, c := range conns {
		_ = c.Close()
	}
	b.wg.Wait() // before the library's Close, which does not bear clients that connect meanwhile
	if was == running {
		if err := b.server.Close(); err != nil {
			errs = append(errs, err)
		}
		b.reportQueued()
		b.reportWills()
	}
	return errors.Join(errs...)
}

// reportQueued logs what is lost with the memory: messages for persistent
// sessions, which are the only ones left.
func (b *Broker) reportQueued() {
	messages, sessions := 0, 0
	for _, cl := range b.server.Clients.GetAll() {
		n := 0
		for _, pk := range cl.State.Inflight.GetAll(false) {
			if pk.FixedHeader.Type == packets.Publish {
				n++
			}
		}
		if messages += n; n > 0 {
			sessions++
		}
	}
	if messages > 0 {
		b.log.Warn("messages queued for MQTT subscribers are lost: they are kept in memory only", "messages", messages, "sessions", sessions)
	}
}

// Addr returns where a listener listens: kind is tcp, tls or websocket. It is
// nil when there is none.
func (b *Broker) Addr(kind string) net.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		if l.kind == kind {
			return l.Addr()
		}
	}
	return nil
}

// Invalidate makes every connection ask Route, the rights and the
// subscriptions anew. Call it when the sources have changed.
func (b *Broker) Invalidate() { b.gen.Add(1) }

// Publish sends a message of the broker's own: an alert, an action, a command.
// It bypasses the ACL. A message on a source's topic goes into the log as well,
// and with a QoS above 0 Publish returns when it is durable.
func (b *Broker) Publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
	if topic == "" || len(topic) > 65535 || !validText([]byte(topic)) || !mqtt.IsValidFilter(topic, true) {
		return fmt.Errorf("publish to %q: not a valid topic name", topic)
	}
	if qos > 2 {
		return fmt.Errorf("publish to %q: QoS %d, want 0 to 2", topic, qos)
	}
	if route := b.deps.Route(topic); route.Logged {
		rec := eventlog.AppendPublish(nil, b.deps.Now(), topic, payload, "", qos, retain)
		p := b.deps.Partitions[route.Partition]
		pos, err := p.Ring.Append(ctx, rec, 1)
		if err != nil {
			return fmt.Errorf("publish to %q: %w", topic, err)
		}
		b.stats.Logged.Add(1)
		if qos > 0 {
			if err := b.waitDurable(ctx, p.Mark, pos); err != nil {
				return fmt.Errorf("publish to %q: %w", topic, err)
			}
		}
	}
	if err := b.server.Publish(topic, payload, retain, qos); err != nil {
		return fmt.Errorf("publish to %q: %w", topic, err)
	}
	return nil
}

// waitDurable returns when a position is on disk.
func (b *Broker) waitDurable(ctx context.Context, m Mark, pos uint64) error {
	moved := make(chan struct{}, 1)
	w := &eventlog.Waiter{Wake: func() {
		select {
		case moved <- struct{}{}:
		default:
		}
	}}
	for m.Durable() < pos {
		m.Register(w, pos)
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		case <-b.ctx.Done():
			return errDrain
		}
	}
	return nil
}

func newLimiter(perSecond int) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(1, perSecond))
}
