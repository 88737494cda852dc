package event

import (
	"fmt"
	"strconv"
	"strings"
)

// Record says what a Message in the log is.
type Record uint8

// The kinds of record that the log carries. The numbers are part of the log's
// format: add, never renumber.
const (
	Publish   Record = 0 // an MQTT publish, as received
	Tick      Record = 1 // nothing happened: time passes (a silent partition gets one a second)
	AlertFact Record = 2 // an alert changed its state; the payload is an Alert as JSON
	Recording Record = 3 // a rule derived an event; the payload is a Recorded as JSON
	RuleSet   Record = 4 // a rule set came into force; the payload is its text
	Started   Record = 5 // weir began to listen: between the record before and this one it did not
	Operation Record = 6 // an operator's decision about alerts (acknowledge, silence); the payload is a Decision as JSON
)

// Message is one record of the log: for a Publish what a device sent, untouched.
type Message struct {
	Topic    string
	Payload  []byte
	Client   string // MQTT client id of the publisher; "" for weir's own records
	ID       string // deterministic identity of a derived record; "" for a Publish
	Received int64  // ns since the Unix epoch, by weir's clock
	Record   Record
	QoS      uint8
	Retain   bool

	lo, hi uint32 // its events in the Batch
}

// Position is where something stands in the log: the partition, the sequence
// of the append in it (from 1), the message in that batch (from 0) and the
// event in that message (from 0). Its text form is "partition/seq/message/event".
type Position struct {
	Partition uint16
	Seq       uint64
	Message   uint32
	Event     uint32
}

// String returns the text form, e.g. "0/1207/3/0".
func (p Position) String() string {
	var b [48]byte
	o := strconv.AppendUint(b[:0], uint64(p.Partition), 10)
	o = strconv.AppendUint(append(o, '/'), p.Seq, 10)
	o = strconv.AppendUint(append(o, '/'), uint64(p.Message), 10)
	o = strconv.AppendUint(append(o, '/'), uint64(p.Event), 10)
	return string(o)
}

// MarshalText returns the text form.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText parses the text form.
func (p *Position) UnmarshalText(b []byte) error {
	q, err := ParsePosition(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// ParsePosition parses "partition/seq[/message[/event]]".
func ParsePosition(s string) (Position, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 4 {
		return Position{}, fmt.Errorf("position %q: want partition/seq[/message[/event]], e.g. 0/1207/3/0", s)
	}
	bits := [4]int{16, 64, 32, 32}
	var n [4]uint64
	for i, t := range parts {
		v, err := strconv.ParseUint(t, 10, bits[i])
		if err != nil {
			return Position{}, fmt.Errorf("position %q: %q is not a number in range", s, t)
		}
		n[i] = v
	}
	return Position{uint16(n[0]), n[1], uint32(n[2]), uint32(n[3])}, nil
}

// Less reports whether p stands before q in the same partition.
func (p Position) Less(q Position) bool {
	if p.Seq != q.Seq {
		return p.Seq < q.Seq
	}
	if p.Message != q.Message {
		return p.Message < q.Message
	}
	return p.Event < q.Event
}

// Tag is a name and text that say which series an event belongs to.
type Tag struct{ Key, Value string }

// Field is a named measured value of an event. Nested documents have dotted names.
type Field struct {
	Name  string
	Value Value
}

// Event is a decoded message: an immutable, past-tense fact about a device.
// A message may hold several (SenML, line protocol).
type Event struct {
	Source      string // the source that decoded it; "" for a recording
	Measurement string
	Device      string
	Time        int64 // event time in ns since the Unix epoch; the receive time where the payload has none
	Received    int64 // when weir received it, ns since the Unix epoch
	Tags        []Tag // in the order of their keys, without "device"
	Fields      []Field
	Message     uint32 // index of its Message in the Batch
	Index       uint32 // number of the event in its Message, from 0
	Rule        string // group/name of the rule that derived it, for a recording; else ""
	Retained    bool   // the publish had RETAIN set
}

// Field returns the value of the named field, and whether it is there.
func (e *Event) Field(name string) (Value, bool) {
	for i := range e.Fields {
		if e.Fields[i].Name == name {
			return e.Fields[i].Value, true
		}
	}
	return Value{}, false
}

// Tag returns the value of a tag, and whether it is there.
func (e *Event) Tag(key string) (string, bool) {
	for i := range e.Tags {
		if e.Tags[i].Key == key {
			return e.Tags[i].Value, true
		}
	}
	return "", false
}
