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
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"starts_at"`         // when it began to fire
	EndsAt      *time.Time        `json:"ends_at,omitempty"` // when it was resolved
	Value       any               `json:"value,omitempty"`   // of the left-most field that the expression reads
	Event       *AlertCause       `json:"event,omitempty"`
	Actions     []Action          `json:"actions,omitempty"` // what this transition causes, rendered
}

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
