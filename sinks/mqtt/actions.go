package mqtt

import (
	"context"
	"errors"
	"fmt"

	"weir/ingest/event"
	"weir/sinks/choice"
)

// Publisher publishes on weir's own broker. When Publish returns nil the broker
// has the message: retained, and handed to whoever subscribes. It must not keep
// payload.
type Publisher interface {
	Publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error
}

// Actions publishes alerts and carries out their mqtt actions.
type Actions struct{ to Publisher }

// NewActions returns the Actions that publish through p.
func NewActions(p Publisher) *Actions { return &Actions{p} }

// Handle publishes the transitions in the batches, and what they cause. A
// failing Publisher is a *event.RetryError; publishing again what is retained
// already changes nothing. An alert with an action that can't be published is
// dead, with the rest of it done. One that nobody is to be told of is published,
// as the state that it is, and causes nothing; that of a shadow is not.
func (a *Actions) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	for bi, b := range batches {
		for mi := range b.Messages {
			m := &b.Messages[mi]
			if m.Record != event.AlertFact {
				out.Filtered++
				continue
			}
			alert, err := choice.Parse(m.Payload)
			if err == nil && alert.Shadow() {
				out.Filtered++
				continue
			}
			if err == nil {
				err = a.act(ctx, m, alert)
			}
			var re *event.RetryError
			if errors.As(err, &re) {
				return event.Outcome{}, re
			}
			if err != nil {
				out.Dead = append(out.Dead, event.Dead{Batch: bi, Message: uint32(mi), Err: err})
			}
		}
	}
	return out, nil
}

func (a *Actions) act(ctx context.Context, m *event.Message, alert *event.Alert) error {
	topic := m.Topic
	if topic == "" {
		topic = alertTopic(alert)
	}
	errs := []error{a.publish(ctx, topic, m.Payload, 1, true)}
	for _, act := range alert.Actions {
		if do := act.MQTT; do != nil && alert.Told() {
			errs = append(errs, a.publish(ctx, do.Topic, []byte(do.Payload), do.QoS, do.Retain))
		}
	}
	return errors.Join(errs...)
}

func (a *Actions) publish(ctx context.Context, topic string, payload []byte, qos byte, retain bool) error {
	if err := checkTopic(topic); err != nil {
		return fmt.Errorf("publish to %q: %w", clip(topic), err)
	}
	if qos > 2 {
		return fmt.Errorf("publish to %q: there is no QoS %d", clip(topic), qos)
	}
	if err := ctx.Err(); err != nil {
		return &event.RetryError{Err: fmt.Errorf("publish to %q: %w", topic, err)}
	}
	if err := a.to.Publish(ctx, topic, payload, qos, retain); err != nil {
		return &event.RetryError{Err: fmt.Errorf("publish to %q: %w", topic, err)}
	}
	return nil
}

func clip(topic string) string {
	if len(topic) > 200 {
		return topic[:200] + "..."
	}
	return topic
}
