package rules

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
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
	time     int64    // the latest event time
	seen     int64    // log time at which that was received
	own      bool     // its events carry times of their own
	historic bool     // its latest event is history
	armed    bool     // no event yet: it was set for a device that is expected
	past     bool     // it is that of history uploaded behind the device's watermark
	streams  []stream // the latest event time of each stream of events
	entry    *entry   // in the space by device
	back     *clock   // of history behind the watermark, while that is uploaded
	held     []heldEvent
	drift    *drift // how its history comes, if its latest event is that
	epoch    uint32 // of the snapshot that it, its entry and its history are in, see saving
}

// stream is how far one kind of a device's events has come. Devices send them
// in order, but one kind may be ahead of another.
type stream struct {
	id   uint32
	time int64
}

// lane is a set of clocks. Rules that wait for late events have clocks of their
// own, which are behind; so have rules that read recordings, which come back
// through the log when the events after them were seen already.
type lane struct {
	index    int
	lateness int64 // how long events are waited for
	stratum  int   // 0 reads what devices send, n recordings of n-1
	clocks   map[string]*clock
	all      []*clock // the same
	home     *space   // by device; nil if there is none
	epoch    uint32   // of what need not be written ahead, see saving
}

// add adds the clock of a device.
func (l *lane) add(c *clock) *clock {
	c.epoch = l.epoch
	l.clocks[c.device] = c
	l.all = append(l.all, c)
	return c
}

// obtain returns the clock of a device, a new one that shows at if there is none.
func (l *lane) obtain(device string, at, now int64) *clock {
	if c := l.clocks[device]; c != nil {
		return c
	}
	return l.add(&clock{device: strings.Clone(device), time: at, seen: now, streams: make([]stream, 0, 1)})
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

// arrive moves a device's clock to an event of an effective time and returns
// the clock that the event belongs to, and the time as of which it is to be
// evaluated.
func (l *lane) arrive(c *clock, streamID uint32, at, received, now int64) (*clock, int64, verdict) {
	if c.armed {
		c.armed, c.time = false, at
	}
	if l.lateness > 0 {
		switch {
		case at >= c.time-l.lateness:
			c.move(at, received, now, at >= c.time && c.behind(at, now))
			return c, at, waits
		case at < c.time-l.lateness-BackfillAfter:
			return c.backfill(streamID, at, now)
		}
		return c, at, late
	}
	if at < c.time-BackfillAfter {
		if i := c.stream(streamID); i < 0 || at < c.streams[i].time {
			return c.backfill(streamID, at, now)
		}
	}
	if !c.pass(streamID, at) {
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

// steadyAfter is for how long that is watched.
const steadyAfter = int64(30 * time.Second)

// behind reports whether an event is history: it is old, and not just of a
// device whose clock is slow.
func (c *clock) behind(at, now int64) bool {
	if now-at <= BackfillAfter {
		c.drift = nil
		return false
	}
	d := c.drift
	switch {
	case d == nil:
		c.drift = &drift{at: at, seen: now}
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

func (c *clock) stream(id uint32) int {
	for i := range c.streams {
		if c.streams[i].id == id {
			return i
		}
	}
	return -1
}

// maxStreams bounds what is kept of one device.
const maxStreams = 64

// pass reports whether an event is in the order of its stream.
func (c *clock) pass(id uint32, at int64) bool {
	i := c.stream(id)
	switch {
	case i < 0 && len(c.streams) < maxStreams:
		c.streams = append(c.streams, stream{id, at})
	case i < 0:
		c.streams[0] = stream{id, at}
	case at < c.streams[i].time:
		return false
	default:
		c.streams[i].time = at
	}
	return true
}

// backfill finds the place of an event that is far behind the device's
// watermark: in the history that is being uploaded, which has a clock of its own.
func (c *clock) backfill(streamID uint32, at, now int64) (*clock, int64, verdict) {
	if c.back == nil {
		c.back = &clock{device: c.device, past: true, time: at}
	}
	b := c.back
	if !b.pass(streamID, at) {
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
	for i, set := range []bool{c.own, c.historic, c.armed, c.past, c.drift != nil, c.drift != nil && c.drift.steady} {
		bits |= flag(set) << i
	}
	b = append(b, bits)
	if c.drift != nil {
		b = binary.AppendVarint(b, c.drift.at)
		b = binary.AppendVarint(b, c.drift.seen)
	}
	b = binary.AppendUvarint(b, uint64(len(c.streams)))
	for _, s := range c.streams {
		b = binary.AppendUvarint(b, uint64(s.id))
		b = binary.AppendVarint(b, s.time)
	}
	b = binary.AppendUvarint(b, uint64(len(c.held)))
	for _, h := range c.held {
		b = binary.AppendVarint(b, h.at)
		b = appendText(b, string(h.event))
	}
	return b
}

func (r *reader) clock(device string) *clock {
	c := &clock{device: device, time: r.varint(), seen: r.varint()}
	bits := r.byte()
	c.own, c.historic, c.armed, c.past = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
	if bits&16 != 0 {
		c.drift = &drift{r.varint(), r.varint(), bits&32 != 0}
	}
	for range r.count(2) {
		c.streams = append(c.streams, stream{uint32(r.uvarint()), r.varint()})
	}
	for range r.count(2) {
		c.held = append(c.held, heldEvent{at: r.varint(), event: []byte(r.text())})
	}
	return c
}

// heldEvent is an event that waits for others that may come late.
type heldEvent struct {
	at    int64
	event []byte // see appendCause
}

// hold keeps an event in the order of event times, and of arrival where they
// are equal.
func (c *clock) hold(h heldEvent) {
	i := len(c.held)
	for i > 0 && c.held[i-1].at > h.at {
		i--
	}
	c.held = slices.Insert(c.held, i, h)
}
