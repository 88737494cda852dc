package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"weir/ingest/event"
)

// AppendBinary appends the window to b and returns it:
//
//	version mode now | count, samples by time (distance from the one before, number)
//
// Distances, counts and other integers are varints, numbers the 8 bytes of a
// float64, little-endian. A NaN says that a text follows, with its length before
// it. All else is computed anew, but for Whole, which has no samples:
//
//	version mode now | entered numbers changes resets needs | first last
//	first-number before last-number min max | sums, squares, t, tt, product, lost
//	| count, numbers in order, or count, bins (key count)
//
// A Counted window that some events were no samples of is of version 2: behind its
// samples it has how many events came after each.
//
// A sum is the count of its parts and the parts; of sums, squares and so on
// there are those that needs asks for.
func (w *Window) AppendBinary(b []byte) []byte {
	st := w.state
	version := byte(codecVersion)
	if st != nil && st.turns != nil {
		version = turnsVersion
	}
	b = append(b, version, byte(w.spec.Mode))
	b = binary.AppendVarint(b, w.now)
	if w.spec.Mode == Whole {
		return w.appendWhole(b)
	}
	if st == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(st.samples.len()))
	var before int64
	for i := range st.samples.len() {
		s := st.samples.at(i)
		b = binary.AppendUvarint(b, uint64(s.t)-uint64(before))
		b = st.appendBits(b, s)
		before = s.t
	}
	if st.turns != nil {
		for _, n := range st.turns.taken {
			b = binary.AppendUvarint(b, uint64(st.turns.now-n))
		}
	}
	return b
}

const (
	codecVersion = 1
	turnsVersion = 2
)

func (st *state) appendBits(b []byte, s sample) []byte {
	if !s.isText() {
		return binary.LittleEndian.AppendUint64(b, s.bits)
	}
	b = binary.LittleEndian.AppendUint64(b, textBits)
	t := st.texts.list[uint32(s.bits)].s
	b = binary.AppendUvarint(b, uint64(len(t)))
	return append(b, t...)
}

func (w *Window) appendWhole(b []byte) []byte {
	st := w.state
	if st == nil {
		return append(b, 0)
	}
	for _, n := range [...]int{st.entered, st.numbers, st.changes, st.resets, int(w.spec.Needs)} {
		b = binary.AppendUvarint(b, uint64(n))
	}
	ws := st.whole
	for _, s := range [...]sample{ws.first, ws.last, ws.firstNumber, ws.before, ws.lastNumber} {
		b = binary.AppendVarint(b, s.t)
		b = st.appendBits(b, s)
	}
	b = appendFloats(b, ws.min, ws.max)
	for _, e := range st.exacts() {
		var buf [2]float64
		parts := e.parts(&buf)
		b = binary.AppendUvarint(b, uint64(len(parts)))
		b = appendFloats(b, parts...)
	}
	switch {
	case st.order == nil:
	case st.numbers <= exactQuantiles:
		b = binary.AppendUvarint(b, uint64(len(st.order.sorted)))
		b = appendFloats(b, st.order.sorted...)
	default:
		b = binary.AppendUvarint(b, uint64(len(st.order.counts.bins)))
		for _, bin := range st.order.counts.bins {
			b = binary.AppendVarint(b, bin.key)
			b = binary.AppendUvarint(b, uint64(bin.n))
		}
	}
	if st.times != nil {
		b = binary.AppendVarint(b, st.times.origin)
	}
	return b
}

// exacts returns the sums that the state keeps, in the order of snapshots.
func (st *state) exacts() []*exact {
	var list []*exact
	if st.summed {
		list = append(list, &st.sum)
	}
	if st.squares != nil {
		list = append(list, st.squares)
	}
	if st.times != nil {
		list = append(list, &st.times.t, &st.times.tt, &st.times.product)
	}
	if st.lost != nil {
		list = append(list, st.lost)
	}
	return list
}

func appendFloats(b []byte, xs ...float64) []byte {
	for _, x := range xs {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return b
}

var (
	errShort = errors.New("it ends too early or holds a length that cannot be")
	errValue = errors.New("it holds a value that cannot be")
)

// Decode returns the window that AppendBinary appended to what was before b, and
// the rest of b. The window must have been of the mode of s. Its width, number of
// samples and needs may have been others: it holds then what there is for s. Only
// a Whole window that was not asked for what s needs cannot be read, as it has no
// samples to make up for it.
func Decode(s *Spec, b []byte) (w *Window, rest []byte, err error) {
	w = New(s)
	if rest, err = w.Decode(b); err != nil {
		return nil, b, err
	}
	return w, rest, nil
}

// Decode is the function Decode for a window that is there: it holds then that
// and nothing else. After an error it is of no use.
func (w *Window) Decode(b []byte) (rest []byte, err error) {
	*w = Window{spec: w.spec, now: math.MinInt64}
	r := reader{b: b}
	v := r.byte()
	if r.err == nil && v != codecVersion && (v != turnsVersion || w.spec.Mode != Counted) {
		return b, fmt.Errorf("decode window: version %d, want %d", v, codecVersion)
	}
	if m := Mode(r.byte()); r.err == nil && m != w.spec.Mode {
		return b, fmt.Errorf("decode window: mode %d, want %d", m, w.spec.Mode)
	}
	w.now = r.varint()
	if w.spec.Mode == Whole {
		r.whole(w)
	} else if n := r.samples(w); v == turnsVersion {
		r.turns(w, n)
	}
	if r.err != nil {
		return b, fmt.Errorf("decode window: %w", r.err)
	}
	return r.b, nil
}

// reader reads what AppendBinary wrote. After the first error it returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	r.b = nil
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errShort)
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads how many items of at least size bytes follow.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

