package console

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
)

// Line is one line of the answer of /api/v1/events: an event, a message that
// could not be decoded or decodes to nothing, or another record of the log.
// With raw, messages stand as they arrived in the place of their events.
type Line struct {
	Position    event.Position    `json:"position"`
	Kind        string            `json:"kind"` // event, message, tick, alert, recording, rules, started, operation, damage
	Received    time.Time         `json:"received"`
	Topic       string            `json:"topic,omitempty"`
	Client      string            `json:"client,omitempty"`
	Source      string            `json:"source,omitempty"`
	Measurement string            `json:"measurement,omitempty"`
	Device      string            `json:"device,omitempty"`
	Time        *time.Time        `json:"time,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Fields      map[string]any    `json:"fields,omitempty"`
	Rule        string            `json:"rule,omitempty"`
	Payload     json.RawMessage   `json:"payload,omitempty"` // JSON as it is, anything else as a string
	Error       string            `json:"error,omitempty"`
}

// NewLine returns an event of a batch as a line.
func NewLine(b *event.Batch, e *event.Event) Line {
	t := time.Unix(0, e.Time).UTC()
	l := Line{Position: b.Position(e), Kind: "event", Received: time.Unix(0, e.Received).UTC(), Source: strings.Clone(e.Source),
		Measurement: strings.Clone(e.Measurement), Device: strings.Clone(e.Device), Time: &t, Rule: strings.Clone(e.Rule),
		Topic: strings.Clone(b.Messages[e.Message].Topic), Fields: map[string]any{}}
	if e.Rule != "" {
		l.Kind = "recording"
	}
	for _, f := range e.Fields {
		v := f.Value.Any()
		if s, ok := v.(string); ok {
			v = strings.Clone(s)
		}
		l.Fields[strings.Clone(f.Name)] = v
	}
	for _, tag := range e.Tags {
		if l.Tags == nil {
			l.Tags = map[string]string{}
		}
		l.Tags[strings.Clone(tag.Key)] = strings.Clone(tag.Value)
	}
	return l
}

// payload returns bytes as JSON: as they are if they are JSON, else as a string.
func payload(b []byte) json.RawMessage {
	if json.Valid(b) {
		return append(json.RawMessage(nil), b...)
	}
	s, err := json.Marshal(string(b))
	if err != nil {
		return nil
	}
	return s
}

// filter chooses lines.
type filter struct {
	topic, device string
	raw, ticks    bool
}

// matches reports whether a topic is selected, by an MQTT filter.
func (q filter) matches(topic string) bool {
	if q.topic == "" || q.topic == topic {
		return true
	}
	want, have := strings.Split(q.topic, "/"), strings.Split(topic, "/")
	for i, w := range want {
		if w == "#" {
			return true
		}
		if i >= len(have) || w != "+" && w != have[i] {
			return false
		}
	}
	return len(want) == len(have)
}

// lines calls f with every line of a batch that the filter lets through.
func (q filter) lines(b *event.Batch, f func(Line) error) error {
	reject := 0
	for i := range b.Messages {
		m := &b.Messages[i]
		var cause string
		if reject < len(b.Rejects) && int(b.Rejects[reject].Message) == i {
			cause = b.Rejects[reject].Err.Error()
			reject++
		}
		if !q.matches(m.Topic) || m.Record == event.Tick && !q.ticks {
			continue
		}
		events := b.EventsOf(i)
		if q.raw || len(events) == 0 {
			l := newMessageLine(b, i, cause)
			if q.device != "" && l.Device != q.device && !slices.ContainsFunc(events, func(e event.Event) bool { return e.Device == q.device }) {
				continue
			}
			if err := f(l); err != nil {
				return err
			}
			continue
		}
		for j := range events {
			if q.device != "" && events[j].Device != q.device {
				continue
			}
			if err := f(NewLine(b, &events[j])); err != nil {
				return err
			}
		}
	}
	return nil
}

// newMessageLine returns a message of a batch as a line, as it arrived.
func newMessageLine(b *event.Batch, i int, cause string) Line {
	m := &b.Messages[i]
	l := Line{Position: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: uint32(i)}, Kind: kind(m.Record),
		Received: time.Unix(0, m.Received).UTC(), Topic: strings.Clone(m.Topic), Client: strings.Clone(m.Client), Error: cause}
	if m.Record != event.Tick && m.Record != event.Started {
		l.Payload = payload(m.Payload)
	}
	if m.Record == event.AlertFact {
		var a struct{ Rule, Device string }
		if json.Unmarshal(m.Payload, &a) == nil {
			l.Rule, l.Device = a.Rule, a.Device
		}
	}
	return l
}

func kind(r event.Record) string {
	switch r {
	case event.Tick:
		return "tick"
	case event.AlertFact:
		return "alert"
	case event.Recording:
		return "recording"
	case event.RuleSet:
		return "rules"
	case event.Started:
		return "started"
	case event.Operation:
		return "operation"
	}
	return "message"
}
