package window

func newState(s *Spec) *state {
	summed := s.Needs&(needSum|needSquares) != 0
	if s.Mode != Whole && s.Needs&^needSum == 0 {
		if summed {
			return &state{needed: plain[1]}
		}
		return &state{needed: plain[0]}
	}
	m := &needed{summed: summed, changing: s.Needs&needChanges != 0}
	if s.Needs&needSquares != 0 {
		m.squares = new(exact)
	}
	if s.Needs&needTimes != 0 {
		m.times = new(times)
	}
	if s.Needs&needResets != 0 {
		m.lost = new(exact)
	}
	if s.Needs&needQuantile != 0 {
		m.order = new(quantiles)
	}
	switch {
	case s.Mode == Whole:
		m.whole = new(whole)
	default:
		if s.Needs&needMin != 0 {
			m.min = &deque{sign: -1}
		}
		if s.Needs&needMax != 0 {
			m.max = &deque{sign: 1}
		}
	}
	return &state{needed: m}
}

// obtainTexts returns the texts, new ones if there are none.
func (st *state) obtainTexts() *texts {
	if st.texts == nil {
		m := *st.needed // it may be shared
		m.texts = new(texts)
		st.needed = &m
	}
	return st.texts
}

// clear makes the state as newState has returned it.
func (st *state) clear() {
	st.samples.clear()
	st.sum.clear()
	*st = state{samples: st.samples, sum: st.sum, needed: st.needed}
	if st.changes != 0 || st.resets != 0 { // else it may be shared
		st.changes, st.resets = 0, 0
	}
	if st.texts != nil {
		st.texts = nil
	}
	if st.turns != nil {
		st.turns = nil
	}
	if st.squares != nil {
		st.squares.clear()
	}
	if st.times != nil {
		st.times.clear()
	}
	if st.lost != nil {
		st.lost.clear()
	}
	if st.min != nil {
		st.min.seqs.clear()
	}
	if st.max != nil {
		st.max.seqs.clear()
	}
	if st.order != nil {
		st.order.clear()
	}
	if st.whole != nil {
		*st.whole = whole{}
	}
}

func (st *state) number(pos int) float64 { return st.samples.at(pos).number() }

// count adds a number to the accumulators that know no order, st.numbers being
// how many there are with it.
func (st *state) count(s sample) {
	x := s.number()
	st.add(s.t, x, 1)
	if st.order != nil {
		st.order.add(x, st.numbers)
	}
}

// enter lets the first sample of those to come count.
func (st *state) enter() {
	pos := st.entered
	s := st.samples.at(pos)
	st.entered++
	if st.changing && pos > 0 && differ(st.samples.at(pos-1), s) {
		st.changes++
	}
	if s.isText() {
		return
	}
	seq := st.base + uint32(pos)
	if st.numbers == 0 {
		st.first = seq
	} else if st.lost != nil {
		st.pair(st.at(st.last), s, 1)
	}
	st.before, st.last = st.last, seq
	st.numbers++
	st.count(s)
	if st.min != nil {
		st.min.enter(st, pos)
	}
	if st.max != nil {
		st.max.enter(st, pos)
	}
}

func (st *state) at(seq uint32) sample { return st.samples.at(int(seq - st.base)) }

// pair counts the neighbouring numbers a and b, or with n = -1 counts them no more.
func (st *state) pair(a, b sample, n int) {
	if st.lost != nil && b.number() < a.number() {
		st.resets += n
		st.lost.add(float64(n) * a.number())
	}
}

// leave takes out the first sample, which has entered.
func (st *state) leave() {
	s := st.samples.at(0)
	if st.changing && st.entered > 1 && differ(s, st.samples.at(1)) {
		st.changes--
	}
	if s.isText() {
		st.entered--
		st.drop()
		return
	}
	if st.numbers > 1 {
		next := 1
		for st.texts != nil && st.samples.at(next).isText() {
			next++
		}
		st.first = st.base + uint32(next)
		if st.lost != nil {
			st.pair(s, st.samples.at(next), -1)
		}
	}
	x := s.number()
	st.add(s.t, x, -1)
	if st.min != nil {
		st.min.leave(st)
	}
	if st.max != nil {
		st.max.leave(st)
	}
	st.numbers--
	st.entered--
	st.drop()
	if st.order != nil && st.order.remove(x, st.numbers) {
		st.order.fill(st)
	}
}

// drop takes the first sample out of the queue.
func (st *state) drop() {
	if st.texts != nil {
		if s := st.samples.at(0); s.isText() {
			st.texts.give(uint32(s.bits))
		}
	}
	st.samples.popFront()
	st.base++
}

// insert puts a sample that came late before the one at pos, which has entered.
func (st *state) insert(pos int, s sample) {
	st.samples.insert(pos, s)
	st.entered++
	if st.changing {
		next := st.samples.at(pos + 1)
		if pos > 0 {
			prev := st.samples.at(pos - 1)
			if differ(prev, next) {
				st.changes--
			}
			if differ(prev, s) {
				st.changes++
			}
		}
		if differ(s, next) {
			st.changes++
		}
	}
	for _, seq := range [...]*uint32{&st.first, &st.before, &st.last} {
		if int(*seq-st.base) >= pos {
			*seq++
		}
	}
	for _, d := range [...]*deque{st.min, st.max} {
		if d != nil {
			d.shift(st, pos)
		}
	}
	if s.isText() {
		return
	}
	st.between(pos, s)
	st.numbers++
	st.count(s)
	for _, d := range [...]*deque{st.min, st.max} {
		if d != nil {
			d.insert(st, pos)
		}
	}
}

// between puts a number that was inserted at pos between its neighbours.
func (st *state) between(pos int, s sample) {
	seq := st.base + uint32(pos)
	if st.numbers == 0 {
		st.first, st.last = seq, seq
		return
	}
	first, last := int(st.first-st.base), int(st.last-st.base)
	prev, next := pos-1, pos+1
	if pos > first {
		for st.samples.at(prev).isText() {
			prev--
		}
		st.pair(st.samples.at(prev), s, 1)
	}
	if pos < last {
		for st.samples.at(next).isText() {
			next++
		}
		st.pair(s, st.samples.at(next), 1)
	}
	if pos > first && pos < last {
		st.pair(st.samples.at(prev), st.samples.at(next), -1)
	}
	switch {
	case pos > last:
		st.before, st.last = st.last, seq
	case st.numbers == 1 || pos > int(st.before-st.base):
		st.before = seq
	}
	if pos < first {
		st.first = seq
	}
}
