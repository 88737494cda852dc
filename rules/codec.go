package rules

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"

	"weir/ingest/event"
)

// appendCause appends an event and where it stands to b: what an alert must
// remember of the event that speaks for it, and what a snapshot holds of it.
//
//	partition seq message event | source measurement device rule | time received | retained
//	| count, tags (key value) | count, fields (name kind value)
//
// Numbers are varints, texts have their length before them.
func appendCause(b []byte, c cause) []byte {
	if cap(b) == 0 { // it is kept: in as little memory as it takes
		var buf [256]byte
		return slices.Clone(appendCause(buf[:0], c))
	}
	b = binary.AppendUvarint(b, uint64(c.at.Partition))
	b = binary.AppendUvarint(b, c.at.Seq)
	b = binary.AppendUvarint(b, uint64(c.at.Message))
	b = binary.AppendUvarint(b, uint64(c.at.Event))
	ev := c.ev
	b = appendText(b, ev.Source)
	b = appendText(b, ev.Measurement)
	b = appendText(b, ev.Device)
	b = appendText(b, ev.Rule)
	b = binary.AppendVarint(b, ev.Time)
	b = binary.AppendVarint(b, ev.Received)
	b = append(b, flag(ev.Retained))
	b = binary.AppendUvarint(b, uint64(len(ev.Tags)))
	for i := range ev.Tags {
		b = appendText(b, ev.Tags[i].Key)
		b = appendText(b, ev.Tags[i].Value)
	}
	b = binary.AppendUvarint(b, uint64(len(ev.Fields)))
	for i := range ev.Fields {
		b = appendText(b, ev.Fields[i].Name)
		b = appendValue(b, ev.Fields[i].Value)
	}
	return b
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

func appendText[T string | []byte](b []byte, s T) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func appendValue(b []byte, v event.Value) []byte {
	b = append(b, byte(v.Kind()))
	switch v.Kind() {
	case event.Float:
		f, _ := v.Float()
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	case event.Int:
		b = binary.AppendVarint(b, v.Int())
	case event.Uint:
		b = binary.AppendUvarint(b, v.Uint())
	case event.Bool:
		b = append(b, flag(v.Bool()))
	case event.String:
		b = appendText(b, v.Text())
	}
	return b
}

// keepValue returns a value that holds nothing of a batch.
func keepValue(v event.Value) event.Value {
	switch v.Kind() {
	case event.Float:
		f, _ := v.Float()
		return event.FloatValue(f)
	case event.String:
		return event.StringValue(strings.Clone(v.Text()))
	}
	return v
}

var errShort = errors.New("it ends too early or holds a length that cannot be")

// reader reads what the append functions wrote. After the first error it
// returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() {
	r.b = nil
	if r.err == nil {
		r.err = errShort
	}
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) text() string { return string(r.bytes(r.uvarint())) }

// count reads how many items of at least size bytes follow.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) value() event.Value {
	switch event.Kind(r.byte()) {
	case event.Null:
	case event.Float:
		if b := r.bytes(8); b != nil {
			return event.FloatValue(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	case event.Int:
		return event.IntValue(r.varint())
	case event.Uint:
		return event.UintValue(r.uvarint())
	case event.Bool:
		return event.BoolValue(r.byte() == 1)
	case event.String:
		return event.StringValue(r.text())
	default:
		r.fail()
	}
	return event.Value{}
}

func (r *reader) cause() (event.Position, event.Event) {
	at := event.Position{Partition: uint16(r.uvarint()), Seq: r.uvarint(), Message: uint32(r.uvarint()), Event: uint32(r.uvarint())}
	ev := event.Event{Source: r.text(), Measurement: r.text(), Device: r.text(), Rule: r.text(), Time: r.varint(), Received: r.varint()}
	ev.Retained = r.byte() == 1
	ev.Message, ev.Index = at.Message, at.Event
	if n := r.count(2); n > 0 {
		ev.Tags = make([]event.Tag, n)
		for i := range ev.Tags {
			ev.Tags[i] = event.Tag{Key: r.text(), Value: r.text()}
		}
	}
	if n := r.count(2); n > 0 {
		ev.Fields = make([]event.Field, n)
		for i := range ev.Fields {
			ev.Fields[i] = event.Field{Name: r.text(), Value: r.value()}
		}
	}
	return at, ev
}

// checkCause returns the error that decodeCause would, and copies nothing.
func checkCause(b []byte) error {
	r := reader{b: b}
	r.skip(4) // the position
	for range 4 {
		r.bytes(r.uvarint())
	}
	r.skip(2)
	r.byte()
	for range r.count(2) {
		r.bytes(r.uvarint())
		r.bytes(r.uvarint())
	}
	for range r.count(2) {
		r.bytes(r.uvarint())
		switch event.Kind(r.byte()) {
		case event.Null:
		case event.Float:
			r.bytes(8)
		case event.Int, event.Uint:
			r.skip(1)
		case event.Bool:
			r.byte()
		case event.String:
			r.bytes(r.uvarint())
		default:
			r.fail()
		}
	}
	return r.err
}

// skip reads n varints.
func (r *reader) skip(n int) {
	for range n {
		r.uvarint()
	}
}

// decodeCause returns what appendCause appended, in memory of its own.
func decodeCause(b []byte) (event.Position, event.Event, error) {
	r := reader{b: b}
	at, ev := r.cause()
	return at, ev, r.err
}
