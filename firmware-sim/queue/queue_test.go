package queue

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

func open(t testing.TB, dir string, opt Options) *Queue {
	t.Helper()
	q, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func appendAll(t testing.TB, q *Queue, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if seq, err := q.Append(fmt.Appendf(nil, "entry %d", i)); err != nil || seq != uint64(i) {
			t.Fatalf("append entry %d: sequence number %d, %v", i, seq, err)
		}
	}
}

// requireRun checks that the queue holds entries from to to, in order.
func requireRun(t testing.TB, q *Queue, from, to int) {
	t.Helper()
	next := uint64(0)
	for want := from; want <= to; want++ {
		seq, data, ok, err := q.At(next)
		if err != nil || !ok || seq != uint64(want) || string(data) != fmt.Sprintf("entry %d", want) {
			t.Fatalf("At(%d) = %d %q %v %v, want entry %d", next, seq, data, ok, err, want)
		}
		next = seq + 1
	}
	if seq, data, ok, err := q.At(next); ok || err != nil {
		t.Fatalf("At(%d) = %d %q %v, want nothing after entry %d", next, seq, data, err, to)
	}
	if got := q.Len(); got != uint64(to-from+1) {
		t.Errorf("Len = %d, want %d", got, to-from+1)
	}
}

func TestEntriesComeBackInOrderAndGoWhenAcknowledged(t *testing.T) {
	q := open(t, t.TempDir(), Options{Sync: true})
	requireRun(t, q, 1, 0)
	appendAll(t, q, 1, 10)
	requireRun(t, q, 1, 10)
	if err := q.Ack(4); err != nil {
		t.Fatal(err)
	}
	requireRun(t, q, 5, 10)
	if err := q.Ack(2); err != nil { // again, late
		t.Fatal(err)
	}
	requireRun(t, q, 5, 10)
	if err := q.Ack(11); err == nil {
		t.Error("an entry that was never appended could be acknowledged")
	}
}

func TestAQueueSurvivesTheEndOfItsProcess(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Options{})
	appendAll(t, q, 1, 3000)
	if err := q.Ack(1234); err != nil {
		t.Fatal(err)
	}
	// No Close: a killed process does not get to it.
	again := open(t, dir, Options{})
	requireRun(t, again, 1235, 3000)
	if again.Damaged() != 0 {
		t.Errorf("Damaged = %d", again.Damaged())
	}
	if err := again.Ack(3000); err != nil {
		t.Fatal(err)
	}
	empty := open(t, dir, Options{})
	requireRun(t, empty, 3001, 3000)
	if got := empty.NextSeq(); got != 3001 {
		t.Errorf("an emptied queue goes on at %d, want 3001", got)
	}
}

func TestAFullQueueDropsItsOldestAndCountsThem(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Options{MaxBytes: 64 << 10})
	const n = 5000
	appendAll(t, q, 1, n)
	dropped := q.Dropped()
	if dropped == 0 || q.bytes > 64<<10 {
		t.Fatalf("dropped %d, %d bytes; want some dropped and at most 64 KiB", dropped, q.bytes)
	}
	requireRun(t, q, int(dropped)+1, n)
	again := open(t, dir, Options{MaxBytes: 64 << 10})
	requireRun(t, again, int(dropped)+1, n)
	if again.Dropped() != dropped {
		t.Errorf("after a restart Dropped = %d, want %d", again.Dropped(), dropped)
	}
}

func TestDroppingCountsOnlyWhatWasNotAcknowledged(t *testing.T) {
	q := open(t, t.TempDir(), Options{MaxBytes: 64 << 10})
	appendAll(t, q, 1, 2000)
	if err := q.Ack(1900); err != nil {
		t.Fatal(err)
	}
	appendAll(t, q, 2001, 8000)
	if got, want := q.Dropped(), q.First()-1-1900; got != want {
		t.Errorf("Dropped = %d, want %d: entries 1901 to %d", got, want, q.First()-1)
	}
}

func TestAnEntryThatCannotFitIsRefused(t *testing.T) {
	q := open(t, t.TempDir(), Options{})
	if _, err := q.Append(make([]byte, 64<<10)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Append = %v, want ErrTooLarge", err)
	}
	appendAll(t, q, 1, 1)
}

