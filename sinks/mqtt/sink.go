package mqtt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"weir/ingest/event"
	"weir/sinks/choice"
)

// Metrics counts what a Sink did since it was made. All are totals.
type Metrics struct {
	Published atomic.Uint64 // publishes that were acknowledged
	Connects  atomic.Uint64 // connections that were made
	Outages   atomic.Uint64 // calls that ended in a *event.RetryError
	Dead      atomic.Uint64 // messages dead-lettered
}

// Sink publishes to another broker. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	events  *template // nil if it takes none
	alerts  *template
	conn    *connection
	metrics Metrics
}

// New returns a Sink for a Config that is valid. It does no I/O: the connection
// is made when there is something to publish.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg}
	if cfg.Events {
		s.events, _ = parseTemplate(cfg.EventTopic) // Validate has parsed them
	}
	if cfg.Alerts || cfg.AllAlerts {
		s.alerts, _ = parseTemplate(cfg.AlertTopic)
	}
	s.conn = newConnection(cfg, &s.metrics)
	return s, nil
}

// Close ends the connection.
func (s *Sink) Close() error {
	s.conn.close()
	return nil
}

// Metrics returns the counters of s.
func (s *Sink) Metrics() *Metrics { return &s.metrics }

// letter is one publish. It holds no memory of a batch.
type letter struct {
	batch   int
	message uint32
	topic   string
	payload []byte
	acked   bool
}

// Handle publishes what the batches hold for this sink, and returns when all of
// it is acknowledged.
func (s *Sink) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	var letters []*letter
	for bi, b := range batches {
		for mi := range b.Messages {
			ls, err := s.letters(b, bi, uint32(mi))
			switch {
			case err != nil:
				out.Dead = append(out.Dead, event.Dead{Batch: bi, Message: uint32(mi), Err: err})
			case len(ls) == 0:
				out.Filtered++
			default:
				letters = append(letters, ls...)
			}
		}
	}
	if err := s.conn.publish(ctx, letters); err != nil {
		s.metrics.Outages.Add(1)
		return event.Outcome{}, err
	}
	s.metrics.Published.Add(uint64(len(letters)))
	s.metrics.Dead.Add(uint64(len(out.Dead)))
	return out, nil
}

// letters returns what is to be published of one message: nothing if it is not
// for this sink.
func (s *Sink) letters(b *event.Batch, batch int, message uint32) ([]*letter, error) {
	m := &b.Messages[message]
	switch m.Record {
	case event.AlertFact:
		if s.alerts == nil {
			return nil, nil
		}
		return s.alertLetter(m, batch, message)
	case event.Publish, event.Recording:
		if s.events == nil {
			return nil, nil
		}
		var ls []*letter
		for i, evs := 0, b.EventsOf(int(message)); i < len(evs); i++ {
			topic, err := s.events.fill(eventName(&evs[i]))
			if err != nil {
				return nil, fmt.Errorf("publish the event: %w", err)
			}
			payload, err := encodeEvent(&evs[i], b.Position(&evs[i]))
			if err != nil {
				return nil, err
			}
			ls = append(ls, &letter{batch: batch, message: message, topic: topic, payload: payload})
		}
		return ls, nil
	}
	return nil, nil
}

func (s *Sink) alertLetter(m *event.Message, batch int, message uint32) ([]*letter, error) {
	a, err := choice.Parse(m.Payload)
	if err != nil {
		return nil, err
	}
	if !(choice.Choice{Name: s.cfg.Name, All: s.cfg.AllAlerts}).For(a) {
		return nil, nil
	}
	topic, err := s.alerts.fill(alertName(a))
	if err != nil {
		return nil, fmt.Errorf("publish the alert: %w", err)
	}
	return []*letter{{batch: batch, message: message, topic: topic, payload: bytes.Clone(m.Payload)}}, nil
}

// eventJSON is an event as it is published. The names are fixed.
type eventJSON struct {
	Position    event.Position    `json:"position"` // identifies the event: it may come twice
	Time        time.Time         `json:"time"`
	Received    time.Time         `json:"received"`
	Source      string            `json:"source,omitempty"`
	Rule        string            `json:"rule,omitempty"`
	Measurement string            `json:"measurement"`
	Device      string            `json:"device,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Fields      map[string]any    `json:"fields"`
}

func encodeEvent(e *event.Event, at event.Position) ([]byte, error) {
	out := eventJSON{
		Position: at, Time: time.Unix(0, e.Time).UTC(), Received: time.Unix(0, e.Received).UTC(),
		Source: e.Source, Rule: e.Rule, Measurement: e.Measurement, Device: e.Device,
		Fields: make(map[string]any, len(e.Fields)),
	}
	for _, t := range e.Tags {
		if out.Tags == nil {
			out.Tags = make(map[string]string, len(e.Tags))
		}
		out.Tags[t.Key] = t.Value
	}
	for _, f := range e.Fields {
		out.Fields[f.Name] = jsonValue(f.Value)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("encode the event: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// jsonValue returns a value as JSON has it: a number keeps the text it came as,
// NaN and infinity are null.
func jsonValue(v event.Value) any {
	if l := v.Literal(); l != "" {
		return json.Number(l)
	}
	if f, ok := v.Float(); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil
	}
	return v.Any()
}
