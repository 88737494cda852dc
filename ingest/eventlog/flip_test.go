package eventlog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

const flipBatches = 40

var flipConsumers = []string{"rules", "influx", "webhook"}

// A bit that the disk has changed, wherever it stands, neither keeps the log
// from opening nor from being written to, and costs no more than what it is in:
// of the log's own batches one, which is reported.
func TestAChangedBitStopsNothing(t *testing.T) {
	dir := filled(t)
	for _, store := range []string{"KV_weir_cursors", "KV_weir_types", "KV_weir_meta", "OBJ_weir_state", "WEIR_LOG_0"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("log", "jetstream", "$G", "streams", store, "msgs")
			files, err := filepath.Glob(filepath.Join(dir, path, "*.blk"))
			if err != nil || len(files) != 1 {
				t.Fatalf("store %s has files %v (%v)", store, files, err)
			}
			whole, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range flips(whole) {
				for _, crashed := range []bool{false, true} {
					copied := filepath.Join(t.TempDir(), "data")
					if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					changed := slices.Clone(whole)
					changed[at] ^= 1 << (at % 8)
					if err := os.WriteFile(filepath.Join(copied, path, filepath.Base(files[0])), changed, 0o600); err != nil {
						t.Fatal(err)
					}
					index := filepath.Join(copied, path, "index.db")
					if crashed { // and wrote no index
						err = os.Remove(index)
					} else {
						err = os.Chtimes(index, time.Time{}, time.Now().Add(time.Minute))
					}
					if err != nil {
						t.Fatal(err)
					}
					if err := useAll(t, copied); err != nil {
						t.Errorf("byte %d of %d changed, crashed %v: %v", at, len(whole), crashed, err)
					}
					if err := os.RemoveAll(copied); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// flips returns which bytes of a file are to be changed: of the lengths, the
// sequence and the subject of a record in its middle, of the length of the last
// one's headers, and a few elsewhere. With WEIR_STRIDE=n it is each nth byte.
func flips(whole []byte) (at []int) {
	if n, err := strconv.Atoi(os.Getenv("WEIR_STRIDE")); err == nil && n > 0 {
		for i := 0; i < len(whole); i += n {
			at = append(at, i)
		}
		return at
	}
	middle := 0
	for next := 0; next < len(whole)/2; {
		middle = next
		next += int(binary.LittleEndian.Uint32(whole[middle:]) &^ recordHeaders)
	}
	subject := int(binary.LittleEndian.Uint16(whole[middle+20:]))
	for _, i := range []int{0, 3, 4, 8, 11, 20, 21, recordHead, recordHead + subject, recordHead + subject + 3} {
		if middle+i < len(whole) {
			at = append(at, middle+i)
		}
	}
	last := 0
	for next := 0; next < len(whole); {
		last = next
		next += int(binary.LittleEndian.Uint32(whole[last:]) &^ recordHeaders)
	}
	return append(at, 3, last+recordHead+int(binary.LittleEndian.Uint16(whole[last+20:])), len(whole)-1)
}

// filled makes a log with something in each of its stores.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	l := open(t, Config{Dir: dir, Partitions: 2})
	for i := range flipBatches {
		l.put(t, fmt.Sprint("payload", i))
	}
	for i := range uint64(6) {
		for part := range 2 {
			for _, name := range flipConsumers {
				if err := l.SaveCursor(t.Context(), Cursor{Consumer: name, Partition: part, Seq: i, Records: i}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := l.SaveState(t.Context(), Cursor{Consumer: "rules", Seq: 1}, []byte("state")); err != nil {
			t.Fatal(err)
		}
	}
	types, err := l.Store(t.Context(), "types")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := types.Save(t.Context(), fmt.Sprint("key", i), []byte("value")); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	return dir
}

// useAll opens the log that filled made, reads it and writes to each of its stores.
func useAll(t *testing.T, dir string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Cursors(ctx); err != nil {
		return err
	}
	all, damage := (&running{Log: l}).payloads(t)
	if len(all) != flipBatches && (len(all) != flipBatches-1 || len(damage) != 1) {
		return fmt.Errorf("the log holds %d messages of %d, and reports damage %v", len(all), flipBatches, damage)
	}
	for _, name := range flipConsumers {
		for part := range 2 {
			if _, err := l.LoadCursor(ctx, name, part); err != nil && !errors.Is(err, ErrNoCursor) {
				return err
			}
			if err := l.SaveCursor(ctx, Cursor{Consumer: name, Partition: part, Seq: 100}); err != nil {
				return err
			}
		}
	}
	if _, _, err := l.LoadState(ctx, "rules", 0); err != nil && !errors.Is(err, ErrNoCursor) && !errors.Is(err, ErrDamagedState) {
		return err
	}
	if err := l.SaveState(ctx, Cursor{Consumer: "rules", Seq: 1}, []byte("state")); err != nil {
		return err
	}
	types, err := l.Store(ctx, "types")
	if err != nil {
		return err
	}
	if err := types.Load(ctx, func(string, []byte) error { return nil }); err != nil {
		return err
	}
	return types.Save(ctx, "new", []byte("value"))
}
