package rules

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
)

// How weir deals with clocks of devices. All are in nanoseconds.
const (
	// maxAhead is how far an event's own time may be ahead of the time at which
	// it was received. What is further ahead is taken as of when it was received.
	maxAhead = int64(time.Minute)
	// BackfillAfter is the age from which an event is history that a device
	// uploads: evaluated as of then, and nobody is told.
	BackfillAfter = int64(10 * time.Minute)
	// grace is how long the clock of a device with a time of its own waits in
	// silence: what it measured may be on its way.
	grace = int64(2 * time.Second)
	// settle is how long clocks wait in silence after weir began to listen:
	// devices deliver first what they could not.
	settle = int64(5 * time.Second)
	// outage is how long weir may not have listened before silence in that time,
	// and until devices had the time to settle, is no sign that a device is gone.
	outage = int64(30 * time.Second)
	// closeAfter is after which silence an upload of history has ended.
	closeAfter = int64(10 * time.Minute)
)

// clock is the time of one device, as its events tell it: a watermark for each
// device, so that one fast clock makes nobody else late. Groups have one too.
//
// In silence it goes on with the log's time: it then shows
// time + (log time - seen), less the grace.
type clock struct {
	device   string
	time     int64  // the latest event time
	seen     int64  // log time at which that was received
	own      bool   // its events carry times of their own
	historic bool   // its latest event is history
	armed    bool   // no event yet: it was set for a device that is expected
	past     bool   // it is that of history uploaded behind the device's watermark
	epoch    uint32 // of the snapshot that it, its entry and its history are in, see saving
	entry    *entry // in the space by device
	stream   stream // the first, if there was one; see streams
	rest     *rest  // nil as long as it says nothing
}

// rest is what few clocks have.
type rest struct {
	back    *clock      // of history behind the watermark, while that is uploaded
	streams []stream    // all but the first
	held    []heldEvent // see hold
	drift   *drift      // how its history comes, if its latest event is that
	entries []*entry    // that go by it, but for the one in the space by device
}

// stream is how far one kind of a device's events has come. Devices send them
// in order, but one kind may be ahead of another.
type stream struct {
	time  int64  // of the latest event
	mark  uint32 // of its content, see markOf
	id    uint32
	begun bool // it had an event
}

// lane is a set of clocks. Rules that wait for late events have clocks of their
// own, which are behind; so have rules that read recordings, which come back
// through the log when the events after them were seen already, and rules that
// are about some sources only: the clock of one of them may be slow.
type lane struct {
	index    int
	lateness int64  // how long events are waited for
	stratum  int    // 0 reads what devices send, n recordings of n-1
	sources  string // see laneSpec
	behind   int64
	clocks   map[string]*clock
	all      []*clock // the same
	home     *space   // by device; nil if there is none
	epoch    uint32   // of what need not be written ahead, see saving
	recent   recent   // of clocks
	room     int      // for how many clocks, before some are forgotten
}

// add adds the clock of a device.
func (l *lane) add(c *clock) *clock {
	c.epoch = l.epoch
	l.clocks[c.device] = c
	l.all = append(l.all, c)
	return c
}

// obtain returns the clock of a device, a new one that shows at if there is none.
// h is the hash of the device.
func (l *lane) obtain(h uint64, device string, at, now int64) *clock {
	c := l.recent.find(h, device)
	if c != nil {
		return c
	}
	if c = l.clocks[device]; c == nil {
		c = l.add(&clock{device: strings.Clone(device), time: at, seen: now})
	}
	l.recent.put(h, c)
	return c
}

// verdict is what the time of an event says about it.
type verdict uint8

const (
	inOrder verdict = iota
	waits           // for others that may come late
	late            // behind what was evaluated already
)

// effective returns the time as of which an event is taken.
func effective(at, received int64) int64 {
	if at > received+maxAhead {
		return received
	}
	return at
}

// receipt returns when an event was received, or none for what rules recorded:
// that of an instant comes back after what else is due then, so that its clock
// waits in silence, as if the device had a time of its own.
func (l *lane) receipt(received int64) int64 {
	if l.stratum > 0 {
		return none
	}
	return received
}

