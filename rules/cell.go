package rules

import (
	"encoding/binary"
	"slices"

	"weir/ingest/event"
	"weir/rules/expression"
	"weir/rules/window"
)

// cell is what a key's past events come to, for one or more functions of
// expressions. Times are event times, ns.
type cell interface {
	// feed takes the scope's event, of time at, and reports whether it says
	// anything to the cell.
	feed(s *expression.Scope, at int64) bool
	// advance moves the cell to a time; it never goes back.
	advance(now int64)
	// next is the time after the last advance at which the value may change
	// although nothing is fed; never if there is none.
	next() int64
	value(f *function, now int64) event.Value
	bind(*cellSpec) // an equal one, of another set
	empty() bool    // it is as if it had never been fed
	size() int      // bytes of memory, a function of its content
	appendBinary(b []byte) []byte
	restore(r *reader)
}

// cellKind is a kind of cell.
type cellKind uint8

const (
	windowKind   cellKind = iota // aggregates
	absentKind                   // when something was heard last
	sequenceKind                 // conditions that are met one after the other
	stateKind                    // since when a condition is met
	durationKind                 // how long in a window a condition is met
	frameKind                    // when a rule's window ends
)

// cellSpec is what all cells of one slot of a space have in common. Functions
// that need the same state share it. Immutable once its set is loaded.
type cellSpec struct {
	identity string
	kind     cellKind
	space    *spaceSpec
	slot     int
	number   int // among those of the set

	arg    *expression.Program // what is aggregated, or the condition; nil for all events
	window window.Spec
	width  int64 // ns
	frame  *frameSpec

	steps   []*expression.Program // of a sequence
	without bool                  // its last step must not come

	limits []float64 // what durations are compared with, in seconds
	rules  []string  // ids of the rules that read it

	numbers []int32 // of the functions that ask it
}

// function is a call in an expression: what it asks its cell for.
type function struct {
	cell *cellSpec
	fn   window.Func
	q    float64
}

func (s *cellSpec) newCell() cell {
	switch s.kind {
	case windowKind:
		return &windowCell{spec: s, w: *window.New(&s.window)}
	case absentKind:
		return &absentCell{spec: s}
	case sequenceKind:
		return &sequenceCell{spec: s, reached: make([]int64, len(s.steps))}
	case stateKind:
		return &stateCell{spec: s}
	case frameKind:
		return &frameCell{spec: s, end: none}
	default:
		return &durationCell{spec: s}
	}
}

// windowCell is a window of samples.
type windowCell struct {
	spec *cellSpec
	w    window.Window
}

func (c *windowCell) feed(s *expression.Scope, at int64) bool {
	v, res := c.spec.arg.Value(s)
	if res != expression.True || v.Kind() == event.Null {
		return false
	}
	c.w.Add(at, v)
	return true
}

func (c *windowCell) advance(now int64) { c.w.Advance(now) }

func (c *windowCell) next() int64 {
	if c.spec.frame != nil { // the frame says when
		return never
	}
	return c.w.Next()
}

func (c *windowCell) value(f *function, now int64) event.Value { return c.w.Value(f.fn, f.q, now) }
func (c *windowCell) empty() bool                              { return c.w.Len() == 0 }
func (c *windowCell) size() int                                { return c.w.Size() }
func (c *windowCell) appendBinary(b []byte) []byte             { return c.w.AppendBinary(b) }

func (c *windowCell) restore(r *reader) {
	if r.err != nil {
		return
	}
	rest, err := c.w.Decode(r.b)
	if err != nil {
		r.fail()
		return
	}
	r.b = rest
}

// absentCell knows when something was heard last.
type absentCell struct {
	spec  *cellSpec
	last  int64
	fed   bool  // something was heard, or is expected since last
	armed bool  // nothing was heard yet
	over  bool  // the silence is as long as it takes
	until int64 // before this time the silence is not the device's: see outage
}

// ends is when the silence is as long as it takes.
func (c *absentCell) ends() int64 { return max(after(c.last, c.spec.width), c.until) }

func (c *absentCell) feed(s *expression.Scope, at int64) bool {
	if c.spec.arg != nil {
		if v, res := c.spec.arg.Value(s); res != expression.True || v.Kind() == event.Null {
			return false
		}
	}
	if !c.fed || c.armed || at > c.last {
		c.last = at
	}
	c.fed, c.armed, c.over = true, false, false
	return true
}

func (c *absentCell) arm(at int64) {
	if !c.fed {
		c.fed, c.armed, c.last = true, true, at
	}
}

func (c *absentCell) advance(now int64) { c.over = c.fed && now >= c.ends() }

func (c *absentCell) next() int64 {
	if !c.fed || c.over {
		return never
	}
	return c.ends()
}

