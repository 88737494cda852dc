package rules

// started is called when weir began to listen again. What was due while it did
// not is decided once devices had the time to deliver what they held.
//
// After an outage that was longer than devices take to connect again, silence
// in it says nothing about a device either: what an absent waits for is put off
// to the end of the settling time, and happens then only if the device has still
// said nothing.
func (e *Engine) started(at int64) {
	long := e.now > 0 && at-e.now > outage || e.excused()
	e.now = max(e.now, at)
	e.hold = max(e.hold, after(at, settle))
	if !long {
		return
	}
	e.excuse = e.hold
	for _, sp := range e.spaces {
		sp.each(func(en *entry) {
			for _, k := range en.cells {
				if a, ok := k.cell.(*absentCell); ok && a.fed && !a.over {
					e.touch(en)
					a.until = e.excusedUntil(en)
				}
			}
			e.settleEntry(en)
		})
	}
}

// excused reports whether devices are still awaited after an outage.
func (e *Engine) excused() bool { return e.excuse > 0 && e.now <= e.excuse }

// excusedUntil is the end of that, in the time of an entry's rules.
func (e *Engine) excusedUntil(en *entry) int64 {
	if en.clock.past || en.clock.time == none {
		return 0
	}
	return en.clock.silent(e.excuse) - en.space.lane.lateness
}

// waitsFor reports whether a cell's deadline is not to be met by an event that
// came: it is absent's, and the event is the end of the silence.
func (e *Engine) waitsFor(c cell) bool {
	_, ok := c.(*absentCell)
	return ok && e.excused()
}
