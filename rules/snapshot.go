package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// A snapshot is
//
//	"weir rules\n"  version byte  CRC-32C of the rest, 4 bytes
//	partition  log time  hold  excuse  payload of the rule set ("" for none)
//	each lane of the set: count, clocks in the order of their devices
//	    device clock  flag: the clock of history that is uploaded follows, clock
//	each space of the set: count, entries in the order of their keys
//	    key past device | the clock, for a group | count, starts (rule time n) | last event
//	    count, cells (slot  length, cell)
//	    count, alerts: rule phase past active starts cleared deadline id
//	        count, labels (name text)  length, the event that speaks for it
//
// in the encoding of appendCause. The schedule is a function of the rest. Equal
// engines have equal snapshots.
const (
	snapshotMagic   = "weir rules\n"
	snapshotVersion = 3
	snapshotHeader  = len(snapshotMagic) + 1 + crc32.Size
)

// Snapshot returns the engine's state between two batches.
func (e *Engine) Snapshot() ([]byte, error) {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = append(b, make([]byte, crc32.Size)...)
	b = binary.AppendUvarint(b, uint64(e.partition))
	b = binary.AppendVarint(b, e.now)
	b = binary.AppendVarint(b, e.hold)
	b = binary.AppendVarint(b, e.excuse)
	if e.set.hash == "" {
		b = appendText(b, "")
	} else {
		b = appendText(b, string(e.set.Marshal()))
	}
	for _, l := range e.lanes {
		b = binary.AppendUvarint(b, uint64(len(l.clocks)))
		for _, device := range slices.Sorted(maps.Keys(l.clocks)) {
			c := l.clocks[device]
			b = appendText(b, device)
			b = c.appendBinary(b)
			b = append(b, flag(c.back != nil))
			if c.back != nil {
				b = c.back.appendBinary(b)
			}
		}
	}
	for _, sp := range e.spaces {
		b = binary.AppendUvarint(b, uint64(len(sp.entries)))
		for _, key := range slices.Sorted(maps.Keys(sp.entries)) {
			b = appendEntry(b, sp.entries[key])
		}
	}
	sum := crc32.Checksum(b[snapshotHeader:], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[snapshotHeader-crc32.Size:], sum)
	return b, nil
}

func appendEntry(b []byte, en *entry) []byte {
	b = appendText(b, en.key)
	b = append(b, flag(en.clock.past))
	b = appendText(b, en.clock.device)
	if !en.space.devices {
		b = en.clock.appendBinary(b)
	}
	b = binary.AppendUvarint(b, uint64(len(en.starts)))
	for _, s := range en.starts {
		b = appendText(b, s.rule)
		b = binary.AppendVarint(b, s.time)
		b = binary.AppendUvarint(b, uint64(s.n))
	}
	b = appendText(b, string(en.last))
	n := 0
	for _, c := range en.cells {
		n += int(flag(c != nil))
	}
	b = binary.AppendUvarint(b, uint64(n))
	for slot, c := range en.cells {
		if c != nil {
			b = binary.AppendUvarint(b, uint64(slot))
			b = appendText(b, string(c.appendBinary(nil)))
		}
	}
	b = binary.AppendUvarint(b, uint64(len(en.alerts)))
	for _, a := range en.alerts {
		b = appendAlert(b, a)
	}
	return b
}

func appendAlert(b []byte, a *alert) []byte {
	b = appendText(b, a.rs.rule.id)
	b = append(b, byte(a.phase), flag(a.past))
	b = binary.AppendVarint(b, a.active)
	b = binary.AppendVarint(b, a.starts)
	b = binary.AppendVarint(b, a.cleared)
	b = binary.AppendVarint(b, a.deadline)
	b = appendText(b, a.id)
	b = binary.AppendUvarint(b, uint64(len(a.labels)))
	for _, k := range slices.Sorted(maps.Keys(a.labels)) {
		b = appendText(appendText(b, k), a.labels[k])
	}
	return appendText(b, string(a.event))
}

