package decode

import (
	"fmt"
	"strings"

	"weir/ingest/event"
)

// Bounds of a decoder's caches and of one message.
const (
	maxTopics     = 1 << 16 // topics in one generation of the cache
	maxTopicBytes = 8 << 20 // of their names
	maxNodes      = 1 << 14 // names of documents that are known
	maxNames      = 4 << 20 // bytes of them
	maxFields     = 4096    // of one event
	maxTags       = 256     // of one line
	maxDepth      = 64      // of nested arrays and objects
)

// Counts are the messages that a Decoder has seen.
type Counts struct {
	Messages     uint64 // all, ticks and other records without events too
	Events       uint64
	Rejected     uint64
	Filtered     uint64 // publishes that carry no reading: neither event nor reject
	TimeReplaced uint64 // events whose time was implausible, so that they have the receive time
}

// Decoder turns the messages of batches into events. It is for one goroutine
// at a time. Its caches are bounded; what it has seen before it decodes
// without allocating.
type Decoder struct {
	set    *Set
	counts Counts

	topics, older map[string]*topic // two generations: what is used moves to the newer
	topicBytes    int               // of the newer generation, against maxTopicBytes
	shapes        map[shapeKey]*shape
	nodes, names  int // of shapes, against maxNodes and maxNames

	// of the message being decoded
	b       *event.Batch
	m       int // its index
	doc     document
	scan    scanner
	scratch []byte // a key with its escapes undone

	last     *topic // the last publish's
	recorded *topic // of recordings, made when the first comes
}

// topic is what a topic says about all of its messages.
type topic struct {
	name    string
	src     *source // nil: no source takes it
	ignored bool    // a source would have taken it but for its ignore filters
	measure string
	devices []string // by the source's device references; "" for fields
	one     [1]string
	tags    []event.Tag
	field   string // name of a bare value, prefix of a document's fields
	shape   *shape // made when it is needed
}

// reason says why a message gives no event though nothing is wrong with it.
type reason string

const (
	hasEvent  reason = ""
	isEmpty   reason = "the payload is empty: the topic is cleared, or has no value"
	isNoValue reason = "it holds no value"
	isIgnored reason = "the topic is one that its source ignores"
	isOther   reason = "it does not meet the source's conditions (when)"
)

// format turns the payload of the decoder's message into events.
type format interface {
	// decode adds the events of payload, or says why there are none. After an
	// error the decoder takes back what was added.
	decode(d *Decoder, t *topic, payload []byte) (reason, error)
}

func formatOf(name string) (format, error) {
	switch name {
	case JSON, "":
		return jsonFormat{}, nil
	case Value:
		return valueFormat{}, nil
	case Auto:
		return autoFormat{}, nil
	case LineProtocol:
		return lineFormat{}, nil
	}
	return nil, fmt.Errorf("unknown format %q", name)
}

// NewDecoder returns a decoder of the set's sources.
func (s *Set) NewDecoder() *Decoder {
	return &Decoder{set: s, topics: map[string]*topic{}, shapes: map[shapeKey]*shape{}}
}

// Counts returns what the decoder has seen so far.
func (d *Decoder) Counts() Counts { return d.counts }

// Decode adds the events and rejects of the batch's messages to it, in order.
// The events' strings may alias the batch's buffers.
func (d *Decoder) Decode(b *event.Batch) {
	d.b = b
	d.counts.Messages += uint64(len(b.Messages))
	for m := range b.Messages {
		d.m = m
		fields, tags, events := len(b.FieldSlab), len(b.TagSlab), len(b.Events)
		why, err := d.message(&b.Messages[m])
		switch {
		case err != nil:
			b.DropEvents(m)
			b.FieldSlab, b.TagSlab = b.FieldSlab[:fields], b.TagSlab[:tags]
			b.Rejects = append(b.Rejects, event.Reject{Message: uint32(m), Err: err})
			d.counts.Rejected++
		case why != hasEvent:
			b.FieldSlab, b.TagSlab = b.FieldSlab[:fields], b.TagSlab[:tags]
			if b.Messages[m].Record == event.Publish {
				d.counts.Filtered++
			}
		default:
			d.counts.Events += uint64(len(b.Events) - events)
		}
	}
	d.b = nil
}

// message decodes the current message.
func (d *Decoder) message(msg *event.Message) (reason, error) {
	switch msg.Record {
	case event.Publish:
	case event.Recording:
		return d.recording(msg)
	default:
		return isNoValue, nil
	}
	t := d.topic(msg.Topic)
	if t.src == nil {
		if t.ignored {
			return isIgnored, nil
		}
		return "", fmt.Errorf("no source takes the topic %q any more; add one whose topic template stands for it and replay", msg.Topic)
	}
	if len(msg.Payload) == 0 {
		return isEmpty, nil
	}
	why, err := t.src.format.decode(d, t, msg.Payload)
	if err != nil {
		return "", fmt.Errorf("source %s: %w", t.src.name, err)
	}
	return why, nil
}

// topic returns what is known of a topic.
func (d *Decoder) topic(name string) *topic {
	if d.last != nil && d.last.name == name {
		return d.last
	}
	t, ok := d.topics[name]
	if !ok {
		if t, ok = d.older[name]; !ok {
			t = d.newTopic(name)
		}
		if len(d.topics) >= maxTopics || d.topicBytes > maxTopicBytes {
			d.older, d.topics, d.topicBytes = d.topics, map[string]*topic{}, 0
		}
		d.topics[t.name] = t
		d.topicBytes += len(t.name)
	}
	d.last = t
	return t
}

func (d *Decoder) newTopic(name string) *topic {
	t := &topic{name: strings.Clone(name)}
	var caps captures
	i, ignored := d.set.find(t.name, &caps)
	if i < 0 {
		t.ignored = ignored
		return t
	}
	t.src = d.set.sources[i]
	t.measure = t.src.measure.render(&caps)
	if t.devices = t.one[:]; len(t.src.device) > 1 {
		t.devices = make([]string, len(t.src.device))
	}
	for i, r := range t.src.device {
		switch {
		case r.pick >= 0:
		case len(r.text.parts) == 0:
			t.devices[i] = t.name
		default:
			t.devices[i] = r.text.render(&caps)
		}
	}
	for _, tag := range t.src.tags {
		if tag.cap >= 0 && caps[tag.cap] != "" {
			t.tags = append(t.tags, event.Tag{Key: tag.key, Value: caps[tag.cap]})
		}
	}
	for i := range t.src.topic.names {
		caps[i] = strings.ReplaceAll(caps[i], "/", ".")
	}
	t.field = t.src.field.render(&caps)
	return t
}
