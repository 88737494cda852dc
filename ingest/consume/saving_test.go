package consume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// ledger counts publishes. Its state is their number, written many times, and
// is taken piece by piece.
type ledger struct {
	seen
	n     atomic.Int64
	times int

	left   []byte
	begun  atomic.Int64
	taken  atomic.Int64 // pieces
	refuse atomic.Bool
	hold   atomic.Bool // pieces are empty until it is cleared
}

func (l *ledger) Handle(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
	out := l.take(batches)
	for _, b := range batches {
		l.n.Add(int64(len(b.Messages)))
	}
	l.n.Add(-int64(out.Filtered))
	return out, nil
}

func (l *ledger) state() []byte {
	return []byte(strings.Repeat(fmt.Sprintf("%08d", l.n.Load()), l.times))
}

func (l *ledger) Snapshot() ([]byte, error) { return l.state(), nil }

func (l *ledger) Restore(b []byte) error {
	if len(b) < 8 || !bytes.Equal(b, bytes.Repeat(b[:8], len(b)/8)) {
		return errors.New("the state is of several times")
	}
	var n int64
	_, err := fmt.Sscanf(string(b[:8]), "%d", &n)
	l.n.Store(n)
	return err
}

func (l *ledger) BeginSnapshot() error {
	if l.refuse.Load() {
		return errors.New("not now")
	}
	l.begun.Add(1)
	l.left = l.state()
	return nil
}

func (l *ledger) NextSnapshot(b []byte, size int) ([]byte, bool, error) {
	if l.refuse.Load() {
		return b, false, errors.New("given up")
	}
	if l.hold.Load() {
		return b, false, nil
	}
	l.taken.Add(1)
	n := min(size, len(l.left))
	b = append(b, l.left[:n]...)
	l.left = l.left[n:]
	return b, len(l.left) == 0, nil
}

const pages = 1 << 17 // of 8 bytes: a state of 1 MiB

func often(c *Config) { c.SaveEvery = time.Millisecond }

// saved returns what a restart would find.
func (s *store) saved(t *testing.T) (eventlog.Cursor, int64) {
	t.Helper()
	c, state, err := s.LoadState(t.Context(), "c", 0)
	if err != nil {
		t.Fatalf("load the state: %v", err)
	}
	l := &ledger{}
	if err := l.Restore(state); err != nil || len(state) != 8*pages {
		t.Fatalf("restore a state of %d bytes: %v", len(state), err)
	}
	return c, l.n.Load()
}

func TestACursorIsSaidToBeSavedOnceItIs(t *testing.T) {
	s := openLog(t, t.TempDir())
	l := &ledger{times: pages}
	l.hold.Store(true)
	r := s.run(t, "c", l, often)
	s.put(t, "a")
	until(t, "a snapshot was begun", func() bool { return l.begun.Load() > 0 })
	s.put(t, "b")
	r.caughtUp(t)
	if c := r.Status().Cursor; !c.Saved.IsZero() {
		t.Errorf("the cursor is said to be saved at %v, and its state is not taken yet", c.Saved)
	}
	l.hold.Store(false)
	until(t, "it is saved", func() bool {
		s.put(t, "c") // what a consumer says changes with what it takes
		return !r.Status().Cursor.Saved.IsZero()
	})
	s.saved(t)
}

func TestAStateThatIsSavedWhileItChangesIsThatOfItsCursor(t *testing.T) {
	dir := t.TempDir()
	s := openLog(t, dir)
	l := &ledger{times: pages}
	r := s.run(t, "c", l, often)
	for i := range 200 {
		s.put(t, fmt.Sprint(i), "more")
	}
	r.caughtUp(t)
	until(t, "something was saved", func() bool { _, _, err := s.LoadState(t.Context(), "c", 0); return err == nil })
	if c, n := s.saved(t); int64(c.Delivered) != n {
		t.Errorf("the state is that of %d records, its cursor of %d", n, c.Delivered)
	}
	r.stop()
	if c, n := s.saved(t); c.Delivered != 400 || n != 400 {
		t.Errorf("after the end the state is that of %d records, its cursor of %d, want 400", n, c.Delivered)
	}
	if l.begun.Load() < 2 {
		t.Errorf("%d snapshots were begun", l.begun.Load())
	}
	s.stop()

	s = openLog(t, dir)
	again := &ledger{times: pages}
	r = s.run(t, "c", again, often)
	s.put(t, "last")
	r.caughtUp(t)
	r.stop()
	if again.n.Load() != 401 || again.text() != "[last]" {
		t.Errorf("after a restart %d records are counted, and %s was handled", again.n.Load(), again.text())
	}
}

