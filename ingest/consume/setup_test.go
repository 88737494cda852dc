package consume

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
)

// store is an embedded log with a committer at work.
type store struct {
	*eventlog.Log
	ring      *ring.Ring
	committer *eventlog.Committer
	stop      func() // idempotent
}

func openLog(t testing.TB, dir string) *store {
	t.Helper()
	l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: dir, Partitions: 1})
	if err != nil {
		t.Fatalf("open the log: %v", err)
	}
	s := &store{Log: l, ring: ring.New(4 << 20)}
	s.committer = l.Partition(0).NewCommitter(s.ring)
	s.committer.Quiet(true) // the log holds what a test puts there, however long it takes
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.committer.Run(context.Background()); err != nil {
			t.Errorf("committer: %v", err)
		}
	}()
	s.stop = sync.OnceFunc(func() {
		s.ring.Close()
		<-done
		l.Close()
	})
	t.Cleanup(s.stop)
	return s
}

// put appends the payloads as one batch and returns its sequence when it is durable.
func (s *store) put(t testing.TB, payloads ...string) uint64 {
	t.Helper()
	var b []byte
	for _, p := range payloads {
		b = eventlog.AppendPublish(b, time.Now().UnixNano(), "t/"+p, []byte(p), "client", 1, false)
	}
	pos, err := s.ring.Append(t.Context(), b, len(payloads))
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the batch is durable", func() bool { return s.committer.Durable() >= pos })
	return s.Partition(0).Head().Seq
}

// until waits for something that is to happen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 60 s in vain until %s", what)
		}
	}
}

// handle is a Handler made of a function.
type handle func(ctx context.Context, batches []*event.Batch) (event.Outcome, error)

func (h handle) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	return h(ctx, batches)
}

// seen collects payloads in the order in which they were handled.
type seen struct {
	mu  sync.Mutex
	got []string
}

// take notes the publishes of the batches; ticks are filtered.
func (s *seen) take(batches []*event.Batch) (out event.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range batches {
		for i := range b.Messages {
			if b.Messages[i].Record != event.Publish {
				out.Filtered++
				continue
			}
			s.got = append(s.got, string(b.Messages[i].Payload))
		}
	}
	return out
}

func (s *seen) Handle(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
	return s.take(batches), nil
}

func (s *seen) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

func (s *seen) text() string { return fmt.Sprint(s.all()) }

// find returns the place of a payload in the batches.
func find(batches []*event.Batch, payload string) (batch int, message uint32, ok bool) {
	for n, b := range batches {
		for i := range b.Messages {
			if string(b.Messages[i].Payload) == payload {
				return n, uint32(i), true
			}
		}
	}
	return 0, 0, false
}

// running is a runner at work.
type running struct {
	*Runner
	stop func() // idempotent; returns when Run has
}

// run starts a consumer of partition 0; change may be nil.
func (s *store) run(t testing.TB, name string, h Handler, change func(*Config)) *running {
	t.Helper()
	cfg := Config{Name: name, Log: s.Log, Partition: s.Partition(0), Handler: h, RetryMin: time.Millisecond, RetryMax: 50 * time.Millisecond, SaveEvery: 20 * time.Millisecond}
	if change != nil {
		change(&cfg)
	}
	r := &running{Runner: New(cfg)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Run(ctx); err != nil {
			t.Errorf("run of consumer %s: %v", name, err)
		}
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(r.stop)
	return r
}

// caughtUp waits until the consumer is done with what the log holds now.
func (r *running) caughtUp(t testing.TB) eventlog.Cursor {
	t.Helper()
	head := r.cfg.Partition.Head().Seq
	until(t, r.cfg.Name+" has come to the head", func() bool { return r.Status().Cursor.Seq >= head })
	c := r.Status().Cursor
	if n := c.Imbalance(); n != 0 {
		t.Errorf("the books of %s are off by %d: %+v", r.cfg.Name, n, c)
	}
	return c
}

// cursor returns the cursor that is saved.
func (s *store) cursor(t testing.TB, name string) (eventlog.Cursor, bool) {
	t.Helper()
	c, err := s.LoadCursor(context.Background(), name, 0)
	if errors.Is(err, eventlog.ErrNoCursor) {
		return c, false
	}
	if err != nil {
		t.Errorf("load the cursor: %v", err)
	}
	return c, true
}

// letters returns the dead letters by payload.
func (s *store) letters(t testing.TB) map[string]eventlog.DeadLetter {
	t.Helper()
	all := map[string]eventlog.DeadLetter{}
	if err := s.EachDead(t.Context(), "", func(d eventlog.DeadLetter) bool {
		all[string(d.Payload)] = d
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return all
}
