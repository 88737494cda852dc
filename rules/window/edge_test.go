package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/ingest/event"
)

func TestSumsForgetWhatHasLeft(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	w := New(&Spec{Mode: Counted, N: 5, Needs: allNeeds()})
	for i := range 100_000 {
		x := r.Float64()
		switch i % 7 {
		case 0:
			x = 1e15 + 0.1
		case 1:
			x = -1e100 * r.Float64()
		}
		w.Add(int64(i), event.FloatValue(x))
	}
	for i := range 5 {
		w.Add(int64(200_000+i), event.FloatValue(0.1))
	}
	for f, want := range map[Func]float64{Sum: 0.5, Avg: 0.1, Stddev: 0, Stdvar: 0, Deriv: 0, Range: 0, Changes: 0} {
		if got, _ := w.Value(f, 0, 0).Float(); got != want {
			t.Errorf("%v of five times 0.1 after much else = %v, want %v", f, got, want)
		}
	}
}

func TestConstantSeriesHaveNoDeviation(t *testing.T) {
	for _, x := range []float64{0, 0.1, -273.15, 1e15 + 0.1, 1.0 / 3, 1e-141, 3.3e-155, 1.7e-160, 1e-300, 5e-324, 1e140, -1e140} {
		w := New(&Spec{Mode: Sliding, Width: 1000, Needs: allNeeds()})
		for i := range int64(5000) {
			w.Add(i*3, event.FloatValue(x))
			w.Advance(i * 3)
			if got, ok := w.Value(Stddev, 0, i*3).Float(); !ok || got != 0 {
				t.Fatalf("stddev of %d times %v = %v, want 0", w.Len(), x, got)
			}
		}
		if got, _ := w.Value(Deriv, 0, 4999*3).Float(); got != 0 {
			t.Errorf("deriv of a constant %v = %v, want 0", x, got)
		}
	}
}

func TestTinyConstantsHaveNoDeviation(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for range 20_000 {
		x := r.Float64() * 1e-160 // its square is rounded
		w := New(&Spec{Mode: Whole, Needs: NeedsOf(Stddev)})
		for n := range 4 {
			w.Add(0, event.FloatValue(x))
			if got, _ := w.Value(Stddev, 0, 0).Float(); got != 0 {
				t.Fatalf("stddev of %d times %v = %v, want 0", n+1, x, got)
			}
		}
	}
}

func TestSlopeIsThatOfTheLineWhateverTheTime(t *testing.T) {
	for _, start := range []int64{0, 1_760_000_000_000_000_000, -5, math.MaxInt64 - 1<<40} {
		w := New(&Spec{Mode: Counted, N: 10, Needs: NeedsOf(Deriv)})
		for i := range int64(1000) {
			w.Add(start+i*1e9, event.FloatValue(3*float64(i)))
		}
		if got, _ := w.Value(Deriv, 0, 0).Float(); got != 3 {
			t.Errorf("deriv of 3 a second from %d = %v, want 3", start, got)
		}
	}
	// A series so long that its times in nanoseconds are no float64.
	const day = int64(24 * 3600 * 1e9)
	w := New(&Spec{Mode: Sliding, Width: 4000 * day, Needs: NeedsOf(Deriv)})
	for i := range int64(20_000) {
		w.Add(i*day+1, event.FloatValue(float64(i)))
		w.Advance(i*day + 1)
	}
	if got, _ := w.Value(Deriv, 0, w.now).Float(); math.Abs(got*86400-1) > 1e-15 {
		t.Errorf("deriv of 1 a day over 4000 days = %v a day, want 1", got*86400)
	}
}

