package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"weir/ingest/event"
)

// DeadLetter is a message that a consumer could not deliver, untouched, and why.
type DeadLetter struct {
	ID       string         `json:"id"` // consumer/partition/seq/message
	Consumer string         `json:"consumer"`
	Position event.Position `json:"position"`
	Cause    string         `json:"cause"`
	At       time.Time      `json:"at"` // when it was put aside
	Received time.Time      `json:"received"`
	Topic    string         `json:"topic"`
	Client   string         `json:"client,omitempty"`
	Record   event.Record   `json:"record"`
	QoS      byte           `json:"qos"`
	Retain   bool           `json:"retain,omitempty"`
	RecordID string         `json:"record_id,omitempty"`
	Payload  []byte         `json:"payload"` // base64 in JSON
}

// Message returns the message as it stood in the log.
func (d *DeadLetter) Message() event.Message {
	return event.Message{Topic: d.Topic, Payload: d.Payload, Client: d.Client, ID: d.RecordID,
		Received: d.Received.UnixNano(), Record: d.Record, QoS: d.QoS, Retain: d.Retain}
}

// ErrNoDeadLetter is returned when no dead letter has the id given.
var ErrNoDeadLetter = errors.New("no such dead letter")

func deadSubject(id string) (string, error) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 {
		return "", fmt.Errorf("dead letter %q: want consumer/partition/seq/message: %w", id, ErrNoDeadLetter)
	}
	for _, p := range parts {
		if p == "" || strings.ContainsAny(p, " .*>\t\r\n") {
			return "", fmt.Errorf("dead letter %q: %w", id, ErrNoDeadLetter)
		}
	}
	return "weir.dead." + strings.Join(parts, "."), nil
}

// PutDead stores a dead letter. Storing the same one again replaces it.
func (l *Log) PutDead(ctx context.Context, d DeadLetter) error {
	d.ID = fmt.Sprintf("%s/%d/%d/%d", d.Consumer, d.Position.Partition, d.Position.Seq, d.Position.Message)
	subject, err := deadSubject(d.ID)
	if err != nil {
		return err
	}
	b, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("store dead letter %s: %w", d.ID, err)
	}
	if _, err := l.js.Publish(ctx, subject, b); err != nil {
		return fmt.Errorf("store dead letter %s: %w", d.ID, err)
	}
	return nil
}

// EachDead calls f with every dead letter of a consumer ("" for all), oldest
// first, until it returns false.
func (l *Log) EachDead(ctx context.Context, consumer string, f func(DeadLetter) bool) error {
	filter := "weir.dead.>"
	if consumer != "" {
		filter = "weir.dead." + consumer + ".>"
	}
	info, err := l.dead.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return fmt.Errorf("list the dead letters: %w", err)
	}
	var left uint64
	for _, n := range info.State.Subjects {
		left += n
	}
	if left == 0 {
		return nil
	}
	c, err := l.dead.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter}})
	if err != nil {
		return fmt.Errorf("list the dead letters: %w", err)
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("list the dead letters: %w", err)
	}
	defer it.Stop()
	for ; left > 0; left-- {
		fctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		m, err := it.Next(jetstream.NextContext(fctx))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return nil // some were dropped meanwhile
		}
		if err != nil {
			return fmt.Errorf("list the dead letters: %w", err)
		}
		var d DeadLetter
		if err := json.Unmarshal(m.Data(), &d); err != nil {
			return fmt.Errorf("read dead letter %s: %w", m.Subject(), err)
		}
		if !f(d) {
			return nil
		}
	}
	return nil
}

// Dead returns one dead letter.
func (l *Log) Dead(ctx context.Context, id string) (DeadLetter, error) {
	var d DeadLetter
	subject, err := deadSubject(id)
	if err != nil {
		return d, err
	}
	m, err := l.dead.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return d, fmt.Errorf("dead letter %q: %w", id, ErrNoDeadLetter)
	}
	if err != nil {
		return d, fmt.Errorf("read dead letter %s: %w", id, err)
	}
	if err := json.Unmarshal(m.Data, &d); err != nil {
		return d, fmt.Errorf("read dead letter %s: %w", id, err)
	}
	return d, nil
}

// DropDead removes one dead letter.
func (l *Log) DropDead(ctx context.Context, id string) error {
	subject, err := deadSubject(id)
	if err != nil {
		return err
	}
	if _, err := l.Dead(ctx, id); err != nil {
		return err
	}
	if err := l.dead.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
		return fmt.Errorf("drop dead letter %s: %w", id, err)
	}
	return nil
}

// CountDead returns how many dead letters are stored.
func (l *Log) CountDead(ctx context.Context) (uint64, error) {
	info, err := l.dead.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("count the dead letters: %w", err)
	}
	return info.State.Msgs, nil
}
