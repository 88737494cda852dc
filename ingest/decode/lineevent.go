package decode

import (
	"strings"

	"weir/ingest/event"
)

// tagNode returns the node of a tag of a line.
func (d *Decoder) tagNode(key string) *node {
	root := &d.doc.sh.tags
	if n := root.kids[key]; n != nil {
		return n
	}
	src := d.doc.sh.src
	key = strings.Clone(key)
	n := &node{parent: root, key: key, plain: plainKey(key), path: key, rel: key, under: true}
	d.nodes++
	d.names += 2*len(key) + 64
	if d.doc.fresh++; d.doc.fresh > 2*maxFields {
		d.doc.full = true
	}
	n.pickRoles(src)
	if n.name = key; matchAny(src.exclude, key, key) {
		n.name = ""
	}
	n.renamed(src)
	if n.name == "device" { // every event has one of its own
		n.name = ""
	}
	if root.kids == nil {
		root.kids = map[string]*node{}
	}
	root.kids[key] = n
	return n
}

// emit adds the event of a line; its own tags are in the slab from an index on.
func (l *lineScanner) emit(measure string, at int64, from int) (reason, error) {
	d, src := l.d, l.t.src
	doc := &d.doc
	if doc.dups || doc.clash {
		d.settle()
	}
	if len(src.picks) > 0 {
		d.pick()
		for i := range src.when {
			if !d.meets(&src.when[i]) {
				d.b.TagSlab = d.b.TagSlab[:from]
				return isOther, nil
			}
		}
	}
	fields := d.b.FieldSlab[doc.base:len(d.b.FieldSlab):len(d.b.FieldSlab)]
	if len(fields) == 0 {
		d.b.TagSlab = d.b.TagSlab[:from]
		return isNoValue, nil
	}
	device, err := d.device(l.t)
	if err != nil {
		return "", err
	}
	if len(src.tags) > 0 {
		d.tags(l.t)
	}
	msg := &d.b.Messages[d.m]
	d.b.AddEvent(d.m, event.Event{
		Source:      src.name,
		Measurement: measure,
		Device:      device,
		Time:        at,
		Received:    msg.Received,
		Tags:        d.sortedTags(from),
		Fields:      fields,
		Retained:    msg.Retain,
	})
	return hasEvent, nil
}

// sortedTags puts the tags in the slab from an index on in the order of their
// keys. Of equal keys the last counts: the source's own come after the line's.
func (d *Decoder) sortedTags(from int) []event.Tag {
	tags := d.b.TagSlab[from:]
	for i := 1; i < len(tags); i++ { // stable, and mostly sorted already
		for j := i; j > 0 && tags[j].Key < tags[j-1].Key; j-- {
			tags[j], tags[j-1] = tags[j-1], tags[j]
		}
	}
	keep := 0
	for i := range tags {
		if keep > 0 && tags[keep-1].Key == tags[i].Key {
			keep--
		}
		tags[keep] = tags[i]
		keep++
	}
	d.b.TagSlab = d.b.TagSlab[:from+keep]
	return tags[:keep:keep]
}
