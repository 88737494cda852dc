package devices

import (
	"encoding/binary"
	"fmt"
	"time"

	"weir/ingest/event"
)

// What is kept of one device. The bounds depend on names only, never on
// values: that makes it safe to pass over an event which the next one of the
// same fields replaces.
const (
	MaxID     = 256 // bytes of a device id; events of a longer one are refused
	MaxFields = 64  // fields of a device, those of its last event first
	MaxTags   = 32  // tags of a device
	MaxName   = 128 // bytes of a field's or tag's name, source or measurement
	MaxText   = 256 // bytes of a text; longer ones are cut
)

// wrongClock is how far an event time may lie before its receive time until it
// is taken for a clock that was never set.
const wrongClock = int64(30 * 24 * time.Hour)

// record is one device. All but id is guarded by the partition's lock.
type record struct {
	id string // immutable once the record is in the table

	// text holds the last event and what else was reported, without pointers, so
	// that a million devices cost the garbage collector little:
	//
	//	source, measurement            string
	//	tags        count, (name, value string)*
	//	last        count, (name string, value)*          at lastAt
	//	rest        count, (name string, value, time)*    at restAt
	//
	// string is a uvarint length and bytes; count a uvarint; value a kind byte and
	// 8 bytes for a number, 1 for a boolean, a string for a text; time 8 bytes.
	// rest holds the reported fields whose newest value is not in last.
	text           []byte
	lastAt, restAt uint32

	firstSeen int64 // receive times, ns
	lastSeen  int64
	eventTime int64 // of the last event, as decoded
	effective int64 // of the last event, see effectiveTime
	newest    int64 // the greatest effective time of any event
	events    uint64

	pending   uint32 // 1 + its place in Partition.pending while Handle runs; else 0
	truncated bool
}

// effectiveTime returns the time by which events are ordered in a device's
// reported state: the event time, unless the device's clock is wrong.
func effectiveTime(e *event.Event) int64 {
	if e.Time > e.Received || e.Received-e.Time > wrongClock {
		return e.Received
	}
	return e.Time
}

// sameNames reports whether two events have the same fields in the same order.
func sameNames(a, b []event.Field) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Name != b[i].Name {
			return false
		}
	}
	return true
}

// store makes e the last event of r and merges it into what was reported. The
// scratch buffer is returned for the next call.
func (r *record) store(e *event.Event, effective int64, scratch []byte) []byte {
	if len(r.text) > 0 && effective >= r.effective && r.text[r.restAt] == 0 && patch(r.text, e) {
		r.eventTime, r.effective = e.Time, effective
		return scratch
	}
	s := appendString(scratch[:0], cut(e.Source, MaxName))
	s = appendString(s, cut(e.Measurement, MaxName))
	s = appendTags(s, e.Tags)
	lastAt := len(s)
	s, kept := appendFields(s, e.Fields)
	if kept < len(e.Fields) {
		r.truncated = true
	}
	restAt := len(s)
	if r.unchangedNames(e.Fields, kept, effective) {
		s = append(s, 0)
	} else {
		s = r.appendRest(s, e.Fields, kept, effective)
	}
	r.text = append(r.text[:0], s...)
	r.lastAt, r.restAt = uint32(lastAt), uint32(restAt)
	r.eventTime, r.effective = e.Time, effective
	return s
}

// unchangedNames reports whether everything reported so far is replaced by an
// event that is not late and carries exactly the fields of the one before: then
// nothing is left over. It is the usual case.
func (r *record) unchangedNames(fields []event.Field, kept int, effective int64) bool {
	if len(r.text) == 0 {
		return true // a new device
	}
	if effective < r.effective || r.text[r.restAt] != 0 || kept != len(fields) {
		return false
	}
	c := cursor{b: r.text, at: int(r.lastAt)}
	if c.uvarint() != uint64(len(fields)) {
		return false
	}
	for i := range fields {
		if string(c.bytes()) != fields[i].Name {
			return false
		}
		c.skipValue()
	}
	return true
}

// leftover is a reported field that the new last event does not replace. Its
// parts point into the record's old text.
type leftover struct {
	name, value []byte
	time        int64
}

