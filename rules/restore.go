package rules

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"weir/ingest/event"
)

// ErrOldSnapshot is wrapped by Restore's error for a snapshot of an earlier
// version of weir: what it holds can be derived from the log again.
var ErrOldSnapshot = errors.New("the snapshot is of an earlier version of weir")

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
	n.history, n.scope, n.owns, n.stopwatch = e.history, e.scope, e.owns, e.stopwatch
	n.now, n.hold, n.excuse = r.varint(), r.varint(), r.varint()
	if payload := r.text(); payload != "" {
		set, err := ParseSet([]byte(payload))
		if err != nil {
			return fmt.Errorf("restore rules: %w", err)
		}
		n.use(set)
	}
	if err := n.restoreDesk(&r); err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", err)
	}
	if err := n.restoreStopped(&r); err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", err)
	}
	n.restoreBegun(&r)
	if err := n.restoreRooms(&r); err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", err)
	}
	if err := n.restoreRecords(&r); err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", err)
	}
	n.rebuildDesk()
	for _, sp := range n.spaces {
		sp.each(func(en *entry) {
			n.weigh(en)
			n.plan(en) // entries of which nothing is left stay, as they do in an engine that is not restarted
		})
	}
	*e = *n
	e.bind() // to e, not to n
	return nil
}

func openSnapshot(b []byte) ([]byte, error) {
	switch {
	case len(b) < snapshotHeader || string(b[:len(snapshotMagic)]) != snapshotMagic:
		return nil, errors.New("this is no snapshot of rules, or it is cut off")
	case b[len(snapshotMagic)] < snapshotVersion:
		return nil, fmt.Errorf("%w: it has version %d, this weir knows %d", ErrOldSnapshot, b[len(snapshotMagic)], snapshotVersion)
	case b[len(snapshotMagic)] != snapshotVersion:
		return nil, fmt.Errorf("the snapshot has version %d, this weir knows %d", b[len(snapshotMagic)], snapshotVersion)
	case len(b) < snapshotHeader+crc32.Size:
		return nil, errors.New("the snapshot is cut off")
	}
	end := len(b) - crc32.Size
	want := binary.LittleEndian.Uint32(b[end:])
	if got := crc32.Checksum(b[:end], castagnoli); got != want {
		return nil, fmt.Errorf("the snapshot is damaged: its checksum is %08x, its content's %08x", want, got)
	}
	return b[snapshotHeader:end], nil
}

// restoring is what restoreRecords knows: entries may come before the clocks
// that they refer to.
type restoring struct {
	*reader
	awaited         map[*clock]bool // that an entry refers to
	lane            *lane           // of the clock that was read last
	last            *clock          // that: the entries that follow are likely to be of its device
	clocks, entries uint64
}

func (e *Engine) restoreRecords(r *reader) error {
	in := &restoring{reader: r, awaited: map[*clock]bool{}}
	for r.err == nil {
		switch kind := r.byte(); kind {
		case clockRecord:
			if err := e.restoreClock(in); err != nil {
				return err
			}
		case entryRecord:
			if err := e.restoreEntry(in); err != nil {
				return err
			}
		case endRecord:
			clocks, entries := r.uvarint(), r.uvarint()
			switch {
			case r.err != nil:
			case clocks != in.clocks || entries != in.entries:
				return fmt.Errorf("it has %d clocks and %d entries, and says that it has %d and %d", in.clocks, in.entries, clocks, entries)
			case len(in.awaited) > 0:
				return fmt.Errorf("%d clocks are missing", len(in.awaited))
			case len(r.b) > 0:
				return fmt.Errorf("%d bytes are left over", len(r.b))
			default:
				return nil
			}
		default:
			return fmt.Errorf("it has a record of kind %d", kind)
		}
	}
	return r.err
}

func (e *Engine) restoreClock(in *restoring) error {
	in.clocks++
	lane := in.uvarint()
	read := in.clock(in.text())
	var back *clock
	if in.byte() == 1 {
		back = in.clock(read.device)
		back.past = true
	}
	if in.err != nil {
		return nil
	}
	if lane >= uint64(len(e.lanes)) {
		return fmt.Errorf("there is no lane %d", lane)
	}
	l := e.lanes[lane]
	c := l.clocks[read.device]
	switch {
	case c == nil:
		read.setBack(back)
		in.lane, in.last = l, l.add(read)
		return nil
	case !in.awaited[c]:
		return fmt.Errorf("there are two clocks of %q", read.device)
	case c.back() != nil && back == nil:
		return fmt.Errorf("the clock of %q has no history", read.device)
	}
	delete(in.awaited, c)
	if was := c.back(); was != nil {
		delete(in.awaited, was)
		back.entry = was.entry
		back.takeEntries(was)
		*was = *back
		back = was
	}
	read.setBack(back)
	read.entry, read.epoch = c.entry, c.epoch
	read.device = c.device
	read.takeEntries(c)
	*c = *read
	return nil
}

// takeEntries takes over the entries that were read before their clock was.
func (c *clock) takeEntries(from *clock) {
	if from.rest != nil && len(from.rest.entries) > 0 {
		c.others().entries = from.rest.entries
	}
}

