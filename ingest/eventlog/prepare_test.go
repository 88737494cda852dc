package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// streamDir is where the server keeps the files of a stream.
func streamDir(dir, stream string) string {
	return filepath.Join(dir, "log", "jetstream", "$G", "streams", stream, "msgs")
}

func streamFiles(t testing.TB, dir, stream string) []string {
	t.Helper()
	return openStored(streamDir(dir, stream), "", slog.New(slog.DiscardHandler)).files
}

// contents returns every file under dir.
func contents(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func copied(t testing.TB, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// preparedWithout makes sure that prepare finds nothing to say and to do in dir.
func preparedWithout(t testing.TB, what, dir string) {
	t.Helper()
	var said bytes.Buffer
	before := contents(t, dir)
	if err := prepare(filepath.Join(dir, "log"), slog.New(slog.NewTextHandler(&said, nil))); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if said.Len() > 0 {
		t.Errorf("%s: prepare says %s", what, said.String())
	}
	after := contents(t, dir)
	for name, b := range before {
		if after[name] != b {
			t.Errorf("%s: prepare has changed %s", what, name)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%s: there are %d files, and were %d", what, len(after), len(before))
	}
}

// Whatever the server writes for what weir, or a tool, may ask it to do is taken
// for what it is: in a log that was closed, and in one whose process died.
func TestNothingIsMendedThatTheServerWrote(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, Partitions: 2, MaxBytes: 240 << 10}) // files of 32 KiB
	ctx := t.Context()
	types, err := l.Store(ctx, "types")
	if err != nil {
		t.Fatal(err)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	crashed := func(what string) { preparedWithout(t, "after "+what+", crashed", copied(t, dir)) }

	crashed("its beginning")
	for i := range 300 { // more than retention keeps
		l.put(t, strings.Repeat("x", 1000)+fmt.Sprint(i))
	}
	if n := len(streamFiles(t, dir, "WEIR_LOG_0")); n < 3 {
		t.Fatalf("the log has %d files", n)
	}
	crashed("retention")
	for i := range uint64(40) {
		do(l.SaveCursor(ctx, Cursor{Consumer: "größe", Seq: i}.named("c")))
		do(l.SaveState(ctx, Cursor{Consumer: "c", Seq: i}, bytes.Repeat([]byte("state"), int(1+i%2*3000))))
		do(types.Save(ctx, fmt.Sprint("key\x00{größe ", i%7), []byte{0, 1, 2}))
		for _, name := range []string{"sink_1", "größe"} {
			d := DeadLetter{Consumer: name, Payload: []byte("{}")}
			d.Position.Seq = i
			do(l.PutDead(ctx, d))
		}
	}
	do(types.Save(ctx, "", nil))
	crashed("writes to each store")
	do(types.Delete(ctx, "key\x00{größe 3"))
	do(types.kv.Delete(ctx, storeKey("key\x00{größe 4")))
	do(types.kv.PurgeDeletes(ctx, jetstream.DeleteMarkersOlderThan(-1)))
	do(l.DropDead(ctx, "größe/0/5/0"))
	do(l.state.Delete(ctx, "c.0"))
	do(l.ForgetConsumer(ctx, "c", 0))
	crashed("removals")
	p := l.Partition(0)
	head := p.Head().Seq
	do(p.stream.DeleteMsg(ctx, head-3))
	do(p.stream.SecureDeleteMsg(ctx, head-5))
	do(p.stream.SecureDeleteMsg(ctx, head))
	crashed("removals from the log")
	do(p.stream.Purge(ctx, jetstream.WithPurgeSequence(head-10)))
	crashed("a purge of most")
	do(l.Partition(1).stream.Purge(ctx, jetstream.WithPurgeSequence(1000)))
	do(p.stream.Purge(ctx))
	crashed("a purge")
	l.put(t, "more")
	crashed("an append")
	l.stop()
	preparedWithout(t, "closed", dir)
	open(t, Config{Dir: dir, Partitions: 2}).stop()
	preparedWithout(t, "closed again", dir)
	for _, name := range []string{"1 copy.blk", "01.blk", "+1.blk", "1.blk.tmp", "1.new"} {
		do(os.WriteFile(filepath.Join(streamDir(dir, "WEIR_LOG_0"), name), []byte("somebody's"), 0o600))
	}
	preparedWithout(t, "with files of somebody else's", dir)
}

// named is a cursor of another consumer.
func (c Cursor) named(name string) Cursor {
	c.Consumer = name
	return c
}

// A record that was being written when the process died was not acknowledged:
// that it is not whole is no damage. So it is where the machine died, which may
// leave zeros.
func TestARecordThatWasBeingWrittenIsNoDamage(t *testing.T) {
	dir := t.TempDir()
	const n = 5
	var l *running
	for i := range n {
		if i == 0 || i == n-1 { // so that there is an index of all but the last
			l = open(t, Config{Dir: dir, Partitions: 2})
		}
		l.put(t, fmt.Sprint(i))
		if err := l.SaveCursor(t.Context(), Cursor{Consumer: "c", Seq: uint64(i)}); err != nil {
			t.Fatal(err)
		}
		if i == n-2 {
			l.stop()
		}
	}
	crashed := copied(t, dir)
	l.stop()
	for _, stream := range []string{"WEIR_LOG_0", "KV_weir_cursors"} {
		name := streamFiles(t, crashed, stream)[0]
		whole, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for at := 0; at < len(whole); at += int(binary.LittleEndian.Uint32(whole[at:]) &^ recordHeaders) {
			last = at
		}
		for _, index := range []bool{true, false} {
			if !index {
				if err := os.Remove(filepath.Join(streamDir(crashed, stream), "index.db")); err != nil {
					t.Fatal(err)
				}
			}
			for cut := last; cut < len(whole); cut++ {
				if cut > last+60 && cut%5 > 0 { // in the message
					continue
				}
				for _, zeros := range []int{0, len(whole) - cut, 5000} {
					if 0 < zeros && zeros < recordSum { // may be damage as well
						continue
					}
					if err := os.WriteFile(name, append(bytes.Clone(whole[:cut]), make([]byte, zeros)...), 0o600); err != nil {
						t.Fatal(err)
					}
					preparedWithout(t, fmt.Sprintf("%s: %d bytes of a record and %d zeros at its end, index %v", stream, cut-last, zeros, index), crashed)
				}
			}
		}
	}
	l = open(t, Config{Dir: crashed, Partitions: 2})
	if got, damage := l.payloads(t); len(got) != n-1 || len(damage) != 0 {
		t.Errorf("the log holds %v and reports %v", got, damage)
	}
	if c, err := l.LoadCursor(t.Context(), "c", 0); err != nil || c.Seq != n-2 {
		t.Errorf("cursor %+v, %v", c, err)
	}
}

// books reads a partition from a place and counts its records.
func (r *running) books(t *testing.T, after, records uint64) (read, lost uint64) {
	t.Helper()
	rd := r.Partition(0).NewReader(after, records)
	defer rd.Close()
	for {
		b, err := rd.TryNext(t.Context())
		if d, ok := err.(*Damage); ok {
			if lost += d.Records; d.Expired {
				t.Errorf("damage is taken for retention: %v", d)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			return read, lost
		}
		if b.First != records+read+lost {
			t.Errorf("batch %d has %d records before it, and the books of one who began at %d say %d", b.Seq, b.First, after, records+read+lost)
		}
		read += uint64(len(b.Messages))
		b.Release()
	}
}

// manyFiles makes a log whose partition takes several files, with two records in
// each batch.
func manyFiles(t *testing.T) (dir string, batches uint64, first []uint64) {
	t.Helper()
	dir = t.TempDir()
	l := open(t, Config{Dir: dir, MaxBytes: 120 << 10}) // files of 32 KiB
	big := strings.Repeat("x", 1400)
	for i := range 30 {
		l.put(t, big, fmt.Sprint(i))
	}
	h := l.Partition(0).Head()
	if batches = h.Seq; h.Records != 2*h.Seq {
		t.Fatalf("head %+v", h)
	}
	// A consumer that has read it all has a cursor.
	if err := l.SaveCursor(t.Context(), Cursor{Consumer: "c", Seq: h.Seq, Records: h.Records, Delivered: h.Records}); err != nil {
		t.Fatal(err)
	}
	l.stop()
	s := openStored(streamDir(dir, "WEIR_LOG_0"), "", slog.New(slog.DiscardHandler))
	for _, name := range s.files {
		b, _, err := s.read(name)
		if err != nil {
			t.Fatal(err)
		}
		first = append(first, b.first())
	}
	if len(first) < 3 {
		t.Fatalf("the partition has %d files", len(first))
	}
	return dir, batches, first
}

func TestBooksBalanceWhereWholeFilesAreDamaged(t *testing.T) {
	dir, batches, first := manyFiles(t)
	files := streamFiles(t, dir, "WEIR_LOG_0")
	last := len(files) - 1
	junk := func(name string) error {
		b, err := os.ReadFile(name)
		for i := range b {
			b[i] ^= 0x55
		}
		if err != nil {
			return err
		}
		return os.WriteFile(name, b, 0o600)
	}
	half := func(name string) error { // to its end
		b, err := os.ReadFile(name)
		for i := len(b) / 2; i < len(b); i++ {
			b[i] ^= 0x55
		}
		if err != nil {
			return err
		}
		return os.WriteFile(name, b, 0o600)
	}
	for _, tt := range []struct {
		name   string
		damage func(string) error
		files  []int
	}{
		{"the first", junk, []int{0}},
		{"one in the middle", junk, []int{1}},
		{"the last", junk, []int{last}},
		{"all but the last", junk, []int{0, 1}},
		{"all but the first", junk, []int{1, last}},
		{"the end of the last", half, []int{last}},
		{"the end of each", half, []int{0, 1, last}},
		{"the first is missing", os.Remove, []int{0}},
		{"one in the middle is missing", os.Remove, []int{1}},
	} {
		for _, crashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, crashed %v", tt.name, crashed), func(t *testing.T) {
				dir := copied(t, dir)
				gone := tt.name == "the first is missing"
				for _, i := range tt.files {
					if err := tt.damage(filepath.Join(streamDir(dir, "WEIR_LOG_0"), filepath.Base(files[i]))); err != nil {
						t.Fatal(err)
					}
				}
				if crashed {
					if err := os.Remove(filepath.Join(streamDir(dir, "WEIR_LOG_0"), "index.db")); err != nil {
						t.Fatal(err)
					}
				}
				for round := range 2 {
					l := open(t, Config{Dir: dir, MaxBytes: 1 << 20})
					if round == 1 {
						l.put(t, "new")
					}
					head := l.Partition(0).Head()
					if !crashed && head.Seq != batches+uint64(round) {
						t.Errorf("the head is %+v, and %d batches were there", head, batches)
					}
					for _, after := range []uint64{0, first[1] / 2, first[1] - 1, batches} {
						if after > head.Seq || gone && after < first[1]-1 { // like retention
							continue
						}
						read, lost := l.books(t, after, 2*after)
						if want := head.Records - min(head.Records, 2*after); read+lost != want {
							t.Errorf("round %d: after %d: %d records are read and %d are lost, want %d", round, after, read, lost, want)
						}
						if after == 0 && (lost == 0 || !crashed && tt.name != "the end of the last" && lost > 2*batches-4) {
							t.Errorf("round %d: %d of %d records are lost", round, lost, 2*batches)
						}
					}
					l.stop()
					preparedWithout(t, "mended", dir)
				}
			})
		}
	}
}

