package window

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"weir/ingest/event"
)

// randomValue returns a value of a kind of series: smooth, of large and small
// numbers, a counter, mixed, of all magnitudes, constant.
func randomValue(r *rand.Rand, kind int) event.Value {
	switch kind {
	case 0:
		return event.FloatValue(math.Round(r.NormFloat64()*100) / 10)
	case 1: // one large and many small ones: what simple sums lose
		if r.IntN(3) == 0 {
			return event.FloatValue(1e15 + 0.1)
		}
		return event.FloatValue(r.Float64())
	case 2: // a counter that begins anew at times
		return event.IntValue(int64(r.IntN(50)))
	case 3:
		switch r.IntN(6) {
		case 0:
			return event.StringValue([]string{"open", "closed", "stuck", ""}[r.IntN(4)])
		case 1:
			return event.BoolValue(r.IntN(2) == 0)
		case 2:
			return event.Value{}
		case 3:
			return event.FloatValue([]float64{math.NaN(), math.Inf(1), 1e200, -1e140, 1e140, math.Copysign(0, -1)}[r.IntN(6)])
		}
		return event.UintValue(uint64(r.IntN(3)))
	case 4: // all magnitudes
		return event.FloatValue(math.Ldexp(r.NormFloat64(), r.IntN(400)-200))
	}
	return event.FloatValue(21.5)
}

func TestWindowAgreesWithItsSlowTwin(t *testing.T) {
	specs := historySpecs()
	for i := range specs {
		s := &specs[i]
		for kind := range 6 {
			t.Run(fmt.Sprintf("mode=%d/width=%d/n=%d/kind=%d", s.Mode, s.Width, s.N, kind), func(t *testing.T) {
				for seed := range uint64(2) {
					history(t, s, kind, seed)
				}
			})
		}
	}
}

// FuzzWindow looks for a history in which the window and its twin disagree.
func FuzzWindow(f *testing.F) {
	for i := range historySpecs() {
		f.Add(uint64(i), uint8(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, seed uint64, spec, kind uint8) {
		specs := historySpecs()
		history(t, &specs[int(spec)%len(specs)], int(kind)%6, seed)
	})
}

func historySpecs() []Spec {
	specs := []Spec{
		{Mode: Sliding, Width: 100}, {Mode: Sliding, Width: 5_000}, {Mode: Aligned, Width: 100}, {Mode: Aligned, Width: 3_000},
		{Mode: Counted, N: 1}, {Mode: Counted, N: 7}, {Mode: Counted, N: 300}, {Mode: Whole},
	}
	for i := range specs {
		specs[i].Needs = allNeeds()
	}
	return specs
}

func history(t *testing.T, s *Spec, kind int, seed uint64) {
	r := rand.New(rand.NewPCG(seed, uint64(kind)))
	w, ref := New(s), newTwin(s)
	now := int64(r.IntN(1_000_000))
	for step := range 700 {
		at := now
		what := fmt.Sprintf("seed %d step %d", seed, step)
		switch k := r.IntN(40); {
		case k < 26:
			now += int64(r.IntN(20))
			at = now
		case k < 32:
			at = now - int64(r.IntN(150))
		case k < 34:
			at = now + int64(r.IntN(50))
		case k == 34 && r.IntN(5) == 0:
			now += int64(r.IntN(8_000))
			w.Advance(now)
			ref.advance(now)
		case k == 35 && r.IntN(20) == 0:
			w.Reset()
			ref.reset()
		case k == 36:
			b := w.AppendBinary([]byte("before"))
			back, rest, err := Decode(s, append(b[len("before"):], "after"...))
			if err != nil || string(rest) != "after" {
				t.Fatalf("%s: Decode: rest %q, error %v", what, rest, err)
			}
			w = back
		case k == 37 && s.Mode == Counted:
			for range r.IntN(min(s.N, 40) + 2) {
				w.Pass()
				ref.pass()
			}
		}
		v := randomValue(r, kind)
		w.Add(at, v)
		ref.add(at, v)
		if r.IntN(3) > 0 {
			w.Advance(now)
			ref.advance(now)
		}
		if step%41 == 0 || step > 694 {
			compare(t, w, ref, what)
		}
		if step%50 == 49 && s.Mode != Whole {
			rebuilt(t, w, ref, what)
		}
	}
}

// rebuilt fails if a window that gets the same samples anew differs in a bit.
func rebuilt(t *testing.T, w *Window, ref *twin, what string) {
	t.Helper()
	fresh := New(ref.spec)
	fresh.Advance(ref.now)
	for i, h := range ref.list {
		if h.text {
			fresh.Add(h.t, event.StringValue(h.s))
		} else {
			fresh.Add(h.t, event.FloatValue(h.x))
		}
		if ref.spec.Mode == Counted {
			next := ref.events + 1
			if i < len(ref.list)-1 {
				next = ref.taken[i+1]
			}
			for range next - ref.taken[i] - 1 {
				fresh.Pass()
			}
		}
	}
	for _, f := range allFuncs {
		for _, q := range []float64{0, 0.3, 0.5, 0.99, 1} {
			if a, b := w.Value(f, q, ref.now), fresh.Value(f, q, ref.now); !a.Equal(b) {
				t.Fatalf("%s: %v = %v where the window slid, %v where it was built anew", what, f, a, b)
			}
		}
	}
	if a, b := w.Size(), fresh.Size(); a != b {
		t.Fatalf("%s: Size = %d where the window slid, %d where it was built anew", what, a, b)
	}
	if a, b := string(w.AppendBinary(nil)), string(fresh.AppendBinary(nil)); a != b {
		t.Fatalf("%s: the snapshot of a window depends on its past", what)
	}
}
