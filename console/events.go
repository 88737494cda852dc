package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// From is a place in the log: the beginning, the end, a time, or a batch.
type From struct {
	All  bool
	New  bool
	Time time.Time
	Pos  *event.Position
}

// ParseFrom parses "all", "new", an RFC 3339 time, a duration back from now
// such as "10m", or a position "partition/seq".
func ParseFrom(s string) (From, error) {
	switch s {
	case "all":
		return From{All: true}, nil
	case "new", "":
		return From{New: true}, nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return From{Time: t}, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return From{Time: time.Now().Add(-d)}, nil
	}
	if p, err := event.ParsePosition(s); err == nil {
		return From{Pos: &p}, nil
	}
	return From{}, fmt.Errorf("from=%q is none of: all, new, a time such as 2026-01-31T12:00:00Z, a duration back from now such as 10m, a position partition/seq", s)
}

// String returns the text that ParseFrom takes.
func (f From) String() string {
	switch {
	case f.All:
		return "all"
	case f.Pos != nil:
		return f.Pos.String()
	case !f.Time.IsZero():
		return f.Time.Format(time.RFC3339Nano)
	}
	return "new"
}

// After returns the sequence that a reader of partition p starts after, and
// whether the place concerns that partition at all.
func (f From) After(ctx context.Context, p *eventlog.Partition) (uint64, bool, error) {
	switch {
	case f.All:
		return 0, true, nil
	case f.New:
		return p.Head().Seq, true, nil
	case f.Pos != nil:
		return max(1, f.Pos.Seq) - 1, int(f.Pos.Partition) == p.ID(), nil
	}
	seq, err := p.SeqAt(ctx, f.Time)
	return max(1, seq) - 1, true, err
}

// Line is one line of the answer of /api/v1/events: an event, a message that
// could not be decoded or decodes to nothing, or another record of the log.
type Line struct {
	Position    event.Position    `json:"position"`
	Kind        string            `json:"kind"` // event, message, tick, alert, recording, rules, damage
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
		if q.topic != "" && m.Topic != q.topic && !strings.HasPrefix(m.Topic, strings.TrimSuffix(q.topic, "#")) {
			continue
		}
		events := b.EventsOf(i)
		if q.raw || len(events) == 0 {
			l := Line{Position: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: uint32(i)},
				Received: time.Unix(0, m.Received).UTC(), Topic: strings.Clone(m.Topic), Client: strings.Clone(m.Client), Kind: kind(m.Record), Error: cause}
			if m.Record == event.Tick && !q.ticks || q.device != "" {
				continue
			}
			if m.Record != event.Tick {
				l.Payload = payload(m.Payload)
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
	}
	return "message"
}

func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, err := ParseFrom(q.Get("from"))
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	limit, err := queryInt(r, "limit", 0)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	only := -1
	if t := q.Get("partition"); t != "" {
		if only, err = strconv.Atoi(t); err != nil || only < 0 || only >= s.deps.Log.Partitions() {
			s.fail(w, http.StatusBadRequest, fmt.Errorf("partition=%q: the log has partitions 0 to %d", t, s.deps.Log.Partitions()-1))
			return
		}
	}
	f := filter{topic: q.Get("topic"), device: q.Get("device"), raw: q.Get("raw") == "true", ticks: q.Get("ticks") == "true"}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc := json.NewEncoder(w)
	n := 0
	emit := func(l Line) error {
		n++
		if err := enc.Encode(l); err != nil {
			return err
		}
		if limit > 0 && n >= limit {
			return errEnough
		}
		return nil
	}
	flush := func() {
		if fl, ok := w.(http.Flusher); ok {
			fl.Flush()
		}
	}
	err = s.read(r.Context(), from, only, q.Get("follow") == "true", func(b *event.Batch, d *eventlog.Damage) error {
		if d != nil {
			return emit(Line{Kind: "damage", Position: event.Position{Partition: uint16(d.Partition), Seq: d.From}, Error: d.Error()})
		}
		return f.lines(b, emit)
	}, flush)
	if err != nil && !errors.Is(err, errEnough) && r.Context().Err() == nil {
		// The status is sent already; the last line says what went wrong.
		enc.Encode(map[string]string{"error": err.Error()})
	}
}

var errEnough = errors.New("enough")

// read gives every batch from a place on to f: the partitions one after the
// other up to their heads, and with follow what arrives after that.
func (s *Server) read(ctx context.Context, from From, only int, follow bool, f func(*event.Batch, *eventlog.Damage) error, idle func()) error {
	var readers []*eventlog.Reader
	defer func() {
		for _, r := range readers {
			r.Close()
		}
	}()
	for i := range s.deps.Log.Partitions() {
		p := s.deps.Log.Partition(i)
		after, concerns, err := from.After(ctx, p)
		if err != nil {
			return err
		}
		if concerns && (only < 0 || only == i) {
			readers = append(readers, p.NewReader(after, 0))
		}
	}
	for {
		wake := make(chan struct{}, 1)
		for _, r := range readers {
			for {
				b, more, err := r.Poll(ctx)
				var d *eventlog.Damage
				if errors.As(err, &d) {
					if err := f(nil, d); err != nil {
						return err
					}
					continue
				}
				if err != nil {
					return err
				}
				if b == nil {
					if follow {
						go func() {
							select {
							case <-more:
								select {
								case wake <- struct{}{}:
								default:
								}
							case <-ctx.Done():
							}
						}()
					}
					break
				}
				err = f(b, nil)
				b.Release()
				if err != nil {
					return err
				}
			}
		}
		idle()
		if !follow {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
