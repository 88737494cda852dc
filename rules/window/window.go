package window

import (
	"math"
	"sort"
	"sync"

	"weir/ingest/event"
)

// maxNumber bounds the numbers that are samples: squares of more than 2^31 of
// them, times their number, stay within float64.
const maxNumber = 1e140

// Window holds the samples of one series. It is for one goroutine at a time.
type Window struct {
	spec  *Spec
	now   int64  // of the last Advance
	state *state // nil when it holds nothing
}

// state is what a window that holds something keeps.
type state struct {
	samples             queue  // not used by Whole
	base                uint32 // sequence number of the first sample; wraps
	first, before, last uint32 // sequence numbers of the first, the last but one and the last number that entered

	entered int // samples that count; those behind are still to come
	numbers int // of those that entered
	sum     exact
	*needed
}

// needed is what not every state keeps. What its Spec does not need is nil.
type needed struct {
	summed, changing bool

	changes  int
	resets   int
	squares  *exact
	times    *times
	min, max *deque
	lost     *exact // what fell away by resets
	order    *quantiles
	texts    *texts // nil until there is one
	whole    *whole
	turns    *turns // of Counted; nil until an event passes
}

// plain are what states without more than a sum share; they never change.
var plain = [2]*needed{{}, {summed: true}}

// sample is a number or a text at a time.
type sample struct {
	t    int64
	bits uint64 // of the number; of a NaN for a text: textBits and its number in texts
}

const (
	textBits = 0x7ff8_0000_0000_0000
	infBits  = 0x7ff0_0000_0000_0000
)

func (s sample) isText() bool    { return s.bits > infBits && s.bits>>63 == 0 }
func (s sample) number() float64 { return math.Float64frombits(s.bits) }

// differ reports whether two samples hold different values.
func differ(a, b sample) bool { return a.bits != b.bits }

// states keeps what windows gave back when they became empty, so that one
// which fills and empties all the time does not allocate, and an idle one takes no memory.
var states [1 << 9]sync.Pool

func (s *Spec) pool() *sync.Pool {
	if s.Mode == Whole {
		return &states[int(s.Needs)|1<<8]
	}
	return &states[s.Needs]
}

// New returns an empty window. It keeps s.
func New(s *Spec) *Window { return &Window{spec: s, now: math.MinInt64} }

// Len returns how many samples the window holds, with those that are still to
// come: behind the time of the last Advance.
func (w *Window) Len() int {
	if w.state == nil {
		return 0
	}
	if w.spec.Mode == Whole {
		return w.state.entered
	}
	return w.state.samples.len()
}

// Reset takes out all samples. The time of the last Advance stays.
func (w *Window) Reset() {
	if w.state != nil {
		w.release()
	}
}

func (w *Window) release() {
	w.state.clear()
	w.spec.pool().Put(w.state)
	w.state = nil
}

// Add takes a sample, t in nanoseconds. It may be before others: then it is
// put where it belongs, at a cost of as many steps as there are samples behind
// it. What a window cannot hold is ignored: what is too old for it, Null, NaN,
// infinities and numbers beyond ±1e140.
func (w *Window) Add(t int64, v event.Value) {
	x, ok := number(v)
	isText := v.Kind() == event.String
	if !ok && !isText {
		return
	}
	from, to := w.bounds(w.now)
	if t < from || w.spec.Mode == Counted && w.full() && t < w.state.samples.time(0) {
		return
	}
	st := w.obtain()
	s := sample{t: t, bits: math.Float64bits(x)}
	if isText {
		s.bits = textBits | uint64(st.obtainTexts().take(v.Text()))
	}
	switch {
	case w.spec.Mode == Whole:
		st.enterWhole(s)
		return
	case t > to:
		st.samples.insert(st.place(t), s)
		return
	case st.entered == 0 || t >= st.samples.time(st.entered-1):
		st.samples.insert(st.entered, s)
		st.enter()
	default:
		st.insert(st.place(t), s)
	}
	if w.spec.Mode != Counted {
		return
	}
	if st.turns != nil {
		st.turns.take()
		w.expire()
	} else if st.samples.len() > w.spec.N {
		st.leave()
	}
}

