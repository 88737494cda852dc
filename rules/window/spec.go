package window

import "fmt"

// Mode says which samples a window holds.
type Mode uint8

const (
	Sliding Mode = iota // samples with time in (now-width, now], Prometheus's left-open range
	Aligned             // samples with time in [end-width, end): tumbling and hopping windows, evaluated at their end
	Counted             // samples of the last N events: of each Add and Pass
	Whole               // all samples since Reset (sessions); stores no samples, only accumulators
)

// Func is an aggregate function.
type Func uint8

// The functions are Prometheus's of the same names, but for Range.
const (
	Avg      Func = iota // avg_over_time
	Min                  // min_over_time
	Max                  // max_over_time
	Sum                  // sum_over_time
	Count                // count_over_time
	Stddev               // stddev_over_time, of the population
	Stdvar               // stdvar_over_time, of the population
	Last                 // last_over_time
	First                // first_over_time
	Quantile             // quantile_over_time
	Rate                 // rate, per second
	Increase             // increase
	Delta                // delta
	Changes              // changes
	Resets               // resets
	Present              // present_over_time
	Range                // range_over_time: the maximum less the minimum
	Irate                // irate, per second
	Idelta               // idelta
	Deriv                // deriv, per second
	Predict              // predict_linear
)

var funcNames = [...]string{
	Avg: "avg_over_time", Min: "min_over_time", Max: "max_over_time", Sum: "sum_over_time", Count: "count_over_time",
	Stddev: "stddev_over_time", Stdvar: "stdvar_over_time", Last: "last_over_time", First: "first_over_time",
	Quantile: "quantile_over_time", Rate: "rate", Increase: "increase", Delta: "delta", Changes: "changes",
	Resets: "resets", Present: "present_over_time", Range: "range_over_time", Irate: "irate", Idelta: "idelta", Deriv: "deriv", Predict: "predict_linear",
}

// String returns the name of the function as rules write it.
func (f Func) String() string {
	if int(f) < len(funcNames) {
		return funcNames[f]
	}
	return fmt.Sprintf("func(%d)", uint8(f))
}

// Needs is the set of accumulators that a window keeps.
type Needs uint8

const (
	needSum      Needs = 1 << iota // the sum of the numbers
	needSquares                    // the sum of their squares
	needTimes                      // the sums of times, their squares and their products with the numbers
	needMin                        // the numbers that are or can become the minimum
	needMax                        // the same for the maximum
	needQuantile                   // the numbers in order, or how many there are of each size
	needChanges                    // how many neighbours differ
	needResets                     // how many numbers are below the one before, and what was lost by it
)

// NeedsOf returns what a window must keep so that Value can give f.
func NeedsOf(f Func) Needs {
	switch f {
	case Avg, Sum:
		return needSum
	case Stddev, Stdvar:
		return needSum | needSquares
	case Min:
		return needMin
	case Max:
		return needMax
	case Range:
		return needMin | needMax
	case Quantile:
		return needQuantile
	case Rate, Increase, Resets:
		return needResets
	case Changes:
		return needChanges
	case Deriv, Predict:
		return needSum | needTimes
	}
	return 0
}

// Spec is what windows have in common. It must not change while one of them is in use.
type Spec struct {
	Mode  Mode
	Width int64 // in nanoseconds, > 0; Sliding and Aligned only
	N     int   // > 0; Counted only
	Needs Needs // of all functions that Value is asked for
}