func (c *absentCell) value(*function, int64) event.Value {
	return event.BoolValue(c.over)
}

func (c *absentCell) empty() bool { return !c.fed }
func (c *absentCell) size() int   { return 40 }

func (c *absentCell) appendBinary(b []byte) []byte {
	b = binary.AppendVarint(b, c.last)
	b = binary.AppendVarint(b, c.until)
	return append(b, flag(c.fed)|flag(c.armed)<<1|flag(c.over)<<2)
}

func (c *absentCell) restore(r *reader) {
	c.last, c.until = r.varint(), r.varint()
	bits := r.byte()
	c.fed, c.armed, c.over = bits&1 != 0, bits&2 != 0, bits&4 != 0
}

// none is a time that is not there.
const none = int64(-1 << 63)

// sequenceCell knows how far a sequence of conditions has come.
//
// reached[i] is the time of the first step of the latest way to have come
// through step i, none if there is no such way.
type sequenceCell struct {
	spec    *cellSpec
	reached []int64
	begun   bool  // reached holds something
	since   int64 // when the sequence that holds now began, or came through the steps that it waits after
	holds   bool
	waits   bool // for what must not come
}

func (c *sequenceCell) feed(s *expression.Scope, at int64) bool {
	if !c.begun {
		for i := range c.reached {
			c.reached[i] = none
		}
		c.begun = true
	}
	c.expire(at) // it holds until then; a last step at its very end still counts
	fed := false
	last := len(c.spec.steps) - 1
	for i := last; i >= 0; i-- {
		res := c.spec.steps[i].Holds(s)
		if res == expression.True || res == expression.False {
			fed = true
		}
		if res != expression.True {
			continue
		}
		if c.spec.without && i == last {
			c.holds, c.waits = false, false
			continue
		}
		switch {
		case i == 0:
			c.reached[0] = at
		case c.reached[i-1] != none && at-c.reached[i-1] <= c.spec.width:
			c.reached[i] = c.reached[i-1]
		default:
			continue
		}
		switch {
		case c.spec.without && i == last-1:
			if !c.waits && !c.holds {
				c.waits, c.since = true, at
			}
		case !c.spec.without && i == last:
			c.holds, c.since = true, c.reached[i]
		}
	}
	return fed
}

func (c *sequenceCell) advance(now int64) {
	if c.spec.without {
		if c.waits && now >= after(c.since, c.spec.width) {
			c.waits, c.holds = false, true
		}
	}
}

// expire ends a sequence that is longer ago than its width.
func (c *sequenceCell) expire(now int64) {
	if !c.spec.without && c.holds && now >= after(c.since, c.spec.width) {
		c.holds = false
	}
}

func (c *sequenceCell) next() int64 {
	if c.spec.without && c.waits || !c.spec.without && c.holds {
		return after(c.since, c.spec.width)
	}
	return never
}

func (c *sequenceCell) value(*function, int64) event.Value { return event.BoolValue(c.holds) }

func (c *sequenceCell) empty() bool { return !c.begun }
func (c *sequenceCell) size() int   { return 48 + 8*len(c.reached) }

func (c *sequenceCell) appendBinary(b []byte) []byte {
	b = append(b, flag(c.begun)|flag(c.holds)<<1|flag(c.waits)<<2)
	b = binary.AppendVarint(b, c.since)
	for _, t := range c.reached {
		b = binary.AppendVarint(b, t)
	}
	return b
}

func (c *sequenceCell) restore(r *reader) {
	bits := r.byte()
	c.begun, c.holds, c.waits = bits&1 != 0, bits&2 != 0, bits&4 != 0
	c.since = r.varint()
	for i := range c.reached {
		c.reached[i] = r.varint()
	}
}

// stateCell knows since when a condition is met.
type stateCell struct {
	spec  *cellSpec
	since int64
	met   bool
	over  bool // for as long as it takes
}

func (c *stateCell) feed(s *expression.Scope, at int64) bool {
	switch c.spec.arg.Holds(s) {
	case expression.True:
		if !c.met {
			c.met, c.since = true, at
		}
	case expression.False:
		c.met, c.over = false, false
	default:
		return false
	}
	return true
}

func (c *stateCell) advance(now int64) { c.over = c.met && now >= after(c.since, c.spec.width) }

func (c *stateCell) next() int64 {
	if !c.met || c.over {
		return never
	}
	return after(c.since, c.spec.width)
}

func (c *stateCell) value(*function, int64) event.Value { return event.BoolValue(c.over) }
func (c *stateCell) empty() bool                        { return !c.met }
func (c *stateCell) size() int                          { return 32 }

func (c *stateCell) appendBinary(b []byte) []byte {
	b = binary.AppendVarint(b, c.since)
	return append(b, flag(c.met)|flag(c.over)<<1)
}

