package influxdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"weir/ingest/event"
)

// alertMeasurement is where transitions of alerts go.
const alertMeasurement = "weir_alerts"

// alertEvent turns the payload of an alert's record into the event that is
// written for it:
//
//	weir_alerts,device=f3,key=f3,rule=cold-room/FreezerWarm,severity=page,state=firing
//	    id="...",value=-11.5,summary="f3 is warm",label_team="plant",starts_at=1700000000000000000i
//	    1700000000000000000
//
// Annotations are fields under their own names, labels but severity under
// "label_" and their names; a name that is taken, by a tag too, gets an
// underscore behind. A
// resolved transition also has duration_seconds, one that nobody is told of
// suppressed. A value that is a text is in value_text, so that value stays a
// number.
//
// ok is false for what is not written: the transitions of a shadow, and what
// only tells of a state again, whose point is there with what it said then.
func alertEvent(payload []byte) (ev event.Event, ok bool, err error) {
	var a event.Alert
	if err := json.Unmarshal(payload, &a); err != nil {
		return ev, false, fmt.Errorf("parse the alert: %w", err)
	}
	if a.Shadow() || a.Notice != "" {
		return ev, false, nil
	}
	at := a.StartsAt
	if a.State == event.Resolved {
		if a.EndsAt == nil {
			return ev, false, fmt.Errorf("alert %s is resolved but has no ends_at", a.ID)
		}
		at = *a.EndsAt
	}
	if a.ID == "" || a.Rule == "" || a.State == "" || at.IsZero() {
		return ev, false, errors.New("parse the alert: id, rule, state and starts_at must be set")
	}
	ev = event.Event{Measurement: alertMeasurement, Device: a.Device, Time: at.UnixNano()}
	ev.Tags = []event.Tag{
		{Key: "key", Value: a.Key}, {Key: "rule", Value: a.Rule},
		{Key: "severity", Value: a.Labels["severity"]}, {Key: "state", Value: a.State},
	}
	add := func(name string, v event.Value) {
		ev.Fields = append(ev.Fields, event.Field{Name: name, Value: v})
	}
	add("id", event.StringValue(a.ID))
	switch v := a.Value.(type) {
	case float64:
		add("value", event.FloatValue(v))
	case bool:
		add("value", event.FloatValue(bit(event.BoolValue(v))))
	case string:
		add("value_text", event.StringValue(v))
	}
	add("starts_at", event.IntValue(a.StartsAt.UnixNano()))
	if a.Suppressed != "" {
		add("suppressed", event.StringValue(a.Suppressed))
	}
	if a.EndsAt != nil {
		add("duration_seconds", event.FloatValue(a.EndsAt.Sub(a.StartsAt).Seconds()))
	}
	// The names above are never an annotation's, whether this transition has
	// them or not: a field must not change its meaning. Those of tags are the
	// encoder's business, as for every event.
	taken := map[string]bool{"id": true, "value": true, "value_text": true, "starts_at": true, "duration_seconds": true, "suppressed": true}
	free := func(name string) string {
		for taken[name] {
			name += "_"
		}
		taken[name] = true
		return name
	}
	for _, name := range sortedKeys(a.Annotations) {
		add(free(name), event.StringValue(a.Annotations[name]))
	}
	for _, name := range sortedKeys(a.Labels) {
		if name != "severity" {
			add(free("label_"+name), event.StringValue(a.Labels[name]))
		}
	}
	return ev, true, nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