func TestWindowHoldsItsRangeAndNothingElse(t *testing.T) {
	for _, tt := range []struct {
		name string
		spec Spec
		now  int64
		want string // the samples at 0, 10, 20 ... 100 that count
	}{
		{"sliding leaves out its left end", Spec{Mode: Sliding, Width: 30}, 60, "40 50 60"},
		{"sliding does not look ahead", Spec{Mode: Sliding, Width: 30}, 59, "30 40 50"},
		{"aligned leaves out its right end", Spec{Mode: Aligned, Width: 30}, 60, "30 40 50"},
		{"aligned holds what is before its end", Spec{Mode: Aligned, Width: 30}, 61, "40 50 60"},
		{"counted holds the last", Spec{Mode: Counted, N: 2}, 60, "90 100"},
		{"sliding before the first sample", Spec{Mode: Sliding, Width: 30}, -1, ""},
		{"sliding after the last sample", Spec{Mode: Sliding, Width: 30}, 130, ""},
		{"sliding at the end of the last sample", Spec{Mode: Sliding, Width: 30}, 129, "100"},
		{"width beyond all time", Spec{Mode: Sliding, Width: math.MaxInt64}, 20, "0 10 20"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := New(&tt.spec)
			for at := int64(0); at <= 100; at += 10 {
				w.Add(at, event.IntValue(at))
			}
			w.Advance(tt.now)
			var got []string
			for i := 0; w.state != nil && i < w.state.entered; i++ {
				got = append(got, fmt.Sprint(w.state.number(i)))
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("holds %q, want %q", s, tt.want)
			}
		})
	}
}

func TestNextIsWhenTheFirstSampleLeaves(t *testing.T) {
	for _, mode := range []Mode{Sliding, Aligned} {
		w := New(&Spec{Mode: mode, Width: 30})
		if got := w.Next(); got != math.MaxInt64 {
			t.Errorf("mode %d: Next of an empty window = %d", mode, got)
		}
		w.Advance(15)
		w.Add(10, event.IntValue(1))
		w.Add(14, event.IntValue(1))
		next := w.Next()
		if w.Advance(next - 1); w.Len() != 2 {
			t.Errorf("mode %d: a sample left before Next", mode)
		}
		if w.Advance(next); w.Len() != 1 {
			t.Errorf("mode %d: no sample left at Next", mode)
		}
	}
}

func TestTimeNeverGoesBack(t *testing.T) {
	w := New(&Spec{Mode: Sliding, Width: 30})
	w.Advance(100)
	w.Add(70, event.IntValue(1)) // has left already
	w.Add(71, event.IntValue(2))
	w.Advance(50)
	if got := w.Value(Count, 0, 100); w.Len() != 1 || !got.Equal(event.FloatValue(1)) {
		t.Errorf("Len = %d, count = %v, want 1 and 1", w.Len(), got)
	}
}

func TestValueSaysNothingWhereThereIsNothingToSay(t *testing.T) {
	empty := New(&Spec{Mode: Sliding, Width: 30, Needs: allNeeds()})
	texts := New(&Spec{Mode: Sliding, Width: 30, Needs: allNeeds()})
	texts.Advance(10)
	texts.Add(1, event.StringValue("on"))
	texts.Add(2, event.StringValue("off"))
	const null = "null"
	for _, tt := range []struct {
		f           Func
		empty, text string
	}{
		{Avg, null, null}, {Min, null, null}, {Max, null, null}, {Sum, "0", "0"}, {Count, "0", "2"}, {Stddev, null, null},
		{Stdvar, null, null}, {Last, null, "off"}, {First, null, "on"}, {Quantile, null, null}, {Rate, null, null}, {Increase, null, null},
		{Delta, null, null}, {Changes, "0", "1"}, {Resets, "0", "0"}, {Present, null, "1"}, {Range, null, null}, {Irate, null, null},
		{Idelta, null, null}, {Deriv, null, null}, {Func(99), null, null},
	} {
		if got := empty.Value(tt.f, 0.5, 10).String(); got != tt.empty {
			t.Errorf("%v of nothing = %s, want %s", tt.f, got, tt.empty)
		}
		if got := texts.Value(tt.f, 0.5, 10).String(); got != tt.text {
			t.Errorf("%v of two texts = %s, want %s", tt.f, got, tt.text)
		}
		w := New(&Spec{Mode: Whole})
		w.Add(1, event.IntValue(1))
		if got := w.Value(tt.f, 0.5, 10).String(); NeedsOf(tt.f) != 0 && got != null {
			t.Errorf("%v of a window that does not keep it = %s, want null", tt.f, got)
		}
	}
	one := New(&Spec{Mode: Whole, Needs: allNeeds()})
	one.Add(1, event.IntValue(1))
	one.Add(1, event.IntValue(3))
	for _, f := range []Func{Rate, Irate, Deriv} {
		if got := one.Value(f, 0, 1); got.Kind() != event.Null {
			t.Errorf("%v of two numbers at one time = %v, want null", f, got)
		}
	}
	for _, q := range []float64{-0.1, 1.1, math.NaN(), math.Inf(1)} {
		if got := one.Value(Quantile, q, 1); got.Kind() != event.Null {
			t.Errorf("quantile %v = %v, want null", q, got)
		}
	}
}