// natural reads an integer of at most limit.
func (r *reader) natural(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail(errValue)
		return 0
	}
	return int(n)
}

// float reads a number of at most limit.
func (r *reader) float(limit float64) float64 {
	if len(r.b) < 8 {
		r.fail(errShort)
		return 0
	}
	x := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	if !(math.Abs(x) <= limit) {
		r.fail(errValue)
		return 0
	}
	return x + 0
}

// value reads a number or a text.
func (r *reader) value() event.Value {
	if len(r.b) >= 8 && binary.LittleEndian.Uint64(r.b) == textBits {
		r.b = r.b[8:]
		n := r.count(1)
		s := string(r.b[:n])
		r.b = r.b[n:]
		return event.StringValue(s)
	}
	return event.FloatValue(r.float(maxNumber))
}

// samples reads samples, and returns how many there were.
func (r *reader) samples(w *Window) int {
	n := r.count(9)
	var buf [64]sample
	if ahead := *r; w.spec.Mode != Counted || n <= w.spec.N {
		if all, ok := ahead.numbers(buf[:0], n); ok {
			*r = ahead
			w.fill(all)
			return n
		}
	}
	for t, i := int64(0), 0; i < n && r.err == nil; i++ {
		t = r.time(t, i == 0)
		if v := r.value(); r.err == nil {
			w.Add(t, v)
		}
	}
	return n
}

// turns reads how many events came after each of n samples, the last of which
// are in the window.
func (r *reader) turns(w *Window, n int) {
	if n == 0 {
		r.fail(errValue)
	}
	var all []uint32
	for before := math.MaxInt32; n > 0 && r.err == nil; n-- {
		if before == 0 {
			r.fail(errValue)
			return
		}
		before = r.natural(before - 1)
		all = append(all, -uint32(before))
	}
	if r.err != nil {
		return
	}
	w.state.startTurns().taken = all[len(all)-w.Len():]
	w.expire()
}

// numbers appends n samples to all, and reports false if some are none of
// numbers.
func (r *reader) numbers(all []sample, n int) ([]sample, bool) {
	for t, i := int64(0), 0; i < n; i++ {
		t = r.time(t, i == 0)
		x := r.float(maxNumber)
		if r.err != nil {
			return nil, false
		}
		all = append(all, sample{t, math.Float64bits(x)})
	}
	return all, true
}

// time reads a sample's time, that of the one before being t.
func (r *reader) time(t int64, first bool) int64 {
	next := int64(uint64(t) + r.uvarint())
	if !first && next < t {
		r.fail(errValue)
	}
	return next
}

func (r *reader) whole(w *Window) {
	const most = 1 << 53
	entered := r.natural(most)
	if entered == 0 {
		return
	}
	st := newState(w.spec)
	st.entered, st.numbers = entered, r.natural(entered)
	st.changes, st.resets = r.natural(entered), r.natural(entered)
	needs := Needs(r.natural(math.MaxUint8))
	if missing := w.spec.Needs &^ needs; missing != 0 && r.err == nil {
		r.fail(fmt.Errorf("it lacks accumulators that are needed now (%#x)", uint8(missing)))
	}
	ws := st.whole
	for i, s := range [...]*sample{&ws.first, &ws.last, &ws.firstNumber, &ws.before, &ws.lastNumber} {
		s.t = r.varint()
		v := r.value()
		if x, ok := v.Float(); ok {
			s.bits = math.Float64bits(x)
			continue
		}
		if i > 1 {
			r.fail(errValue)
		}
		s.bits = textBits | uint64(st.obtainTexts().take(v.Text()))
	}
	ws.min, ws.max = r.float(maxNumber), r.float(maxNumber)
	stored := newState(&Spec{Mode: Whole, Needs: needs})
	for _, e := range stored.exacts() {
		for range r.count(8) {
			e.add(r.float(1e300))
			if e.more != nil && len(*e.more) > 64 {
				r.fail(errValue)
			}
		}
	}
	if stored.order != nil {
		r.order(stored.order, st.numbers)
	}
	if stored.times != nil {
		stored.times.origin, stored.times.set = r.varint(), st.numbers > 0
	}
	if r.err != nil {
		return
	}
	st.keep(stored)
	w.state = st
}

// keep takes the accumulators that the state has from one that has them all.
func (st *state) keep(stored *state) {
	if st.summed {
		st.sum = stored.sum
	}
	if st.squares != nil {
		st.squares = stored.squares
	}
	if st.times != nil {
		st.times = stored.times
	}
	if st.lost != nil {
		st.lost = stored.lost
	}
	if st.order != nil {
		st.order = stored.order
	}
}

func (r *reader) order(q *quantiles, numbers int) {
	if numbers <= exactQuantiles {
		before := math.Inf(-1)
		for range r.count(8) {
			x := r.float(maxNumber)
			if x < before {
				r.fail(errValue)
			}
			q.sorted = append(q.sorted, x)
			before = x
		}
		if len(q.sorted) != numbers {
			r.fail(errValue)
		}
		q.isSorted = true
		return
	}
	total := 0
	for i := range r.count(2) {
		b := bin{key: r.varint(), n: int64(r.natural(numbers - total))}
		if mid := binValue(b.key); b.n == 0 || !(math.Abs(mid) <= 2*maxNumber) || b.key != binKey(mid) || i > 0 && b.key <= q.counts.bins[i-1].key {
			r.fail(errValue)
			return
		}
		total += int(b.n)
		q.counts.bins = append(q.counts.bins, b)
	}
	if total != numbers {
		r.fail(errValue)
	}
	q.isCount = true
}
