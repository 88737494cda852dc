package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/ring"
)

// running is a log with a committer at work on each partition.
type running struct {
	*Log
	rings      []*ring.Ring
	committers []*Committer
	cancel     context.CancelFunc
	wg         sync.WaitGroup
}

func open(t testing.TB, cfg Config) *running {
	t.Helper()
	if cfg.Partitions == 0 {
		cfg.Partitions = 1
	}
	l, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	r := &running{Log: l}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	for i := range l.Partitions() {
		q := ring.New(4 << 20)
		c := l.Partition(i).NewCommitter(q)
		c.Quiet(true) // the log holds what a test puts there, however long it takes
		r.rings, r.committers = append(r.rings, q), append(r.committers, c)
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			if err := c.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("committer: %v", err)
			}
		}()
	}
	t.Cleanup(r.stop)
	return r
}

func (r *running) stop() {
	for _, q := range r.rings {
		q.Close()
	}
	r.wg.Wait()
	r.cancel()
	r.Close()
}

// put appends one publish and returns when it is durable.
func (r *running) put(t testing.TB, payloads ...string) {
	t.Helper()
	var b []byte
	for _, p := range payloads {
		b = AppendPublish(b, time.Now().UnixNano(), "t/"+p, []byte(p), "client", 1, false)
	}
	pos, err := r.rings[0].Append(t.Context(), b, len(payloads))
	if err != nil {
		t.Fatal(err)
	}
	r.await(pos)
}

func (r *running) await(pos uint64) {
	done := make(chan struct{})
	var once sync.Once
	w := &Waiter{}
	w.Wake = func() {
		if r.committers[0].Durable() >= pos {
			once.Do(func() { close(done) })
		} else {
			go r.committers[0].Register(w, pos)
		}
	}
	r.committers[0].Register(w, pos)
	<-done
}

// payloads reads n publishes after a sequence.
func payloads(t testing.TB, p *Partition, after uint64, n int) (got []string, damage []*Damage) {
	t.Helper()
	rd := p.NewReader(after, 0)
	defer rd.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for len(got) < n {
		b, err := rd.Next(ctx)
		var d *Damage
		if errors.As(err, &d) {
			damage = append(damage, d)
			continue
		}
		if err != nil {
			t.Fatalf("read after %d of %d: %v", len(got), n, err)
		}
		for i := range b.Messages {
			if m := &b.Messages[i]; m.Record == event.Publish {
				if m.Topic != "t/"+string(m.Payload) || m.Client != "client" || m.QoS != 1 {
					t.Fatalf("message %+v", m)
				}
				got = append(got, string(m.Payload))
			}
		}
		b.Release()
	}
	return got, damage
}

func TestWhatIsDurableIsReadBackInOrderAfterARestart(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir})
	var want []string
	for i := range 50 {
		p := fmt.Sprint("m", i)
		want = append(want, p)
		r.put(t, p)
	}
	if got, _ := payloads(t, r.Partition(0), 0, 50); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("from memory: %v", got)
	}
	head := r.Partition(0).Head()
	r.stop()

	r = open(t, Config{Dir: dir})
	if h := r.Partition(0).Head(); h != head {
		t.Errorf("head after the restart %+v, want %+v", h, head)
	}
	if got, d := payloads(t, r.Partition(0), 0, 50); fmt.Sprint(got) != fmt.Sprint(want) || d != nil {
		t.Fatalf("from the log: %v %v", got, d)
	}
	r.put(t, "more")
	if got, _ := payloads(t, r.Partition(0), head.Seq, 1); got[0] != "more" {
		t.Errorf("after the restart %v", got)
	}
}

func TestAReaderThatFallsBehindGoesFromTheLogToMemory(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir(), TailBytes: 4 << 10})
	big := strings.Repeat("x", 500)
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(big, i))
		r.put(t, want[i])
	}
	got, d := payloads(t, r.Partition(0), 0, 100)
	if fmt.Sprint(got) != fmt.Sprint(want) || d != nil {
		t.Fatalf("%d payloads, damage %v", len(got), d)
	}
}

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{Dir: dir})
	if _, err := Open(t.Context(), Config{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v, want ErrLocked", err)
	}
}

func TestThePartitionCountIsKept(t *testing.T) {
	dir := t.TempDir()
	open(t, Config{Dir: dir, Partitions: 2}).stop()
	if _, err := Open(t.Context(), Config{Dir: dir, Partitions: 3}); err == nil || !strings.Contains(err.Error(), "set it to 2") {
		t.Errorf("open with another count: %v", err)
	}
	l, err := Open(t.Context(), Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Partitions() != 2 {
		t.Errorf("%d partitions, want 2", l.Partitions())
	}
}

func TestAFlippedBitIsReportedWithItsRange(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir})
	for i := range 20 {
		r.put(t, fmt.Sprintf("payload-%02d", i))
	}
	r.stop()
	files, err := filepath.Glob(filepath.Join(dir, "log", "jetstream", "*", "streams", "WEIR_LOG_0", "msgs", "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no block files: %v", err)
	}
	found := false
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte("payload-10")); i >= 0 {
			b[i+3] ^= 0x10
			found = true
			if err := os.WriteFile(f, b, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !found {
		t.Fatal("the payload was not found in the block files")
	}
	r = open(t, Config{Dir: dir})
	got, damage := payloads(t, r.Partition(0), 0, 18)
	t.Logf("read %v, damage %v", got, damage)
	if len(damage) == 0 {
		t.Fatalf("a flipped bit went unnoticed: %v", got)
	}
	for _, p := range got {
		if p == "payload-10" {
			t.Errorf("the damaged payload was handed out")
		}
	}
}

func TestTicksPassTimeInASilentPartition(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir()})
	r.committers[0].Quiet(false)
	rd := r.Partition(0).NewReader(0, 0)
	defer rd.Close()
	b, err := rd.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Release()
	if m := b.Messages[0]; m.Record != event.Tick || m.Received == 0 {
		t.Errorf("first record of a silent partition: %+v", m)
	}
}