func TestBatchesAreHandledWhileASnapshotIsTaken(t *testing.T) {
	s := openLog(t, t.TempDir())
	l := &ledger{times: pages}
	l.hold.Store(true)
	r := s.run(t, "c", l, often)
	s.put(t, "a")
	until(t, "a snapshot is begun", func() bool { return l.begun.Load() > 0 })
	s.put(t, "b", "c")
	s.put(t, "d")
	until(t, "batches were handled meanwhile", func() bool { return l.n.Load() == 4 })
	l.hold.Store(false)
	until(t, "it is saved", func() bool { _, _, err := s.LoadState(t.Context(), "c", 0); return err == nil })
	if c, n := s.saved(t); int64(c.Delivered) != n {
		t.Errorf("the state is that of %d records, its cursor of %d", n, c.Delivered)
	}
	r.stop()
}

func TestSeekGivesUpASnapshotThatIsBeingTaken(t *testing.T) {
	s := openLog(t, t.TempDir())
	l := &ledger{times: pages}
	l.hold.Store(true)
	r := s.run(t, "c", l, often)
	s.put(t, "a")
	s.put(t, "b")
	until(t, "both were handled, and a snapshot is begun", func() bool { return l.n.Load() == 2 && l.begun.Load() > 0 })
	err := r.Seek(t.Context(), 1, func() error { l.n.Store(0); l.hold.Store(false); return nil })
	if err != nil {
		t.Fatal(err)
	}
	r.caughtUp(t)
	until(t, "they were handled again", func() bool { return l.n.Load() == 2 })
	r.stop()
	if c, n := s.saved(t); c.Delivered != 2 || n != 2 {
		t.Errorf("the state is that of %d records, its cursor of %d, want 2", n, c.Delivered)
	}
}

func TestASnapshotThatFailsIsTakenAgain(t *testing.T) {
	s := openLog(t, t.TempDir())
	l := &ledger{times: pages}
	l.hold.Store(true)
	r := s.run(t, "c", l, often)
	s.put(t, "a")
	until(t, "a snapshot is begun", func() bool { return l.begun.Load() > 0 })
	l.refuse.Store(true)
	l.hold.Store(false)
	s.put(t, "b")
	until(t, "it was handled", func() bool { return l.n.Load() == 2 })
	if _, _, err := s.LoadState(t.Context(), "c", 0); !errors.Is(err, eventlog.ErrNoCursor) {
		t.Errorf("half a snapshot was saved: %v", err)
	}
	l.refuse.Store(false)
	until(t, "it is saved", func() bool { _, _, err := s.LoadState(t.Context(), "c", 0); return err == nil })
	r.stop()
	if c, n := s.saved(t); c.Delivered != 2 || n != 2 {
		t.Errorf("the state is that of %d records, its cursor of %d, want 2", n, c.Delivered)
	}
}

func TestAStateThatTakesLongToSaveIsSavedLessOften(t *testing.T) {
	r := &Runner{cfg: Config{SaveEvery: time.Second, Metrics: NewMetrics()}}
	for _, tt := range []struct{ took, every time.Duration }{{time.Millisecond, time.Second}, {3 * time.Second, time.Minute}, {0, time.Second}} {
		began := time.Now().Add(-tt.took)
		r.savedState(&saving{began: began}, nil)
		if most := max(tt.every, saveShare*time.Since(began)); r.every < tt.every || r.every > most {
			t.Errorf("after a save of %v the next is in %v, want %v", tt.took, r.every, tt.every)
		}
	}
}
