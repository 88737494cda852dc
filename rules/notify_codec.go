package rules

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"weir/ingest/event"
)

// appendNotice appends what an alert that fires knows of who was told:
//
//	flags (told, acknowledged) first latest escalated | why reason | count, equals
//	| if acknowledged: by comment at
func appendNotice(b []byte, n *notice) []byte {
	b = append(b, flag(n.told)|flag(n.ack != nil)<<1)
	b = binary.AppendVarint(b, n.first)
	b = binary.AppendVarint(b, n.latest)
	b = binary.AppendUvarint(b, uint64(n.escalated))
	b = appendText(appendText(b, n.mute.why), n.mute.reason)
	b = binary.AppendUvarint(b, uint64(len(n.equals)))
	for _, v := range n.equals {
		b = appendText(b, v)
	}
	if n.ack != nil {
		b = appendText(appendText(b, n.ack.by), n.ack.comment)
		b = binary.AppendVarint(b, n.ack.at)
	}
	return b
}

func (r *reader) notice(n *notice) {
	flags := r.byte()
	n.told, n.first, n.latest, n.escalated = flags&1 != 0, r.varint(), r.varint(), int(min(r.uvarint(), maxEscalations))
	n.mute = mute{r.text(), r.text()}
	for range r.count(1) {
		n.equals = append(n.equals, r.text())
	}
	if flags&2 != 0 {
		n.ack = &acknowledged{by: r.text(), comment: r.text(), at: r.varint()}
	}
}

// appendBinary appends the part of a snapshot about who is told:
//
//	count, silences, each as the JSON of its decision
//	count, flaps in the order of rule and key: rule key | count, fired | changed flags (marked, open)
//	    | if open: ends, the alert
//	count, groups in the order of their names: name over starts n id | count, labels (name text) | why reason
func (d *desk) appendBinary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(d.silences)))
	for _, s := range d.silences {
		b = appendText(b, string(encode(s.decision)))
	}
	b = binary.AppendUvarint(b, uint64(len(d.flaps)))
	for _, k := range slices.SortedFunc(maps.Keys(d.flaps), compareFlaps) {
		f := d.flaps[k]
		b = appendText(appendText(b, k.rule), k.key)
		b = binary.AppendUvarint(b, uint64(len(f.fired)))
		for _, t := range f.fired {
			b = binary.AppendVarint(b, t)
		}
		b = binary.AppendVarint(b, f.changed)
		b = append(b, flag(f.marked)|flag(f.open != nil)<<1)
		if f.open != nil {
			b = binary.AppendVarint(b, f.ends)
			b = appendAlert(b, f.open)
		}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(d.groups)), func(name string) bool { return d.groups[name].id == "" })
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		g := d.groups[name]
		b = append(appendText(b, name), flag(g.over))
		b = binary.AppendVarint(b, g.starts)
		b = binary.AppendUvarint(b, uint64(g.n))
		b = appendText(b, g.id)
		b = appendLabels(b, g.labels)
		b = appendText(appendText(b, g.mute.why), g.mute.reason)
	}
	return b
}

func compareFlaps(a, b flapKey) int {
	return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key))
}

func appendLabels(b []byte, labels map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(labels)))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b = appendText(appendText(b, k), labels[k])
	}
	return b
}

func (r *reader) labels() map[string]string { return r.texts(r.count(2)) }

// texts reads n names with their texts.
func (r *reader) texts(n int) map[string]string {
	m := make(map[string]string, n)
	for range n {
		k := r.text()
		m[k] = r.text()
	}
	return m
}

// restoreDesk reads what desk.appendBinary wrote. restoreRecords reports an
// error of the reader.
func (e *Engine) restoreDesk(r *reader) error {
	d := &e.desk
	for range r.count(1) {
		text := r.text()
		if r.err != nil {
			return nil
		}
		var decision event.Decision
		if err := json.Unmarshal([]byte(text), &decision); err != nil {
			return fmt.Errorf("a silence: %w", err)
		}
		if err := decision.Validate(); err != nil || decision.Kind != event.Silence {
			return fmt.Errorf("a silence is none: %w", err)
		}
		s, err := newSilence(decision)
		if err != nil {
			return fmt.Errorf("a silence: %w", err)
		}
		d.silences = append(d.silences, s)
	}
	for range r.count(4) {
		if err := e.restoreFlap(r); err != nil {
			return err
		}
	}
	for range r.count(6) {
		g := &groupLimit{spec: limitSpec{group: r.text()}, over: r.byte() == 1, starts: r.varint(), n: int(r.uvarint()), id: r.text(), labels: r.labels()}
		g.mute = mute{r.text(), r.text()}
		d.groups[g.spec.group] = g
	}
	return nil
}

func (e *Engine) restoreFlap(r *reader) error {
	id, key := r.text(), r.text()
	rule := e.set.byID[id]
	if r.err != nil {
		return nil
	}
	if rule == nil || rule.flapping == nil {
		return fmt.Errorf("an alert of %s flaps, which its rule set does not say", id)
	}
	f := newFlap(rule, key)
	for range r.count(1) {
		f.fired = append(f.fired, r.varint())
	}
	f.changed = r.varint()
	flags := r.byte()
	f.marked = flags&1 != 0
	if flags&2 != 0 {
		f.ends = r.varint()
		if of := r.text(); r.err == nil && of != id {
			return fmt.Errorf("an alert of %s flaps as one of %s", of, id)
		}
		a, err := r.alert(nil)
		if err != nil || r.err != nil {
			return err
		}
		a.rs = e.rules[rule.index]
		f.open = detached(a, a.rs.space, key)
		f.open.notice = a.notice
	}
	if r.err == nil {
		e.desk.flaps[flapKey{id, key}] = f
	}
	return nil
}
