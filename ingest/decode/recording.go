package decode

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"weir/ingest/event"
)

// recording decodes an event that a rule derived.
func (d *Decoder) recording(msg *event.Message) (reason, error) {
	var r event.Recorded
	dec := json.NewDecoder(bytes.NewReader(msg.Payload))
	dec.UseNumber()
	if err := dec.Decode(&r); err != nil {
		return "", fmt.Errorf("recording: %w", err)
	}
	var v event.Value
	switch x := r.Value.(type) {
	case nil:
		return isNoValue, nil
	case bool:
		v = event.BoolValue(x)
	case string:
		v = event.StringValue(x)
	case json.Number:
		if v = numberOf(string(x)); v.Kind() == event.Null {
			return "", fmt.Errorf("recording %s: the value %s is beyond the range of a 64-bit float", r.Rule, x)
		}
	default:
		return "", fmt.Errorf("recording %s: the value is no number, boolean or string", r.Rule)
	}
	b := d.b
	tags, fields := len(b.TagSlab), len(b.FieldSlab)
	for k, t := range r.Tags {
		if k != "device" {
			b.TagSlab = append(b.TagSlab, event.Tag{Key: k, Value: t})
		}
	}
	slices.SortFunc(b.TagSlab[tags:], func(a, b event.Tag) int { return strings.Compare(a.Key, b.Key) })
	b.FieldSlab = append(b.FieldSlab, event.Field{Name: "value", Value: v})
	b.AddEvent(d.m, event.Event{
		Measurement: r.Name,
		Device:      r.Device,
		Time:        r.Time.UnixNano(),
		Received:    msg.Received,
		Tags:        b.TagSlab[tags:len(b.TagSlab):len(b.TagSlab)],
		Fields:      b.FieldSlab[fields:len(b.FieldSlab):len(b.FieldSlab)],
		Rule:        r.Rule,
	})
	return hasEvent, nil
}
