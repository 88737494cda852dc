package consume

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

func TestTheCursorIsSavedAfterTheEffectsAndNeverBefore(t *testing.T) {
	s := openLog(t, t.TempDir())
	var got seen
	var early atomic.Int64
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		if c, ok := s.cursor(t, "c"); ok && c.Seq >= batches[0].Seq {
			early.Store(int64(c.Seq))
		}
		return got.take(batches), nil
	}), func(c *Config) { c.SaveEvery = time.Nanosecond })
	for i := range 20 {
		s.put(t, fmt.Sprint(i))
	}
	r.caughtUp(t)
	r.stop()
	if n := early.Load(); n != 0 {
		t.Errorf("the cursor was at %d before that batch was handled", n)
	}
	c, ok := s.cursor(t, "c")
	if live := r.Status().Cursor; !ok || c.Seq != live.Seq || c.Records != live.Records || c.Delivered != 20 || c.Imbalance() != 0 {
		t.Errorf("saved at the end: %+v, live %+v", c, live)
	}

	// The next run goes on from there and repeats nothing.
	s.put(t, "later")
	again := s.run(t, "c", &got, nil)
	if c := again.caughtUp(t); c.Delivered != 21 {
		t.Errorf("after a restart: %+v", c)
	}
	if all := got.all(); len(all) != 21 || all[20] != "later" {
		t.Errorf("handled %v", all)
	}
}

func TestWhatWasHandledAndNotSavedIsHandledAgainAfterACrash(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "b")
	first := s.run(t, "c", new(seen), nil)
	first.caughtUp(t)
	first.stop()
	s.put(t, "c")
	saved, _ := s.cursor(t, "c")
	var got seen
	crash := s.run(t, "c", &got, func(c *Config) { c.SaveEvery = time.Hour })
	until(t, "the batch is handled", func() bool { return len(got.all()) == 1 })
	// A crash saves nothing more: the saved cursor is put back as it was.
	crash.stop()
	if err := s.SaveCursor(t.Context(), saved); err != nil {
		t.Fatal(err)
	}
	r := s.run(t, "c", &got, nil)
	if c := r.caughtUp(t); c.Delivered != 3 || got.text() != "[c c]" {
		t.Errorf("handled %s, books %+v", got.text(), c)
	}
}

func TestAnOutageIsRetriedWithGrowingWaitsAndTheSameBatches(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	s.put(t, "b")
	type call struct {
		at    time.Time
		first uint64
	}
	calls := make(chan call, 100)
	var got seen
	var n atomic.Int64
	m := NewMetrics()
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		if n.Add(1) <= 4 {
			calls <- call{time.Now(), batches[0].Seq}
			return event.Outcome{Dead: []event.Dead{{}}}, errors.New("far side is away") // the outcome of a failure does not count
		}
		return got.take(batches), nil
	}), func(c *Config) { c.RetryMin, c.RetryMax, c.Metrics = 20*time.Millisecond, 10*time.Second, m })
	until(t, "the trouble shows", func() bool { return r.Status().State == "retrying" || n.Load() > 4 })
	c := r.caughtUp(t)
	if got.text() != "[a b]" || c.Dead != 0 || c.Delivered != 2 {
		t.Errorf("handled %s, books %+v", got.text(), c)
	}
	prev := <-calls
	for wait := 20 * time.Millisecond; len(calls) > 0; wait *= 2 {
		next := <-calls
		if next.first != prev.first {
			t.Errorf("retried from batch %d, want %d again", next.first, prev.first)
		}
		if gap := next.at.Sub(prev.at); gap < wait {
			t.Errorf("waited %v, want %v at least", gap, wait)
		}
		prev = next
	}
	if v := count(t, m.retries.WithLabelValues("c", "0")); v != 4 {
		t.Errorf("%v retries counted, want 4", v)
	}
	if st := r.Status(); st.State != "running" || st.Error != "" {
		t.Errorf("afterwards: %+v", st)
	}
}

