package event

import "time"

// The states of an alert. Only changes to Firing and Resolved are facts in the
// log; Inactive and Pending are states between events.
const (
	Inactive = "inactive"
	Pending  = "pending"
	Firing   = "firing"
	Resolved = "resolved"
)

// Alert is a transition of an alert, as it is written to the log, published on
// MQTT and sent to sinks. The JSON names are fixed.
type Alert struct {
	// ID identifies the incident: the same for its firing and its resolved
	// transition, and the same again when the log is replayed.
	ID          string            `json:"id"`
	State       string            `json:"state"` // firing or resolved
	Rule        string            `json:"rule"`  // group/name
	Key         string            `json:"key"`   // what the alert is about: the device, or the values of the rule's by
	Device      string            `json:"device,omitempty"`
	By          map[string]string `json:"by,omitempty"` // the names and values of the rule's by, if it is not [device]
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"starts_at"`          // when it began to fire, in the time of its events
	EndsAt      *time.Time        `json:"ends_at,omitempty"`  // when it was resolved, in the time of its events
	ActiveAt    time.Time         `json:"active_at,omitzero"` // when its expression became true
	Value       any               `json:"value,omitempty"`    // of the left-most field that the expression reads
	Event       *AlertCause       `json:"event,omitempty"`
	Actions     []Action          `json:"actions,omitempty"` // what this transition causes, rendered

	// Suppressed says why nobody is told of this transition, "" if they are:
	// one of the constants below. Actions is empty then. Projections of the
	// state of alerts take it all the same, unless it is a Shadow's.
	Suppressed string `json:"suppressed,omitempty"`
	// Reason is the silence, the alert or the bound that suppressed it.
	Reason string `json:"reason,omitempty"`
	// Notice says why a state that was told already is told again: one of the
	// constants below; "" for the transition itself.
	Notice string `json:"notice,omitempty"`
	// RuleSet is the hash of the rule set that decided.
	RuleSet string `json:"rule_set,omitempty"`
}

// The values of Alert.Suppressed.
const (
	SuppressedBackfill = "backfill"  // it happened in history that a device uploaded later
	SuppressedShadow   = "shadow"    // the rule evaluates without acting
	SuppressedSilence  = "silence"   // an operator silenced it
	SuppressedInhibit  = "inhibited" // another alert says it already
	SuppressedLimit    = "limit"     // its group has too many alerts
	SuppressedFlapping = "flapping"  // it comes and goes too often
)

// The values of Alert.Notice.
const (
	NoticeRepeat     = "repeat"     // it still fires
	NoticeEscalation = "escalation" // it still fires and nobody acknowledged it
	NoticeResumed    = "resumed"    // what suppressed it is over
)

// Told reports whether receivers are to be told of the transition.
func (a *Alert) Told() bool { return a.Suppressed == "" }

// Shadow reports whether the transition is that of a rule which only watches:
// projections of the state of alerts leave it out.
func (a *Alert) Shadow() bool { return a.Suppressed == SuppressedShadow }

// AlertCause is the event that a transition was decided on.
type AlertCause struct {
	Position Position          `json:"position"`
	Time     time.Time         `json:"time"`
	Received time.Time         `json:"received"`
	Source   string            `json:"source,omitempty"`
	Device   string            `json:"device,omitempty"`
	Tags     map[string]string `json:"tags,omitempty"`
	Fields   map[string]any    `json:"fields,omitempty"`
}

// Action is one action of a transition with its templates rendered, so that
// carrying it out needs nothing but the record. Exactly one of MQTT and Send is set.
type Action struct {
	MQTT *MQTTAction `json:"mqtt,omitempty"`
	Send string      `json:"send,omitempty"` // name of the sink to deliver the alert to
}

// MQTTAction is a message to publish.
type MQTTAction struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	QoS     byte   `json:"qos,omitempty"`
	Retain  bool   `json:"retain,omitempty"`
}

// Recorded is an event that a record rule derived, as it is written to the log.
type Recorded struct {
	Rule   string            `json:"rule"` // group/name
	Name   string            `json:"name"` // the measurement: the rule's record name
	Device string            `json:"device,omitempty"`
	Tags   map[string]string `json:"tags,omitempty"`
	Time   time.Time         `json:"time"`
	Value  any               `json:"value"` // becomes the field "value"
	Cause  Position          `json:"cause"`
}
