package hist

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestQuantilesLieWithinOnePartIn128OfASortedList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour)), 1, 200).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h Histogram
		for _, v := range values {
			h.Record(time.Duration(v))
		}
		slices.Sort(values)
		rank := max(int(math.Ceil(q*float64(len(values)))), 1)
		want := values[rank-1]
		got := int64(h.Quantile(q))
		if got < want || got > want+want/perRow+1 {
			t.Fatalf("Quantile(%v) of %v = %d, want %d to %d", q, values, got, want, want+want/perRow+1)
		}
	})
}

func TestEveryValueFallsInABucketThatContainsIt(t *testing.T) {
	for _, v := range []uint64{0, 1, 126, 127, 128, 129, 255, 256, 257, 511, 512, 1e3, 1e6, 1e9, 1e12, math.MaxInt64 - 1, math.MaxInt64} {
		row, i := bucket(v)
		up := upper(row, i)
		if uint64(up) < v {
			t.Errorf("bucket(%d) = row %d, %d, whose upper edge %d is below it", v, row, i, up)
		}
		if up == math.MaxInt64 {
			continue
		}
		if r2, i2 := bucket(uint64(up)); r2 != row || i2 != i {
			t.Errorf("the upper edge %d of the bucket of %d is counted elsewhere", up, v)
		}
		if r2, i2 := bucket(uint64(up) + 1); r2 == row && i2 == i {
			t.Errorf("%d is counted with %d", up+1, v)
		}
	}
}

func TestMergedHistogramsEqualOneThatSawEverything(t *testing.T) {
	var a, b, all Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		if i%3 == 0 {
			a.Record(d)
		} else {
			b.Record(d)
		}
		all.Record(d)
	}
	a.Merge(&b)
	for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
		if got, want := a.Quantile(q), all.Quantile(q); got != want {
			t.Errorf("Quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if a.Count() != all.Count() || a.Max() != all.Max() || a.Mean().Round(time.Microsecond) != all.Mean().Round(time.Microsecond) {
		t.Errorf("merged: count %d max %v mean %v, want %d %v %v", a.Count(), a.Max(), a.Mean(), all.Count(), all.Max(), all.Mean())
	}
}

func TestAnEmptyHistogramAnswersZero(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Mean() != 0 || h.Count() != 0 {
		t.Errorf("an empty histogram answers %v %v %v %v", h.Quantile(0.5), h.Max(), h.Mean(), h.Count())
	}
}

func TestNegativeDurationsCountAsZero(t *testing.T) {
	var h Histogram
	h.Record(-time.Second)
	if h.Quantile(1) != 0 || h.Count() != 1 {
		t.Errorf("after -1s: Quantile(1) = %v, Count = %d; want 0 and 1", h.Quantile(1), h.Count())
	}
}

func TestRecordAllocatesNothingOnceItsRowExists(t *testing.T) {
	var h Histogram
	h.Record(time.Millisecond)
	if n := testing.AllocsPerRun(1000, func() { h.Record(time.Millisecond) }); n != 0 {
		t.Errorf("allocations per Record = %v, want 0", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	b.ReportAllocs()
	d := time.Duration(1)
	for b.Loop() {
		h.Record(d)
		d = (d*1664525 + 1013904223) & 0xFFFFFF
	}
}