// count reads a counter.
func count(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestTheWaitThatTheFarSideAsksForIsHonoured(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	const after = 300 * time.Millisecond // above RetryMax too
	var at []time.Time
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		if at = append(at, time.Now()); len(at) == 1 {
			return event.Outcome{}, fmt.Errorf("write: %w", &event.RetryError{After: after, Err: errors.New("busy")})
		}
		return event.Outcome{}, nil
	}), nil)
	r.caughtUp(t)
	r.stop()
	if gap := at[1].Sub(at[0]); gap < after {
		t.Errorf("tried again after %v, was asked for %v", gap, after)
	}
}

func TestAMessageAtFaultIsTriedABoundedNumberOfTimesAndTheRestGoesOn(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "bad-1", "b", "bad-2")
	s.put(t, "c", "bad-3")
	var got seen
	tries := map[string]int{}
	blameNext := 0
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		// Blames the bad ones in turn, so that no two calls in a row blame the same.
		var bad []string
		for _, p := range []string{"bad-1", "bad-2", "bad-3"} {
			if _, _, ok := find(batches, p); ok {
				bad = append(bad, p)
			}
		}
		if len(bad) == 0 {
			return got.take(batches), nil
		}
		p := bad[blameNext%len(bad)]
		blameNext++
		tries[p]++
		n, m, _ := find(batches, p)
		return event.Outcome{}, fmt.Errorf("write: %w", &event.MessageError{Batch: n, Message: m, Err: errors.New("it makes no sense")})
	}), func(c *Config) { c.MaxAttempts = 3 })
	c := r.caughtUp(t)
	r.stop()
	if got.text() != "[a b c]" || c.Dead != 3 || c.Delivered != 3 {
		t.Errorf("handled %s, books %+v", got.text(), c)
	}
	for p, n := range tries {
		if n != 3 {
			t.Errorf("%s was tried %d times, want 3", p, n)
		}
	}
	dead := s.letters(t)
	if len(dead) != 3 {
		t.Fatalf("%d dead letters: %v", len(dead), dead)
	}
	d := dead["bad-2"]
	if d.Cause != "given up after 3 attempts: it makes no sense" || d.Topic != "t/bad-2" || d.Client != "client" || d.QoS != 1 || d.Consumer != "c" || d.Position.Message != 3 {
		t.Errorf("dead letter %+v", d)
	}
}

func TestWhatAConsumerCallsDeadIsPutAsideWithItsBytes(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "\x00\xff", "b")
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (out event.Outcome, err error) {
		if n, m, ok := find(batches, "\x00\xff"); ok {
			out.Dead = append(out.Dead, event.Dead{Batch: n, Message: m, Err: errors.New("field t is text")})
		}
		return out, nil
	}), nil)
	if c := r.caughtUp(t); c.Dead != 1 || c.Filtered != 0 {
		t.Errorf("books %+v", c)
	}
	if d, ok := s.letters(t)["\x00\xff"]; !ok || d.Cause != "field t is text" || d.Received.IsZero() {
		t.Errorf("dead letter %+v", d)
	}
}

func TestAPanicIsAFailureOfItsConsumerAlone(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a")
	release := make(chan struct{})
	sick := s.run(t, "sick", handle(func(context.Context, []*event.Batch) (event.Outcome, error) {
		select {
		case <-release:
			return event.Outcome{}, nil
		default:
			panic("nil map")
		}
	}), nil)
	well := s.run(t, "well", new(seen), nil)
	until(t, "the panic shows", func() bool { return strings.Contains(sick.Status().Error, "panicked: nil map") })
	well.caughtUp(t)
	if st := sick.Status(); st.State != "retrying" || st.Lag == 0 {
		t.Errorf("after a panic: %+v", st)
	}
	close(release)
	sick.caughtUp(t)
}