// fill takes numbers in the order of time into an empty window: as Add does one
// by one, but it makes room for all of them at once.
func (w *Window) fill(all []sample) {
	from, to := w.bounds(w.now)
	for len(all) > 0 && all[0].t < from {
		all = all[1:]
	}
	if len(all) == 0 {
		return
	}
	var m measure
	for _, s := range all {
		m.add(s)
	}
	st := w.obtain()
	st.samples.reserve(&m)
	for _, s := range all {
		st.samples.insert(st.samples.len(), s)
	}
	for _, s := range all {
		if s.t <= to {
			st.enter()
		}
	}
}

// obtain returns the state, a new one if there is none.
func (w *Window) obtain() *state {
	if w.state == nil {
		w.state, _ = w.spec.pool().Get().(*state)
		if w.state == nil {
			w.state = newState(w.spec)
		}
	}
	return w.state
}

func (w *Window) full() bool { return w.state != nil && w.state.samples.len() >= w.spec.N }

// number returns v as a number that can be a sample. Negative zero is zero.
func number(v event.Value) (float64, bool) {
	if v.Kind() == event.Bool {
		if v.Bool() {
			return 1, true
		}
		return 0, true
	}
	x, ok := v.Float()
	return x + 0, ok && math.Abs(x) <= maxNumber
}

// place returns the position of a new sample at time t.
func (st *state) place(t int64) int {
	n := st.samples.len()
	if n == 0 || st.samples.time(n-1) <= t {
		return n
	}
	return sort.Search(n, func(i int) bool { return st.samples.time(i) > t })
}

// bounds returns the first and the last time that belong to the window at now.
func (w *Window) bounds(now int64) (from, to int64) {
	switch w.spec.Mode {
	case Sliding:
		return minus(now, w.spec.Width-1), now
	case Aligned:
		return minus(now, w.spec.Width), minus(now, 1)
	}
	return math.MinInt64, math.MaxInt64
}

// minus returns t-d for d >= 0, or the earliest time there is.
func minus(t, d int64) int64 {
	if t < math.MinInt64+d {
		return math.MinInt64
	}
	return t - d
}

// Advance moves the window to the time now, in nanoseconds: samples that have
// left it are dropped, samples that it has reached begin to count. Time never
// goes back: an earlier now changes nothing. It means nothing to Counted and Whole.
func (w *Window) Advance(now int64) {
	if now <= w.now || w.spec.Mode > Aligned {
		return
	}
	w.now = now
	st := w.state
	if st == nil {
		return
	}
	from, to := w.bounds(now)
	for st.entered > 0 && st.samples.time(0) < from {
		st.leave()
	}
	for st.samples.len() > 0 && st.samples.time(0) < from {
		st.drop()
	}
	if st.samples.len() == 0 {
		w.release()
		return
	}
	for st.entered < st.samples.len() && st.samples.time(st.entered) <= to {
		st.enter()
	}
}

// Next returns the earliest time at which Advance drops a sample, in
// nanoseconds, or math.MaxInt64 if it drops none: for an empty window, Counted and Whole.
func (w *Window) Next() int64 {
	if w.state == nil || w.spec.Mode > Aligned {
		return math.MaxInt64
	}
	t := w.state.samples.time(0)
	after := w.spec.Width
	if w.spec.Mode == Aligned {
		after++
	}
	if t > math.MaxInt64-after {
		return math.MaxInt64
	}
	return t + after
}

// Size returns the bytes of memory that the window takes, estimated from what
// it holds: buffers are larger by up to a factor of two, for a moment by four.
func (w *Window) Size() int {
	const empty, full, part = 24, 128, 64
	st := w.state
	if st == nil {
		return empty
	}
	n := empty + full + 14*st.samples.len()
	if w.spec.Needs&^needSum != 0 || st.whole != nil {
		n += 2 * part
	}
	for _, on := range [...]bool{st.squares != nil, st.times != nil, st.times != nil, st.lost != nil} {
		if on {
			n += part
		}
	}
	for _, d := range [...]*deque{st.min, st.max} {
		if d != nil {
			n += part + 4*d.seqs.len()
		}
	}
	if st.order != nil {
		n += part + st.order.size(st.numbers)
	}
	if st.texts != nil && len(st.texts.numbers) > 0 {
		n += part + st.texts.bytes + 56*len(st.texts.numbers)
	}
	if st.turns != nil {
		n += part + 4*len(st.turns.taken)
	}
	if st.whole != nil {
		n += 2 * part
	}
	return n
}