// The bound in doc.go, for all magnitudes and both signs.
func TestQuantilesOfManyNumbersAreCloseToTheExactOnes(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for _, sign := range []float64{1, -1} {
		w, ref := New(&Spec{Mode: Counted, N: 2000, Needs: NeedsOf(Quantile)}), newTwin(&Spec{Mode: Counted, N: 2000})
		for i := range int64(5000) {
			x := sign * math.Exp(r.NormFloat64()*20)
			w.Add(i, event.FloatValue(x))
			ref.add(i, event.FloatValue(x))
		}
		for q := 0.0; q <= 1; q += 1.0 / 64 {
			got, _ := w.Value(Quantile, q, 0).Float()
			want, _, _ := ref.value(Quantile, q)
			if e := math.Abs(got/want - 1); e > 1.0/128 {
				t.Errorf("quantile %v = %v, want %v: off by %.2f %%", q, got, want, 100*e)
			}
		}
	}
}

func TestQuantilesChangeMethodByCountAlone(t *testing.T) {
	s := &Spec{Mode: Sliding, Width: 10_000, Needs: NeedsOf(Quantile)}
	w, ref := New(s), newTwin(s)
	r := rand.New(rand.NewPCG(1, 1))
	now := int64(0)
	for step := range 6000 {
		now += 20 + int64(15*math.Sin(float64(step)/300)) // 290 to 2000 samples, and in the end none
		if step > 5000 {
			now += 1 << (step / 600)
		}
		v := event.FloatValue(math.Round(r.NormFloat64()*100) / 4)
		w.Add(now, v)
		ref.add(now, v)
		w.Advance(now)
		ref.advance(now)
		if step%100 == 0 || len(ref.list) < 330 && step%7 == 0 {
			rebuilt(t, w, ref, fmt.Sprintf("step %d, %d samples", step, len(ref.list)))
		}
		if n := len(ref.list); n <= exactQuantiles {
			got, _ := w.Value(Quantile, 0.9, now).Float()
			if want, _, _ := ref.value(Quantile, 0.9); got != want {
				t.Fatalf("quantile of %d samples = %v, want %v", n, got, want)
			}
		}
	}
}

func TestQuantilesSurviveEveryCount(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	s := &Spec{Mode: Sliding, Width: 1000, Needs: NeedsOf(Quantile)}
	w, ref := New(s), newTwin(s)
	for i := range int64(400) {
		v := event.FloatValue(r.Float64())
		w.Add(i, v)
		ref.add(i, v)
	}
	for now := int64(400); now <= 1400; now++ { // from 400 samples to none, one at a time
		w.Advance(now)
		ref.advance(now)
		got, _ := w.Value(Quantile, 0.5, now).Float()
		want, _, _ := ref.value(Quantile, 0.5)
		if n := len(ref.list); n <= exactQuantiles && got != want || math.Abs(got-want) > 0.01*want {
			t.Fatalf("median of %d samples = %v, want %v", n, got, want)
		}
	}
}

func TestSteadyWindowsAllocateNothing(t *testing.T) {
	modes := map[string]Spec{
		"sliding": {Mode: Sliding, Width: 1000}, "long": {Mode: Sliding, Width: 20_000}, "aligned": {Mode: Aligned, Width: 1000},
		"counted": {Mode: Counted, N: 100}, "whole": {Mode: Whole}, "empties each time": {Mode: Sliding, Width: 5},
	}
	for name, s := range modes {
		t.Run(name, func(t *testing.T) {
			s.Needs = allNeeds()
			w := New(&s)
			now := int64(0)
			step := func() {
				now += 10
				w.Add(now, event.FloatValue(float64(now*7919%1000)/8))
				w.Advance(now)
				for _, f := range allFuncs {
					w.Value(f, 0.9, now)
				}
			}
			for range 10_000 {
				step()
			}
			if n := testing.AllocsPerRun(5000, step); n != 0 {
				t.Errorf("allocations per Add, Advance and Value = %v, want 0", n)
			}
		})
	}
}