// appendRest appends the rest section that follows from r's state and a new last
// event of which the first kept storable fields are kept.
func (r *record) appendRest(s []byte, fields []event.Field, kept int, effective int64) []byte {
	var held [2 * MaxFields]leftover // last and rest hold at most MaxFields each
	left := held[:0]
	replaced := func(name []byte, time int64) bool {
		return time <= effective && hasField(fields, string(name))
	}
	c := cursor{b: r.text, at: int(r.restAt)}
	for range c.uvarint() {
		f := leftover{name: c.bytes(), value: c.value()}
		f.time = c.int64()
		if !replaced(f.name, f.time) {
			left = append(left, f)
		}
	}
	overruled := len(left) // of rest: newer than the old last event where both have a field
	c = cursor{b: r.text, at: int(r.lastAt)}
next:
	for range c.uvarint() {
		f := leftover{name: c.bytes(), value: c.value(), time: r.effective}
		if replaced(f.name, f.time) {
			continue
		}
		for i := range left {
			if string(left[i].name) != string(f.name) {
				continue
			}
			if i >= overruled { // the same name twice in one event: the later wins
				left[i] = f
			}
			continue next
		}
		left = append(left, f)
	}
	for kept+len(left) > MaxFields && len(left) > 0 {
		oldest := 0
		for i := range left {
			if left[i].time < left[oldest].time {
				oldest = i
			}
		}
		left = append(left[:oldest], left[oldest+1:]...)
		r.truncated = true
	}
	s = binary.AppendUvarint(s, uint64(len(left)))
	for i := range left {
		s = appendBytes(s, left[i].name)
		s = append(s, left[i].value...)
		s = binary.LittleEndian.AppendUint64(s, uint64(left[i].time))
	}
	return s
}

func hasField(fields []event.Field, name string) bool {
	for i := range fields {
		if fields[i].Name == name {
			return true
		}
	}
	return false
}

// device returns what r knows, as of logTime.
func (r *record) device(logTime, offlineAfter int64) Device {
	d := Device{
		ID: r.id, FirstSeen: at(r.firstSeen), LastSeen: at(r.lastSeen), LastEventTime: at(r.eventTime),
		Online: r.online(logTime, offlineAfter), Events: r.events, Truncated: r.truncated,
	}
	if !d.Online {
		d.OfflineSince = at(r.lastSeen + offlineAfter)
	}
	c := cursor{b: r.text}
	d.Source, d.Measurement = string(c.bytes()), string(c.bytes())
	if n := c.uvarint(); n > 0 {
		d.Tags = make(map[string]string, n)
		for range n {
			key := string(c.bytes())
			d.Tags[key] = string(c.bytes())
		}
	}
	n := c.uvarint()
	d.Last, d.Reported = make(map[string]any, n), make(map[string]Reported, n)
	for range n {
		name := string(c.bytes())
		value := decodeValue(c.value())
		d.Last[name] = value
		d.Reported[name] = Reported{value, at(r.effective)}
	}
	for range c.uvarint() {
		name := string(c.bytes())
		value := decodeValue(c.value())
		d.Reported[name] = Reported{value, at(c.int64())}
	}
	return d
}

func (r *record) online(logTime, offlineAfter int64) bool {
	return logTime-r.lastSeen <= offlineAfter
}

// hasSource reports whether the last event came from the named source.
func (r *record) hasSource(name string) bool {
	c := cursor{b: r.text}
	return string(c.bytes()) == cut(name, MaxName)
}

// index checks a text that comes from a snapshot and sets lastAt and restAt, so
// that no later reading of it can fail.
func (r *record) index() error {
	c := cursor{b: r.text}
	if len(c.bytes()) > MaxName || len(c.bytes()) > MaxName {
		c.fail("source or measurement too long")
	}
	tags := c.count(MaxTags)
	for range tags {
		c.name()
		c.bytes()
	}
	r.lastAt = uint32(c.at)
	fields := c.count(MaxFields)
	for range fields {
		c.name()
		c.skipValue()
	}
	r.restAt = uint32(c.at)
	rest := c.count(MaxFields)
	for range rest {
		c.name()
		c.skipValue()
		c.int64()
	}
	if c.err == nil && fields+rest > MaxFields {
		c.fail(fmt.Sprintf("%d fields, more than %d", fields+rest, MaxFields))
	}
	if c.err == nil && c.at != len(r.text) {
		c.fail("bytes after the last field")
	}
	return c.err
}