// clockOf returns the clock that an entry refers to. It may be one that is
// still to come.
func (in *restoring) clockOf(l *lane, device []byte, past bool) *clock {
	c := in.last
	if in.lane != l || c.device != string(device) {
		c = l.clocks[string(device)]
	}
	if c == nil {
		c = l.add(&clock{device: string(device)})
		in.awaited[c] = true
	}
	if !past {
		return c
	}
	back := c.back()
	if back == nil {
		back = &clock{device: c.device, past: true}
		c.setBack(back)
		in.awaited[back] = true
	}
	return back
}

// restoreEntry reads one entry. restoreRecords reports an error of the reader.
func (e *Engine) restoreEntry(in *restoring) error {
	in.entries++
	number := in.uvarint()
	if in.err != nil || number >= uint64(len(e.spaces)) {
		return fmt.Errorf("there is no space %d", number)
	}
	sp := e.spaces[number]
	name, past, device := in.bytes(in.uvarint()), in.byte() == 1, in.bytes(in.uvarint())
	var c *clock
	if sp.devices {
		if in.err != nil {
			return nil
		}
		c = in.clockOf(sp.lane, device, past)
	} else {
		c = in.clock(string(device))
	}
	if in.err != nil {
		return nil
	}
	key := c.device
	if string(name) != key {
		key = string(name)
	}
	switch {
	case sp.device && key != c.device:
		return fmt.Errorf("an entry %q is of device %q", key, c.device)
	case sp.lookup(c, key) != nil:
		return fmt.Errorf("there are two entries %q", key)
	}
	en := sp.obtain(c, key)
	en.clock = c
	for range in.count(3) {
		m := en.others()
		m.starts = append(m.starts, start{rule: in.text(), time: in.varint(), n: int(in.uvarint())})
	}
	if last := in.bytes(in.uvarint()); len(last) > 0 {
		if err := checkCause(last); err != nil {
			return fmt.Errorf("the latest event of %q: %w", key, err)
		}
		en.last.event = bytes.Clone(last)
	}
	for range in.count(2) {
		rule, ev := e.set.byID[in.text()], in.bytes(in.uvarint())
		if in.err != nil {
			return nil
		}
		if rule == nil || e.rules[rule.index].space != sp {
			return fmt.Errorf("it holds an event of %q for a rule that its rule set does not have", key)
		}
		if len(ev) == 0 {
			continue // of a state written before only what was seen was kept
		}
		if err := checkCause(ev); err != nil {
			return fmt.Errorf("the latest event of %s for %q: %w", rule.id, key, err)
		}
		en.memoryOf(e.rules[rule.index]).event = bytes.Clone(ev)
	}
	for range in.count(2) {
		slot := in.uvarint()
		due := never
		if slot&1 == 1 {
			due = in.varint()
		}
		slot >>= 1
		body := in.bytes(in.uvarint())
		if in.err != nil {
			return nil
		}
		if slot >= uint64(len(sp.cells)) {
			return fmt.Errorf("there is no cell %d", slot)
		}
		cl := en.cell(sp.cells[slot])
		r := reader{b: body}
		if cl.restore(&r); r.err != nil || len(r.b) > 0 {
			return fmt.Errorf("a cell of %q cannot be read", key)
		}
		if i, ok := en.find(int(slot)); ok {
			en.cells[i].due = due
		}
	}
	for range in.count(8) {
		if err := e.restoreAlert(en, in.reader); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) restoreAlert(en *entry, r *reader) error {
	id := r.text()
	a, err := r.alert(en.last.event)
	if err != nil || r.err != nil {
		return err
	}
	a.en = en
	rule := e.set.byID[id]
	switch {
	case rule == nil || rule.kind != KindAlert:
		return fmt.Errorf("it holds an alert of %s, which its rule set does not have", id)
	case a.phase < pending || a.phase > clearing:
		return fmt.Errorf("an alert of %s is in phase %d", id, a.phase)
	case a.phase == firing && a.deadline != never:
		return fmt.Errorf("an alert of %s that fires has a deadline", id)
	}
	a.rs = e.rules[rule.index]
	if a.rs.space != en.space || en.alert(a.rs) != nil {
		return fmt.Errorf("it holds two alerts of %s for %q", id, en.key())
	}
	en.add(a)
	if a.phase == pending {
		a.rs.stats.Pending++
	} else {
		a.rs.stats.Firing++
	}
	return nil
}

// alert reads what appendAlert wrote behind the rule. latest is the latest event
// of its entry.
func (r *reader) alert(latest []byte) (*alert, error) {
	a := &alert{phase: phase(r.byte()), past: r.byte() == 1, active: r.varint()}
	n := notice{starts: r.varint(), cleared: r.varint()}
	a.deadline = r.varint()
	n.id = r.text()
	if count := r.count(2); count > 0 || a.phase != pending {
		n.labels = r.texts(count)
	}
	speaks := r.bytes(r.uvarint())
	var said *event.Value
	if r.byte() == 1 {
		v := r.value()
		said = &v
	}
	r.notice(&n)
	a.notice = unnoticed
	if a.phase != pending {
		kept := n
		a.notice = &kept
	}
	if r.err != nil {
		return a, nil
	}
	if a.phase == pending && said == nil && len(latest) > 0 && bytes.Equal(speaks, latest) {
		return a, nil
	}
	if err := checkCause(speaks); err != nil {
		return nil, fmt.Errorf("the event of an alert: %w", err)
	}
	a.own = &spoken{event: bytes.Clone(speaks), said: said}
	return a, nil
}
