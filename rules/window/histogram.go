package window

import (
	"math"
	"slices"
)

// histogram counts numbers by size. A bin holds the numbers that agree in sign,
// exponent and the first 6 bits of the mantissa, so there are 64 bins from a
// number to its double, and the middle of a bin is at most 1/128 (0.8 %) of a
// number away from it.
type histogram struct {
	bins []bin // ordered by key, none is empty
}

type bin struct{ key, n int64 }

const mantissaBits = 6

// binKey returns the bin of x. Keys are ordered as numbers are. The bin of zero
// takes the numbers below 2^-1028 with it.
func binKey(x float64) int64 {
	k := int64(math.Float64bits(math.Abs(x)) >> (52 - mantissaBits))
	if x < 0 && k > 0 {
		return -k - 1
	}
	return k
}

// binValue returns the middle of a bin.
func binValue(key int64) float64 {
	if key < 0 {
		return -binValue(-key - 1)
	}
	if key == 0 {
		return 0
	}
	return math.Float64frombits(uint64(key)<<(52-mantissaBits) | 1<<(51-mantissaBits))
}

func (h *histogram) find(x float64) (i int, found bool) {
	return slices.BinarySearchFunc(h.bins, binKey(x), func(b bin, key int64) int { return int(b.key - key) })
}

func (h *histogram) add(x float64) {
	i, found := h.find(x)
	if !found {
		h.bins = slices.Insert(h.bins, i, bin{key: binKey(x)})
	}
	h.bins[i].n++
}

func (h *histogram) remove(x float64) {
	i, found := h.find(x)
	if !found {
		return
	}
	if h.bins[i].n--; h.bins[i].n == 0 {
		h.bins = slices.Delete(h.bins, i, i+1)
	}
}

// at returns numbers i and j, which follow one another or are one, in order.
func (h *histogram) at(i, j int) (a, b float64) {
	var seen int64
	for k, bin := range h.bins {
		seen += bin.n
		if int64(i) >= seen {
			continue
		}
		a = binValue(bin.key)
		if int64(j) >= seen && k+1 < len(h.bins) {
			return a, binValue(h.bins[k+1].key)
		}
		return a, a
	}
	return 0, 0
}
