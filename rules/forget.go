package rules

import (
	"encoding/binary"
	"errors"
	"slices"
)

// maxClocks is from how many clocks on a lane forgets devices of which its rules
// know nothing else: ids may be made up. What is forgotten is how late an event
// of such a device may be.
var maxClocks = 1_000_000

// forgetDevices leaves out the clocks of a lane that say nothing but their time, the
// half of them that were not heard of for longest. It is looked for such again
// once there are half as many more. What it does is a function of the log.
func (e *Engine) forgetDevices(l *lane) {
	var seen []int64
	for _, c := range l.all {
		if c.idle(e.now) {
			seen = append(seen, c.seen)
		}
	}
	slices.Sort(seen)
	if len(seen) > 0 {
		before := seen[len(seen)/2]
		l.recent = nil
		l.all = slices.DeleteFunc(l.all, func(c *clock) bool {
			if c.seen >= before || !c.idle(e.now) {
				return false
			}
			if c.epoch != l.epoch {
				e.touchClock(l, c)
			}
			delete(l.clocks, c.device)
			e.forgotten++
			return true
		})
		if s := e.saving; s != nil && s.lane == l.index {
			s.i = min(s.i, len(l.all)) // those that it has not come to have moved down
		}
	}
	l.room = max(maxClocks, len(l.all)+len(l.all)/2)
}

// idle reports whether the clock says no more than its time.
func (c *clock) idle(now int64) bool {
	if c.armed || c.needed() {
		return false
	}
	b := c.back()
	return b == nil || !b.needed() && now-b.seen > closeAfter
}

// needed reports whether anything goes by the clock.
func (c *clock) needed() bool {
	return c.entry != nil || c.rest != nil && (len(c.rest.entries) > 0 || len(c.rest.held) > 0)
}

func (e *Engine) appendRooms(b []byte) []byte {
	b = binary.AppendUvarint(b, e.forgotten)
	for _, l := range e.lanes {
		b = binary.AppendUvarint(b, uint64(l.room))
	}
	return b
}

func (e *Engine) restoreRooms(r *reader) error {
	e.forgotten = r.uvarint()
	for _, l := range e.lanes {
		room := r.uvarint()
		if r.err == nil && (room == 0 || room > 1<<40) {
			return errors.New("it says that a lane has room for no clock, or for too many")
		}
		l.room = int(room)
	}
	return r.err
}
