package window

// deque holds the numbers of a window that are its extreme or become it once
// those before have left: each is further out than all that follow it. They are
// held by their sequence numbers, see state.base.
type deque struct {
	seqs ring[uint32]
	sign float64 // 1 for the maximum, -1 for the minimum
}

// enter takes the sample at position pos, behind all others.
func (d *deque) enter(st *state, pos int) {
	x := d.sign * st.number(pos)
	for n := d.seqs.len(); n > 0 && d.sign*st.number(d.pos(st, n-1)) <= x; n-- {
		d.seqs.popBack()
	}
	d.seqs.push(st.base + uint32(pos))
}

// shift makes room for a sample that was inserted at position pos.
func (d *deque) shift(st *state, pos int) {
	for i := d.seqs.len() - 1; i >= 0 && d.pos(st, i) >= pos; i-- {
		*d.seqs.at(i)++
	}
}

// insert takes the sample at position pos, for which shift has made room.
func (d *deque) insert(st *state, pos int) {
	i := d.seqs.len()
	for i > 0 && d.pos(st, i-1) > pos {
		i--
	}
	x := d.sign * st.number(pos)
	if i < d.seqs.len() && d.sign*st.number(d.pos(st, i)) >= x {
		return
	}
	for i > 0 && d.sign*st.number(d.pos(st, i-1)) <= x {
		i--
		d.seqs.remove(i)
	}
	d.seqs.insert(i, st.base+uint32(pos))
}

// leave forgets the sample at the front of the window.
func (d *deque) leave(st *state) {
	if d.seqs.len() > 0 && d.pos(st, 0) == 0 {
		d.seqs.popFront()
	}
}

func (d *deque) pos(st *state, i int) int { return int(*d.seqs.at(i) - st.base) }

// value returns the extreme of a window that has numbers.
func (d *deque) value(st *state) float64 { return st.number(d.pos(st, 0)) }
