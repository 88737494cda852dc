package window

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"weir/ingest/event"
)

// twin is the slow and obvious window: it keeps a list and looks through it.
type twin struct {
	spec *Spec
	now  int64
	list []held // by time, those at one time in the order of arrival
	// what a Whole window saw in order
	inOrder []held
	// of a Counted window: how many events it was told of, and which of them the list is
	events int
	taken  []int
}

type held struct {
	t    int64
	x    float64
	s    string
	text bool
}

func newTwin(s *Spec) *twin { return &twin{spec: s, now: math.MinInt64} }

func (w *twin) add(t int64, v event.Value) {
	h := held{t: t}
	switch v.Kind() {
	case event.Null:
		return
	case event.Bool:
		if v.Bool() {
			h.x = 1
		}
	case event.String:
		h.text, h.s = true, v.Text()
	default:
		h.x, _ = v.Float()
		if math.IsNaN(h.x) || math.Abs(h.x) > maxNumber {
			return
		}
	}
	if w.spec.Mode == Whole {
		w.inOrder = append(w.inOrder, h)
	}
	i := len(w.list)
	for i > 0 && w.list[i-1].t > t {
		i--
	}
	w.list = slices.Insert(w.list, i, h)
	w.events++
	w.taken = append(w.taken, w.events)
	w.drop()
}

func (w *twin) pass() {
	w.events++
	w.drop()
}

func (w *twin) drop() {
	switch w.spec.Mode {
	case Sliding:
		w.list = slices.DeleteFunc(w.list, func(h held) bool { return h.t <= w.now-w.spec.Width && w.now != math.MinInt64 })
	case Aligned:
		w.list = slices.DeleteFunc(w.list, func(h held) bool { return h.t < w.now-w.spec.Width && w.now != math.MinInt64 })
	case Counted:
		for len(w.list) > 0 && w.taken[0] <= w.events-w.spec.N {
			w.list, w.taken = slices.Clone(w.list[1:]), w.taken[1:]
		}
	}
}

func (w *twin) advance(now int64) {
	if now > w.now {
		w.now = now
		w.drop()
	}
}

func (w *twin) reset() { w.list, w.inOrder, w.taken = nil, nil, nil }

func (w *twin) entered() []held {
	var in []held
	for _, h := range w.list {
		if w.spec.Mode == Sliding && h.t > w.now || w.spec.Mode == Aligned && h.t >= w.now {
			continue
		}
		in = append(in, h)
	}
	return in
}

func numbers(in []held) []held {
	return slices.DeleteFunc(slices.Clone(in), func(h held) bool { return h.text })
}

// latest returns what came in order: what a Whole window can say of neighbours.
func latest(in []held) []held {
	var out []held
	for _, h := range in {
		if len(out) == 0 || h.t >= out[len(out)-1].t {
			out = append(out, h)
		}
	}
	return out
}

// value returns Null as false. Texts are returned beside numbers.
func (w *twin) value(f Func, q float64) (x float64, s string, ok bool) {
	in := w.entered()
	nums := numbers(in)
	pairs, numPairs := in, nums
	if w.spec.Mode == Whole {
		pairs, numPairs = latest(w.inOrder), latest(numbers(w.inOrder))
	}
	n := len(nums)
	switch f {
	case Count:
		return float64(len(in)), "", true
	case Present:
		return 1, "", len(in) > 0
	case First:
		if len(in) == 0 {
			return 0, "", false
		}
		return in[0].x, in[0].s, true
	case Last:
		if len(in) == 0 {
			return 0, "", false
		}
		return in[len(in)-1].x, in[len(in)-1].s, true
	case Changes:
		c := 0
		for i := 1; i < len(pairs); i++ {
			a, b := pairs[i-1], pairs[i]
			if a.text != b.text || a.x != b.x || a.s != b.s {
				c++
			}
		}
		return float64(c), "", true
	case Resets:
		c := 0
		for i := 1; i < len(numPairs); i++ {
			if numPairs[i].x < numPairs[i-1].x {
				c++
			}
		}
		return float64(c), "", true
	case Sum:
		return float(sumOf(nums)), "", true
	}
	if n == 0 {
		return 0, "", false
	}
	xs := make([]float64, n)
	for i := range nums {
		xs[i] = nums[i].x
	}
	slices.Sort(xs)
	switch f {
	case Avg:
		return float(sumOf(nums)) / float64(n), "", true
	case Min:
		return xs[0], "", true
	case Max:
		return xs[n-1], "", true
	case Range:
		return xs[n-1] - xs[0], "", true
	case Stdvar:
		return float(variance(nums)), "", true
	case Stddev:
		return math.Sqrt(float(variance(nums))), "", true
	case Quantile:
		rank := q * float64(n-1)
		i := int(rank)
		j := min(i+1, n-1)
		weight := rank - float64(i)
		return xs[i]*(1-weight) + xs[j]*weight, "", true
	}
	if n < 2 {
		return 0, "", false
	}
	a, b := nums[n-2], nums[n-1]
	switch f {
	case Idelta:
		return b.x - a.x, "", true
	case Irate:
		d := b.x - a.x
		if b.x < a.x {
			d = b.x
		}
		return d / (float64(b.t-a.t) / 1e9), "", b.t > a.t
	case Deriv:
		return slope(nums)
	case Predict:
		x, _, ok := slope(nums)
		mean := num()
		for _, h := range nums {
			mean.Add(mean, integer(w.now-h.t))
		}
		mean.Quo(mean, integer(int64(n)))
		return float(num().Quo(sumOf(nums), integer(int64(n)))) + x*(float(mean)/1e9+q), "", ok
	}
	x, ok = w.rate(f, nums, numPairs)
	return x, "", ok
}

