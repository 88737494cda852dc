package decode

import (
	"errors"
	"fmt"

	"weir/ingest/event"
)

// The roles of the members of an event.Recorded, as picks of its source.
const (
	recordedRule = iota
	recordedName
	recordedDevice
	recordedTime
	recordedValue
)

// recordingTopic returns what stands for the topic of recordings: a source
// that finds the members of an event.Recorded and whose fields are its tags.
func recordingTopic() *topic {
	return &topic{src: &source{
		format: jsonFormat{},
		roots:  []string{"tags"},
		picks:  []string{"rule", "name", "device", "time", "value"},
		time:   timeSpec{unit: UnitRFC3339},
	}}
}

// recording decodes an event that a rule derived.
func (d *Decoder) recording(msg *event.Message) (reason, error) {
	if d.recorded == nil {
		d.recorded = recordingTopic()
	}
	t := d.recorded // the cache that keeps it may be emptied on the way
	if err := d.document(t, msg.Payload); err != nil {
		return "", fmt.Errorf("recording: %w", err)
	}
	doc, b := &d.doc, d.b
	if doc.full {
		return "", fmt.Errorf("recording: %w", d.tooBig())
	}
	if doc.dups || doc.clash {
		d.settle()
	}
	d.pick()
	from := len(b.TagSlab)
	for _, f := range b.FieldSlab[doc.base:] {
		if f.Name != "device" {
			b.TagSlab = append(b.TagSlab, event.Tag{Key: f.Name, Value: d.textOf(f.Value)})
		}
	}
	b.FieldSlab = b.FieldSlab[:doc.base]
	if len(b.TagSlab)-from > maxTags {
		return "", fmt.Errorf("recording: more than %d tags", maxTags)
	}
	value := doc.picked[recordedValue]
	if value.Kind() == event.Null {
		return isNoValue, nil
	}
	e := event.Event{
		Measurement: doc.picked[recordedName].Text(),
		Device:      doc.picked[recordedDevice].Text(),
		Rule:        doc.picked[recordedRule].Text(),
		Received:    msg.Received,
		Tags:        d.sortedTags(from),
	}
	if e.Measurement == "" || e.Rule == "" {
		return "", errors.New("recording: no name or no rule")
	}
	var err error
	if e.Time, err = t.src.time.parse(doc.picked[recordedTime].Text()); err != nil {
		return "", fmt.Errorf("recording of %s: time: %w", e.Rule, err)
	}
	b.FieldSlab = append(b.FieldSlab, event.Field{Name: "value", Value: value})
	e.Fields = b.FieldSlab[doc.base:len(b.FieldSlab):len(b.FieldSlab)]
	b.AddEvent(d.m, e)
	return hasEvent, nil
}