func TestADiskBelowItsReserveHoldsAppendsUntilThereIsSpace(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir(), MinFree: 1 << 60})
	b := AppendPublish(nil, 1, "t/a", []byte("a"), "client", 1, false)
	pos, err := r.rings[0].Append(t.Context(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	err = r.roomOnDisk(1)
	var full *ErrDiskFull
	if !errors.As(err, &full) || !strings.Contains(err.Error(), "log.min_free") {
		t.Fatalf("room on disk: %v", err)
	}
	if r.committers[0].Durable() >= pos {
		t.Fatal("an append was acknowledged below the reserve")
	}
	r.cancel()
}

func TestStateAndCursorAreSavedTogether(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir()})
	if _, _, err := r.LoadState(t.Context(), "c", 0); !errors.Is(err, ErrNoCursor) {
		t.Errorf("load before save: %v", err)
	}
	state := bytes.Repeat([]byte("state"), 100_000)
	want := Cursor{Consumer: "c", Seq: 7, Records: 70, Delivered: 60, Filtered: 10}
	if err := r.SaveState(t.Context(), want, state); err != nil {
		t.Fatal(err)
	}
	got, s, err := r.LoadState(t.Context(), "c", 0)
	if err != nil || got != want || !bytes.Equal(s, state) {
		t.Errorf("loaded %+v, %d bytes, %v", got, len(s), err)
	}
	all, err := r.Cursors(t.Context())
	if err != nil || len(all) != 1 || all[0] != want {
		t.Errorf("cursors %+v %v", all, err)
	}
}

func TestDeadLettersAreListedShownAndDropped(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir()})
	for i := range 3 {
		d := DeadLetter{Consumer: "influx", Position: event.Position{Seq: 5, Message: uint32(i)}, Cause: "no", Topic: "t", Payload: []byte{0, 0xff}}
		for range 2 {
			if err := r.PutDead(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
	}
	var ids []string
	if err := r.EachDead(t.Context(), "influx", func(d DeadLetter) bool { ids = append(ids, d.ID); return true }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(ids) != "[influx/0/5/0 influx/0/5/1 influx/0/5/2]" {
		t.Errorf("listed %v", ids)
	}
	d, err := r.Dead(t.Context(), ids[1])
	if err != nil || d.Cause != "no" || string(d.Payload) != "\x00\xff" {
		t.Errorf("%+v %v", d, err)
	}
	if err := r.DropDead(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Dead(t.Context(), ids[1]); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("after the drop: %v", err)
	}
	if err := r.DropDead(t.Context(), "nonsense"); !errors.Is(err, ErrNoDeadLetter) {
		t.Errorf("drop of nonsense: %v", err)
	}
}

func TestStoreKeepsAnyKey(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir()})
	s, err := r.Store(t.Context(), "retained")
	if err != nil {
		t.Fatal(err)
	}
	keys := []string{"", "a/b", "ü >*", "gone"}
	for _, k := range keys {
		if err := s.Save(t.Context(), k, []byte("v"+k)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	if err := s.Load(t.Context(), func(k string, v []byte) error { got[k] = string(v); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got["ü >*"] != "vü >*" || got[""] != "v" {
		t.Errorf("loaded %q", got)
	}
}

func TestServersThatTakeLittleMakeRecordsSmaller(t *testing.T) {
	l := &Log{cfg: Config{MaxMessage: 1 << 20}.withDefaults()}
	if err := l.fit(1 << 20); err != nil {
		t.Fatal(err)
	}
	if got, want := l.MaxMessage(), 1<<20-64<<10-chunkBytes; got != want {
		t.Errorf("records of up to %d bytes, want %d", got, want)
	}
	if err := l.fit(256 << 10); err == nil || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("servers that take next to nothing: %v", err)
	}
}

func TestReceiveTimesOfAPartitionAreDistinctAndIncrease(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir})
	at := time.Now().UnixNano()
	put := func(times ...int64) {
		t.Helper()
		var b []byte
		for _, when := range times {
			b = AppendPublish(b, when, "t", []byte("x"), "client", 0, false)
		}
		pos, err := r.rings[0].Append(t.Context(), b, len(times))
		if err != nil {
			t.Fatal(err)
		}
		r.await(pos)
	}
	put(at, at, at)
	put(at-1000, at+1) // another connection, a little late
	replayed := AppendRecord(nil, &event.Message{Topic: "t", Received: at - int64(time.Hour), Payload: []byte("again")})
	pos, err := r.rings[0].Append(t.Context(), replayed, 1)
	if err != nil {
		t.Fatal(err)
	}
	r.await(pos)
	hourAgo := at - int64(time.Hour) // the clock was set back
	put(hourAgo, hourAgo)
	rd := r.Partition(0).NewReader(0, 0)
	defer rd.Close()
	var got []int64
	for len(got) < 8 {
		b, err := rd.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range b.Messages {
			if b.Messages[i].Record == event.Publish {
				got = append(got, b.Messages[i].Received-at)
			}
		}
		b.Release()
	}
	h := -int64(time.Hour)
	if want := fmt.Sprint([]int64{0, 1, 2, 3, 4, h, h, h + 1}); fmt.Sprint(got) != want {
		t.Errorf("receive times, from the first one on: %v, want %v", got, want)
	}
}
