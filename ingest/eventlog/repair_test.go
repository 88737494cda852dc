package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// payloads reads the whole of partition 0.
func (r *running) payloads(t *testing.T) (all []string, damage []*Damage) {
	t.Helper()
	rd := r.Partition(0).NewReader(0, 0)
	defer rd.Close()
	for {
		b, err := rd.TryNext(t.Context())
		var d *Damage
		switch {
		case errors.As(err, &d):
			damage = append(damage, d)
		case err != nil:
			t.Fatal(err)
		case b == nil:
			return all, damage
		default:
			for i := range b.Messages {
				if len(b.Messages[i].Payload) > 0 {
					all = append(all, string(b.Messages[i].Payload))
				}
			}
			b.Release()
		}
	}
}

// stopCommitting ends the committers and leaves the log open.
func (r *running) stopCommitting() {
	for _, q := range r.rings {
		q.Close()
	}
	r.wg.Wait()
}

func TestAppendsGoOnWhileTheServerIsOpenedAgain(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	const n = 300
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 3 {
			l.emb.reopen(errors.New("a test says so"))
		}
	}()
	for i := range n {
		l.put(t, fmt.Sprint(i))
	}
	<-done
	l.put(t, fmt.Sprint(n))
	if err := l.SaveCursor(t.Context(), Cursor{Consumer: "c", Seq: 1, Records: 1}); err != nil {
		t.Errorf("save a cursor after it was opened again: %v", err)
	}
	l.stop()
	got, damage := open(t, Config{Dir: dir}).payloads(t)
	if len(damage) > 0 {
		t.Fatalf("damage: %v", damage[0])
	}
	for i, p := range got {
		if p != fmt.Sprint(i) {
			t.Fatalf("message %d is %q: one is missing or there twice", i, p)
		}
	}
	if len(got) != n+1 {
		t.Errorf("the log holds %d messages, want %d", len(got), n+1)
	}
}

func TestAFullDiskIsDescribedWithPlaceAndRemedy(t *testing.T) {
	for _, tt := range []struct {
		err  ErrDiskFull
		want string
	}{
		{ErrDiskFull{Dir: "/data", Free: 100 << 20, Min: 256 << 20}, "disk is nearly full: 100 MiB free in /data, and 256 MiB must stay free (log.min_free): free some space or lower log.retention"},
		{ErrDiskFull{Dir: "/data", Free: 8 << 10, Need: 12 << 20}, "disk is full: 8 KiB free in /data, and 12288 KiB are needed to go on: free some space; to be held back earlier, set log.min_free"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
	}
}

// The end of a log is never before what a consumer has read: a sequence that was
// given out twice would be a batch that the consumer believes to have read.
func TestTheHeadIsNotBeforeACursor(t *testing.T) {
	for _, tt := range []struct {
		name    string
		lose    func(ctx context.Context, p *Partition) error
		lost    [2]uint64
		records uint64
	}{
		{"the newest batches are gone", func(ctx context.Context, p *Partition) error { return p.stream.DeleteMsg(ctx, 10) }, [2]uint64{10, 10}, 2},
		{"all batches are gone", func(ctx context.Context, p *Partition) error { return p.stream.Purge(ctx) }, [2]uint64{1, 10}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			l := open(t, Config{Dir: dir})
			for i := range 10 {
				l.put(t, fmt.Sprint("a", i), fmt.Sprint("b", i))
			}
			head := l.Partition(0).Head()
			if err := l.SaveCursor(t.Context(), Cursor{Consumer: "c", Seq: head.Seq, Records: head.Records}); err != nil {
				t.Fatal(err)
			}
			l.stopCommitting()
			if err := tt.lose(t.Context(), l.Partition(0)); err != nil {
				t.Fatal(err)
			}
			l.Close()
			again := open(t, Config{Dir: dir})
			if got := again.Partition(0).Head(); got.Seq < head.Seq || got.Records < head.Records {
				t.Errorf("head is %+v, want %+v", got, head)
			}
			again.put(t, "new")
			_, damage := again.payloads(t)
			if len(damage) != 1 || damage[0].From != tt.lost[0] || damage[0].To < tt.lost[1] || damage[0].Records < tt.records {
				t.Errorf("damage is %+v, want batches %d to %d with %d records", damage, tt.lost[0], tt.lost[1], tt.records)
			}
		})
	}
}

