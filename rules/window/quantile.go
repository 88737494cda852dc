package window

import (
	"math"
	"slices"
)

const (
	// exactQuantiles is how many numbers a window may hold for its quantiles to be exact.
	exactQuantiles = 256
	// slack is how far beyond a change of method both are kept, so that a
	// window whose length goes up and down by one does not pay for it each time.
	slack = 64
)

// quantiles keeps the numbers of a window for quantiles: in order, and when
// they are many as a histogram. Which of the two answers is decided by how many
// there are. Only where both are kept depends on the past.
type quantiles struct {
	sorted   []float64
	counts   histogram
	isSorted bool // sorted holds all numbers; always if they are at most exactQuantiles
	isCount  bool // counts holds all numbers; always if they are more
}

// add takes x; n is how many numbers there are with it.
func (q *quantiles) add(x float64, n int) {
	if n == 1 {
		q.isSorted = true
	}
	if q.isSorted {
		i, _ := slices.BinarySearch(q.sorted, x)
		q.sorted = slices.Insert(q.sorted, i, x)
	}
	switch {
	case q.isCount:
		q.counts.add(x)
	case n > exactQuantiles:
		for _, x := range q.sorted {
			q.counts.add(x)
		}
		q.isCount = true
	}
	if q.isSorted && n > exactQuantiles+slack {
		q.isSorted, q.sorted = false, nil
	}
}

// remove takes x out; n is how many numbers are left. It reports whether the
// numbers must be sorted again, by fill.
func (q *quantiles) remove(x float64, n int) (refill bool) {
	if q.isCount {
		q.counts.remove(x)
		if n <= exactQuantiles-slack {
			q.isCount, q.counts.bins = false, nil
		}
	}
	if q.isSorted {
		i, _ := slices.BinarySearch(q.sorted, x)
		q.sorted = slices.Delete(q.sorted, i, i+1)
	}
	return !q.isSorted && n <= exactQuantiles
}

// fill takes all numbers of a window of which few are left.
func (q *quantiles) fill(st *state) {
	q.sorted = make([]float64, 0, exactQuantiles+slack+1)
	for i := range int(st.entered) {
		if s := st.samples.at(i); !s.isText() {
			q.sorted = append(q.sorted, s.number())
		}
	}
	slices.Sort(q.sorted)
	q.isSorted = true
}

// value returns the quantile of n numbers, at least one: linear between the
// two that are next to rank phi*(n-1), as in Prometheus.
func (q *quantiles) value(phi float64, n int) float64 {
	rank := phi * float64(n-1)
	below := math.Floor(rank)
	weight := rank - below
	i := int(below)
	j := min(i+1, n-1)
	var a, b float64
	if n <= exactQuantiles {
		a, b = q.sorted[i], q.sorted[j]
	} else {
		a, b = q.counts.at(i, j)
	}
	lower, upper := float64(a*(1-weight)), float64(b*weight) // no fused operation: the same on every CPU
	return lower + upper
}

func (q *quantiles) clear() {
	if cap(q.sorted) > 64 {
		q.sorted = nil
	}
	*q = quantiles{sorted: q.sorted[:0]}
}

// size returns the bytes that n numbers take.
func (q *quantiles) size(n int) int {
	if n <= exactQuantiles {
		return 8 * n
	}
	return 16 * len(q.counts.bins)
}