func (c *stateCell) restore(r *reader) {
	c.since = r.varint()
	bits := r.byte()
	c.met, c.over = bits&1 != 0, bits&2 != 0
}

// durationCell knows for how long of a window a condition was met: from an
// event for which it is true to the next for which it is false.
type durationCell struct {
	spec  *cellSpec
	spans []span // in order; the last one is open if met
	met   bool
	now   int64
}

type span struct{ from, to int64 }

func (c *durationCell) feed(s *expression.Scope, at int64) bool {
	switch c.spec.arg.Holds(s) {
	case expression.True:
		if !c.met {
			c.met = true
			c.spans = append(c.spans, span{from: at})
		}
	case expression.False:
		if c.met {
			c.met = false
			c.spans[len(c.spans)-1].to = max(at, c.spans[len(c.spans)-1].from)
		}
	default:
		return false
	}
	return true
}

func (c *durationCell) advance(now int64) {
	if now <= c.now && c.now != 0 {
		return
	}
	c.now = now
	gone := 0
	for gone < len(c.spans) && !(c.met && gone == len(c.spans)-1) && c.spans[gone].to <= now-c.spec.width {
		gone++
	}
	c.spans = slices.Delete(c.spans, 0, gone)
}

// at returns for how many ns the condition was met in the window that ends at t.
func (c *durationCell) at(t int64) int64 {
	total := int64(0)
	for i, s := range c.spans {
		to := s.to
		if c.met && i == len(c.spans)-1 {
			to = t
		}
		if from := max(s.from, t-c.spec.width); to > from {
			total += to - from
		}
	}
	return total
}

// rate is by how much the value grows in a ns after t.
func (c *durationCell) rate(t int64) int64 {
	rate := int64(0)
	if c.met {
		rate++
	}
	if len(c.spans) > 0 && c.spans[0].from <= t-c.spec.width { // time in the state leaves the window
		rate--
	}
	return rate
}

// next is when the value reaches a limit that it is compared with, or when the
// rate at which it changes does.
func (c *durationCell) next() int64 {
	if len(c.spans) == 0 {
		return never
	}
	best := never
	consider := func(t int64) {
		if t > c.now {
			best = min(best, t)
		}
	}
	for i, s := range c.spans { // the window's begin meets the ends of spans
		consider(after(s.from, c.spec.width))
		if !c.met || i < len(c.spans)-1 {
			consider(after(s.to, c.spec.width))
		}
	}
	rate, v := c.rate(c.now), c.at(c.now)
	for _, limit := range c.spec.limits {
		if d := int64(limit*1e9) - v; rate != 0 && d != 0 && (d > 0) == (rate > 0) {
			consider(c.now + d*rate)
		}
	}
	return best
}

func (c *durationCell) value(_ *function, now int64) event.Value {
	return event.FloatValue(float64(c.at(max(now, c.now))) / 1e9)
}

// atLimit reports whether the value is what it is compared with for an instant only.
func (c *durationCell) atLimit(t int64) bool {
	v := c.at(t)
	for _, limit := range c.spec.limits {
		if v == int64(limit*1e9) && c.rate(t) != 0 {
			return true
		}
	}
	return false
}

// justAfter is the value, or that a nanosecond later if it is at a limit.
func (c *durationCell) justAfter(now int64) event.Value {
	t := max(now, c.now)
	v := c.at(t)
	if c.atLimit(t) {
		v += c.rate(t)
	}
	return event.FloatValue(float64(v) / 1e9)
}

func (c *durationCell) empty() bool { return len(c.spans) == 0 }
func (c *durationCell) size() int   { return 56 + 16*len(c.spans) }

func (c *durationCell) appendBinary(b []byte) []byte {
	b = append(b, flag(c.met))
	b = binary.AppendVarint(b, c.now)
	b = binary.AppendUvarint(b, uint64(len(c.spans)))
	for _, s := range c.spans {
		b = binary.AppendVarint(b, s.from)
		b = binary.AppendVarint(b, s.to)
	}
	return b
}

func (c *durationCell) restore(r *reader) {
	c.met = r.byte() == 1
	c.now = r.varint()
	for range r.count(2) {
		c.spans = append(c.spans, span{r.varint(), r.varint()})
	}
	if c.met && len(c.spans) == 0 {
		r.fail()
	}
}

func (c *windowCell) bind(s *cellSpec) { c.spec = s }

func (c *absentCell) bind(s *cellSpec) { c.spec = s }

func (c *sequenceCell) bind(s *cellSpec) { c.spec = s }

func (c *stateCell) bind(s *cellSpec) { c.spec = s }

func (c *durationCell) bind(s *cellSpec) { c.spec = s }
