package rules

import (
	"hash/fnv"
	"slices"
	"strings"

	"weir/ingest/event"
)

// bucketKey is what the first step of finding an event's rules looks at.
type bucketKey struct {
	source, measurement string
	recording           bool
}

// bucket holds the rules that can match events of one source and measurement.
type bucket struct {
	key    bucketKey
	stream uint32 // tells the streams of a device's events apart
	empty  bool
	parts  []lanePart // by lane
}

// lanePart is the rules of one lane in a bucket, each in one place, by its most
// telling condition.
type lanePart struct {
	lane     *lane
	spaces   []*space // of the rules, less those that look at nothing but the event
	always   []*ruleState
	index    *fieldIndex // of always; nil if it is not worth while
	simple   bool        // there is no index, and there are simple rules in always and nothing else
	byDevice textIndex
	byTag    []tagIndex // in the order of their keys
}

type tagIndex struct {
	key    string
	values textIndex
}

// maxBuckets bounds the cache: measurements may come from payloads.
const maxBuckets = 1024

func (e *Engine) bucket(ev *event.Event) *bucket {
	if b := e.last; b != nil && b.key.measurement == ev.Measurement && b.key.source == ev.Source && b.key.recording == (ev.Rule != "") {
		return b
	}
	key := bucketKey{ev.Source, ev.Measurement, ev.Rule != ""}
	b := e.buckets[key]
	if b == nil {
		if len(e.buckets) >= maxBuckets {
			e.book()
			clear(e.buckets)
		}
		key.source, key.measurement = strings.Clone(key.source), strings.Clone(key.measurement)
		b = e.fill(key)
		e.buckets[key] = b
	}
	e.last = b
	return b
}

func (e *Engine) fill(key bucketKey) *bucket {
	b := &bucket{key: key, stream: streamID(key), empty: true}
	for _, rs := range e.rules {
		if rs.stats.Stopped != "" {
			continue
		}
		m := &rs.rule.match
		if !e.scope.covers(rs.rule) {
			continue
		}
		if !key.recording && !admits(m.source, key.source) || !admits(m.measurement, key.measurement) { // a recording has no source
			continue
		}
		if key.recording && !contains(rs.rule.recordings(), key.measurement) || !key.recording && rs.rule.derived {
			continue
		}
		b.empty = false
		b.part(rs.space.lane).add(e, rs)
	}
	for i := range b.parts {
		if p := &b.parts[i]; !key.recording { // a recording is known by a name that is no field's
			p.index = newIndex(e.set, p.always)
		}
		b.parts[i].seal()
	}
	return b
}

// streamID is a function of the log alone.
func streamID(key bucketKey) uint32 {
	h := fnv.New32a()
	h.Write([]byte(key.source + "\x00" + key.measurement))
	return h.Sum32()&^1 | uint32(flag(key.recording))
}

func (b *bucket) part(l *lane) *lanePart {
	for i := range b.parts {
		if b.parts[i].lane == l {
			return &b.parts[i]
		}
	}
	b.parts = append(b.parts, lanePart{lane: l})
	return &b.parts[len(b.parts)-1]
}

func (p *lanePart) add(e *Engine, rs *ruleState) {
	if !rs.plain && !containsItem(p.spaces, rs.space) {
		p.spaces = append(p.spaces, rs.space)
	}
	m := &rs.rule.match
	switch {
	case m.device != nil:
		for _, d := range m.device {
			p.byDevice.add(d, rs)
		}
	case len(m.tags) > 0:
		p.tag(m.tags[0], rs)
	default:
		p.always = append(p.always, rs)
	}
}

func containsItem[T comparable](all []T, x T) bool {
	for _, y := range all {
		if x == y {
			return true
		}
	}
	return false
}

func (p *lanePart) tag(t tagMatch, rs *ruleState) {
	at := -1
	for i := range p.byTag {
		if p.byTag[i].key == t.key {
			at = i
		}
	}
	if at < 0 {
		at = len(p.byTag)
		p.byTag = append(p.byTag, tagIndex{key: t.key})
	}
	for _, v := range t.values {
		p.byTag[at].values.add(v, rs)
	}
}

// seal is called once all rules are there.
func (p *lanePart) seal() {
	p.simple = p.index == nil && len(p.byDevice.rules) == 0 && len(p.byTag) == 0 &&
		!slices.ContainsFunc(p.always, func(rs *ruleState) bool { return !rs.simple })
	p.byDevice.seal()
	for i := range p.byTag {
		p.byTag[i].values.seal()
	}
}