func TestATornRecordIsCutOffWhereverItIsTorn(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Options{})
	appendAll(t, q, 1, 3)
	path := q.segments[0].path
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := q.segments[0].offsets[2]
	for cut := last; cut < int64(len(whole)); cut++ {
		torn := t.TempDir()
		if err := os.WriteFile(filepath.Join(torn, filepath.Base(path)), whole[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		q := open(t, torn, Options{})
		requireRun(t, q, 1, 2)
		if got := q.Damaged(); got != uint64(cut-last) {
			t.Errorf("cut at %d: Damaged = %d, want %d", cut, got, cut-last)
		}
		appendAll(t, q, 3, 4)
		requireRun(t, q, 1, 4)
	}
}

func TestAFlippedBitIsNeverReadAsAnEntry(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Options{})
	appendAll(t, q, 1, 3)
	path := q.segments[0].path
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		bad := t.TempDir()
		flipped := append([]byte(nil), whole...)
		flipped[i] ^= 0x10
		if err := os.WriteFile(filepath.Join(bad, filepath.Base(path)), flipped, 0o644); err != nil {
			t.Fatal(err)
		}
		q := open(t, bad, Options{})
		if q.Damaged() == 0 {
			t.Fatalf("byte %d flipped: no damage seen", i)
		}
		requireRun(t, q, 1, i*3/len(whole)) // those before the damage
	}
}

func TestTheCursorSurvivesATornWrite(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Options{})
	appendAll(t, q, 1, 9)
	for _, seq := range []uint64{3, 5} {
		if err := q.Ack(seq); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "cursor")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[cursorSize] ^= 0xFF // the newer record
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	requireRun(t, open(t, dir, Options{}), 4, 9)
}

func TestAQueueDoesWhatAListDoes(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		q := open(t, dir, Options{})
		entries := make(map[uint64]string)
		acked, next := uint64(0), uint64(1)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				text := rapid.StringN(0, 2000, 4000).Draw(rt, "text")
				seq, err := q.Append([]byte(text))
				if err != nil || seq != next {
					rt.Fatalf("Append = %d, %v; want %d", seq, err, next)
				}
				entries[next] = text
				next++
			},
			"ack": func(rt *rapid.T) {
				seq := rapid.Uint64Range(acked, next-1).Draw(rt, "seq")
				if err := q.Ack(seq); err != nil {
					rt.Fatal(err)
				}
				acked = max(acked, seq)
			},
			"reopen": func(*rapid.T) {
				q.Close()
				q = open(t, dir, Options{})
			},
			"": func(rt *rapid.T) {
				first := q.First()
				if first <= acked || first > acked+1+q.Dropped() {
					rt.Fatalf("First = %d with %d acked and %d dropped", first, acked, q.Dropped())
				}
				at := first
				for at < next {
					seq, data, ok, err := q.At(at)
					if err != nil || !ok || seq != at || string(data) != entries[at] {
						rt.Fatalf("At(%d) = %d %q %v %v, want %q", at, seq, data, ok, err, entries[at])
					}
					at++
				}
				if q.Len() != next-first {
					rt.Fatalf("Len = %d, want %d", q.Len(), next-first)
				}
			},
		})
	})
}

func FuzzOpen(f *testing.F) {
	f.Add(append(encode(1, []byte("a")), encode(2, []byte("b"))...), []byte{})
	f.Add([]byte{}, make([]byte, 2*cursorSize))
	f.Fuzz(func(t *testing.T, segment, cursor []byte) {
		dir := t.TempDir()
		if os.WriteFile(filepath.Join(dir, fmt.Sprintf("%020d.seg", 1)), segment, 0o644) != nil || os.WriteFile(filepath.Join(dir, "cursor"), cursor, 0o644) != nil {
			t.Skip()
		}
		q := open(t, dir, Options{})
		n := uint64(0)
		for at := uint64(0); ; n++ {
			seq, _, ok, err := q.At(at)
			if err != nil {
				t.Fatalf("At(%d): %v", at, err)
			}
			if !ok {
				break
			}
			at = seq + 1
		}
		if n != q.Len() {
			t.Fatalf("read %d entries, Len = %d", n, q.Len())
		}
		seq, err := q.Append([]byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		if got, data, ok, err := q.At(seq); err != nil || !ok || got != seq || string(data) != "new" {
			t.Fatalf("At(%d) = %d %q %v %v after Append", seq, got, data, ok, err)
		}
	})
}
