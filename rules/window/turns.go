package window

// turns numbers the events of a Counted window of which some are none of its
// samples: they count for how old the others are. A window that has taken all events
// since its first sample does without.
type turns struct {
	now   uint32   // number of the latest event; wraps
	taken []uint32 // those of the samples
}

func (n *turns) take() {
	n.now++
	n.taken = append(n.taken, n.now)
}

// age returns how many events came after the first sample.
func (n *turns) age() int { return int(n.now - n.taken[0]) }

// Pass tells a Counted window of an event that is none of its samples: it holds
// those of the last N events. It means nothing to other windows.
func (w *Window) Pass() {
	st := w.state
	if st == nil || w.spec.Mode != Counted {
		return
	}
	if st.turns == nil {
		n := st.startTurns()
		for range st.samples.len() {
			n.take()
		}
	}
	st.turns.now++
	w.expire()
}

func (st *state) startTurns() *turns {
	m := *st.needed // it may be shared
	m.turns = new(turns)
	st.needed = &m
	return m.turns
}

// expire drops the samples that are not of the last N events.
func (w *Window) expire() {
	st := w.state
	n := st.turns
	for len(n.taken) > 0 && n.age() >= w.spec.N {
		n.taken = n.taken[1:]
		st.leave()
	}
	switch {
	case len(n.taken) == 0:
		w.release()
	case n.age() == len(n.taken)-1:
		st.turns = nil
	}
}
