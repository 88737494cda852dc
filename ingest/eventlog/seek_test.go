package eventlog

import (
	"testing"
	"time"

	"weir/ingest/event"
)

// TestATimeIsFoundThoughOldMessagesWerePutInAgain appends a message with an old
// receive time between new ones, as the replay of a dead letter does, also over
// a restart.
func TestATimeIsFoundThoughOldMessagesWerePutInAgain(t *testing.T) {
	dir := t.TempDir()
	r := open(t, Config{Dir: dir})
	base := time.Now().Add(-time.Hour)
	at := func(d time.Duration) int64 { return base.Add(d).UnixNano() }
	append1 := func(received int64) uint64 {
		t.Helper()
		b := AppendPublish(nil, received, "t/a", []byte("a"), "client", 1, false)
		pos, err := r.rings[0].Append(t.Context(), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.await(pos)
		return r.Partition(0).Head().Seq
	}
	var seqs []uint64
	for i := range 6 {
		seqs = append(seqs, append1(at(time.Duration(i)*time.Minute)))
	}
	for range 10 {
		append1(at(-time.Hour)) // would turn a search by halves to the wrong side
	}
	r.stop()
	r = open(t, Config{Dir: dir})
	for range 10 {
		append1(at(-time.Hour))
	}
	for i, want := range seqs {
		got, err := r.Partition(0).SeqAt(t.Context(), time.Unix(0, at(time.Duration(i)*time.Minute)))
		if err != nil || got != want {
			t.Errorf("minute %d is batch %d, %v; want %d", i, got, err, want)
		}
	}
}

// TestATimeBeforeTheLogIsItsFirstBatch begins a log as weir does: with its start
// and the rules, before anything is received.
func TestATimeBeforeTheLogIsItsFirstBatch(t *testing.T) {
	r := open(t, Config{Dir: t.TempDir()})
	now := time.Now()
	for i, b := range [][]byte{
		AppendRecord(nil, &event.Message{Record: event.Started, Received: now.UnixNano()}),
		AppendRecord(nil, &event.Message{Record: event.RuleSet, Received: now.UnixNano(), Payload: []byte("{}")}),
		AppendPublish(nil, now.Add(time.Minute).UnixNano(), "t/a", []byte("a"), "client", 1, false),
	} {
		pos, err := r.rings[0].Append(t.Context(), b, 1)
		if err != nil {
			t.Fatal(err)
		}
		r.await(pos)
		if head := r.Partition(0).Head().Seq; head != uint64(i+1) {
			t.Fatalf("batch %d is the head after %d batches", head, i+1)
		}
	}
	for _, tt := range []struct {
		at   time.Duration
		want uint64
	}{{-time.Hour, 1}, {time.Second, 1}, {2 * time.Minute, 4}} {
		if got, err := r.Partition(0).SeqAt(t.Context(), now.Add(tt.at)); err != nil || got != tt.want {
			t.Errorf("%s after the begin is batch %d, %v; want %d", tt.at, got, err, tt.want)
		}
	}
}
