package decode

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"weir/ingest/event"
)

// finish makes the event of a document that has been read.
func (d *Decoder) finish(t *topic) (reason, error) {
	doc := &d.doc
	if doc.full {
		return "", d.tooBig()
	}
	if doc.dups || doc.clash {
		d.settle()
	}
	fields := d.b.FieldSlab[doc.base:len(d.b.FieldSlab):len(d.b.FieldSlab)]
	src := t.src
	if len(src.picks) > 0 {
		d.pick()
		for i := range src.when {
			if !d.meets(&src.when[i]) {
				return isOther, nil
			}
		}
	}
	if len(fields) == 0 {
		return isNoValue, nil
	}
	for i := range fields {
		if fields[i].Name == "" {
			return "", errors.New(`a field has an empty name; give it one with rename: {"": name}, or leave it out with include`)
		}
	}
	return hasEvent, d.emit(t, t.measure, fields)
}

// emit adds an event with what was picked from the payload.
func (d *Decoder) emit(t *topic, measure string, fields []event.Field) error {
	msg := &d.b.Messages[d.m]
	e := event.Event{
		Source:      t.src.name,
		Measurement: measure,
		Time:        msg.Received,
		Received:    msg.Received,
		Tags:        t.tags,
		Fields:      fields,
		Retained:    msg.Retain,
	}
	var err error
	if e.Device, err = d.device(t); err != nil {
		return err
	}
	if len(t.src.time.picks) > 0 {
		if e.Time, err = d.time(&t.src.time, msg.Received); err != nil {
			return err
		}
	}
	if len(t.src.tags) > t.src.fixed {
		e.Tags = d.tags(t)
	}
	d.b.AddEvent(d.m, e)
	return nil
}

// pick puts the values with a role at their index.
func (d *Decoder) pick() {
	doc := &d.doc
	if n := len(doc.sh.src.picks); cap(doc.picked) < n {
		doc.picked = make([]event.Value, n)
	} else {
		doc.picked = doc.picked[:n]
		clear(doc.picked)
	}
	doc.exact = 0
	for i := range doc.found {
		f := &doc.found[i]
		bit := uint64(1) << f.role.pick
		if f.role.exact {
			doc.exact |= bit
		} else if doc.exact&bit != 0 {
			continue
		}
		doc.picked[f.role.pick] = f.value
	}
}

// meets reports whether the document meets a condition of its source.
func (d *Decoder) meets(c *condition) bool {
	v := d.doc.picked[c.pick]
	if v.Kind() == event.Null {
		return false
	}
	text := d.textOf(v)
	for _, want := range c.texts {
		if text == want {
			return true
		}
	}
	return false
}

// device returns the first device that is there.
func (d *Decoder) device(t *topic) (string, error) {
	for i, name := range t.devices {
		ref := &t.src.device[i]
		if ref.pick >= 0 {
			v := d.doc.picked[ref.pick]
			switch {
			case v.Kind() == event.Null:
				continue
			case ref.format != "":
				name = d.formatted(ref.format, v)
			default:
				name = d.textOf(v)
			}
		}
		if name != "" {
			return name, nil
		}
	}
	var tried []string
	for i, ref := range t.src.device {
		switch {
		case ref.pick >= 0:
			tried = append(tried, fmt.Sprintf("no field %q", t.src.picks[ref.pick]))
		case len(ref.text.parts) > 0:
			tried = append(tried, fmt.Sprintf("%s is empty", ref.text.describe(t.src.topic)))
		default:
			tried = append(tried, fmt.Sprintf("topic %q", t.devices[i]))
		}
	}
	return "", fmt.Errorf("no device: %s; add a fallback to the source's device", strings.Join(tried, ", "))
}

// tags merges the tags of the topic with those of the payload, by key.
func (d *Decoder) tags(t *topic) []event.Tag {
	slab := d.b.TagSlab
	from, next := len(slab), 0
	for i := range t.src.tags {
		spec := &t.src.tags[i]
		if spec.cap >= 0 {
			if next < len(t.tags) && t.tags[next].Key == spec.key {
				slab = append(slab, t.tags[next])
				next++
			}
			continue
		}
		if v := d.doc.picked[spec.pick]; v.Kind() != event.Null {
			if text := d.textOf(v); text != "" {
				slab = append(slab, event.Tag{Key: spec.key, Value: text})
			}
		}
	}
	d.b.TagSlab = slab
	return slab[from:len(slab):len(slab)]
}

// textOf returns a value as text: a number as it arrived.
func (d *Decoder) textOf(v event.Value) string {
	switch v.Kind() {
	case event.String:
		return v.Text()
	case event.Bool:
		if v.Bool() {
			return "true"
		}
		return "false"
	case event.Float:
		if s := v.Literal(); s != "" {
			return s
		}
	}
	slab := d.b.TextSlab
	from := len(slab)
	switch v.Kind() {
	case event.Float:
		f, _ := v.Float()
		slab = strconv.AppendFloat(slab, f, 'g', -1, 64)
	case event.Int:
		slab = strconv.AppendInt(slab, v.Int(), 10)
	case event.Uint:
		slab = strconv.AppendUint(slab, v.Uint(), 10)
	}
	return d.slabText(slab, from)
}

// slabText keeps slab as the batch's TextSlab and returns its text from an index on.
func (d *Decoder) slabText(slab []byte, from int) string {
	d.b.TextSlab = slab
	if from == len(slab) {
		return ""
	}
	return unsafe.String(&slab[from], len(slab)-from)
}

// formatted returns a value in a DeviceRef's Format.
func (d *Decoder) formatted(format string, v event.Value) string {
	slab := d.b.TextSlab
	from := len(slab)
	verb := format[strings.IndexByte(format, '%'):]
	end := strings.IndexAny(verb, "sdxX")
	i, whole := integer(v)
	switch {
	case verb[end] == 's' || !whole:
		slab = fmt.Appendf(slab, strings.Replace(format, verb[:end+1], "%s", 1), d.textOf(v))
	case (verb[end] == 'x' || verb[end] == 'X') && i < 0:
		slab = fmt.Appendf(slab, format, uint32(i))
	case v.Kind() == event.Uint:
		slab = fmt.Appendf(slab, format, v.Uint())
	default:
		slab = fmt.Appendf(slab, format, i)
	}
	return d.slabText(slab, from)
}

// integer returns v as an integer, and whether it is one.
func integer(v event.Value) (int64, bool) {
	switch v.Kind() {
	case event.Int:
		return v.Int(), true
	case event.Uint:
		return int64(v.Uint()), true
	case event.Float:
		f, _ := v.Float()
		return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	return 0, false
}