// The server that makes its index anew reads every file and cuts off what stands
// behind damage; so all of them are looked at before, however old they are.
func TestAnOldFileIsMendedBeforeTheServerCutsItOff(t *testing.T) {
	dir, batches, _ := manyFiles(t)
	name := streamFiles(t, dir, "WEIR_LOG_0")[0]
	crashed := copied(t, dir)
	l := open(t, Config{Dir: dir, MaxBytes: 1 << 20})
	l.put(t, "more")
	for _, f := range streamFiles(t, dir, "WEIR_LOG_0") { // the index is older than they are
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if f == name {
			b[1000] ^= 1
		}
		to := filepath.Join(streamDir(crashed, "WEIR_LOG_0"), filepath.Base(f))
		if err := errors.Join(os.WriteFile(to, b, 0o600), os.Chmod(to, 0o640)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	l.stop()
	left := filepath.Join(streamDir(crashed, "WEIR_LOG_0"), "mending-1234")
	if err := os.WriteFile(left, []byte("left"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep := filepath.Join(crashed, "log", "damaged")
	if err := os.WriteFile(keep, nil, 0o600); err != nil { // so that nothing can be kept there
		t.Fatal(err)
	}
	before := contents(t, filepath.Join(crashed, "log"))
	delete(before, left)
	if l, err := Open(t.Context(), Config{Dir: crashed}); err == nil {
		l.Close()
		t.Error("a log that is damaged and can't be mended was opened: the server cuts it off")
	}
	if after := contents(t, filepath.Join(crashed, "log")); !maps.Equal(after, before) {
		t.Error("a mending that failed has changed files")
	}
	if err := os.Remove(keep); err != nil {
		t.Fatal(err)
	}
	l = open(t, Config{Dir: crashed, MaxBytes: 1 << 20})
	if read, lost := l.books(t, 0, 0); lost != 2 || read != 2*batches+1-2 {
		t.Errorf("%d records are read, %d lost, of %d", read, lost, 2*batches+1)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("what was left of a mending that did not end is still there")
	}
	kept, err := filepath.Glob(filepath.Join(crashed, "log", "damaged", "WEIR_LOG_0-1.blk.*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("the damaged file is kept as %v, %v", kept, err)
	}
	if info, err := os.Stat(filepath.Join(streamDir(crashed, "WEIR_LOG_0"), "1.blk")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the mended file has mode %v, %v", info.Mode(), err)
	}
}
