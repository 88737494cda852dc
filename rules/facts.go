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
		if v, ok := t.alert.notice.labels[label]; ok {
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
		return event.StringValue(t.alert.en.key())
	case "alert.id":
		return event.StringValue(t.alert.notice.id)
	case "alert.state":
		return event.StringValue(t.state)
	case "alert.starts_at":
		return event.StringValue(utc(t.alert.notice.starts).Format(time.RFC3339Nano))
	case "value": // the field of that name, if the event has one
		if v := t.scope.Lookup(expression.Ref{Origin: expression.Field, Name: "value"}); v.Kind() != event.Null {
			return v
		}
	}
	return t.value
}

func utc(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// transition renders the fact that an alert fires or is resolved, at a time of
// its events. An alert keeps the labels with which it began to fire: they are
// part of what receivers know it by. A notice says that it is told again.
func (e *Engine) transition(a *alert, state string, at int64, c cause, notice string) Derived {
	r := a.rs.rule
	e.text.Begin(c.ev)
	e.told = telling{alert: a, state: state, scope: e.text}
	e.told.value, e.told.has = e.leftmost(r, c.ev)
	if state == event.Firing && notice == "" {
		labels := make(map[string]string, len(r.labels))
		for _, l := range r.labels {
			labels[l.key], _ = l.text.render(e.text)
		}
		a.notice.labels = labels
	}
	key := a.en.key()
	fact := &event.Alert{
		ID: a.notice.id, State: state, Rule: r.id, Key: key,
		Labels: maps.Clone(a.notice.labels), Annotations: make(map[string]string, len(r.annotations)),
		StartsAt: utc(a.notice.starts), ActiveAt: utc(a.active), Notice: notice, RuleSet: e.set.hash,
	}
	if c.at.Seq != 0 { // there was an event
		fact.Event = describe(c)
	}
	if a.en.space.device {
		fact.Device = key
	} else {
		fact.By = e.byOf(a.en, c.ev)
		fact.Device = fact.By["device"]
	}
	if state == event.Resolved {
		ends := utc(at)
		fact.EndsAt = &ends
	}
	if e.told.has {
		fact.Value = plain(e.told.value)
	}
	for _, n := range r.annotations {
		fact.Annotations[n.key], _ = n.text.render(e.text)
	}
	e.decide(a, fact)
	e.explains(fact)
	if fact.Told() {
		e.act(a, fact)
	}
	id := a.notice.id + "/" + state
	switch notice {
	case "":
	case event.NoticeRepeat:
		id += "/" + notice + "/" + itoa(e.now)
	case event.NoticeEscalation:
		id += "/" + notice + "/" + itoa(int64(a.notice.escalated))
	default:
		id += "/" + notice
	}
	return Derived{
		Record: event.AlertFact, ID: id, Topic: alertTopic(r.group, r.name, key),
		Payload: encode(fact), Time: e.now, Alert: fact,
	}
}

// act renders what a transition causes.
func (e *Engine) act(a *alert, fact *event.Alert) {
	all := a.acts(fact)
	for i := range all {
		act := &all[i]
		if fact.State == event.Firing && !act.firing || fact.State == event.Resolved && !act.resolved {
			continue
		}
		if out, ok := act.render(e.text); ok {
			fact.Actions = append(fact.Actions, out)
		} else {
			a.rs.stats.DroppedActions++
		}
	}
}

// byOf returns the names and values of an entry's key.
func (e *Engine) byOf(en *entry, ev *event.Event) map[string]string {
	m := make(map[string]string, len(en.space.by))
	for _, name := range en.space.by {
		m[name], _ = e.set.nameOf(name, ev)
		m[name] = strings.Clone(m[name])
	}
	return m
}

// leftmost returns the value of the left-most name of the rule's expression
// that the event has.
func (e *Engine) leftmost(r *rule, ev *event.Event) (event.Value, bool) {
	if e.quoted != nil {
		return *e.quoted, true
	}
	if e.nudged || e.expr.Event() != ev {
		e.nudged = false // a time in a state is told as it is
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

// record evaluates a record rule, on an event or because its window has ended.
func (e *Engine) record(rs *ruleState, en *entry, c cause, at int64, timed bool, emit func(Derived)) {
	r := rs.rule
	v, res := r.expr.Value(e.expr)
	if f, _ := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
		res = expression.Failed
	}
	if res == expression.Failed && r.expr.Vacant(e.expr) {
		res = expression.Silent
	}
	rs.count(res, r.expr, e.expr)
	if e.watch != nil {
		e.watch.evaluated(e, rs, en, at, c, res)
	}
	if res != expression.True || v.Kind() == event.Null {
		return
	}
	fact := event.Recorded{Rule: r.id, Name: r.name, Time: utc(at), Value: v.Any(), Cause: c.at}
	key := c.ev.Device
	id := r.id + "\x00" + c.at.String()
	switch {
	case rs.space.device:
		fact.Device = c.ev.Device
		if len(c.ev.Tags) > 0 {
			fact.Tags = tagMap(c.ev.Tags)
		}
	case en == nil: // without a window there is nothing to know about the key
		key, _ = rs.space.keyOf(e.set, c.ev)
		fact.Tags = e.byTags(rs.space, c.ev, &fact)
	default:
		key = en.key()
		fact.Tags = e.byTags(rs.space, c.ev, &fact)
	}
	if timed {
		id = r.id + "\x00" + key + "\x00" + itoa(at)
	}
	rs.stats.Recordings++
	if r.shadow {
		return
	}
	sum := sha256.Sum256([]byte(id))
	emit(Derived{
		Record: event.Recording, ID: hex.EncodeToString(sum[:16]),
		Topic:   "weir/recordings/" + encodeLevel(r.group) + "/" + encodeLevel(r.name) + "/" + encodeLevel(key),
		Payload: encode(fact), Time: e.now,
	})
}

// byTags returns the tags of a recording of a rule that is not by device alone.
func (e *Engine) byTags(sp *space, ev *event.Event, fact *event.Recorded) map[string]string {
	m := map[string]string{}
	for _, name := range sp.by {
		v, _ := e.set.nameOf(name, ev)
		if name == "device" {
			fact.Device = strings.Clone(v)
			continue
		}
		m[name] = strings.Clone(v)
	}
	return m
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
