package devices

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// What can be wrong with a snapshot given to Restore.
var (
	ErrSnapshotDamaged = errors.New("damaged device snapshot")     // its checksum or its content does not hold
	ErrSnapshotVersion = errors.New("unknown device snapshot")     // not a snapshot of devices, or of a newer weir
	ErrSnapshotForeign = errors.New("device snapshot misdirected") // it belongs to another partition
)

// The format of a snapshot, version 1. Numbers are uvarints unless said
// otherwise; a signed one is in zig-zag form.
//
//	magic "weirdev" and the version, 1 byte
//	partition, log time (signed), events refused, count of devices
//	for each device, in the order in which they were first seen:
//	  id                                length and bytes
//	  text                              length and bytes, see record.text
//	  log time - last seen              signed
//	  last seen - first seen            signed
//	  last seen - event time            signed
//	  event time - effective time       signed
//	  newest - effective time           signed
//	  events << 1 | truncated
//	CRC-32C of all of the above, 4 bytes little endian
const (
	snapshotMagic   = "weirdev"
	snapshotVersion = 1
	snapshotHeader  = len(snapshotMagic) + 1
)

// Snapshot returns the state of the partition, which Restore takes. The state
// is that after the last Handle that returned.
func (p *Partition) Snapshot() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.t
	size := 64
	for slot := range t.n {
		r := t.at(uint32(slot))
		size += len(r.id) + len(r.text) + 32
	}
	s := make([]byte, 0, size)
	s = append(append(s, snapshotMagic...), snapshotVersion)
	s = binary.AppendUvarint(s, uint64(p.number))
	s = binary.AppendVarint(s, t.logTime)
	s = binary.AppendUvarint(s, t.refused)
	s = binary.AppendUvarint(s, uint64(t.n))
	for slot := range t.n {
		s = t.at(uint32(slot)).append(s, t.logTime)
	}
	return binary.LittleEndian.AppendUint32(s, checksum(s)), nil
}

func (r *record) append(s []byte, logTime int64) []byte {
	s = appendString(s, r.id)
	s = appendBytes(s, r.text)
	s = binary.AppendVarint(s, logTime-r.lastSeen)
	s = binary.AppendVarint(s, r.lastSeen-r.firstSeen)
	s = binary.AppendVarint(s, r.lastSeen-r.eventTime)
	s = binary.AppendVarint(s, r.eventTime-r.effective)
	s = binary.AppendVarint(s, r.newest-r.effective)
	flags := r.events << 1
	if r.truncated {
		flags |= 1
	}
	return binary.AppendUvarint(s, flags)
}

// checksum returns the CRC-32C of b.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Restore replaces the state of the partition by that of a snapshot. A
// snapshot that is damaged, of another version or of another partition is an
// error and changes nothing; the remedy is to replay the log from its start. The
// snapshot is not kept.
func (p *Partition) Restore(snapshot []byte) error {
	t, err := p.parse(snapshot)
	if err != nil {
		return fmt.Errorf("restore devices of partition %d: %w", p.number, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.t = t
	return nil
}

func (p *Partition) parse(snapshot []byte) (*table, error) {
	if len(snapshot) < snapshotHeader+4 || string(snapshot[:len(snapshotMagic)]) != snapshotMagic {
		return nil, fmt.Errorf("%w: %d bytes that do not begin as one", ErrSnapshotVersion, len(snapshot))
	}
	if v := snapshot[len(snapshotMagic)]; v != snapshotVersion {
		return nil, fmt.Errorf("%w: version %d, this weir reads version %d", ErrSnapshotVersion, v, snapshotVersion)
	}
	body, sum := snapshot[:len(snapshot)-4], binary.LittleEndian.Uint32(snapshot[len(snapshot)-4:])
	if got := checksum(body); got != sum {
		return nil, fmt.Errorf("%w: checksum %08x, want %08x", ErrSnapshotDamaged, got, sum)
	}
	c := cursor{b: body, at: snapshotHeader}
	number := c.uvarint()
	t := newTable()
	t.logTime, t.refused = c.varint(), c.uvarint()
	n := c.uvarint()
	if c.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshotDamaged, c.err)
	}
	if number != uint64(p.number) {
		return nil, fmt.Errorf("%w: it is of partition %d", ErrSnapshotForeign, number)
	}
	const least = 11 // bytes of a device
	if n > uint64(len(body)-c.at)/least {
		return nil, fmt.Errorf("%w: %d devices announced in %d bytes", ErrSnapshotDamaged, n, len(body)-c.at)
	}
	t.slots = make(map[string]uint32, n)
	for i := range n {
		from := c.at
		if err := t.read(&c); err != nil {
			return nil, fmt.Errorf("%w: device %d of %d, at byte %d: %w", ErrSnapshotDamaged, i+1, n, from, err)
		}
	}
	if c.at != len(body) {
		return nil, fmt.Errorf("%w: %d bytes after the last device", ErrSnapshotDamaged, len(body)-c.at)
	}
	return t, nil
}

// read adds the next device of a snapshot.
func (t *table) read(c *cursor) error {
	id, text := c.bytes(), c.bytes()
	lastSeen := t.logTime - c.varint()
	r := record{lastSeen: lastSeen, firstSeen: lastSeen - c.varint(), eventTime: lastSeen - c.varint()}
	r.effective = r.eventTime - c.varint()
	r.newest = r.effective + c.varint()
	flags := c.uvarint()
	r.events, r.truncated = flags>>1, flags&1 == 1
	switch _, again := t.slots[string(id)]; {
	case c.err != nil:
		return c.err
	case len(id) == 0 || len(id) > MaxID:
		return fmt.Errorf("a device id of %d bytes", len(id))
	case again:
		return fmt.Errorf("device %q is there twice", id)
	}
	r.text = append(make([]byte, 0, len(text)+8), text...)
	if err := r.index(); err != nil {
		return fmt.Errorf("device %q: %w", id, err)
	}
	r.id = string(id)
	*t.at(t.add(r.id)) = r
	return nil
}
