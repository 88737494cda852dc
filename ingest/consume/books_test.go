package consume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

func TestDamageIsCountedAsLostAndTheBooksBalance(t *testing.T) {
	dir := t.TempDir()
	s := openLog(t, dir)
	for i := range 20 {
		s.put(t, fmt.Sprintf("payload-%02d", i), fmt.Sprintf("second-%02d", i))
	}
	s.stop()
	flip(t, dir, "payload-10")
	s = openLog(t, dir)
	var got seen
	m := NewMetrics()
	r := s.run(t, "c", &got, func(c *Config) { c.Metrics = m })
	c := r.caughtUp(t)
	all := got.all()
	if c.Lost < 2 || slices.Contains(all, "payload-10") || slices.Contains(all, "second-10") {
		t.Errorf("books %+v, handled %v", c, all)
	}
	if !slices.Contains(all, "payload-09") || !slices.Contains(all, "second-11") {
		t.Errorf("what stands around the damage was not handled: %v", all)
	}
	if v := count(t, m.records.WithLabelValues("c", "0", "lost")); v != float64(c.Lost) {
		t.Errorf("metric says %v lost, books %d", v, c.Lost)
	}
}

// flip changes a bit of a payload on disk.
func flip(t *testing.T, dir, payload string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "log", "jetstream", "*", "streams", "WEIR_LOG_0", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.Index(b, []byte(payload)); i >= 0 {
			b[i+3] ^= 0x10
			if err := os.WriteFile(f, b, 0o640); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("payload %s was not found on disk", payload)
}

func TestAnOutcomeThatCannotBeIsAFailureAndNoCrash(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "b")
	no := errors.New("no")
	for name, bad := range map[string]struct {
		out event.Outcome
		err error
	}{
		"a batch that is not there":           {event.Outcome{Dead: []event.Dead{{Batch: 99, Err: no}}}, nil},
		"a negative batch":                    {event.Outcome{Dead: []event.Dead{{Batch: -1, Err: no}}}, nil},
		"a message that is not there":         {event.Outcome{Dead: []event.Dead{{Message: 99, Err: no}}}, nil},
		"a message twice":                     {event.Outcome{Dead: []event.Dead{{Err: no}, {Err: no}}}, nil},
		"no cause":                            {event.Outcome{Dead: []event.Dead{{}}}, nil},
		"more than there was":                 {event.Outcome{Filtered: 99999}, nil},
		"less than nothing":                   {event.Outcome{Filtered: -1}, nil},
		"blame for a message that is not":     {event.Outcome{}, &event.MessageError{Message: 99, Err: no}},
		"blame for a batch that is not there": {event.Outcome{}, &event.MessageError{Batch: -1, Err: no}},
	} {
		t.Run(name, func(t *testing.T) {
			var mended atomic.Bool
			var got seen
			r := s.run(t, strings.ReplaceAll(name, " ", "-"), handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
				if !mended.Load() {
					return bad.out, bad.err
				}
				return got.take(batches), nil
			}), func(c *Config) { c.MaxAttempts = 1 })
			until(t, "the trouble shows", func() bool { return r.Status().State == "retrying" })
			mended.Store(true)
			if c := r.caughtUp(t); c.Dead != 0 || got.text() != "[a b]" {
				t.Errorf("handled %s, books %+v", got.text(), c)
			}
		})
	}
}

func TestGivingAMessageUpBalancesWhateverTheConsumerMakesOfTicks(t *testing.T) {
	s := openLog(t, t.TempDir())
	s.put(t, "a", "bad", "b")
	r := s.run(t, "c", handle(func(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
		if n, m, ok := find(batches, "bad"); ok {
			return event.Outcome{}, &event.MessageError{Batch: n, Message: m, Err: errors.New("odd")}
		}
		return event.Outcome{}, nil // ticks are delivered to this one
	}), nil)
	if c := r.caughtUp(t); c.Dead != 1 || c.Filtered != 0 {
		t.Errorf("books %+v", c)
	}
}

// TestTheBooksBalanceWhateverHappens gives a consumer random outcomes.
func TestTheBooksBalanceWhateverHappens(t *testing.T) {
	s := openLog(t, t.TempDir())
	want := map[string]bool{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < 300; {
		var batch []string
		for range 1 + rng.IntN(12) {
			p := fmt.Sprint("m", i)
			batch, want[p] = append(batch, p), true
			i++
		}
		s.put(t, batch...)
	}
	for range 6 {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		r := rand.New(rand.NewPCG(seed, 0))
		handled, dead := map[string]int{}, map[string]bool{}
		h := handle(func(_ context.Context, batches []*event.Batch) (out event.Outcome, err error) {
			b := r.IntN(len(batches))
			m := uint32(r.IntN(len(batches[b].Messages)))
			switch r.IntN(8) {
			case 0:
				return out, errors.New("outage")
			case 1:
				return out, &event.RetryError{Err: errors.New("busy"), After: time.Microsecond}
			case 2, 3:
				return out, &event.MessageError{Batch: b, Message: m, Err: errors.New("odd")}
			case 4:
				panic("random")
			}
			for n, b := range batches {
				for i := range b.Messages {
					p := string(b.Messages[i].Payload)
					switch {
					case b.Messages[i].Record != event.Publish:
						out.Filtered++
					case r.IntN(10) == 0:
						out.Dead = append(out.Dead, event.Dead{Batch: n, Message: uint32(i), Err: errors.New("dead")})
						dead[p] = true
					default:
						handled[p]++
					}
				}
			}
			return out, nil
		})
		name := fmt.Sprint("random-", seed)
		run := s.run(t, name, h, func(c *Config) {
			c.MaxMessages, c.MaxAttempts, c.RetryMin, c.RetryMax = 1+r.IntN(40), 1+r.IntN(3), time.Microsecond, 10*time.Microsecond
		})
		c := run.caughtUp(t)
		run.stop()
		buried := map[string]bool{}
		if err := s.EachDead(t.Context(), name, func(d eventlog.DeadLetter) bool {
			if d.Record == event.Publish {
				buried[string(d.Payload)] = true
			}
			return true
		}); err != nil {
			t.Fatal(err)
		}
		for p := range want {
			if handled[p] > 0 == buried[p] || handled[p] > 1 || dead[p] && !buried[p] {
				t.Errorf("seed %d: %s was handled %d times, dead letter: %v", seed, p, handled[p], buried[p])
			}
		}
		if len(handled) != int(c.Delivered) {
			t.Errorf("seed %d: %d handled, books %+v", seed, len(handled), c)
		}
	}
}