// arrive moves a device's clock to an event of an effective time and returns
// the clock that the event belongs to, and the time as of which it is to be
// evaluated.
func (l *lane) arrive(c *clock, streamID, mark uint32, at, received, now int64) (*clock, int64, verdict) {
	received = l.receipt(received)
	if c.armed {
		c.armed, c.time = false, at
	}
	if l.lateness > 0 {
		switch {
		case at >= c.time-l.lateness:
			c.move(at, received, now, at >= c.time && c.behind(at, now))
			if c.holds(at, mark) {
				return c, at, late
			}
			return c, at, waits
		case at < c.time-l.lateness-BackfillAfter:
			return c.backfill(streamID, mark, at, now)
		}
		return c, at, late
	}
	if s := &c.stream; s.begun && s.id == streamID && at >= s.time { // the common case
		if !s.pass(at, mark) {
			return c, at, late
		}
		c.move(at, received, now, at >= c.time && c.behind(at, now))
		return c, at, inOrder
	}
	if at < c.time-BackfillAfter {
		if s := c.findStream(streamID); s == nil || at < s.time {
			return c.backfill(streamID, mark, at, now)
		}
	}
	if !c.pass(streamID, mark, at) {
		return c, at, late
	}
	c.move(at, received, now, at >= c.time && c.behind(at, now))
	return c, at, inOrder
}

// drift tells a clock that is slow from history that is uploaded: time passes
// on it as it does here.
type drift struct {
	at, seen int64 // when it was looked at last: event time, log time
	steady   bool
}

func (c *clock) drift() *drift {
	if c.rest == nil {
		return nil
	}
	return c.rest.drift
}

// steadyAfter is for how long that is watched.
const steadyAfter = int64(30 * time.Second)

// behind reports whether an event is history: it is old, and not just of a
// device whose clock is slow.
func (c *clock) behind(at, now int64) bool {
	if now-at <= BackfillAfter {
		if c.rest != nil {
			c.rest.drift = nil
		}
		return false
	}
	d := c.drift()
	switch {
	case d == nil:
		c.others().drift = &drift{at: at, seen: now}
		return true
	case now-d.seen >= steadyAfter:
		there, here := at-d.at, now-d.seen
		d.steady = there >= here/2 && there/2 <= here
		d.at, d.seen = at, now
	}
	return !d.steady
}

func (c *clock) move(at, received, now int64, historic bool) {
	if at >= c.time {
		c.time, c.seen, c.own, c.historic = at, now, at != received, historic
	}
}

// streams returns how many streams the clock knows, and those but the first.
func (c *clock) streams() (n int, later []stream) {
	if !c.stream.begun {
		return 0, nil
	}
	if c.rest != nil {
		later = c.rest.streams
	}
	return 1 + len(later), later
}

func (c *clock) findStream(id uint32) *stream {
	n, later := c.streams()
	if n > 0 && c.stream.id == id {
		return &c.stream
	}
	for i := range later {
		if later[i].id == id {
			return &later[i]
		}
	}
	return nil
}

func (c *clock) addStream(s stream) {
	s.begun = true
	if !c.stream.begun {
		c.stream = s
		return
	}
	r := c.others()
	r.streams = append(r.streams, s)
}

// back returns the clock of history behind the watermark, nil if none is
// uploaded.
func (c *clock) back() *clock {
	if c.rest == nil {
		return nil
	}
	return c.rest.back
}

func (c *clock) setBack(b *clock) {
	if c.rest != nil || b != nil {
		c.others().back = b
	}
}

// others returns the rest of the clock, a new one if there is none.
func (c *clock) others() *rest {
	if c.rest == nil {
		c.rest = new(rest)
	}
	return c.rest
}

// maxStreams bounds what is kept of one device.
const maxStreams = 64

// pass takes an event into the stream, or reports that it is behind the stream's
// last, or is that once more.
func (s *stream) pass(at int64, mark uint32) bool {
	if at < s.time || at == s.time && mark != 0 && mark == s.mark {
		return false
	}
	s.time, s.mark = at, mark
	return true
}

// markOf is a hash of what an event says; 0 for one without a time of its own, and
// for a recording. An MQTT client sends again what was not acknowledged before its connection broke,
// so two events of one time and content are one.
func markOf(ev *event.Event) uint32 {
	if ev.Time == ev.Received || ev.Rule != "" {
		return 0
	}
	h := uint64(len(ev.Fields))
	for i := range ev.Tags {
		h = (h^hashText(ev.Tags[i].Value))*markFactor + hashText(ev.Tags[i].Key)
	}
	for i := range ev.Fields {
		f := &ev.Fields[i]
		h = (h ^ hashText(f.Name)) * markFactor
		if f.Value.Kind() == event.String {
			h += hashText(f.Value.Text())
		} else {
			h += f.Value.Uint() + uint64(f.Value.Kind())
		}
	}
	return uint32(h>>32) | 1
}