// Restore puts the engine into the state that Snapshot returned. If it returns
// an error the engine is as it was: the snapshot is damaged, of another
// version, or of another partition.
func (e *Engine) Restore(snapshot []byte) error {
	body, err := openSnapshot(snapshot)
	if err != nil {
		return fmt.Errorf("restore rules: %w", err)
	}
	r := reader{b: body}
	if p := r.uvarint(); r.err == nil && p != uint64(e.partition) {
		return fmt.Errorf("restore rules: the snapshot is of partition %d, this is partition %d", p, e.partition)
	}
	n := NewEngine(e.partition)
	n.history = e.history
	n.now, n.hold, n.excuse = r.varint(), r.varint(), r.varint()
	if payload := r.text(); payload != "" {
		set, err := ParseSet([]byte(payload))
		if err != nil {
			return fmt.Errorf("restore rules: %w", err)
		}
		n.use(set)
	}
	for _, l := range n.lanes {
		for range r.count(4) {
			c := r.clock(r.text())
			if r.byte() == 1 {
				c.back = r.clock(c.device)
				c.back.past = true
			}
			l.clocks[c.device] = c
		}
	}
	for _, sp := range n.spaces {
		for range r.count(8) {
			if err := n.restoreEntry(sp, &r); err != nil {
				return fmt.Errorf("restore rules: the snapshot is damaged: %w", err)
			}
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", r.err)
	}
	for _, sp := range n.spaces {
		for _, en := range sp.entries {
			n.settleEntry(en)
		}
	}
	*e = *n
	e.bind() // to e, not to n
	return nil
}

func openSnapshot(b []byte) ([]byte, error) {
	switch {
	case len(b) < snapshotHeader || string(b[:len(snapshotMagic)]) != snapshotMagic:
		return nil, errors.New("this is no snapshot of rules, or it is cut off")
	case b[len(snapshotMagic)] != snapshotVersion:
		return nil, fmt.Errorf("the snapshot has version %d, this weir knows %d", b[len(snapshotMagic)], snapshotVersion)
	}
	want := binary.LittleEndian.Uint32(b[snapshotHeader-crc32.Size:])
	if got := crc32.Checksum(b[snapshotHeader:], crc32.MakeTable(crc32.Castagnoli)); got != want {
		return nil, fmt.Errorf("the snapshot is damaged: its checksum is %08x, its content's %08x", want, got)
	}
	return b[snapshotHeader:], nil
}

// restoreEntry reads one entry. Restore reports an error of the reader.
func (e *Engine) restoreEntry(sp *space, r *reader) error {
	key, past, device := r.text(), r.byte() == 1, r.text()
	var c *clock
	if sp.devices {
		c = sp.lane.clocks[device]
		if c != nil && past {
			c = c.back
		}
	} else {
		c = r.clock(device)
	}
	if r.err != nil {
		return nil
	}
	if c == nil || sp.device && key != c.device {
		return fmt.Errorf("an entry %q has no clock", key)
	}
	if sp.lookup(c, key) != nil {
		return fmt.Errorf("there are two entries %q", key)
	}
	en := sp.obtain(c, key)
	en.clock = c
	for range r.count(3) {
		en.starts = append(en.starts, start{rule: r.text(), time: r.varint(), n: int(r.uvarint())})
	}
	en.last = []byte(r.text())
	if len(en.last) == 0 {
		en.last = nil
	} else if _, _, err := decodeCause(en.last); err != nil {
		return fmt.Errorf("the latest event of %q: %w", key, err)
	}
	for range r.count(2) {
		slot := r.uvarint()
		body := r.text()
		if r.err != nil {
			return nil
		}
		if slot >= uint64(len(sp.cells)) {
			return fmt.Errorf("there is no cell %d", slot)
		}
		cl := en.cell(sp.cells[slot])
		in := reader{b: []byte(body)}
		if cl.restore(&in); in.err != nil || len(in.b) > 0 {
			return fmt.Errorf("a cell of %q cannot be read", key)
		}
	}
	for range r.count(8) {
		if err := e.restoreAlert(en, r); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) restoreAlert(en *entry, r *reader) error {
	id := r.text()
	a := &alert{en: en, phase: phase(r.byte()), past: r.byte() == 1, active: r.varint(), starts: r.varint(), cleared: r.varint(), deadline: r.varint(), id: r.text()}
	if n := r.count(2); n > 0 {
		a.labels = make(map[string]string, n)
		for range n {
			k := r.text()
			a.labels[k] = r.text()
		}
	}
	a.event = []byte(r.text())
	if r.err != nil {
		return nil
	}
	rule := e.set.byID[id]
	switch {
	case rule == nil || rule.kind != KindAlert:
		return fmt.Errorf("it holds an alert of %s, which its rule set does not have", id)
	case a.phase < pending || a.phase > clearing:
		return fmt.Errorf("an alert of %s is in phase %d", id, a.phase)
	}
	if _, _, err := decodeCause(a.event); err != nil {
		return fmt.Errorf("the event of an alert of %s: %w", id, err)
	}
	a.rs = e.rules[rule.index]
	if a.rs.space != en.space || en.alert(a.rs) != nil {
		return fmt.Errorf("it holds two alerts of %s for %q", id, en.key)
	}
	if a.labels == nil && a.phase != pending {
		a.labels = map[string]string{}
	}
	en.add(a)
	if a.phase == pending {
		a.rs.stats.Pending++
	} else {
		a.rs.stats.Firing++
	}
	return nil
}
