package event

import "sync/atomic"

// Reject is a Message that could not be decoded, and the cause.
type Reject struct {
	Message uint32
	Err     error
}

// Batch is what one append to the log holds, with what its messages say.
//
// It is built by one goroutine (the log fills Messages, a decoder adds events
// and rejects in message order) and is immutable after that, so any number of
// consumers may read it. It is counted: who hands it on calls Retain, who is
// done calls Release.
type Batch struct {
	Partition int
	Seq       uint64 // sequence of the append in its partition, from 1
	First     uint64 // how many messages the partition held before this batch
	Messages  []Message
	Events    []Event
	Rejects   []Reject

	// FieldSlab and TagSlab back Events[i].Fields and Tags, so that a whole
	// batch costs no allocation once its buffers have grown. Decoders append.
	FieldSlab []Field
	TagSlab   []Tag
	TextSlab  []byte // unescaped text that no payload holds literally

	Raw []byte // the encoded batch that Messages point into

	refs    atomic.Int32
	recycle func(*Batch)
}

// NewBatch returns an empty batch with one reference. recycle, if not nil, is
// called when the last reference is released.
func NewBatch(recycle func(*Batch)) *Batch {
	b := &Batch{recycle: recycle}
	b.refs.Store(1)
	return b
}

// Reset empties the batch, keeps its buffers, and gives it one reference.
func (b *Batch) Reset() {
	clear(b.Messages)
	clear(b.Events)
	clear(b.Rejects)
	clear(b.FieldSlab)
	clear(b.TagSlab)
	b.Partition, b.Seq, b.First = 0, 0, 0
	b.Messages, b.Events, b.Rejects = b.Messages[:0], b.Events[:0], b.Rejects[:0]
	b.FieldSlab, b.TagSlab, b.TextSlab, b.Raw = b.FieldSlab[:0], b.TagSlab[:0], b.TextSlab[:0], b.Raw[:0]
	b.refs.Store(1)
}

// Retain adds a reference.
func (b *Batch) Retain() { b.refs.Add(1) }

// Release gives up a reference; after the last one the batch is used again.
func (b *Batch) Release() {
	n := b.refs.Add(-1)
	if n < 0 {
		panic("event: Batch released more often than retained")
	}
	if n == 0 && b.recycle != nil {
		b.recycle(b)
	}
}

// AddEvent appends an event of message m. Events must be added in message
// order; Message and Index are set here.
func (b *Batch) AddEvent(m int, e Event) {
	msg := &b.Messages[m]
	at := uint32(len(b.Events))
	if msg.hi == msg.lo {
		msg.lo, msg.hi = at, at
	}
	e.Message, e.Index = uint32(m), msg.hi-msg.lo
	b.Events = append(b.Events, e)
	msg.hi = at + 1
}

// DropEvents takes back the events of message m, which must be the last to
// have got any: half a message is never kept.
func (b *Batch) DropEvents(m int) {
	msg := &b.Messages[m]
	if msg.hi > msg.lo {
		b.Events = b.Events[:msg.lo]
	}
	msg.lo, msg.hi = 0, 0
}

// EventsOf returns the events of message m.
func (b *Batch) EventsOf(m int) []Event {
	msg := &b.Messages[m]
	return b.Events[msg.lo:msg.hi:msg.hi]
}

// Position returns where an event of this batch stands in the log.
func (b *Batch) Position(e *Event) Position {
	return Position{uint16(b.Partition), b.Seq, e.Message, e.Index}
}

// Without returns a copy of the batch in which message m is a Tick that says
// nothing: for a consumer that goes on without a message it can't deliver. The
// copy shares b's memory and must not outlive it.
func (b *Batch) Without(m uint32) *Batch {
	c := &Batch{Partition: b.Partition, Seq: b.Seq, First: b.First, Raw: b.Raw}
	c.refs.Store(1)
	c.Messages = append(c.Messages, b.Messages...)
	for i := range c.Messages {
		c.Messages[i].lo, c.Messages[i].hi = 0, 0
	}
	c.Messages[m] = Message{Record: Tick, Received: b.Messages[m].Received}
	for _, e := range b.Events {
		if e.Message != m {
			c.AddEvent(int(e.Message), e)
		}
	}
	for _, r := range b.Rejects {
		if r.Message != m {
			c.Rejects = append(c.Rejects, r)
		}
	}
	return c
}
