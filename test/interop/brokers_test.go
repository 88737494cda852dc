package interop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"weir/ingest/broker"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/simulator/brokertest"
	"weir/test/port"
)

func quietLog() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// weir starts the embedded broker; topics below "sensors/" are a source's. It
// returns its address and what reached the log.
func weir(t *testing.T) (addr string, logged func() []event.Message) {
	t.Helper()
	cfg := broker.Default()
	cfg.Listen, cfg.Anonymous = "127.0.0.1:0", true
	l := &memLog{ring: ring.New(8 << 20)}
	b, err := broker.New(cfg, broker.Deps{Log: quietLog(), Partitions: []broker.Partition{{Ring: l.ring, Mark: l}},
		Route: func(topic string) broker.Route { return broker.Route{Logged: strings.HasPrefix(topic, "sensors/")} }})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- b.Run(ctx) }()
	go func() { done <- l.run() }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		l.ring.Close()
		<-done
	})
	return b.Addr("tcp").String(), l.all
}

// memLog commits into memory.
type memLog struct {
	ring *ring.Ring

	mu      sync.Mutex
	pos     uint64
	waiters []*eventlog.Waiter
	msgs    []event.Message
}

func (l *memLog) Durable() uint64 { l.mu.Lock(); defer l.mu.Unlock(); return l.pos }

func (l *memLog) Register(w *eventlog.Waiter, pos uint64) {
	l.mu.Lock()
	wait := l.pos < pos
	if wait {
		l.waiters = append(l.waiters, w)
	}
	l.mu.Unlock()
	if !wait {
		w.Wake()
	}
}

func (l *memLog) all() []event.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]event.Message(nil), l.msgs...)
}

func (l *memLog) run() error {
	for {
		s := l.ring.Next(1 << 20)
		if s.Chunks == 0 {
			if errors.Is(l.ring.Wait(context.Background()), ring.ErrClosed) {
				return nil
			}
			continue
		}
		b := event.NewBatch(nil)
		if err := eventlog.Parse(bytes.Clone(s.Bytes), b); err != nil {
			return err
		}
		l.ring.Release(s.End)
		l.mu.Lock()
		l.msgs = append(l.msgs, b.Messages...)
		l.pos = s.End
		ws := l.waiters
		l.waiters = nil
		l.mu.Unlock()
		for _, w := range ws {
			w.Wake()
		}
	}
}

// stock starts the library underneath as it comes.
func stock(t *testing.T) string {
	t.Helper()
	return brokertest.Serve(t, mqtt.New(&mqtt.Options{Logger: quietLog()}))
}

// mosquitto starts the real one; the test is skipped where it isn't installed.
func mosquitto(t *testing.T) string {
	t.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin = "/usr/sbin/mosquitto"; !executable(bin) {
			t.Skip("mosquitto is not installed: apt-get install mosquitto mosquitto-clients")
		}
	}
	addr := port.Free(t)
	_, port, _ := net.SplitHostPort(addr)
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	// It drops what it can't queue, 1000 messages by default: a subscriber may be slow.
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\nmax_queued_messages 0\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		nc, err := net.Dial("tcp", addr)
		if err == nil {
			nc.Close()
			return addr
		}
		if time.Now().After(end) {
			t.Fatalf("mosquitto does not listen: %v", err)
		}
	}
}

func executable(path string) bool { _, err := exec.LookPath(path); return err == nil }
