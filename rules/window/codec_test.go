package window

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"weir/ingest/event"
)

func filled(s *Spec, n int) *Window {
	w := New(s)
	w.Advance(int64(n))
	for i := range n {
		w.Add(int64(i), event.FloatValue(float64(i*31%97)/7))
		if i%10 == 3 {
			w.Add(int64(i), event.StringValue("fault"))
		}
	}
	w.Add(int64(n+10), event.StringValue("to come"))
	return w
}

func TestSnapshotOfAnotherSpec(t *testing.T) {
	all := allNeeds()
	old := filled(&Spec{Mode: Sliding, Width: 100, Needs: NeedsOf(Avg)}, 200)
	b := old.AppendBinary(nil)
	t.Run("new functions find the samples", func(t *testing.T) {
		s := &Spec{Mode: Sliding, Width: 100, Needs: all}
		w, _, err := Decode(s, b)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := w.Value(Max, 0, 200), filled(s, 200).Value(Max, 0, 200); !got.Equal(want) {
			t.Errorf("max = %v, want %v", got, want)
		}
	})
	t.Run("a narrower window holds less", func(t *testing.T) {
		s := &Spec{Mode: Sliding, Width: 10, Needs: all}
		w, _, err := Decode(s, b)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := w.Value(Count, 0, 200), filled(s, 200).Value(Count, 0, 200); !got.Equal(want) {
			t.Errorf("count = %v, want %v", got, want)
		}
	})
	t.Run("another mode is refused", func(t *testing.T) {
		if _, _, err := Decode(&Spec{Mode: Aligned, Width: 100}, b); err == nil {
			t.Error("no error")
		}
	})
	t.Run("a session keeps what is still needed", func(t *testing.T) {
		b := filled(&Spec{Mode: Whole, Needs: all}, 500).AppendBinary(nil)
		for _, f := range allFuncs {
			s := &Spec{Mode: Whole, Needs: NeedsOf(f)}
			w, _, err := Decode(s, b)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := w.Value(f, 0.9, 0), filled(s, 500).Value(f, 0.9, 0); !got.Equal(want) {
				t.Errorf("%v = %v, want %v", f, got, want)
			}
		}
	})
	t.Run("a session lacks what was not needed", func(t *testing.T) {
		b := filled(&Spec{Mode: Whole, Needs: NeedsOf(Avg)}, 50).AppendBinary(nil)
		if _, _, err := Decode(&Spec{Mode: Whole, Needs: NeedsOf(Rate)}, b); err == nil {
			t.Error("no error")
		}
	})
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	needs := NeedsOf(Quantile)
	sliding, whole := &Spec{Mode: Sliding, Width: 100, Needs: needs}, &Spec{Mode: Whole, Needs: needs}
	one := binary.LittleEndian.AppendUint64(nil, math.Float64bits(1))
	two := binary.LittleEndian.AppendUint64(nil, math.Float64bits(2))
	at := func(x []byte) []byte { return append([]byte{0}, x...) } // at time 0
	counted := &Spec{Mode: Counted, N: 5, Needs: needs}
	passed := func(ages ...byte) []byte {
		return append(slices.Concat([]byte{2, byte(Counted), 0, 2}, at(one), at(two)), ages...)
	}
	session := func(n int, order ...[]byte) []byte {
		b := binary.AppendUvarint([]byte{1, byte(Whole), 0}, uint64(n))
		b = binary.AppendUvarint(b, uint64(n))
		b = append(b, 0, 0, byte(needs))
		b = slices.Concat(b, at(one), at(two), at(one), at(two), at(two), one, two)
		return slices.Concat(b, slices.Concat(order...))
	}
	bin := func(x float64, n uint64) []byte {
		return binary.AppendUvarint(binary.AppendVarint(nil, binKey(x)), n)
	}
	for _, tt := range []struct {
		name string
		spec *Spec
		b    []byte
		ok   bool
	}{
		{"nothing", sliding, nil, false},
		{"another version", sliding, []byte{2, 0, 0, 0}, false},
		{"no samples", sliding, []byte{1, 0, 0, 0}, true},
		{"fewer samples than it says", sliding, append([]byte{1, 0, 0, 2}, at(one)...), false},
		{"a time that goes back", sliding, slices.Concat([]byte{1, 0, 0, 2}, at(one), binary.AppendUvarint(nil, 1<<63+1), two), false},
		{"an infinite number", sliding, append([]byte{1, 0, 0, 1}, at(appendFloats(nil, math.Inf(1)))...), false},
		{"a text that is too long", sliding, append([]byte{1, 0, 0, 1}, append(at(appendFloats(nil, math.Float64frombits(textBits))), 0xff, 0xff, 0xff, 0xff, 0x7f)...), false},
		{"events between samples", counted, passed(3, 1), true},
		{"events between samples, the first of which is too old", counted, passed(7, 1), true},
		{"samples of one event", counted, passed(1, 1), false},
		{"samples of events in another order", counted, passed(1, 3), false},
		{"fewer events than samples", counted, passed(3), false},
		{"a number of events that cannot be", counted, passed(0xff, 0xff, 0xff, 0xff, 0x1f, 1), false},
		{"events between no samples", counted, []byte{2, byte(Counted), 0, 0}, false},
		{"a session", whole, session(2, []byte{2}, one, two), true},
		{"numbers out of order", whole, session(2, []byte{2}, two, one), false},
		{"fewer numbers than it says", whole, session(3, []byte{2}, one, two), false},
		{"bins", whole, session(300, []byte{2}, bin(1, 100), bin(2, 200)), true},
		{"bins out of order", whole, session(300, []byte{2}, bin(2, 100), bin(1, 200)), false},
		{"bins of fewer numbers", whole, session(300, []byte{2}, bin(1, 100), bin(2, 100)), false},
		{"bins of more numbers", whole, session(300, []byte{2}, bin(1, 100), bin(2, 201)), false},
		{"an empty bin", whole, session(300, []byte{2}, bin(1, 300), bin(2, 0)), false},
		{"a bin beyond all numbers", whole, session(300, []byte{2}, bin(1, 100), bin(1e200, 200)), false},
		{"a bin of NaN", whole, session(300, []byte{2}, bin(1, 100), bin(math.NaN(), 200)), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, _, err := Decode(tt.spec, tt.b)
			if (err == nil) != tt.ok || (w != nil) != tt.ok {
				t.Errorf("Decode: window %v, error %v", w, err)
			}
		})
	}
}

