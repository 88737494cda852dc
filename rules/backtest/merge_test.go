package backtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
)

// fill writes batches into the partitions of a log. times holds the receive
// times of each partition, batch by batch; an odd one is that of a derived record.
func fill(t testing.TB, times [][][]int64) *eventlog.Log {
	t.Helper()
	decode := func(b *event.Batch) {
		for i := range b.Messages {
			if m := &b.Messages[i]; m.Record == event.Publish {
				b.AddEvent(i, event.Event{Device: m.Topic, Time: m.Received, Received: m.Received})
			}
		}
	}
	l, err := eventlog.Open(t.Context(), eventlog.Config{Dir: t.TempDir(), Partitions: len(times), Decode: decode})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	for p, batches := range times {
		r := ring.New(4 << 20)
		c := l.Partition(p).NewCommitter(r)
		c.Quiet(true) // a tick would be of now
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for _, batch := range batches {
			var raw []byte
			for i, at := range batch {
				if at%2 != 0 {
					raw = eventlog.AppendRecord(raw, &event.Message{Record: event.AlertFact, Received: at, Payload: []byte("{}")})
				} else {
					raw = eventlog.AppendPublish(raw, at, fmt.Sprint("p", p), fmt.Append(nil, i), "c", 1, false)
				}
			}
			pos, err := r.Append(ctx, raw, len(batch))
			if err != nil {
				t.Fatal(err)
			}
			for c.Durable() < pos {
				time.Sleep(20 * time.Microsecond)
			}
		}
		r.Close()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	return l
}

func sources(l *eventlog.Log) (all []*source) {
	for i := range l.Partitions() {
		p := l.Partition(i)
		all = append(all, newSource(span{partition: p, until: p.Head().Seq, head: p.Head().Seq, to: math.MaxInt64}))
	}
	return all
}

// TestTheMergeIsInTheOrderOfReceiveTimes compares the merged stream with all
// messages sorted.
func TestTheMergeIsInTheOrderOfReceiveTimes(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		times := make([][][]int64, 1+rnd.IntN(4))
		var want []string
		type place struct {
			at   int64
			name string
		}
		var all []place
		for p := range times {
			now := int64(1_000_000)
			for b := range 1 + rnd.IntN(6) {
				var batch []int64
				for m := range 1 + rnd.IntN(30) {
					effective := now
					if m > 0 && rnd.IntN(5) == 0 {
						batch = append(batch, now-9_999) // derived of something before
					} else {
						now += 2 * int64(1+rnd.IntN(5))
						batch, effective = append(batch, now), now
					}
					all = append(all, place{effective, fmt.Sprintf("%d/%d/%d", p, b+1, m)})
				}
				times[p] = append(times[p], batch)
			}
		}
		slices.SortStableFunc(all, func(a, b place) int { return int(a.at - b.at) }) // stable: of equals the lower partition
		for _, x := range all {
			want = append(want, x.name)
		}
		m := newMerge(sources(fill(t, times)))
		defer m.close()
		var got []string
		for {
			s, err := m.next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if s.Batch == nil {
				break
			}
			b := s.batch()
			for i := range b.Messages {
				if i < s.from {
					if b.Messages[i].Record != event.Publish || b.Messages[i].Received != 0 || len(b.EventsOf(i)) != 0 {
						t.Fatalf("message %d before the section says something: %+v", i, b.Messages[i])
					}
					continue
				}
				got = append(got, fmt.Sprintf("%d/%d/%d", b.Partition, b.Seq, i))
				for _, e := range b.EventsOf(i) {
					if at := b.Position(&e); int(at.Message) != i || e.Received != b.Messages[i].Received {
						t.Fatalf("event of message %d has position %v", i, at)
					}
				}
			}
			s.done()
			s.Release()
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: got\n%v\nwant\n%v", seed, got, want)
		}
	}
}

func BenchmarkMerge(b *testing.B) {
	for _, every := range []int{1, 16, 256} { // messages of a partition before the other has one
		b.Run(fmt.Sprintf("partitions=2/run=%d", every), func(b *testing.B) {
			const messages, size = 200_000, 1000
			times := make([][][]int64, 2)
			for p := range times {
				for n := 0; n < messages/2; n += size {
					var batch []int64
					for i := n; i < n+size; i++ {
						batch = append(batch, 2*int64(1_000_000+(i/every*2+p)*every+i%every))
					}
					times[p] = append(times[p], batch)
				}
			}
			l := fill(b, times)
			for b.Loop() {
				m := newMerge(sources(l))
				n := 0
				for {
					s, err := m.next(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if s.Batch == nil {
						break
					}
					s.batch()
					s.done()
					n += s.to - s.from
					s.Release()
				}
				m.close()
				if n != messages {
					b.Fatalf("%d messages, want %d", n, messages)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/message")
		})
	}
}
