package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// effectWait is how long an answer waits for the rules to have read a decision.
// It is in the log by then, and so takes effect in any case.
const effectWait = 3 * time.Second

// decide writes a decision of an operator into every partition: a silence
// concerns them all, and an acknowledgement finds its alert wherever it is. It
// returns once the decision is durable and, if that does not take long, in effect.
func (a *App) decide(ctx context.Context, d event.Decision) error {
	payload, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("encode a decision: %w", err)
	}
	// Half a decision would be worse than none: a client that goes away ends nothing.
	ctx = context.WithoutCancel(ctx)
	ctx, cancel := context.WithTimeout(ctx, a.cfg.Shutdown.Timeout)
	defer cancel()
	at := now()
	m := event.Message{Record: event.Operation, ID: fmt.Sprintf("%s-%s-%d", d.Kind, d.ID, at), Received: at, Payload: payload}
	record := eventlog.AppendRecord(nil, &m)
	ends := make([]uint64, len(a.rings))
	for i, r := range a.rings {
		if ends[i], err = r.Append(ctx, record, 1); err != nil {
			return fmt.Errorf("write the decision into partition %d: it may be in effect in others: %w", i, err)
		}
	}
	for i, end := range ends {
		if err := a.durable(ctx, i, end); err != nil {
			return fmt.Errorf("write the decision into partition %d: %w", i, err)
		}
	}
	for deadline := time.Now().Add(effectWait); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if !slices.ContainsFunc(a.rulers, func(c *ruleConsumer) bool { return c.logTime() < at }) && (a.groups == nil || a.groups.logTime() >= at) {
			break
		}
	}
	return nil
}

// silences returns those of all partitions, each once, the latest to end first.
func (a *App) silences() []event.Decision {
	all := []event.Decision{}
	for _, c := range a.rulers {
		for _, d := range c.silences() {
			if !slices.ContainsFunc(all, func(o event.Decision) bool { return o.ID == d.ID }) {
				all = append(all, d)
			}
		}
	}
	slices.SortFunc(all, func(x, y event.Decision) int { return cmp.Or(y.Until.Compare(*x.Until), cmp.Compare(x.ID, y.ID)) })
	return all
}

func (c *ruleConsumer) silences() []event.Decision {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Silences()
}

func (c *ruleConsumer) logTime() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Now()
}

// decisions returns the silences of an engine as records, for an engine that
// takes its place.
func decisions(e *rules.Engine) []event.Message {
	var all []event.Message
	for _, d := range e.Silences() {
		if payload, err := json.Marshal(d); err == nil {
			all = append(all, event.Message{Record: event.Operation, Payload: payload})
		}
	}
	return all
}
