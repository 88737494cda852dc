package influxdb

import (
	"slices"
	"strconv"
	"strings"

	"weir/ingest/event"
	"weir/sinks/lineprotocol"
)

const deviceTag = "device"

// series is what is known of the events of one measurement that have the same
// tag keys: under which names their tags and fields are written.
type series struct {
	keys    []string // of the tags, as they come
	tags    [][]byte // ",key=" of each, escaped
	names   []string // of each, as it is written
	before  int      // tags that stand before the device
	columns map[string]*column
	// shapes remembers which columns an event with so many fields had last:
	// devices of one source send the same fields in the same order, so that a
	// comparison does what a map would.
	shapes [8][]*column
}

// column is one field of a series.
type column struct {
	name    string     // as it comes
	written string     // the name that the server knows
	key     []byte     // written, escaped, with "=" behind
	typ     *fieldType // nil when there is no room to learn it
	tag     int        // index of the tag that has its name, or one of the following
}

const (
	noTag    = -1
	isDevice = -2
)

// fits reports whether s is the series of events with these tags.
func (s *series) fits(tags []event.Tag) bool {
	if len(tags) != len(s.keys) {
		return false
	}
	for i := range tags {
		if tags[i].Key != s.keys[i] {
			return false
		}
	}
	return true
}

// reserved reports whether no field can be written under a name.
func (s *series) reserved(name string) bool {
	return name == "time" || name == deviceTag || name != "" && slices.Contains(s.names, name)
}

// tagNamed returns the index of the tag that a field is named like.
func (s *series) tagNamed(name string) int {
	if name == deviceTag {
		return isDevice
	}
	if name == "" {
		return noTag
	}
	return slices.Index(s.keys, name) // -1 is noTag
}

// repeats reports whether v says what the tag says that its column is named like.
func (c *column) repeats(ev *event.Event, v event.Value) bool {
	tag := ""
	if c.tag >= 0 {
		tag = ev.Tags[c.tag].Value
	} else if tag = ev.Device; tag == "" {
		tag, _ = ev.Tag(deviceTag)
	}
	if tag == "" { // is not written
		return false
	}
	if l := v.Literal(); l != "" {
		return l == tag
	}
	return v.String() == tag
}

// unreserved returns the name under which a tag or field is written: with as
// many underscores behind it as are needed to pass by the reserved names. A name
// that is another with underscores behind makes way for that one, so two names
// are never written as one, and what a name becomes does not depend on which
// other fields an event has: with "device" reserved, "device" is "device_", and
// "device_" is "device__".
func unreserved(name string, reserved func(string) bool) string {
	base := strings.TrimRight(name, "_")
	free := len(name) - len(base) // names to leave to those with fewer underscores
	for out := base; ; out += "_" {
		if reserved(out) {
			continue
		}
		if free == 0 {
			return out
		}
		free--
	}
}

// isTime reports whether InfluxDB takes no tag of this name. It drops a field of
// the name without a word.
func isTime(name string) bool { return name == "time" }

// measurement returns the entry of a measurement, made if need be.
func (e *encoder) measurement(name string) *measurement {
	m := e.measurements[name]
	if m == nil {
		e.makeRoom()
		m = &measurement{name: strings.Clone(name), series: map[string]*series{}}
		m.unwanted = name != alertMeasurement && !e.wants(name)
		m.escaped = lineprotocol.AppendMeasurement(nil, name)
		m.bare = len(m.escaped)
		m.escaped = append(m.escaped, ",device="...)
		e.measurements[m.name] = m
	}
	e.last = m
	return m
}

// seriesOf returns the entry of events with these tags, made if need be.
func (e *encoder) seriesOf(m *measurement, tags []event.Tag) *series {
	e.keys = e.keys[:0]
	for i := range tags {
		e.keys = strconv.AppendInt(e.keys, int64(len(tags[i].Key)), 10)
		e.keys = append(append(e.keys, ':'), tags[i].Key...)
	}
	s := m.series[string(e.keys)]
	if s == nil {
		e.makeRoom()
		s = &series{columns: map[string]*column{}}
		for i := range tags {
			key := strings.Clone(tags[i].Key)
			name := unreserved(key, isTime)
			s.keys, s.names = append(s.keys, key), append(s.names, name)
			s.tags = append(s.tags, append(lineprotocol.AppendName([]byte{','}, name), '='))
			if s.before == i && key < deviceTag {
				s.before = i + 1
			}
		}
		m.series[string(e.keys)] = s
		e.columns++
	}
	m.last = s
	return s
}

// columnAt returns the column of the i-th of n fields of an event. Mostly that
// is what the event before had in this place, which saves a look-up.
func (e *encoder) columnAt(m *measurement, s *series, i, n int, name string) *column {
	shape := &s.shapes[n&7]
	if i < len(*shape) && (*shape)[i].name == name {
		return (*shape)[i]
	}
	c := e.column(m, s, name)
	switch {
	case i < len(*shape):
		(*shape)[i] = c
	case i == len(*shape): // else fields before it were left out, so it has no place
		*shape = append(*shape, c)
	}
	return c
}

// column returns the entry of a field, made if need be.
func (e *encoder) column(m *measurement, s *series, name string) *column {
	if c := s.columns[name]; c != nil {
		return c
	}
	c := &column{name: strings.Clone(name), tag: s.tagNamed(name)}
	c.written = unreserved(c.name, s.reserved)
	c.key = append(lineprotocol.AppendName(nil, c.written), '=')
	// Learnt under the name that the server knows, as that is in its answers.
	c.typ = e.types.field(m.name, c.written)
	if c.typ != nil || e.columns < 2*e.types.max {
		e.makeRoom()
		s.columns[c.name] = c
		e.columns++
	}
	return c
}

// makeRoom forgets the cached entries when names without end are invented, so
// that memory stays bounded. What is learnt stays in Types.
func (e *encoder) makeRoom() {
	if e.columns+len(e.measurements) < 2*e.types.max {
		return
	}
	for _, m := range e.measurements { // one may be in use, with its series
		for _, s := range m.series {
			clear(s.columns)
		}
		clear(m.series)
		m.last = nil
	}
	clear(e.measurements)
	e.last, e.columns = nil, 0
}

// appendSeries appends the measurement and the tags in the order of their keys.
func appendSeries(dst []byte, m *measurement, s *series, ev *event.Event) []byte {
	if ev.Device == "" {
		return appendTags(append(dst, m.escaped[:m.bare]...), s, ev.Tags, 0, false)
	}
	if s.before == 0 {
		dst = append(dst, m.escaped...)
	} else {
		dst = append(dst, m.escaped[:m.bare]...)
		dst = appendTags(dst, s, ev.Tags[:s.before], 0, true)
		dst = append(dst, ",device="...)
	}
	dst = lineprotocol.AppendName(dst, ev.Device)
	if s.before == len(ev.Tags) {
		return dst
	}
	return appendTags(dst, s, ev.Tags, s.before, true)
}

// appendTags appends the tags from an index on that have a key and a value. A
// tag that repeats the one before it, or the device where the event has one,
// would make the server refuse the line.
func appendTags(dst []byte, s *series, tags []event.Tag, from int, device bool) []byte {
	prev := ""
	for i := from; i < len(tags); i++ {
		t := &tags[i]
		if t.Key == "" || t.Value == "" || t.Key == prev || device && t.Key == deviceTag {
			continue
		}
		prev = t.Key
		dst = append(dst, s.tags[i]...)
		dst = lineprotocol.AppendName(dst, t.Value)
	}
	return dst
}
