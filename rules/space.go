package rules

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
	"strings"

	"weir/ingest/event"
)

// space is what the rules of one lane that have the same by know: an entry for
// each key.
type space struct {
	index   int
	lane    *lane
	by      []string
	device  bool              // by is [device], so that an entry belongs to a clock
	devices bool              // device is one of by
	entries map[string]*entry // by entryKey; nil if device, where clocks have them
	all     []*entry          // the same, see each
	cells   []*cellSpec       // of the entries' cells, by slot
	rules   []*ruleState
	usage   []cellUse // by slot
}

// never is a deadline that does not come.
const never = int64(math.MaxInt64)

// entry is what a space knows about one key.
type entry struct {
	space  *space
	clock  *clock // of the device; a group's own
	alerts []*alert
	cells  []known // in the order of their slots; those that something was fed
	last   memory  // the latest event; only if there are cells
	more   *more   // by device nil as long as it says nothing
	next   int64   // the earliest deadline of alerts and cells, in the time of the clock
	due    int64   // when the entry is to be looked at in silence, log time
	at     int32   // index in Engine.schedule, -1 if it is not there
	epoch  uint32  // of the snapshot that it is in, see saving; by device its clock's counts
}

// more is what few entries have, and those that are not by device.
type more struct {
	key    string // not by device
	place  int32  // in space.all, not by device
	turn   int32  // in clock.rest.entries, not by device
	mixed  []*ruleMemory
	starts []start
}

// known is a cell of an entry.
type known struct {
	cell
	slot   int32
	booked uint32 // its size in space.usage
	due    int64  // when it changed by itself while events were evaluated: the rules are to be looked at for that; never if it did not
}

// start is an incident that began at a time. An alert may begin, end and begin
// again at one instant; the number of its starts then tells them apart.
type start struct {
	rule string
	time int64
	n    int
}

// keyOf returns the key of an event, and false if it lacks one of by's names.
func (s *space) keyOf(set *Set, ev *event.Event) (string, bool) {
	switch {
	case s.device:
		return ev.Device, true
	case len(s.by) == 0:
		return "all", true
	case len(s.by) == 1:
		return set.nameOf(s.by[0], ev)
	}
	var b strings.Builder
	for i, name := range s.by {
		v, ok := set.nameOf(name, ev)
		if !ok {
			return "", false
		}
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(keyPart.Replace(v))
	}
	return b.String(), true
}

var keyPart = strings.NewReplacer("%", "%25", "/", "%2F")

// nameOf returns what a name of by is for an event.
func (s *Set) nameOf(name string, ev *event.Event) (string, bool) {
	switch name {
	case "device":
		return ev.Device, ev.Device != ""
	case "source":
		return ev.Source, ev.Source != ""
	case "measurement":
		return ev.Measurement, ev.Measurement != ""
	}
	return s.label(name, ev)
}

// lookup returns the entry of a key, nil if there is none.
func (s *space) lookup(c *clock, key string) *entry {
	if s.device {
		return c.entry
	}
	return s.entries[s.entryKey(c, key)]
}

// entryKey is the key under which a space has an entry: history that is
// uploaded late has entries of its own.
func (s *space) entryKey(c *clock, key string) string {
	if s.devices && c.past {
		return key + "\x00past"
	}
	return key
}

// obtain returns the entry of a key, a new one if there is none.
func (s *space) obtain(c *clock, key string) *entry {
	if en := s.lookup(c, key); en != nil {
		return en
	}
	en := newEntry(s, c, key)
	if s.device {
		c.entry = en
		return en
	}
	if !s.devices {
		en.clock = &clock{device: en.key(), time: math.MinInt64}
	}
	if s.devices {
		rest := c.others()
		en.more.turn = int32(len(rest.entries))
		rest.entries = append(rest.entries, en)
	}
	en.epoch, en.more.place = s.lane.epoch, int32(len(s.all))
	s.all = append(s.all, en)
	s.entries[s.entryKey(c, en.key())] = en
	return en
}

