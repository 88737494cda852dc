package replay

import (
	"errors"
	"fmt"

	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/rules"
)

// Replay runs one rule set over the records of one log. What the set records is
// fed back to it, as it comes back through the log of a running weir: after the
// batch that it came of, so that rules which read recordings are evaluated too.
// It is used by one goroutine at a time.
type Replay struct {
	engine *rules.Engine
	out    func(rules.Derived)
	emit   func(rules.Derived) // keeps the recordings and calls out

	recorded []event.Message // derived, not processed yet
	decoder  *decode.Decoder
	back     *event.Batch // what recorded becomes
	bare     *event.Batch // a batch without the records that rules and operators wrote

	lost []error
}

// New returns a Replay whose rule set comes into force at the log time at, in
// ns since the Unix epoch. Records that were received before it are evaluated
// at that time: log time does not go back. What the rules derive goes to emit,
// recordings too.
func New(set *rules.Set, at int64, emit func(rules.Derived)) *Replay {
	return NewOwner(set, at, nil, emit)
}

// NewOwner is New for a partition of a log that has several: devices that owns
// does not admit are not missed there. See rules.Engine.SetOwner.
func NewOwner(set *rules.Set, at int64, owns func(device string) bool, emit func(rules.Derived)) *Replay {
	sources, err := decode.Compile(nil)
	if err != nil { // there is nothing in it to be wrong
		panic(fmt.Sprintf("replay: compile no sources: %v", err))
	}
	r := &Replay{
		engine: rules.NewEngine(0), out: emit,
		decoder: sources.NewDecoder(), back: event.NewBatch(nil), bare: event.NewBatch(nil),
	}
	r.emit = r.take
	r.engine.SetOwner(owns)
	b := event.NewBatch(nil)
	b.Messages = []event.Message{{Record: event.RuleSet, ID: "rules-" + set.Hash(), Received: at, Payload: set.Marshal()}}
	r.engine.Process(b, r.emit)
	if got := r.engine.Set().Hash(); got != set.Hash() { // Marshal and ParseSet disagree
		panic(fmt.Sprintf("replay: the rule set %s is refused at its own record", set.Hash()))
	}
	return r
}

// Engine returns the engine, to ask it for active alerts and counts between
// two calls of Process.
func (r *Replay) Engine() *rules.Engine { return r.engine }

// Process takes the next batch of the log, decoded. Alerts, recordings, rule
// sets and operators' decisions that it holds are left out, but time passes
// with them: they belong to the run that wrote the log. It keeps nothing of the
// batch.
func (r *Replay) Process(b *event.Batch) {
	for i := range b.Messages {
		if written(b.Messages[i].Record) {
			b = r.without(b)
			break
		}
	}
	r.engine.Process(b, r.emit)
	// Load refuses recordings that feed each other, so this ends.
	for at := uint32(len(b.Messages)); len(r.recorded) > 0; {
		at += r.feedBack(b, at)
	}
}

// Lost returns why recordings could not be read back, nil if all could. A
// running weir has them among its dead letters.
func (r *Replay) Lost() error { return errors.Join(r.lost...) }

// written reports whether weir wrote a record of that kind because of the rules
// and operators of its time.
func written(k event.Record) bool {
	switch k {
	case event.AlertFact, event.Recording, event.RuleSet, event.Operation:
		return true
	}
	return false
}

// without returns a batch in which such records are ticks. It shares b's events.
func (r *Replay) without(b *event.Batch) *event.Batch {
	c := r.bare
	c.Partition, c.Seq, c.First, c.Raw = b.Partition, b.Seq, b.First, b.Raw
	c.Events, c.Rejects = b.Events, b.Rejects
	c.Messages = append(c.Messages[:0], b.Messages...)
	for i := range c.Messages {
		if m := &c.Messages[i]; written(m.Record) {
			*m = event.Message{Record: event.Tick, Received: m.Received}
		}
	}
	return c
}

// take is handed everything that is derived.
func (r *Replay) take(d rules.Derived) {
	if d.Record == event.Recording {
		r.recorded = append(r.recorded, event.Message{
			Record: d.Record, ID: d.ID, Topic: d.Topic, Payload: d.Payload, Received: d.Time,
		})
	}
	r.out(d)
}

// maxLost bounds the errors that are kept.
const maxLost = 10

// feedBack processes the recordings that were derived so far, and returns how
// many. They are given places after the at messages of the batch that they came
// of, so that everything has a place of its own.
func (r *Replay) feedBack(of *event.Batch, at uint32) uint32 {
	b := r.back
	b.Reset()
	b.Partition, b.Seq, b.First = of.Partition, of.Seq, of.First
	b.Messages = append(b.Messages, r.recorded...)
	clear(r.recorded)
	r.recorded = r.recorded[:0]
	r.decoder.Decode(b)
	for i := range b.Events {
		b.Events[i].Message += at
	}
	for _, x := range b.Rejects {
		if len(r.lost) < maxLost {
			r.lost = append(r.lost, x.Err)
		}
	}
	r.engine.Process(b, r.emit)
	return uint32(len(b.Messages))
}
