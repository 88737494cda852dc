package ring

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// record encodes one record the way the log does: field 1, bytes.
func record(b []byte, body []byte) []byte {
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	return protowire.AppendBytes(b, body)
}

// records returns the bodies of field 1 in a stretch, reading it as any
// protobuf parser would and refusing what is not valid.
func records(t testing.TB, b []byte) (bodies [][]byte) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("invalid tag: %v", protowire.ParseError(n))
		}
		b = b[n:]
		m := protowire.ConsumeFieldValue(num, typ, b)
		if m < 0 {
			t.Fatalf("invalid value of field %d: %v", num, protowire.ParseError(m))
		}
		switch num {
		case 1:
			v, _ := protowire.ConsumeBytes(b)
			bodies = append(bodies, v)
		case 2, 3: // header and padding
		default:
			t.Fatalf("field %d in a stretch", num)
		}
		b = b[m:]
	}
	return bodies
}

func TestAStretchIsAValidProtobufOfItsRecords(t *testing.T) {
	r := New(4096)
	var want [][]byte
	for n := range 40 { // every padding
		body := bytes.Repeat([]byte{byte('a' + n%26)}, n)
		want = append(want, body)
		if _, ok, err := r.TryAppend(record(nil, body), 1); !ok || err != nil {
			t.Fatalf("append %d: %v %v", n, ok, err)
		}
	}
	s := r.Next(1 << 20)
	if s.Records != 40 || s.Chunks != 40 {
		t.Fatalf("records %d chunks %d, want 40 of each", s.Records, s.Chunks)
	}
	if s.End != r.tail.Load() {
		t.Fatalf("stretch ends at %d, tail is %d", s.End, r.tail.Load())
	}
	if got := records(t, s.Bytes); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("records\n got %q\nwant %q", got, want)
	}
	if got := records(t, s.Bytes[s.Last:]); string(got[0]) != string(want[39]) {
		t.Errorf("last chunk holds %q, want %q", got[0], want[39])
	}
}

func TestAppendOfTooMuchIsRefusedAndNotWaitedFor(t *testing.T) {
	r := New(4096)
	if _, err := r.Append(t.Context(), make([]byte, 3000), 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v, want ErrTooLarge", err)
	}
	if _, err := r.Append(t.Context(), make([]byte, 30), MaxRecords+1); err == nil {
		t.Error("more records than a header can count were taken")
	}
}

func TestAFullRingHoldsProducersUntilRelease(t *testing.T) {
	r := New(4096)
	body := record(nil, make([]byte, 1000))
	n := 0
	for {
		if _, ok, _ := r.TryAppend(body, 1); !ok {
			break
		}
		n++
	}
	done := make(chan uint64)
	go func() {
		end, err := r.Append(context.Background(), body, 1)
		if err != nil {
			t.Error(err)
		}
		done <- end
	}()
	for r.waiting.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	s := r.Next(2000)
	r.Release(s.End)
	end := <-done
	if end <= s.End {
		t.Errorf("the waiting append ended at %d, not after the released %d", end, s.End)
	}
	if r.Stalls() != 1 {
		t.Errorf("stalls %d, want 1", r.Stalls())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		if _, err := r.Append(ctx, body, 1); err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("append to a full ring with an ended context: %v", err)
			}
			break
		}
	}
}

func TestCloseWakesEveryoneAndLetsTheConsumerDrain(t *testing.T) {
	r := New(4096)
	body := record(nil, make([]byte, 100))
	r.TryAppend(body, 1)
	r.Close()
	r.Close()
	if _, err := r.Append(t.Context(), body, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := r.Wait(t.Context()); err != nil {
		t.Errorf("wait with a chunk left: %v", err)
	}
	r.Release(r.Next(1 << 20).End)
	if err := r.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("wait on a drained, closed ring: %v", err)
	}
	q := New(4096)
	go q.Close()
	if err := q.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a parked consumer got %v from close", err)
	}
}

// Many producers with chunks of random size against one consumer that releases
// late: nothing lost, nothing twice, nothing torn, each producer's order kept.
func TestStressKeepsEveryRecordOnceAndInOrder(t *testing.T) {
	const producers, each = 8, 4000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := New(16 << 10)
	var wg sync.WaitGroup
	for p := range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			rnd := rand.New(rand.NewPCG(seed, uint64(p)))
			for i := 0; i < each; {
				var b []byte
				n := min(1+rnd.IntN(20), each-i)
				for k := range n {
					body := make([]byte, 12+rnd.IntN(60))
					binary.LittleEndian.PutUint32(body, uint32(p))
					binary.LittleEndian.PutUint32(body[4:], uint32(i+k))
					for j := 12; j < len(body); j++ {
						body[j] = byte(p + i + k)
					}
					b = record(b, body)
				}
				if _, err := r.Append(context.Background(), b, n); err != nil {
					t.Error(err)
					return
				}
				i += n
			}
		}()
	}
	go func() { wg.Wait(); r.Close() }()

	next := make([]int, producers)
	var held []uint64
	rnd := rand.New(rand.NewPCG(seed, 99))
	var last uint64
	for {
		s := r.Next(1 + rnd.IntN(8000))
		if s.Chunks == 0 {
			for _, end := range held {
				r.Release(end)
			}
			held = held[:0]
			if errors.Is(r.Wait(context.Background()), ErrClosed) {
				break
			}
			continue
		}
		if s.End <= last {
			t.Fatalf("stretch ends at %d after one that ended at %d", s.End, last)
		}
		last = s.End
		got := records(t, s.Bytes)
		if len(got) != s.Records {
			t.Fatalf("stretch says %d records and holds %d", s.Records, len(got))
		}
		for _, b := range got {
			p, i := binary.LittleEndian.Uint32(b), int(binary.LittleEndian.Uint32(b[4:]))
			if next[p] != i {
				t.Fatalf("producer %d: record %d, want %d", p, i, next[p])
			}
			next[p]++
			for _, c := range b[12:] {
				if c != byte(int(p)+i) {
					t.Fatalf("producer %d record %d is torn", p, i)
				}
			}
		}
		held = append(held, s.End)
		if rnd.IntN(3) == 0 {
			r.Release(held[0])
			held = held[1:]
		}
	}
	for p, n := range next {
		if n != each {
			t.Errorf("producer %d: %d records arrived, want %d", p, n, each)
		}
	}
	if r.Used() != 0 {
		t.Errorf("%d bytes in use after the drain", r.Used())
	}
}

func TestAppendNextReleaseAllocateNothing(t *testing.T) {
	r := New(64 << 10)
	b := record(nil, make([]byte, 120))
	ctx := context.Background()
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := r.Append(ctx, b, 1); err != nil {
			t.Fatal(err)
		}
		r.Release(r.Next(1 << 20).End)
	}); n != 0 {
		t.Errorf("allocations per append, next and release = %v, want 0", n)
	}
}