const markFactor = 0x9e3779b97f4a7c15

// pass reports whether an event is in the order of its stream, and new.
func (c *clock) pass(id, mark uint32, at int64) bool {
	s := c.findStream(id)
	n, _ := c.streams()
	switch {
	case s == nil && n < maxStreams:
		c.addStream(stream{id: id, time: at, mark: mark})
	case s == nil:
		c.stream.id, c.stream.time, c.stream.mark = id, at, mark
	default:
		return s.pass(at, mark)
	}
	return true
}

// backfill finds the place of an event that is far behind the device's
// watermark: in the history that is being uploaded, which has a clock of its own.
func (c *clock) backfill(streamID, mark uint32, at, now int64) (*clock, int64, verdict) {
	b := c.back()
	if b == nil {
		b = &clock{device: c.device, past: true, time: at}
		c.setBack(b)
	}
	if !b.pass(streamID, mark, at) {
		return b, at, late
	}
	if at >= b.time {
		b.time = at
	}
	b.seen, b.own, b.historic = now, true, true
	return b, at, inOrder
}

// silent returns what the clock shows at a log time if nothing more is heard.
func (c *clock) silent(now int64) int64 {
	t := c.time + (now - c.seen)
	if c.own {
		t -= grace
	}
	return max(t, c.time)
}

// lead is how far the clock is ahead of the log's time in silence. Where that
// grows, what waits for a time is due earlier than was planned.
func (c *clock) lead() int64 { return c.time - c.due(c.time) }

// due returns the log time at which the clock shows t in silence.
func (c *clock) due(t int64) int64 {
	d := after(c.seen, t-c.time)
	if c.own {
		d = after(d, grace)
	}
	return d
}

// appendBinary appends the clock, without the entries below it.
func (c *clock) appendBinary(b []byte) []byte {
	b = binary.AppendVarint(b, c.time)
	b = binary.AppendVarint(b, c.seen)
	var bits byte
	d := c.drift()
	for i, set := range []bool{c.own, c.historic, c.armed, c.past, d != nil, d != nil && d.steady} {
		bits |= flag(set) << i
	}
	b = append(b, bits)
	if d != nil {
		b = binary.AppendVarint(b, d.at)
		b = binary.AppendVarint(b, d.seen)
	}
	n, later := c.streams()
	b = binary.AppendUvarint(b, uint64(n))
	if n > 0 {
		b = c.stream.appendBinary(b)
	}
	for _, s := range later {
		b = s.appendBinary(b)
	}
	held := c.held()
	b = binary.AppendUvarint(b, uint64(len(held)))
	for _, h := range held {
		b = binary.AppendVarint(b, h.at)
		b = appendText(b, string(h.event))
	}
	return b
}

func (s stream) appendBinary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(s.id))
	b = binary.AppendUvarint(b, uint64(s.mark))
	return binary.AppendVarint(b, s.time)
}

func (r *reader) clock(device string) *clock {
	c := &clock{device: device, time: r.varint(), seen: r.varint()}
	bits := r.byte()
	c.own, c.historic, c.armed, c.past = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
	if bits&16 != 0 {
		c.others().drift = &drift{r.varint(), r.varint(), bits&32 != 0}
	}
	for range r.count(2) {
		c.addStream(stream{id: uint32(r.uvarint()), mark: uint32(r.uvarint()), time: r.varint()})
	}
	for range r.count(2) {
		c.others().held = append(c.held(), heldEvent{at: r.varint(), event: []byte(r.text())})
	}
	return c
}

// heldEvent is an event that waits for others that may come late.
type heldEvent struct {
	at    int64
	event []byte // see appendCause
}

// held returns the events that wait, in the order of event times.
func (c *clock) held() []heldEvent {
	if c.rest == nil {
		return nil
	}
	return c.rest.held
}

// holds reports whether the clock holds an event of a time and content.
func (c *clock) holds(at int64, mark uint32) bool {
	if mark == 0 {
		return false
	}
	for _, h := range c.held() {
		if h.at != at {
			continue
		}
		if _, ev, err := decodeCause(h.event); err == nil && markOf(&ev) == mark {
			return true
		}
	}
	return false
}

// hold keeps an event in the order of event times, and of arrival where they
// are equal.
func (c *clock) hold(h heldEvent) {
	held := c.held()
	i := len(held)
	for i > 0 && held[i-1].at > h.at {
		i--
	}
	c.others().held = slices.Insert(held, i, h)
}
