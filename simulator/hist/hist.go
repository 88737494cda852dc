// Package hist counts durations in logarithmic buckets, so that quantiles of
// any number of them can be had from a few kilobytes.
//
//	value  ──▶ exponent (which power of two) ──▶ row, made when first needed
//	       └─▶ the 7 bits below the top bit  ──▶ bucket of that row
//
// Every value is known to within 1/128 of itself; the largest is kept exactly.
package hist

import (
	"math/bits"
	"time"
)

const (
	subBits = 7
	perRow  = 1 << subBits
)

// Histogram counts durations. Its zero value is empty and ready. It is not
// safe for concurrent use: keep one a goroutine and Merge them.
type Histogram struct {
	rows  [64]*[perRow]uint64 // row r: see bucket
	count uint64
	sum   float64 // nanoseconds
	max   int64   // nanoseconds
}

// Record counts d; a negative one counts as zero.
func (h *Histogram) Record(d time.Duration) {
	ns := max(int64(d), 0)
	row, i := bucket(uint64(ns))
	if h.rows[row] == nil {
		h.rows[row] = new([perRow]uint64)
	}
	h.rows[row][i]++
	h.count++
	h.sum += float64(ns)
	if ns > h.max {
		h.max = ns
	}
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	for r, row := range o.rows {
		if row == nil {
			continue
		}
		if h.rows[r] == nil {
			h.rows[r] = new([perRow]uint64)
		}
		for i, n := range row {
			h.rows[r][i] += n
		}
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Count is the number of durations recorded.
func (h *Histogram) Count() uint64 { return h.count }

// Max is the longest duration recorded, exactly; 0 if none was.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max) }

// Mean is the average of the durations recorded; 0 if none was.
func (h *Histogram) Mean() time.Duration {
	if h.count == 0 {
		return 0
	}
	return time.Duration(h.sum / float64(h.count))
}

// Quantile is the duration that the share q of those recorded, 0 to 1, does
// not exceed: the upper edge of its bucket, so never less than the true value
// and at most 1/128 more. It is 0 if none was recorded.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	q = min(max(q, 0), 1)
	rank := uint64(q * float64(h.count))
	if float64(rank) < q*float64(h.count) || rank == 0 {
		rank++
	}
	var seen uint64
	for r, row := range h.rows {
		if row == nil {
			continue
		}
		for i, n := range row {
			if seen += n; seen >= rank {
				return time.Duration(min(upper(r, i), h.max))
			}
		}
	}
	return time.Duration(h.max)
}

// bucket finds where ns is counted. Row 0 holds 0 to 127 one by one; row r
// above it holds [2^(r+6), 2^(r+7)) in steps of 2^(r-1).
func bucket(ns uint64) (row, i int) {
	if ns < perRow {
		return 0, int(ns)
	}
	shift := bits.Len64(ns) - subBits - 1
	return shift + 1, int(ns>>shift) - perRow
}

// upper is the largest value that bucket i of a row counts.
func upper(row, i int) int64 {
	if row == 0 {
		return int64(i)
	}
	shift := row - 1
	return int64((uint64(i+perRow+1) << shift) - 1)
}
