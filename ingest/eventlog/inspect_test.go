package eventlog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestALogThatIsLookedAtStaysAsItIs: neither retention nor the number of
// partitions of the one who looks counts.
func TestALogThatIsLookedAtStaysAsItIs(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir, Partitions: 2, MaxAge: 48 * time.Hour, MaxBytes: 64 << 20})
	r.put(t, "a", "b")
	if err := r.SaveCursor(t.Context(), Cursor{Consumer: "c", Seq: 1, Records: 2, Delivered: 2}); err != nil {
		t.Fatal(err)
	}
	before, err := r.Partition(0).stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	l, err := Open(t.Context(), Config{Dir: dir, Inspect: true, Partitions: 7, MaxAge: time.Nanosecond, MaxBytes: 1, Replicas: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	after, err := l.Partition(0).stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Config.MaxAge != before.Config.MaxAge || after.Config.MaxBytes != before.Config.MaxBytes || after.State.LastSeq != before.State.LastSeq {
		t.Errorf("the stream was %+v, %+v and is %+v, %+v", before.Config, before.State, after.Config, after.State)
	}
	if got, _ := payloads(t, l.Partition(0), 0, 2); l.Partitions() != 2 || len(got) != 2 || got[0] != "a" {
		t.Errorf("%d partitions, payloads %v", l.Partitions(), got)
	}
	if c, err := l.LoadCursor(t.Context(), "c", 0); err != nil || c.Delivered != 2 {
		t.Errorf("cursor %+v, %v", c, err)
	}
	l.Close()
	if _, err := Open(t.Context(), Config{Dir: dir, Partitions: 7}); !errors.Is(err, ErrPartitions) {
		t.Errorf("open with another number of partitions: %v", err)
	}
}

func TestThereIsNothingToLookAtWhereThereIsNoLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := Open(t.Context(), Config{Dir: dir, Inspect: true}); !errors.Is(err, ErrNoLog) {
		t.Errorf("open: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("looking made the directory: %v", err)
	}
	empty := t.TempDir()
	if err := os.Mkdir(filepath.Join(empty, "log"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Dir: empty, Inspect: true}); !errors.Is(err, ErrNoLog) {
		t.Errorf("open an empty store: %v", err)
	}
}
