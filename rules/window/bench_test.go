package window

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/ingest/event"
)

// BenchmarkWindow is one event: Add, Advance and Value of a window that is full.
func BenchmarkWindow(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]event.Value, 4096)
	total := 0.0
	counter := make([]event.Value, len(values))
	for i := range values {
		values[i] = event.FloatValue(float64(int(r.NormFloat64()*100)) / 10)
		if total += r.Float64(); r.IntN(500) == 0 {
			total = 0
		}
		counter[i] = event.FloatValue(total)
	}
	for _, f := range []Func{Avg, Max, Quantile, Rate, Stddev, Deriv} {
		for _, n := range []int64{10, 1000, 100_000} {
			b.Run(fmt.Sprintf("%s/samples=%d", strings.TrimSuffix(f.String(), "_over_time"), n), func(b *testing.B) {
				w := New(&Spec{Mode: Sliding, Width: n * 1e9, Needs: NeedsOf(f)})
				from := values
				if f == Rate {
					from = counter
				}
				i, now := 0, int64(1_700_000_000_000_000_000)
				step := func() {
					now += 1e9
					w.Add(now, from[i&4095])
					w.Advance(now)
					w.Value(f, 0.95, now)
					i++
				}
				for range 3 * n {
					step()
				}
				b.ReportAllocs()
				for b.Loop() {
					step()
				}
			})
		}
	}
}

// BenchmarkLate is an event that comes one sample too late.
func BenchmarkLate(b *testing.B) {
	for _, n := range []int64{10, 1000, 100_000} {
		b.Run(fmt.Sprintf("samples=%d", n), func(b *testing.B) {
			w := New(&Spec{Mode: Sliding, Width: n * 1e9, Needs: allNeeds()})
			now := int64(0)
			step := func() {
				now += 2e9
				w.Add(now, event.IntValue(now/2e9%100))
				w.Advance(now)
				w.Add(now-1e9, event.IntValue(now/1e9%77))
			}
			for range 2 * n {
				step()
			}
			b.ReportAllocs()
			for b.Loop() {
				step()
			}
		})
	}
}
