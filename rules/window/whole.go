package window

// whole is what a window without samples keeps beside its sums.
type whole struct {
	first, last                     sample // of all samples
	firstNumber, before, lastNumber sample // of the numbers; before is the last but one
	min, max                        float64
}

// enterWhole takes a sample into a window without samples.
func (st *state) enterWhole(s sample) {
	w := st.whole
	st.entered++
	st.enterEnds(s)
	if s.isText() {
		return
	}
	x := s.number()
	st.numbers++
	st.count(s)
	if st.numbers == 1 {
		w.firstNumber, w.lastNumber, w.min, w.max = s, s, x, x
		return
	}
	w.min, w.max = min(w.min, x), max(w.max, x)
	switch {
	case s.t >= w.lastNumber.t:
		st.pair(w.lastNumber, s, 1)
		w.before, w.lastNumber = w.lastNumber, s
	case st.numbers == 2 || s.t >= w.before.t:
		w.before = s
	}
	if s.t < w.firstNumber.t {
		w.firstNumber = s
	}
}

// enterEnds makes a sample the first or the last if it is; what it is instead of
// is forgotten.
func (st *state) enterEnds(s sample) {
	w := st.whole
	forget := s
	switch {
	case st.entered == 1:
		w.first, w.last = s, s
		if s.isText() {
			st.texts.list[uint32(s.bits)].uses++ // held at both ends
		}
		return
	case s.t >= w.last.t:
		if differ(w.last, s) {
			st.changes++
		}
		forget, w.last = w.last, s
	case s.t < w.first.t:
		forget, w.first = w.first, s
	}
	if forget.isText() {
		st.texts.give(uint32(forget.bits))
	}
}
