package devices_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"weir/devices"
	"weir/ingest/event"
)

// start is the log time at which the tests begin.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// builder makes a batch message by message.
type builder struct{ b *event.Batch }

func newBuilder() builder { return builder{event.NewBatch(nil)} }

// publish adds a message that holds the given events, all received at the given
// time after start. Where an event has no time it gets that one too.
func (m builder) publish(after time.Duration, events ...event.Event) builder {
	received := start.Add(after).UnixNano()
	m.b.Messages = append(m.b.Messages, event.Message{Received: received})
	for _, e := range events {
		e.Received = received
		if e.Time == 0 {
			e.Time = received
		}
		m.b.AddEvent(len(m.b.Messages)-1, e)
	}
	return m
}

func (m builder) tick(after time.Duration) builder {
	m.b.Messages = append(m.b.Messages, event.Message{Received: start.Add(after).UnixNano(), Record: event.Tick})
	return m
}

// reading is an event of a device of source "plant"; fields alternate names and
// values.
func reading(device string, fields ...any) event.Event {
	e := event.Event{Source: "plant", Measurement: "telemetry", Device: device, Tags: []event.Tag{{Key: "site", Value: "north"}}}
	for i := 0; i < len(fields); i += 2 {
		e.Fields = append(e.Fields, event.Field{Name: fields[i].(string), Value: value(fields[i+1])})
	}
	return e
}

func value(v any) event.Value {
	switch v := v.(type) {
	case nil:
		return event.Value{}
	case float64:
		return event.FloatValue(v)
	case int:
		return event.IntValue(int64(v))
	case uint64:
		return event.UintValue(v)
	case bool:
		return event.BoolValue(v)
	case string:
		return event.StringValue(v)
	}
	panic(fmt.Sprintf("no value for %T", v))
}

// atTime returns e with an event time.
func atTime(e event.Event, after time.Duration) event.Event {
	e.Time = start.Add(after).UnixNano()
	return e
}

func handle(t testing.TB, p *devices.Partition, batches ...*event.Batch) event.Outcome {
	t.Helper()
	out, err := p.Handle(t.Context(), batches)
	if err != nil {
		t.Fatalf("Handle: %v", err)
	}
	return out
}

func snapshot(t testing.TB, p *devices.Partition) []byte {
	t.Helper()
	s, err := p.Snapshot()
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	return s
}

// randomMessages returns a log of messages that exercises what can go wrong:
// late events, wrong clocks, changing fields, long names, ticks, recordings.
func randomMessages(seed uint64, n int) []func(builder) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	names := make([]string, 90)
	for i := range names {
		names[i] = fmt.Sprintf("f%02d", i)
	}
	names[7] = string(make([]byte, devices.MaxName+1))
	shapes := make([][]string, 12)
	for i := range shapes {
		size := 1 + rnd.IntN(5)
		if i == 0 {
			size = 70
		}
		for _, j := range rnd.Perm(len(names))[:size] {
			shapes[i] = append(shapes[i], names[j])
		}
	}
	log := make([]func(builder), 0, n)
	now := time.Duration(0)
	for range n {
		now += time.Duration(rnd.IntN(20_000)) * time.Millisecond
		received := now - time.Duration(rnd.IntN(3))*time.Millisecond
		if rnd.IntN(12) == 0 {
			log = append(log, func(m builder) { m.tick(received) })
			continue
		}
		var events []event.Event
		for range 1 + rnd.IntN(3) {
			e := reading(fmt.Sprintf("d%d", rnd.IntN(9)))
			for _, name := range shapes[rnd.IntN(len(shapes))] {
				v := []any{rnd.Float64(), rnd.IntN(100), rnd.Uint64(), rnd.IntN(2) == 0, names[rnd.IntN(len(names))], nil}
				e.Fields = append(e.Fields, event.Field{Name: name, Value: value(v[rnd.IntN(len(v))])})
			}
			switch rnd.IntN(10) {
			case 0:
				e = atTime(e, now-time.Duration(rnd.IntN(3600))*time.Second) // stored history
			case 1:
				e = atTime(e, now+time.Hour) // a fast clock
			case 2:
				e.Time = 1 // a clock that was never set
			case 3:
				e.Rule = "group/derived"
			case 4:
				e.Tags = nil
			case 5:
				e.Device = ""
			}
			events = append(events, e)
		}
		log = append(log, func(m builder) { m.publish(received, events...) })
	}
	return log
}

// cutInto returns the log as batches of random sizes up to most messages.
func cutInto(log []func(builder), seed uint64, most int) []*event.Batch {
	rnd := rand.New(rand.NewPCG(seed, 11))
	var batches []*event.Batch
	for len(log) > 0 {
		m := newBuilder()
		n := min(len(log), 1+rnd.IntN(most))
		for _, add := range log[:n] {
			add(m)
		}
		batches, log = append(batches, m.b), log[n:]
	}
	return batches
}

// asString returns b's memory as a string, as decoders do.
func asString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
