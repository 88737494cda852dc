package sinktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"weir/ingest/event"
)

// Start is the time of the first message of a Builder: in the recent past, so
// that no retention policy is in the way, and at a whole second.
func Start() time.Time { return time.Now().Add(-time.Hour).Truncate(time.Second) }

// Builder makes a batch, message by message. Each message is a millisecond
// after the one before.
type Builder struct {
	b  *event.Batch
	at int64
}

// NewBatch returns a Builder of an empty batch of partition 0.
func NewBatch(seq uint64, start time.Time) *Builder {
	b := event.NewBatch(nil)
	b.Seq = seq
	return &Builder{b: b, at: start.UnixNano()}
}

// Batch returns what was built.
func (b *Builder) Batch() *event.Batch { return b.b }

func (b *Builder) message(m event.Message) int {
	b.at += int64(time.Millisecond)
	m.Received = b.at
	b.b.Messages = append(b.b.Messages, m)
	return len(b.b.Messages) - 1
}

// Event adds a publish that says one event. Its time is the receive time
// unless ev has one.
func (b *Builder) Event(ev event.Event) *Builder {
	return b.Events(ev)
}

// Events adds one publish that says several events.
func (b *Builder) Events(evs ...event.Event) *Builder {
	m := b.message(event.Message{Topic: "sensors/t", Payload: []byte("{}")})
	for _, ev := range evs {
		ev.Received = b.at
		if ev.Time == 0 {
			ev.Time = b.at
		}
		b.b.AddEvent(m, ev)
	}
	return b
}

// Reading adds a publish of one field.
func (b *Builder) Reading(device, field string, v event.Value) *Builder {
	return b.Event(event.Event{Source: "plant", Measurement: "telemetry", Device: device,
		Fields: []event.Field{{Name: field, Value: v}}})
}

// Tick adds a tick.
func (b *Builder) Tick() *Builder {
	b.message(event.Message{Record: event.Tick})
	return b
}

// RuleSet adds the record of a rule set.
func (b *Builder) RuleSet() *Builder {
	b.message(event.Message{Record: event.RuleSet, Payload: []byte("groups: []")})
	return b
}

// Reject adds a publish that could not be decoded.
func (b *Builder) Reject() *Builder {
	m := b.message(event.Message{Topic: "sensors/t", Payload: []byte("{")})
	b.b.Rejects = append(b.b.Rejects, event.Reject{Message: uint32(m), Err: errors.New("unexpected end of JSON")})
	return b
}

// Empty adds a publish that says nothing: it decodes to no event.
func (b *Builder) Empty() *Builder {
	b.message(event.Message{Topic: "sensors/t"})
	return b
}

// Alert adds the record of an alert's transition.
func (b *Builder) Alert(t testing.TB, a event.Alert) *Builder {
	t.Helper()
	payload, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	return b.Raw(event.AlertFact, payload)
}

// Raw adds a record with any payload.
func (b *Builder) Raw(kind event.Record, payload []byte) *Builder {
	b.message(event.Message{Record: kind, Payload: payload})
	return b
}

// Alert returns the n-th transition of a made-up rule, firing, with a "send"
// action for each of the sinks named.
func Alert(n int, sinks ...string) event.Alert {
	at := Start().Add(time.Duration(n) * time.Second).UTC()
	a := event.Alert{
		ID: fmt.Sprintf("alert-%d", n), State: event.Firing, Rule: "cold-room/FreezerWarm",
		Key: fmt.Sprintf("f%d", n), Device: fmt.Sprintf("f%d", n),
		Labels:      map[string]string{"severity": "page"},
		Annotations: map[string]string{"summary": fmt.Sprintf("f%d is warm", n)},
		StartsAt:    at, Value: -11.5,
		Event: &event.AlertCause{Position: event.Position{Seq: 7, Message: uint32(n)}, Time: at, Received: at,
			Source: "plant", Device: fmt.Sprintf("f%d", n), Fields: map[string]any{"temperature": -11.5}},
	}
	for _, s := range sinks {
		a.Actions = append(a.Actions, event.Action{Send: s})
	}
	return a
}

// Resolved returns the transition that ends a.
func Resolved(a event.Alert) event.Alert {
	end := a.StartsAt.Add(time.Minute)
	a.State, a.EndsAt = event.Resolved, &end
	return a
}