// FuzzDecode feeds Decode with anything. What it accepts must be a window that
// works and whose snapshot is read again as the same.
func FuzzDecode(f *testing.F) {
	specs := []*Spec{
		{Mode: Sliding, Width: 100, Needs: allNeeds()}, {Mode: Aligned, Width: 100, Needs: allNeeds()},
		{Mode: Counted, N: 50, Needs: allNeeds()}, {Mode: Whole, Needs: allNeeds()}, {Mode: Whole, Needs: NeedsOf(Deriv)},
	}
	for _, s := range specs {
		for _, n := range []int{0, 1, 40, 400} {
			f.Add(filled(s, n).AppendBinary(nil))
		}
	}
	w := filled(specs[2], 40)
	w.Pass()
	f.Add(w.AppendBinary(nil))
	f.Add([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, s := range specs {
			w, rest, err := Decode(s, b)
			if err != nil {
				if w != nil {
					t.Fatalf("a window with the error %v", err)
				}
				continue
			}
			if w.Size() > 1000+100*len(b) {
				t.Fatalf("%d bytes became %d", len(b), w.Size())
			}
			for round := range 2 {
				again, left, err := Decode(s, append(w.AppendBinary(nil), rest...))
				if err != nil || string(left) != string(rest) {
					t.Fatalf("its snapshot cannot be read: %v", err)
				}
				for _, fn := range allFuncs {
					if a, b := w.Value(fn, 0.7, w.now), again.Value(fn, 0.7, w.now); !a.Equal(b) {
						t.Fatalf("round %d: %v = %v, and %v after a snapshot", round, fn, a, b)
					}
				}
				for i := range int64(60) {
					for _, w := range []*Window{w, again} {
						w.Add(w.now-i, event.FloatValue(float64(i)))
						w.Add(w.now+i, event.StringValue("x"))
						w.Pass()
						if w.now < math.MaxInt64-1000 {
							w.Advance(w.now + 2)
						}
					}
				}
			}
		}
	})
}