// newEntry returns an entry that is in no place yet.
func newEntry(s *space, c *clock, key string) *entry {
	en := &entry{space: s, clock: c, at: -1, next: never}
	if !s.device {
		en.more = &more{key: strings.Clone(key)}
	}
	return en
}

func (en *entry) key() string {
	if en.space.device {
		return en.clock.device
	}
	return en.more.key
}

// others returns more of the entry, a new one if there is none.
func (en *entry) others() *more {
	if en.more == nil {
		en.more = new(more)
	}
	return en.more
}

func (en *entry) mixed() []*ruleMemory {
	if en.more == nil {
		return nil
	}
	return en.more.mixed
}

// starts returns the incidents that began at the latest time, or lately.
func (en *entry) starts() []start {
	if en.more == nil {
		return nil
	}
	return en.more.starts
}

// remove forgets an entry.
func (s *space) remove(en *entry) {
	if s.device {
		en.clock.entry = nil
		return
	}
	if s.devices {
		all := en.clock.rest.entries
		last, turn := len(all)-1, en.more.turn
		all[turn] = all[last]
		all[turn].more.turn = turn
		all[last] = nil
		en.clock.rest.entries = all[:last]
	}
	delete(s.entries, s.entryKey(en.clock, en.key()))
	last, place := len(s.all)-1, en.more.place
	s.all[place] = s.all[last]
	s.all[place].more.place = place
	s.all[last] = nil
	s.all = s.all[:last]
}

// each calls f with every entry, in an order that depends on the past. f may
// remove the entry that it is given.
func (s *space) each(f func(*entry)) {
	if !s.device {
		for i := len(s.all) - 1; i >= 0; i-- {
			f(s.all[i])
		}
		return
	}
	for _, c := range s.lane.all {
		if c.entry != nil {
			f(c.entry)
		}
		if b := c.back(); b != nil && b.entry != nil {
			f(b.entry)
		}
	}
}

// alert returns the alert of a rule, nil if it is inactive.
func (en *entry) alert(rs *ruleState) *alert {
	for _, a := range en.alerts {
		if a.rs == rs {
			return a
		}
	}
	return nil
}

func (en *entry) add(a *alert) {
	i, _ := slices.BinarySearchFunc(en.alerts, a, func(x, y *alert) int { return cmp.Compare(x.rs.rule.index, y.rs.rule.index) })
	en.alerts = slices.Insert(en.alerts, i, a)
}

// find returns where the cell of a slot is in cells, or is to be put.
func (en *entry) find(slot int) (int, bool) {
	if slot < len(en.cells) && en.cells[slot].slot == int32(slot) { // all before it are there
		return slot, true
	}
	return slices.BinarySearchFunc(en.cells, int32(slot), func(k known, slot int32) int { return cmp.Compare(k.slot, slot) })
}

// have returns the cell of a slot, nil if there is none.
func (en *entry) have(slot int) cell {
	if i, ok := en.find(slot); ok {
		return en.cells[i].cell
	}
	return nil
}

// cell returns the cell of a slot, a new one if there is none.
func (en *entry) cell(spec *cellSpec) cell {
	if i, ok := en.find(spec.slot); ok {
		return en.cells[i].cell
	}
	c := spec.newCell()
	en.put(spec.slot, c)
	return c
}

// known is cell with what the entry knows about it, until cells are put or taken.
func (en *entry) known(spec *cellSpec) *known {
	en.cell(spec)
	i, _ := en.find(spec.slot)
	return &en.cells[i]
}

// firstCells is how many cells an entry has room for at first.
const firstCells = 4

// put makes a cell that of a slot.
func (en *entry) put(slot int, c cell) {
	i, ok := en.find(slot)
	if ok {
		en.cells[i].cell = c
		return
	}
	if n := len(en.cells); n == cap(en.cells) { // a million entries have no room to spare
		cells := make([]known, n, min(max(firstCells, 2*n), len(en.space.cells)))
		copy(cells, en.cells)
		en.cells = cells
	}
	en.cells = slices.Insert(en.cells, i, known{cell: c, slot: int32(slot), due: never})
}

