package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/ingest/event"
)

// Config is what a Log needs to know. Zero values take the defaults said.
type Config struct {
	Dir        string // data directory; the embedded server's store is a folder in it
	URL        string // "embedded" (default) or a NATS URL such as nats://127.0.0.1:4222
	Partitions int    // 0: as the log was made, or half the cores for a new one
	Replicas   int    // of each stream in a cluster; default 1

	// Inspect opens the log as it is, to look at it: nothing of it is made or
	// changed, so Partitions, Replicas, MaxAge and MaxBytes don't count; but what
	// is damaged is mended, or the server could not be started. Open returns
	// ErrNoLog where there is none.
	Inspect bool

	MaxAge   time.Duration // batches older than this are removed; 0 keeps them
	MaxBytes int64         // all partitions together; 0 is unlimited
	LockWait time.Duration // how long to wait for another process to give Dir back; default: not at all
	MinFree  int64         // bytes the file system must have free for an append (embedded only)

	BatchBytes int           // how much one append takes; default 256 KiB
	MaxMessage int           // largest record in bytes; default 1 MiB
	Linger     time.Duration // how long an append waits for more at low rates; default 0
	TailBytes  int           // bound of the newest batches kept in memory for each partition; default 32 MiB

	// Decode adds events and rejects to a batch whose messages are parsed. It
	// is called once a batch, by any goroutine. Nil leaves batches undecoded.
	Decode func(*event.Batch)

	Metrics *Metrics // nil: made and not exported
	Log     *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.URL == "" {
		c.URL = "embedded"
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.BatchBytes == 0 {
		c.BatchBytes = 256 << 10
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 1 << 20
	}
	if c.TailBytes == 0 {
		c.TailBytes = 32 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	return c
}

// ErrLocked is returned by Open when another process has the data directory open.
var ErrLocked = errors.New("data directory is in use by another process")

// ErrNoLog is returned by Open with Config.Inspect where there is no log.
var ErrNoLog = errors.New("there is no event log")

// ErrPartitions is wrapped by Open's error when Config.Partitions is not how
// many the log was made with.
var ErrPartitions = errors.New("a device must stay in its partition")

// Log is the event log with its cursors, states and dead letters.
type Log struct {
	cfg  Config
	lock *os.File
	free free
	emb  *embedded // nil in a cluster
	nc   *nats.Conn
	js   jetstream.JetStream
	conn connection

	parts   []*Partition
	cursors jetstream.KeyValue
	meta    jetstream.KeyValue
	state   jetstream.ObjectStore
	sides   sides
	dead    jetstream.Stream

	closeOnce sync.Once
}

// Open opens or makes the log. A new log gets its partitions now; their number
// is kept with it for good, since a device must stay in its partition.
func Open(ctx context.Context, cfg Config) (*Log, error) {
	l := &Log{cfg: cfg.withDefaults()}
	if err := l.open(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (l *Log) open(ctx context.Context) error {
	if l.cfg.URL == "embedded" {
		if err := l.startEmbedded(ctx); err != nil {
			return err
		}
	} else {
		nc, err := nats.Connect(l.cfg.URL, append(l.connOptions(), nats.Timeout(10*time.Second), nats.ReconnectWait(500*time.Millisecond))...)
		if err != nil {
			return fmt.Errorf("connect to the log at %s: %w", redactURL(l.cfg.URL), err)
		}
		l.nc = nc
		if err := l.fit(nc.MaxPayload()); err != nil {
			return err
		}
	}
	var err error
	if l.js, err = jetstream.New(l.nc); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	return l.patiently(ctx, l.openStreams)
}

// openWait is how long opening a part of the log may take: reading the index of
// a large one, or waiting for a cluster to elect its leaders.
const openWait = 60 * time.Second

// patiently calls f until it works, for as long as what it meets is a cluster
// that is not ready: one that elects its leaders loses requests, so they are
// made anew.
func (l *Log) patiently(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, openWait)
	defer cancel()
	if l.emb != nil {
		return f(ctx)
	}
	for {
		actx, cancel := context.WithTimeout(ctx, answerWait)
		err := f(actx)
		cancel()
		if err == nil || !Unavailable(err) {
			return err
		}
		l.cfg.Log.Warn("the log's servers are not ready: it is tried again", "url", redactURL(l.cfg.URL), "err", err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// Unavailable reports whether an error says that the log's server does not
// answer now, which passes, and not that something is wrong with the request.
func Unavailable(err error) bool {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code >= 500
	}
	for _, e := range []error{context.DeadlineExceeded, os.ErrDeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrReconnectBufExceeded,
		nats.ErrDisconnected, nats.ErrConnectionReconnecting, jetstream.ErrNoStreamResponse} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (l *Log) openStreams(ctx context.Context) error {
	if err := l.openStores(ctx); err != nil {
		return err
	}
	n, err := l.partitionCount(ctx)
	if err != nil {
		return err
	}
	furthest, err := l.furthest(ctx)
	if err != nil {
		return err
	}
	l.parts = l.parts[:0]
	for i := range n {
		p, err := openPartition(ctx, l, i, n, furthest[i])
		if err != nil {
			return fmt.Errorf("open partition %d of the log: %w", i, err)
		}
		l.parts = append(l.parts, p)
		l.cfg.Metrics.start(p.name)
		if len(furthest) == 0 && p.head.Seq > firstSecond {
			l.cfg.Log.Error("no consumer has a cursor: if this log is not new, the cursors are lost, and consumers begin where their start says", "partition", i, "records", p.head.Records)
		}
	}
	return nil
}

// firstSecond is more batches than a new log holds when its first cursor is saved.
const firstSecond = 5_000

// connOptions are the options of every connection to the log's server.
func (l *Log) connOptions() []nats.Option {
	return []nats.Option{
		nats.Name("weir"), nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // the committer tries again itself, and says that it does
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil && l.cfg.URL != "embedded" {
				l.cfg.Log.Warn("the connection to the log is lost: publishers are held back until it is there again", "err", err)
			}
			l.conn.broke()
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			if l.cfg.URL != "embedded" {
				l.cfg.Log.Info("the connection to the log is there again", "server", redactURL(c.ConnectedUrl()))
			}
		}),
	}
}

// connection tells who waits for an answer that the connection broke: the
// answer went with it.
type connection struct {
	mu      sync.Mutex
	waiting map[*context.CancelFunc]struct{}
}

// await has cancel called when the connection breaks, until forget is called.
func (c *connection) await(cancel context.CancelFunc) (forget func()) {
	key := &cancel
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == nil {
		c.waiting = map[*context.CancelFunc]struct{}{}
	}
	c.waiting[key] = struct{}{}
	return func() {
		c.mu.Lock()
		delete(c.waiting, key)
		c.mu.Unlock()
	}
}

func (c *connection) broke() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for cancel := range c.waiting {
		(*cancel)()
	}
}

func redactURL(u string) string {
	if at := strings.LastIndexByte(u, '@'); at >= 0 {
		if s := strings.Index(u, "://"); s >= 0 && s < at {
			return u[:s+3] + "[redacted]" + u[at:]
		}
	}
	return u
}

func (l *Log) startEmbedded(ctx context.Context) error {
	if l.cfg.Inspect {
		if _, err := os.Stat(l.storeDir()); errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w in %s", ErrNoLog, l.cfg.Dir)
		}
	}
	if err := os.MkdirAll(l.cfg.Dir, 0o750); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	f, err := lockDir(ctx, l.cfg.Dir, l.cfg.LockWait)
	if err != nil {
		return err
	}
	l.lock = f
	l.emb, err = startEmbedded(server.Options{
		ServerName: "weir",
		JetStream:  true,
		StoreDir:   l.storeDir(),
		DontListen: true,
		SyncAlways: true, // an append's acknowledgement follows its fsync
		MaxPayload: int32(l.maxPayload()),
		// Retention bounds the log and MinFree the disk: the server's own guess
		// at what the disk can hold would refuse a log larger than today's free space.
		JetStreamMaxStore:  1 << 60,
		JetStreamMaxMemory: 256 << 20,
		NoSigs:             true,
		NoLog:              true,
	}, l.cfg.Dir, l.cfg.Log)
	if err != nil {
		return err
	}
	l.nc, err = nats.Connect("", append(l.connOptions(), nats.InProcessServer(l.emb), nats.ReconnectWait(100*time.Millisecond))...)
	if err != nil {
		return fmt.Errorf("connect to the embedded log server: %w", err)
	}
	return nil
}

func (l *Log) storeDir() string { return filepath.Join(l.cfg.Dir, "log") }

// chunkBytes is how large what one connection appends at once may be, besides
// its last record.
const chunkBytes = 256 << 10

// smallestMessage is what a log must be able to take to be of any use.
const smallestMessage = 64 << 10

// fit makes batches and records small enough for servers that take messages of
// max bytes: what they refuse would hold its partition for ever.
func (l *Log) fit(max int64) error {
	room := int(max) - 64<<10 // headers
	message := room - chunkBytes
	if message < smallestMessage {
		return fmt.Errorf("the log's servers take messages of %d bytes only: set max_payload: 8MB in their config", max)
	}
	l.cfg.BatchBytes = min(l.cfg.BatchBytes, room)
	if l.cfg.MaxMessage > message {
		l.cfg.Log.Warn("records are limited by what the log's servers take; max_payload: 8MB in their config lifts it", "max_payload", max, "max_record", message)
		l.cfg.MaxMessage = message
	}
	return nil
}

// MaxMessage returns how large a record may be, in bytes.
func (l *Log) MaxMessage() int { return l.cfg.MaxMessage }

// maxPayload leaves room for one batch and the largest record on top of it.
func (l *Log) maxPayload() int {
	return max(8<<20, l.cfg.BatchBytes+l.cfg.MaxMessage+64<<10)
}

// Partitions returns how many partitions the log has.
func (l *Log) Partitions() int { return len(l.parts) }

// Partition returns partition i.
func (l *Log) Partition(i int) *Partition { return l.parts[i] }

// Metrics returns the log's metrics.
func (l *Log) Metrics() *Metrics { return l.cfg.Metrics }

// Close stops the server and gives the directory back. It is idempotent.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		if l.nc != nil {
			l.nc.Close()
		}
		if l.emb != nil {
			l.emb.close()
		}
		if l.lock != nil {
			l.lock.Close() // ends the flock
		}
	})
	return nil
}
