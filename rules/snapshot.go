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
//	partition  log time  payload of the rule set ("" for none)
//	count, incidents that began at the log time (rule key)
//	count, alerts in the order of rule and key:
//	    rule key phase active starts cleared id
//	    count, labels (name text)  length, the event that speaks for it
//
// in the encoding of appendCause. Timers are a function of the rest. Equal
// engines have equal snapshots.
const (
	snapshotMagic   = "weir rules\n"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 1 + crc32.Size
)

// Snapshot returns the engine's state between two batches.
func (e *Engine) Snapshot() ([]byte, error) {
	b := append([]byte(snapshotMagic), snapshotVersion)
	b = append(b, make([]byte, crc32.Size)...)
	b = binary.AppendUvarint(b, uint64(e.partition))
	b = binary.AppendVarint(b, e.now)
	if e.set.hash == "" {
		b = appendText(b, "")
	} else {
		b = appendText(b, string(e.set.Marshal()))
	}
	b = binary.AppendUvarint(b, uint64(len(e.starts)))
	for _, s := range e.starts {
		b = appendText(appendText(b, s.rule), s.key)
	}
	alerts := e.sorted()
	b = binary.AppendUvarint(b, uint64(len(alerts)))
	for _, a := range alerts {
		b = appendAlert(b, a)
	}
	sum := crc32.Checksum(b[snapshotHeader:], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(b[snapshotHeader-crc32.Size:], sum)
	return b, nil
}

func appendAlert(b []byte, a *alert) []byte {
	b = appendText(appendText(b, a.rs.rule.id), a.key)
	b = append(b, byte(a.phase))
	b = binary.AppendVarint(b, a.active)
	b = binary.AppendVarint(b, a.starts)
	b = binary.AppendVarint(b, a.cleared)
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
	n.now = r.varint()
	if payload := r.text(); payload != "" {
		set, err := ParseSet([]byte(payload))
		if err != nil {
			return fmt.Errorf("restore rules: %w", err)
		}
		n.use(set)
	}
	for range r.count(2) {
		n.starts = append(n.starts, start{r.text(), r.text()})
	}
	for range r.count(8) {
		if err := n.restoreAlert(&r); err != nil {
			return fmt.Errorf("restore rules: %w", err)
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes are left over", len(r.b))
	}
	if r.err != nil {
		return fmt.Errorf("restore rules: the snapshot is damaged: %w", r.err)
	}
	*e = *n
	e.text.Variables = e.told.variable // of e, not of n
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

func (e *Engine) restoreAlert(r *reader) error {
	id, key := r.text(), r.text()
	a := &alert{key: key, phase: phase(r.byte()), active: r.varint(), starts: r.varint(), cleared: r.varint(), id: r.text(), timer: -1}
	if n := r.count(2); n > 0 {
		a.labels = make(map[string]string, n)
		for range n {
			k := r.text()
			a.labels[k] = r.text()
		}
	}
	a.event = []byte(r.text())
	if r.err != nil {
		return nil // Restore reports it
	}
	rule := e.set.byID[id]
	switch {
	case rule == nil || rule.kind != KindAlert:
		return fmt.Errorf("the snapshot is damaged: it holds an alert of %s, which its rule set does not have", id)
	case a.phase < pending || a.phase > clearing:
		return fmt.Errorf("the snapshot is damaged: an alert of %s is in phase %d", id, a.phase)
	}
	if _, _, err := decodeCause(a.event); err != nil {
		return fmt.Errorf("the snapshot is damaged: the event of an alert of %s: %w", id, err)
	}
	a.rs = e.rules[rule.index]
	if a.rs.alerts[key] != nil {
		return fmt.Errorf("the snapshot is damaged: it holds two alerts of %s for %q", id, key)
	}
	if a.labels == nil && a.phase != pending {
		a.labels = map[string]string{}
	}
	a.rs.alerts[key] = a
	if a.phase == pending {
		a.rs.stats.Pending++
	} else {
		a.rs.stats.Firing++
	}
	e.arm(a)
	return nil
}