func TestAStuckConsumerHoldsUpNobodyElse(t *testing.T) {
	s := openLog(t, t.TempDir())
	release := make(chan struct{})
	stuck := s.run(t, "stuck", handle(func(ctx context.Context, _ []*event.Batch) (event.Outcome, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return event.Outcome{}, ctx.Err()
	}), nil)
	var got seen
	well := s.run(t, "well", &got, nil)
	for i := range 50 {
		s.put(t, fmt.Sprint(i)) // is acknowledged though nobody has taken it
	}
	well.caughtUp(t)
	if st := stuck.Status(); st.Lag < 50 {
		t.Errorf("the stuck one: %+v", st)
	}
	close(release)
	stuck.caughtUp(t)
}

func TestAConsumerStartsWhereItSays(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "old")
	time.Sleep(2 * time.Millisecond) // so that the two batches differ in their receive times
	between := time.Now()
	s.put(t, "middle")
	starts := map[string]Start{"all": {}, "new": {New: true}, "time": {Time: between}, "future": {Time: time.Now().Add(time.Hour)}}
	want := map[string]string{"all": "[old middle late]", "new": "[late]", "time": "[middle late]", "future": "[late]"}
	got := map[string]*seen{}
	var runs []*running
	for name, start := range starts {
		got[name] = &seen{}
		r := s.run(t, name, got[name], func(c *Config) { c.Start = start })
		until(t, name+" has begun", func() bool { return r.Status().State == "running" })
		runs = append(runs, r)
	}
	s.put(t, "late")
	for _, r := range runs {
		c := r.caughtUp(t)
		if name := r.Name(); got[name].text() != want[name] {
			t.Errorf("start %s: handled %s, want %s (books %+v)", name, got[name].text(), want[name], c)
		}
	}
}

// counter is a Stateful handler: its state is how many publishes it has had.
type counter struct {
	seen
	n        int
	restored []string
	synced   int
	started  []uint64
}

func (c *counter) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	out := c.take(batches)
	for _, b := range batches {
		for i := range b.Messages {
			if b.Messages[i].Record == event.Publish {
				c.n++
			}
		}
	}
	return out, nil
}

func (c *counter) Snapshot() ([]byte, error) { return []byte(fmt.Sprint(c.n)), nil }

func (c *counter) Restore(b []byte) error {
	c.restored = append(c.restored, string(b))
	_, err := fmt.Sscan(string(b), &c.n)
	return err
}

func (c *counter) Sync(context.Context) error { c.synced++; return nil }

func (c *counter) Start(_ context.Context, cur eventlog.Cursor) error {
	c.started = append(c.started, cur.Seq)
	return nil
}

func TestAStateIsRestoredWithTheCursorThatItBelongsTo(t *testing.T) {
	dir := t.TempDir()
	s := openLog(t, dir)
	s.put(t, "a", "b")
	first := &counter{}
	r := s.run(t, "c", first, nil)
	r.caughtUp(t)
	r.stop()
	if len(first.restored) != 0 || first.synced == 0 || fmt.Sprint(first.started) != "[0]" {
		t.Errorf("first run: %+v", first)
	}
	end := r.Status().Cursor
	s.stop()

	s = openLog(t, dir)
	s.put(t, "c")
	second := &counter{}
	r = s.run(t, "c", second, nil)
	c := r.caughtUp(t)
	r.stop()
	if fmt.Sprint(second.restored) != "[2]" || second.n != 3 || fmt.Sprint(second.started) != fmt.Sprint([]uint64{end.Seq}) || second.text() != "[c]" {
		t.Errorf("second run: restored %v, n %d, started %v, handled %s", second.restored, second.n, second.started, second.text())
	}
	if c.Delivered != 3 {
		t.Errorf("books %+v", c)
	}
	saved, state, err := s.LoadState(t.Context(), "c", 0)
	if err != nil || string(state) != "3" || saved.Records != r.Status().Cursor.Records {
		t.Errorf("saved %+v, state %q, %v", saved, state, err)
	}
}