// idle reports whether the entry says no more than a missing one would.
func (en *entry) idle() bool {
	if len(en.alerts) > 0 || en.holder() && len(en.clock.held()) > 0 {
		return false
	}
	for i := range en.cells {
		if c := en.cells[i].cell; c != nil && (!c.empty() || en.cells[i].due != never) { // what became empty just now is still to be looked at
			return false
		}
	}
	for _, s := range en.starts() {
		if s.time >= en.clock.time {
			return false
		}
	}
	return true
}

// holder reports whether the entry answers for the events that its clock holds.
func (en *entry) holder() bool { return en.space.device && en.space.lane.lateness > 0 }

// settleEntry plans for an entry after it changed, or forgets it if nothing is
// left of it.
func (e *Engine) settleEntry(en *entry) {
	e.weigh(en)
	if en.idle() {
		e.unschedule(en)
		en.space.remove(en)
		return
	}
	e.plan(en)
}

// plan puts an entry where it belongs in the schedule.
func (e *Engine) plan(en *entry) {
	en.next = never
	for _, a := range en.alerts {
		en.next = min(en.next, a.deadline)
	}
	for i := range en.cells {
		en.next = min(en.next, en.cells[i].next(), en.cells[i].due)
	}
	if en.holder() && len(en.clock.held()) > 0 {
		en.next = min(en.next, en.clock.held()[0].at)
	}
	e.reschedule(en, en.trueDue())
}

// reschedule makes sure that the entry is looked at when it is due, or before.
func (e *Engine) reschedule(en *entry, due int64) {
	switch {
	case due == never:
		e.unschedule(en)
	case en.at < 0:
		en.due = due
		heap.Push(&e.schedule, en)
	case due < en.due: // one that is looked at too early is put off then, which is cheaper
		en.due = due
		heap.Fix(&e.schedule, int(en.at))
	}
}

// hasten makes sure that what goes by a clock is looked at when it is due by now:
// the clock may have gained.
func (e *Engine) hasten(c *clock) {
	if en := c.entry; en != nil && en.next != never {
		e.reschedule(en, en.trueDue())
	}
	if c.rest == nil {
		return
	}
	for _, en := range c.rest.entries {
		if en.next != never {
			e.reschedule(en, en.trueDue())
		}
	}
}

func (e *Engine) unschedule(en *entry) {
	if en.at >= 0 {
		heap.Remove(&e.schedule, int(en.at))
	}
}

// trueDue is when the entry is due, which may be later than its place in the
// schedule says.
func (en *entry) trueDue() int64 {
	if en.clock.past { // no time passes in the past: its end is waited for
		return after(en.clock.seen, closeAfter)
	}
	if en.next == never {
		return never
	}
	return en.clock.due(after(en.next, en.space.lane.lateness))
}

// schedule is a heap of entries by the log time at which they are due. Equal
// times are in the order of space and key, so that nothing depends on the order
// in which they were put there.
type schedule []*entry

func (h schedule) Len() int { return len(h) }

func (h schedule) Less(i, j int) bool {
	a, b := h[i], h[j]
	if a.due != b.due {
		return a.due < b.due
	}
	if a.space != b.space {
		return a.space.index < b.space.index
	}
	if x, y := a.key(), b.key(); x != y {
		return x < y
	}
	return !a.clock.past && b.clock.past
}

func (h schedule) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = int32(i), int32(j)
}

// Push implements heap.Interface.
func (h *schedule) Push(x any) {
	en := x.(*entry)
	en.at = int32(len(*h))
	*h = append(*h, en)
}

// Pop implements heap.Interface.
func (h *schedule) Pop() any {
	old := *h
	en := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	en.at = -1
	return en
}
