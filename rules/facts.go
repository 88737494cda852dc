package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules/expression"
)

// telling is what templates may read about an alert.
type telling struct {
	alert *alert
	state string
	value event.Value
	has   bool // value is there
	scope *expression.Scope
}

// variable answers for alert.*, labels.* and value.
func (t *telling) variable(name string) event.Value {
	if label, ok := strings.CutPrefix(name, "labels."); ok {
		if v, ok := t.alert.labels[label]; ok {
			return event.StringValue(v)
		}
		return event.Value{}
	}
	switch name {
	case "alert.name":
		return event.StringValue(t.alert.rs.rule.name)
	case "alert.group":
		return event.StringValue(t.alert.rs.rule.group)
	case "alert.key":
		return event.StringValue(t.alert.key)
	case "alert.id":
		return event.StringValue(t.alert.id)
	case "alert.state":
		return event.StringValue(t.state)
	case "alert.starts_at":
		return event.StringValue(utc(t.alert.starts).Format(time.RFC3339Nano))
	case "value": // the field of that name, if the event has one
		if v := t.scope.Lookup(expression.Ref{Origin: expression.Field, Name: "value"}); v.Kind() != event.Null {
			return v
		}
	}
	return t.value
}

func utc(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// transition renders the fact that an alert fires or is resolved, now. An
// alert keeps the labels with which it began to fire: they are part of what
// receivers know it by.
func (e *Engine) transition(a *alert, state string, c cause) Derived {
	r := a.rs.rule
	e.text.Begin(c.ev)
	e.told = telling{alert: a, state: state, scope: e.text}
	e.told.value, e.told.has = e.leftmost(r, c.ev)
	if state == event.Firing {
		labels := make(map[string]string, len(r.labels))
		for _, l := range r.labels {
			labels[l.key], _ = l.text.render(e.text)
		}
		a.labels = labels
	}
	fact := &event.Alert{
		ID: a.id, State: state, Rule: r.id, Key: a.key, Device: a.key,
		Labels: maps.Clone(a.labels), Annotations: make(map[string]string, len(r.annotations)),
		StartsAt: utc(a.starts), Event: describe(c),
	}
	if state == event.Resolved {
		ends := utc(e.now)
		fact.EndsAt = &ends
	}
	if e.told.has {
		fact.Value = plain(e.told.value)
	}
	for _, n := range r.annotations {
		fact.Annotations[n.key], _ = n.text.render(e.text)
	}
	for i := range r.actions {
		act := &r.actions[i]
		if state == event.Firing && !act.firing || state == event.Resolved && !act.resolved {
			continue
		}
		if out, ok := act.render(e.text); ok {
			fact.Actions = append(fact.Actions, out)
		} else {
			a.rs.stats.DroppedActions++
		}
	}
	return Derived{
		Record: event.AlertFact, ID: a.id + "/" + state, Topic: alertTopic(r.group, r.name, a.key),
		Payload: encode(fact), Time: e.now, Alert: fact,
	}
}

// leftmost returns the value of the left-most name of the rule's expression
// that the event has.
func (e *Engine) leftmost(r *rule, ev *event.Event) (event.Value, bool) {
	if e.expr.Event() != ev {
		e.expr.Begin(ev)
	}
	return r.expr.First(e.expr)
}

func describe(c cause) *event.AlertCause {
	d := &event.AlertCause{
		Position: c.at, Time: utc(c.ev.Time), Received: utc(c.ev.Received),
		Source: strings.Clone(c.ev.Source), Device: strings.Clone(c.ev.Device),
	}
	if len(c.ev.Tags) > 0 {
		d.Tags = tagMap(c.ev.Tags)
	}
	if len(c.ev.Fields) > 0 {
		d.Fields = make(map[string]any, len(c.ev.Fields))
		for _, f := range c.ev.Fields {
			d.Fields[strings.Clone(f.Name)] = plain(f.Value)
		}
	}
	return d
}

func tagMap(tags []event.Tag) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[strings.Clone(t.Key)] = strings.Clone(t.Value)
	}
	return m
}

// plain returns a value as JSON can hold it, and independent of the batch.
func plain(v event.Value) any {
	switch v.Kind() {
	case event.Float:
		if f, _ := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return v.String()
		}
	case event.String:
		return strings.Clone(v.Text())
	}
	return v.Any()
}

// record evaluates a record rule on an event.
func (e *Engine) record(rs *ruleState, c cause, emit func(Derived)) {
	r := rs.rule
	v, res := r.expr.Value(e.expr)
	if f, _ := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		res = expression.Failed
	}
	rs.count(res, r.expr, e.expr)
	if res != expression.True || v.Kind() == event.Null {
		return
	}
	fact := event.Recorded{
		Rule: r.id, Name: r.name, Device: c.ev.Device, Time: utc(c.ev.Time), Value: v.Any(), Cause: c.at,
	}
	if len(c.ev.Tags) > 0 {
		fact.Tags = tagMap(c.ev.Tags)
	}
	rs.stats.Recordings++
	id := sha256.Sum256([]byte(r.id + "\x00" + c.at.String()))
	emit(Derived{
		Record: event.Recording, ID: hex.EncodeToString(id[:16]),
		Topic:   "weir/recordings/" + encodeLevel(r.group) + "/" + encodeLevel(r.name) + "/" + encodeLevel(c.ev.Device),
		Payload: encode(fact), Time: e.now,
	})
}

// encode writes a fact as JSON. Facts hold nothing that JSON can't.
func encode(fact any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // people read it
	if err := enc.Encode(fact); err != nil {
		panic(fmt.Sprintf("rules: encode %T: %v", fact, err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