func TestAStreamThatEndsBeforeACursorIsRaised(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir})
	l.put(t, "one")
	head := l.Partition(0).Head()
	// As if the file had held more once.
	far := Cursor{Consumer: "c", Seq: head.Seq + 5, Records: head.Records + 50}
	if err := l.SaveCursor(t.Context(), far); err != nil {
		t.Fatal(err)
	}
	l.stop()
	l = open(t, Config{Dir: dir})
	l.put(t, "two")
	if got := l.Partition(0).Head(); got.Seq <= far.Seq || got.Records <= far.Records {
		t.Errorf("head is %+v, want it behind cursor %+v", got, far)
	}
	got, damage := l.payloads(t)
	if len(got) != 2 || len(damage) != 1 {
		t.Fatalf("the log holds %q with damage %v", got, damage)
	}
	if d := damage[0]; d.From != head.Seq+1 || d.To < far.Seq || d.Records < 50 || d.Expired {
		t.Errorf("damage is %+v, want batches %d to %d with 50 records", d, head.Seq+1, far.Seq)
	}
}

func TestTheNumberOfPartitionsIsFoundWithoutItsNote(t *testing.T) {
	dir := t.TempDir()
	l := open(t, Config{Dir: dir, Partitions: 3})
	if err := l.meta.Purge(t.Context(), "partitions"); err != nil {
		t.Fatal(err)
	}
	l.stop()
	again, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if n := again.Partitions(); n != 3 {
		t.Errorf("the log has %d partitions, want 3", n)
	}
	again.Close()
	if l, err := Open(t.Context(), Config{Dir: dir, Partitions: 2}); err == nil {
		l.Close()
		t.Error("a log of 3 partitions was opened with 2")
	}
}

func TestADamagedStateIsNotTakenForNone(t *testing.T) {
	l := open(t, Config{Dir: t.TempDir()})
	c := Cursor{Consumer: "c", Seq: 3, Records: 4}
	if err := l.SaveState(t.Context(), c, []byte("state")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.state.PutBytes(t.Context(), "c.0", []byte("nothing that SaveState writes")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.LoadState(t.Context(), "c", 0); !errors.Is(err, ErrDamagedState) {
		t.Errorf("load a state with a wrong checksum: %v, want %v", err, ErrDamagedState)
	}
	if err := l.SaveState(t.Context(), c, []byte("state")); err != nil {
		t.Fatal(err)
	}
	st, err := l.js.Stream(t.Context(), "OBJ_weir_state")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Purge(t.Context(), jetstream.WithPurgeSubject("$O.weir_state.C.>")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.LoadState(t.Context(), "c", 0); !errors.Is(err, ErrDamagedState) {
		t.Errorf("load a state of which a part is gone: %v, want %v", err, ErrDamagedState)
	}
	if _, _, err := l.LoadState(t.Context(), "d", 0); !errors.Is(err, ErrNoCursor) {
		t.Errorf("load a state that was never saved: %v, want %v", err, ErrNoCursor)
	}
}

func TestUnavailableTellsAnOutageFromAMistake(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{context.DeadlineExceeded, true},
		{fmt.Errorf("wrapped: %w", jetstream.ErrNoStreamResponse), true},
		{&jetstream.APIError{Code: 503}, true},
		{&jetstream.APIError{Code: 400}, false},
		{ErrDamagedState, false},
		{os.ErrPermission, false},
	} {
		if got := Unavailable(tt.err); got != tt.want {
			t.Errorf("Unavailable(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestTheDataDirectoryIsWaitedForAndItsHolderNamed(t *testing.T) {
	dir := t.TempDir()
	held, err := lockDir(t.Context(), dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockDir(t.Context(), dir, 0)
	if want := fmt.Sprintf("(process %d)", os.Getpid()); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), filepath.Base(dir)) {
		t.Errorf("lock a directory twice: %v, want %v that names it and %s", err, ErrLocked, want)
	}
	go held.Close()
	again, err := lockDir(t.Context(), dir, time.Minute)
	if err != nil {
		t.Fatalf("lock a directory that is given back: %v", err)
	}
	again.Close()
}
