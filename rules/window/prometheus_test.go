package window

import (
	"fmt"
	"math"
	"testing"
	"time"

	"weir/ingest/event"
)

// run is a series in Prometheus's notation: start+step x n is n+1 numbers.
type run struct {
	start, step float64
	n           int
}

func series(runs ...run) []float64 {
	var out []float64
	for _, r := range runs {
		for i := range r.n + 1 {
			out = append(out, r.start+r.step*float64(i))
		}
	}
	return out
}

// What Prometheus's own tests expect (promql/promqltest/testdata/functions.test
// of version 3): the series, loaded from time 0 at the interval, and the value at
// a time over a range. NaN stands for no result.
func TestPrometheusExpectsTheseValues(t *testing.T) {
	const m, s = time.Minute, time.Second
	none := math.NaN()
	foo, bar, biz := []float64{1, 2, 3, 0, 1, 0, 0, 1, 2, 0}, []float64{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, []float64{0, 0, 0, 0, 0, 1, 1, 1, 1, 1}
	cutoff := func(start float64) []float64 { return series(run{start, 240, 10}) }
	resetMiddle := series(run{0, 10, 4}, run{0, 10, 5})
	two, three, uneven := []float64{0, 1}, []float64{0, 1, 2}, []float64{0, 1, 4}
	for _, tt := range []struct {
		f       Func
		q       float64
		every   time.Duration
		samples []float64
		at, in  time.Duration
		want    float64
	}{
		{Resets, 0, 5 * m, foo, 50 * m, 10 * m, 0},
		{Resets, 0, 5 * m, foo, 50 * m, 20 * m, 1},
		{Resets, 0, 5 * m, foo, 50 * m, 30 * m, 1},
		{Resets, 0, 5 * m, foo, 50 * m, 32 * m, 2},
		{Resets, 0, 5 * m, foo, 50 * m, 50 * m, 3},
		{Resets, 0, 5 * m, bar, 50 * m, 30 * m, 0},
		{Resets, 0, 5 * m, bar, 50 * m, 32 * m, 1},
		{Resets, 0, 5 * m, biz, 50 * m, 50 * m, 0},

		{Changes, 0, 5 * m, foo, 50 * m, 6 * m, 0},
		{Changes, 0, 5 * m, foo, 50 * m, 20 * m, 2},
		{Changes, 0, 5 * m, foo, 50 * m, 30 * m, 3},
		{Changes, 0, 5 * m, foo, 50 * m, 50 * m, 7},
		{Changes, 0, 5 * m, bar, 50 * m, 30 * m, 4},
		{Changes, 0, 5 * m, bar, 50 * m, 50 * m, 8},
		{Changes, 0, 5 * m, biz, 50 * m, 50 * m, 1},

		{Increase, 0, 5 * m, series(run{0, 10, 10}), 50 * m, 50 * m, 100},
		{Increase, 0, 5 * m, series(run{0, 18, 5}, run{0, 18, 5}), 50 * m, 50 * m, 160},
		{Increase, 0, 5 * m, series(run{10, 10, 10}), 50 * m, 50 * m, 100},
		{Increase, 0, 5 * m, series(run{1, 10, 10}), 50 * m, 50 * m, 100},
		{Increase, 0, 5 * m, series(run{0, 10, 10}), 50 * m, 100 * m, 100},
		{Increase, 0, 5 * m, series(run{0, 18, 5}, run{0, 18, 5}), 50 * m, 100 * m, 162},
		{Increase, 0, 5 * m, series(run{10, 10, 10}), 50 * m, 100 * m, 105},
		{Increase, 0, 5 * m, series(run{1, 10, 10}), 50 * m, 100 * m, 101},
		{Increase, 0, 5 * m, []float64{0, 1, 2, 3, 2, 3, 4}, 30 * m, 30 * m, 7},

		{Rate, 0, 5 * m, series(run{0, 27, 4}, run{0, 27, 5}), 50 * m, 50 * m, 0.08},
		{Rate, 0, 5 * m, append(series(run{0, 10, 9}), 0, 10), 50 * m, 5 * m, none},
		{Rate, 0, 5 * m, append(series(run{0, 10, 9}), 0, 10), 50 * m, 6 * m, 0},
		{Rate, 0, 5 * m, series(run{0, 80, 10}), 50 * m, 50 * m, 0.26666666666666666},
		{Rate, 0, 5 * m, series(run{0, 10, 10}), 45 * m, 10 * m, 0.03333333333333333},
		{Rate, 0, 4 * m, cutoff(0), 10 * m, 20 * m, 0.5},
		{Rate, 0, 4 * m, cutoff(60), 10 * m, 20 * m, 0.55},
		{Rate, 0, 4 * m, cutoff(120), 10 * m, 20 * m, 0.6},
		{Rate, 0, 4 * m, cutoff(180), 10 * m, 20 * m, 0.6},
		{Rate, 0, 4 * m, cutoff(300), 10 * m, 20 * m, 0.6},
		{Rate, 0, 4 * m, cutoff(0), 50 * m, 20 * m, 0.6},
		{Rate, 0, 4 * m, cutoff(300), 50 * m, 20 * m, 0.6},

		{Irate, 0, 5 * m, series(run{0, 10, 10}), 50 * m, 50 * m, .03333333333333333333},
		{Irate, 0, 5 * m, series(run{0, 10, 5}, run{0, 10, 5}), 50 * m, 50 * m, .03333333333333333333},
		{Irate, 0, 5 * m, series(run{0, 10, 5}, run{0, 10, 5}), 30 * m, 50 * m, 0},

		{Delta, 0, 5 * m, series(run{0, 50, 4}), 20 * m, 20 * m, 200},
		{Delta, 0, 5 * m, series(run{200, -50, 4}), 20 * m, 20 * m, -200},
		{Idelta, 0, 5 * m, []float64{0, 50, 100, 150}, 20 * m, 20 * m, 50},
		{Idelta, 0, 5 * m, []float64{0, 50, 100, 50}, 20 * m, 20 * m, -50},

		{Deriv, 0, 5 * m, series(run{0, 80, 10}), 50 * m, 50 * m, 0.26666666666666666},
		{Deriv, 0, 5 * m, resetMiddle, 50 * m, 100 * m, 0.010606060606060607},
		{Predict, 3600, 5 * m, resetMiddle, 50 * m, 50*m + s, 76.81818181818181},
		{Predict, 3600, 5 * m, resetMiddle, 50 * m, 50 * m, 70},
		{Predict, 0, 5 * m, resetMiddle, 50 * m, 50*m + s, 38.63636363636364},

		{Avg, 0, 10 * s, []float64{1, 2, 3, 4, 5}, 55 * s, 10 * s, none},
		{Avg, 0, 10 * s, []float64{1, 2, 3, 4, 5}, 55 * s, 20 * s, 5},
		{Avg, 0, 10 * s, []float64{1, 2, 3, 4, 5}, 55 * s, time.Minute, 3},
		{Sum, 0, 10 * s, []float64{1, 1e100, 1, -1e100}, time.Minute, 2 * m, 2},
		{Avg, 0, 10 * s, []float64{1, 1e100, 1, -1e100}, time.Minute, 2 * m, 0.5},
		{Avg, 0, 5 * s, []float64{1e10, 1e-6, 1e-6, 1e-6, 1e-6, 1e-6}, 55 * s, time.Minute, 1.6666666666666675e+09},
		{Avg, 0, 10 * s, series(run{52, 0, 100}), 10 * m, 130 * s, 52},
		{Sum, 0, time.Millisecond, series(run{1, 0, 4000}), 4 * s, time.Second, 1000},
		{Sum, 0, time.Millisecond, series(run{1, 0, 4000}), 4 * s, 1001 * time.Millisecond, 1001},

		{Stdvar, 0, 10 * s, []float64{0, 8, 8, 2, 3}, time.Minute, 2 * m, 10.56},
		{Stddev, 0, 10 * s, []float64{0, 8, 8, 2, 3}, time.Minute, 2 * m, 3.249615},
		{Stdvar, 0, 10 * s, []float64{1.5990505637277868, 1.5990505637277868, 1.5990505637277868}, 55 * s, time.Minute, 0},

		{Quantile, 0, 10 * s, two, time.Minute, 2 * m, 0},
		{Quantile, 0.5, 10 * s, two, time.Minute, 2 * m, 0.5},
		{Quantile, 0.75, 10 * s, two, time.Minute, 2 * m, 0.75},
		{Quantile, 0.75, 10 * s, three, time.Minute, 2 * m, 1.5},
		{Quantile, 0.75, 10 * s, uneven, time.Minute, 2 * m, 2.5},
		{Quantile, 0.8, 10 * s, three, time.Minute, 2 * m, 1.6},
		{Quantile, 0.8, 10 * s, uneven, time.Minute, 2 * m, 2.8},
		{Quantile, 1, 10 * s, uneven, time.Minute, 2 * m, 4},
		{Quantile, -1, 10 * s, two, time.Minute, 2 * m, none}, // Prometheus: -Inf
		{Quantile, 2, 10 * s, two, time.Minute, 2 * m, none},  // Prometheus: +Inf
	} {
		t.Run(fmt.Sprintf("%v of %d samples at %v over %v", tt.f, len(tt.samples), tt.at, tt.in), func(t *testing.T) {
			w := New(&Spec{Mode: Sliding, Width: int64(tt.in), Needs: NeedsOf(tt.f)})
			for i, x := range tt.samples {
				at := int64(i) * int64(tt.every)
				w.Add(at, event.FloatValue(x))
				if at <= int64(tt.at) {
					w.Advance(at)
				}
			}
			w.Advance(int64(tt.at))
			got, ok := w.Value(tt.f, tt.q, int64(tt.at)).Float()
			switch {
			case math.IsNaN(tt.want):
				if ok {
					t.Errorf("= %v, want nothing", got)
				}
			case !ok:
				t.Errorf("= nothing, want %v", tt.want)
			case tt.want == 3.249615: // given to six places there
				if math.Abs(got-tt.want) > 1e-6 {
					t.Errorf("= %v, want %v", got, tt.want)
				}
			case math.Abs(got-tt.want) > 1e-15*math.Abs(tt.want):
				t.Errorf("= %v, want %v", got, tt.want)
			}
		})
	}
}
