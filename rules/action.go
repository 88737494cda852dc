package rules

import (
	"strings"
	"unicode/utf8"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules/expression"
)

// action is what transitions of an alert cause: a message to publish, or the
// delivery of the alert to a sink.
type action struct {
	firing, resolved bool // on which transitions
	send             string
	mqtt             *mqttAction
}

type mqttAction struct {
	topic, payload template
	source         MQTTInfo // as it is written
	qos            byte
	retain         bool
}

func (a *action) info() ActionInfo {
	i := ActionInfo{Send: a.send}
	for _, s := range []struct {
		on    bool
		state string
	}{{a.firing, event.Firing}, {a.resolved, event.Resolved}} {
		if s.on {
			i.On = append(i.On, s.state)
		}
	}
	if a.mqtt != nil {
		source := a.mqtt.source
		i.MQTT = &source
	}
	return i
}

// maxTopic is MQTT's bound of a topic's length in bytes.
const maxTopic = 65535

func (l *loader) action(spec *actionSpec, labels []string) (action, bool) {
	before := len(l.errs)
	var a action
	if spec.Pos == (strict.Pos{}) || spec.MQTT != nil && spec.MQTT.Pos == (strict.Pos{}) { // no mapping, which is reported already
		return a, false
	}
	_, send := spec.Keys["send"]
	if has(spec.Keys, "command") {
		l.addf(spec.Keys["command"], "", "commands are not available in this version")
		return a, false
	}
	switch {
	case spec.MQTT != nil && send:
		l.addf(spec.Pos, "make two actions of it", "an action is mqtt or send, not both")
	case spec.MQTT != nil:
		l.mqtt(&a, spec, labels)
	case send:
		if a.send = spec.Send.Value; a.send == "" {
			l.addf(spec.Keys["send"], suggestion("", l.options.Sinks), "send names no sink")
		} else if l.options.Sinks != nil || l.options.Sources != nil {
			l.known("sink", spec.Send, l.options.Sinks)
		}
		a.firing, a.resolved = l.states(spec.On, has(spec.Keys, "on"), spec.Keys["on"])
	default:
		l.addf(spec.Pos, "write mqtt: {topic: ..., payload: ...} or send: name-of-a-sink", "the action does nothing")
	}
	return a, len(l.errs) == before
}

func has[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}

func (l *loader) mqtt(a *action, spec *actionSpec, labels []string) {
	m := spec.MQTT
	on, given, at := m.On, has(m.Keys, "on"), m.Keys["on"]
	if has(spec.Keys, "on") {
		if given {
			l.addf(spec.Keys["on"], "remove one of them", "on is there twice, here and in mqtt")
		}
		on, given, at = spec.On, true, spec.Keys["on"]
	}
	a.firing, a.resolved = l.states(on, given, at)
	if m.Topic.Value == "" {
		l.addf(keyOr(m.Keys, "topic", m.Pos), "", "the mqtt action has no topic")
	}
	if !has(m.Keys, "payload") {
		l.addf(m.Pos, `write payload: "" if it is to be empty`, "the mqtt action has no payload")
	}
	if m.QoS < 0 || m.QoS > 2 {
		l.addf(m.Keys["qos"], "write 0, 1 or 2", "there is no QoS %d", m.QoS)
	}
	a.mqtt = &mqttAction{
		topic:   l.template(m.Topic, inAction, labels),
		payload: l.template(m.Payload, inAction, labels),
		source:  MQTTInfo{m.Topic.Value, m.Payload.Value, byte(m.QoS), m.Retain},
		qos:     byte(m.QoS), retain: m.Retain,
	}
	l.literal(m.Topic, a.mqtt.topic, "+#\x00", "a message is published on one topic, wildcards are for subscriptions", "a topic to publish on can't hold + or #")
}

// render returns the action for the alert in the scope. ok is false if it has
// no valid topic, because something that the topic names is missing or holds
// a wildcard: such a message would go to a place nobody meant.
func (a *action) render(s *expression.Scope) (out event.Action, ok bool) {
	if a.mqtt == nil {
		return event.Action{Send: a.send}, true
	}
	topic, ok := a.mqtt.topic.render(s)
	if !ok || !validTopic(topic) {
		return event.Action{}, false
	}
	payload, _ := a.mqtt.payload.render(s)
	return event.Action{MQTT: &event.MQTTAction{Topic: topic, Payload: payload, QoS: a.mqtt.qos, Retain: a.mqtt.retain}}, true
}

func validTopic(t string) bool {
	return t != "" && len(t) <= maxTopic && t[0] != '$' && utf8.ValidString(t) && !strings.ContainsAny(t, "+#\x00")
}

// alertTopic is where the fact of an alert's transition is published.
func alertTopic(group, rule, key string) string {
	return "weir/alerts/" + encodeLevel(group) + "/" + encodeLevel(rule) + "/" + encodeLevel(key)
}

// encodeLevel percent-encodes what a topic level can't hold.
func encodeLevel(s string) string {
	const hex = "0123456789ABCDEF"
	plain := true
	for i := 0; i < len(s) && plain; i++ {
		plain = s[i] > ' ' && s[i] < utf8.RuneSelf && !special(s[i])
	}
	if plain {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' || r >= 0x7f && r < 0xa0 || n == 1 && special(s[i]) {
			for ; n > 0; n-- {
				b.WriteByte('%')
				b.WriteByte(hex[s[i]>>4])
				b.WriteByte(hex[s[i]&15])
				i++
			}
			continue
		}
		b.WriteString(s[i : i+n])
		i += n
	}
	return b.String()
}

func special(c byte) bool { return c == '/' || c == '+' || c == '#' || c == '%' || c == 0x7f }