// rate says what Prometheus's documentation and tests say of rate, increase
// and delta, in other words than the window does.
func (w *twin) rate(f Func, nums, pairs []held) (float64, bool) {
	first, last := nums[0], nums[len(nums)-1]
	grown := num().Sub(rat(last.x), rat(first.x))
	if f != Delta {
		for i := 1; i < len(pairs); i++ {
			if pairs[i].x < pairs[i-1].x {
				grown.Add(grown, rat(pairs[i-1].x))
			}
		}
	}
	d := float(grown)
	span := float64(last.t-first.t) / 1e9
	if w.spec.Mode > Aligned {
		if f == Rate {
			return d / span, span > 0
		}
		return d, true
	}
	if span == 0 {
		return 0, false
	}
	step := span / float64(len(nums)-1)
	before := float64(first.t-(w.now-w.spec.Width)) / 1e9
	after := float64(w.now-last.t) / 1e9
	if before >= 1.1*step {
		before = step / 2
	}
	if after >= 1.1*step {
		after = step / 2
	}
	if f != Delta && d > 0 && first.x >= 0 {
		before = math.Min(before, span*(first.x/d))
	}
	d *= (span + before + after) / span
	if f == Rate {
		d /= float64(w.spec.Width) / 1e9
	}
	return d, true
}

// The twin sums with so many bits that nothing the tests use is rounded.
func num() *big.Float                    { return new(big.Float).SetPrec(2400) }
func rat(x float64) *big.Float           { return num().SetFloat64(x) }
func integer(i int64) *big.Float         { return num().SetInt64(i) }
func product(a, b *big.Float) *big.Float { return num().Mul(a, b) }

func float(r *big.Float) float64 {
	x, _ := r.Float64()
	return x + 0
}

func sumOf(nums []held) *big.Float {
	sum := num()
	for _, h := range nums {
		sum.Add(sum, rat(h.x))
	}
	return sum
}

func variance(nums []held) *big.Float {
	sum, squares, n := sumOf(nums), num(), integer(int64(len(nums)))
	for _, h := range nums {
		squares.Add(squares, product(rat(h.x), rat(h.x)))
	}
	v := num().Sub(product(n, squares), product(sum, sum))
	return v.Quo(v, product(n, n))
}

func slope(nums []held) (float64, string, bool) {
	n, sumX := integer(int64(len(nums))), sumOf(nums)
	sumT, sumTX, sumTT := num(), num(), num()
	for _, h := range nums {
		t := integer(h.t)
		sumT.Add(sumT, t)
		sumTT.Add(sumTT, product(t, t))
		sumTX.Add(sumTX, product(t, rat(h.x)))
	}
	above := num().Sub(product(n, sumTX), product(sumT, sumX))
	below := num().Sub(product(n, sumTT), product(sumT, sumT))
	if below.Sign() == 0 {
		return 0, "", false
	}
	above.Quo(above, below)
	return float(product(above, integer(1e9))), "", true
}

var allFuncs = []Func{Avg, Min, Max, Sum, Count, Stddev, Stdvar, Last, First, Quantile, Rate, Increase, Delta, Changes, Resets, Present, Range, Irate, Idelta, Deriv, Predict}

func allNeeds() Needs {
	var n Needs
	for _, f := range allFuncs {
		n |= NeedsOf(f)
	}
	return n
}

// near allows for the few roundings that two ways of computing differ by.
func near(a, b float64) bool {
	return a == b || math.Abs(a-b) <= 1e-13*max(math.Abs(a), math.Abs(b))
}

// compare fails if the window and the twin disagree on any function.
func compare(t testing.TB, w *Window, ref *twin, what string) {
	t.Helper()
	if got, want := w.Len(), len(ref.list); got != want {
		t.Fatalf("%s: Len = %d, want %d", what, got, want)
	}
	many := len(numbers(ref.entered())) > exactQuantiles
	for _, f := range allFuncs {
		q := 0.37
		got := w.Value(f, q, ref.now)
		x, s, ok := ref.value(f, q)
		gx, isNumber := got.Float()
		switch {
		case !ok:
			if got.Kind() != event.Null {
				t.Fatalf("%s: %v = %v, want null", what, f, got)
			}
		case s != "" || got.Kind() == event.String:
			if got.Text() != s {
				t.Fatalf("%s: %v = %v, want %q", what, f, got, s)
			}
		case !isNumber:
			t.Fatalf("%s: %v = %v, want %v", what, f, got, x)
		case f == Quantile && many:
			// Within the error of the bins that it lies between.
			if lo, _, _ := ref.value(Quantile, 0); math.Abs(gx-x) > 0.01*math.Abs(x) && lo >= 0 {
				t.Fatalf("%s: %v = %v, want %v within 1 %%", what, f, gx, x)
			}
		case f == Stddev, f == Stdvar, f == Deriv, f == Rate, f == Increase:
			if !near(gx, x) {
				t.Fatalf("%s: %v = %v, want %v", what, f, gx, x)
			}
		case f == Predict: // what it is the difference of may be large
			if m, _, _ := ref.value(Avg, 0); math.Abs(gx-x) > 1e-12*max(math.Abs(m), math.Abs(x-m)) {
				t.Fatalf("%s: %v = %v, want %v", what, f, gx, x)
			}
		case math.Float64bits(gx) != math.Float64bits(x+0):
			t.Fatalf("%s: %v = %v, want %v", what, f, gx, x)
		}
	}
}
