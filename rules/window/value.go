package window

import (
	"math"

	"weir/ingest/event"
)

// Value returns the function f of the window, which must have been advanced to
// now; q is the quantile, from 0 to 1, or of Predict the seconds ahead. It is a Float, or for First and Last a
// String if the sample is one. It is Null where there is nothing to say: of
// nothing, but Count, Sum, Changes and Resets of nothing are 0; of one number
// for Rate, Increase, Delta, Irate, Idelta, Deriv and Predict; of samples at one time where
// a rate is asked for; for another q; and if the Spec does not need f.
func (w *Window) Value(f Func, q float64, now int64) event.Value {
	if NeedsOf(f)&^w.spec.Needs != 0 {
		return event.Value{}
	}
	st := w.state
	if st == nil || st.entered == 0 {
		if f == Count || f == Sum || f == Changes || f == Resets {
			return event.FloatValue(0)
		}
		return event.Value{}
	}
	x, ok := 0.0, true
	switch f {
	case Count:
		x = float64(st.entered)
	case Present:
		x = 1
	case Changes:
		x = float64(st.changes)
	case Resets:
		x = float64(st.resets)
	case First, Last:
		return w.end(f)
	case Sum:
		x = st.sum.value()
	case Rate, Increase, Delta:
		x, ok = w.extrapolated(f, now)
	case Irate, Idelta:
		x, ok = w.instant(f)
	case Deriv:
		ok = st.numbers > 1
		if ok {
			x, ok = st.times.slope(&st.sum, st.numbers)
		}
	case Predict:
		ok = st.numbers > 1
		if ok {
			x, ok = st.times.predict(&st.sum, st.numbers, now, q)
		}
	default:
		ok = st.numbers > 0
		if ok {
			x, ok = st.aggregate(f, q)
		}
	}
	if !ok || math.IsNaN(x) || math.IsInf(x, 0) {
		return event.Value{}
	}
	return event.FloatValue(x + 0)
}

// aggregate returns what any number of numbers but none has.
func (st *state) aggregate(f Func, q float64) (float64, bool) {
	switch f {
	case Avg:
		return st.sum.value() / float64(st.numbers), true
	case Stdvar:
		return st.variance(st.numbers), true
	case Stddev:
		return math.Sqrt(st.variance(st.numbers)), true
	case Min:
		return st.minimum(), true
	case Max:
		return st.maximum(), true
	case Range:
		return st.maximum() - st.minimum(), true
	case Quantile:
		if !(q >= 0 && q <= 1) {
			return 0, false
		}
		return st.order.value(q, st.numbers), true
	}
	return 0, false
}

func (st *state) minimum() float64 {
	if st.whole != nil {
		return st.whole.min
	}
	return st.min.value(st)
}

func (st *state) maximum() float64 {
	if st.whole != nil {
		return st.whole.max
	}
	return st.max.value(st)
}

// end returns the first or the last sample.
func (w *Window) end(f Func) event.Value {
	st := w.state
	var s sample
	switch {
	case st.whole != nil && f == First:
		s = st.whole.first
	case st.whole != nil:
		s = st.whole.last
	case f == First:
		s = st.samples.at(0)
	default:
		s = st.samples.at(st.entered - 1)
	}
	if s.isText() {
		return event.StringValue(st.texts.list[uint32(s.bits)].s)
	}
	return event.FloatValue(s.number())
}

// numberEnds returns the first, the last but one and the last of at least two numbers.
func (st *state) numberEnds() (first, before, last sample) {
	if st.whole != nil {
		return st.whole.firstNumber, st.whole.before, st.whole.lastNumber
	}
	return st.at(st.first), st.at(st.before), st.at(st.last)
}

func seconds(ns int64) float64 { return float64(ns) / 1e9 }

// instant returns irate or idelta: from the last two numbers. A counter that
// fell began again at 0.
func (w *Window) instant(f Func) (float64, bool) {
	if w.state.numbers < 2 {
		return 0, false
	}
	_, a, b := w.state.numberEnds()
	if f == Idelta {
		return b.number() - a.number(), true
	}
	x := b.number()
	if x >= a.number() {
		x -= a.number()
	}
	return x / seconds(b.t-a.t), b.t > a.t
}

// extrapolated returns rate, increase or delta as extrapolatedRate of
// Prometheus 3 (promql/functions.go) does.
func (w *Window) extrapolated(f Func, now int64) (float64, bool) {
	st := w.state
	if st.numbers < 2 {
		return 0, false
	}
	first, _, last := st.numberEnds()
	var buf [48]float64
	grown := expansion(buf[:0]).add(last.number()).add(-first.number())
	if f != Delta {
		var parts [2]float64
		for _, p := range st.lost.parts(&parts) {
			grown = grown.add(p)
		}
	}
	result := grown.value()

	sampled := seconds(last.t - first.t)
	if w.spec.Mode > Aligned {
		if f == Rate {
			return result / sampled, sampled > 0
		}
		return result, true
	}
	if sampled <= 0 {
		return 0, false
	}
	toStart := seconds(first.t - (now - w.spec.Width))
	toEnd := seconds(now - last.t)
	average := sampled / float64(st.numbers-1)

	// A series is taken to cover the range up to an end from which its next
	// sample would be missing by at most a tenth of their average distance. Else
	// it is taken to begin, or end, half of that distance beyond its sample.
	threshold := average * 1.1
	if toStart >= threshold {
		toStart = average / 2
	}
	if f != Delta && result > 0 && first.number() >= 0 {
		// A counter is never negative: it began no earlier than at 0.
		toStart = min(toStart, sampled*(first.number()/result))
	}
	if toEnd >= threshold {
		toEnd = average / 2
	}
	factor := (sampled + toStart + toEnd) / sampled
	if f == Rate {
		factor /= seconds(w.spec.Width)
	}
	return result * factor, true
}
