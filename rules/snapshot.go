package rules

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
)

// A snapshot is
//
//	"weir rules\n"  version byte
//	partition  log time  hold  excuse  payload of the rule set ("" for none)
//	who is told: see desk.appendBinary  count, rules that are stopped (id reason)  count, begun (rule key time n seen)
//	count of clocks that were forgotten  for each lane: see lane.room
//	records, in any order
//	    1  lane  device clock  flag: the clock of history that is uploaded follows, clock
//	    2  space  key past device | the clock, for a group | count, starts (rule time n) | last event
//	        count, last events of rules (rule, event)
//	        count, cells (slot*2, +1 if it changed by itself and then when  length, cell)
//	        count, alerts: rule phase past active starts cleared deadline id
//	            count, labels (name text)  length, the event that speaks for it  flag, the value that does
//	            who was told: see appendNotice
//	    0  count of clocks  count of entries: the end
//	CRC-32C of all before, 4 bytes
//
// in the encoding of appendCause. The schedule is a function of the rest. Equal
// engines have equal snapshots; one that was taken bit by bit has its records
// in another order.
const (
	snapshotMagic   = "weir rules\n"
	snapshotVersion = 7
	snapshotHeader  = len(snapshotMagic) + 1

	clockRecord = 1
	entryRecord = 2
	endRecord   = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Snapshot returns the engine's state between two batches.
func (e *Engine) Snapshot() ([]byte, error) {
	s := &saving{}
	b := e.appendHead(nil)
	for _, l := range e.lanes {
		clocks := slices.SortedFunc(slices.Values(l.all), func(a, b *clock) int { return cmp.Compare(a.device, b.device) })
		for _, c := range clocks {
			b = s.clock(b, l, c)
		}
	}
	for _, sp := range e.spaces {
		entries := slices.SortedFunc(slices.Values(sp.all), func(a, b *entry) int {
			return cmp.Or(cmp.Compare(a.key(), b.key()), cmp.Compare(flag(a.clock.past), flag(b.clock.past)))
		})
		for _, en := range entries {
			b = s.entry(b, en)
		}
	}
	b = s.end(b)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// appendHead appends what a snapshot holds before its records.
func (e *Engine) appendHead(b []byte) []byte {
	b = append(append(b, snapshotMagic...), snapshotVersion)
	b = binary.AppendUvarint(b, uint64(e.partition))
	b = binary.AppendVarint(b, e.now)
	b = binary.AppendVarint(b, e.hold)
	b = binary.AppendVarint(b, e.excuse)
	if e.set.hash == "" {
		b = appendText(b, "")
	} else {
		b = appendText(b, e.set.Marshal())
	}
	return e.appendRooms(e.appendBegun(e.appendStopped(e.desk.appendBinary(b))))
}

// saving is a snapshot that is taken bit by bit, while batches are processed.
// Its begin is an epoch. What it has not come to yet has an older epoch, and is
// written ahead before it changes: see touch.
type saving struct {
	ahead   [][]byte // the head, and records that were written before their turn
	lane, i int      // the clock that is next, and those before it in lane.all
	space   int      // the space of the entry that is next
	sum     uint32   // CRC-32C of what was returned

	clocks, entries int // that were written
}

// ErrSnapshotEnded is returned by NextSnapshot when there is no snapshot that
// it could go on with: none was begun, or a rule set came into force meanwhile.
var ErrSnapshotEnded = errors.New("the snapshot was given up: the rules have changed")

// BeginSnapshot begins a snapshot of the engine's state as it is now, between
// two batches. NextSnapshot returns it piece by piece; the engine may process
// batches meanwhile. A snapshot that was begun before is given up.
func (e *Engine) BeginSnapshot() {
	e.epoch++
	for _, l := range e.lanes {
		l.epoch = e.epoch
	}
	e.saving = &saving{ahead: [][]byte{e.appendHead(nil)}}
	e.saving.aim(e)
}

// aim sets i to the last clock or entry of what is next.
func (s *saving) aim(e *Engine) {
	switch {
	case s.lane < len(e.lanes):
		s.i = len(e.lanes[s.lane].all)
	case s.space < len(e.spaces):
		s.i = len(e.spaces[s.space].all)
	}
}

// NextSnapshot appends the next piece of a snapshot to b, of about size bytes,
// and reports whether it was the last. Restore takes what the pieces come to:
// the engine that it makes has the same Snapshot as this one had at
// BeginSnapshot.
func (e *Engine) NextSnapshot(b []byte, size int) (_ []byte, done bool, err error) {
	s := e.saving
	if s == nil {
		return b, false, ErrSnapshotEnded
	}
	from := len(b)
	for len(s.ahead) > 0 && len(b)-from < size {
		b = append(b, s.ahead[0]...)
		s.ahead[0] = nil
		s.ahead = s.ahead[1:]
	}
	for looks := maxLooks; looks > 0 && len(b)-from < size && !done; looks-- {
		switch {
		case s.lane < len(e.lanes):
			l := e.lanes[s.lane]
			if s.i == 0 {
				s.lane++
				s.aim(e)
				continue
			}
			s.i-- // downwards: what is removed, or added behind, does not matter then
			if c := l.all[s.i]; c.epoch != l.epoch {
				c.epoch = l.epoch
				b = s.clock(b, l, c)
			}
		case s.space < len(e.spaces):
			sp := e.spaces[s.space]
			if s.i = min(s.i, len(sp.all)); s.i == 0 {
				s.space++
				s.aim(e)
				continue
			}
			s.i--
			if en := sp.all[s.i]; en.epoch != sp.lane.epoch {
				en.epoch = sp.lane.epoch
				b = s.entry(b, en)
			}
		default:
			b, done = s.end(b), true
		}
	}
	s.sum = crc32.Update(s.sum, castagnoli, b[from:])
	if done {
		b = binary.LittleEndian.AppendUint32(b, s.sum)
		e.saving = nil
	}
	return b, done, nil
}

// maxLooks bounds how many clocks and entries a piece looks at: most may have
// been written ahead.
const maxLooks = 20_000

// aheadSize is the size of the pieces in which records are written ahead, so
// that what is there is not copied to make room for more.
const aheadSize = 64 << 10

// room returns the piece to which the next record is to be appended ahead.
func (s *saving) room() *[]byte {
	n := len(s.ahead)
	if n == 0 || len(s.ahead[n-1]) > aheadSize-aheadSize/8 {
		s.ahead = append(s.ahead, make([]byte, 0, aheadSize))
		n++
	}
	return &s.ahead[n-1]
}

// touch must be called before an entry or its clock changes: the snapshot that
// is being taken gets it as it was when the snapshot began.
func (e *Engine) touch(en *entry) {
	sp := en.space
	if sp.devices {
		c := en.clock
		if c.past {
			c = sp.lane.clocks[c.device]
		}
		if c.epoch != sp.lane.epoch {
			e.touchClock(sp.lane, c)
		}
	}
	if !sp.device && en.epoch != sp.lane.epoch {
		en.epoch = sp.lane.epoch
		if s := e.saving; s != nil {
			b := s.room()
			*b = s.entry(*b, en)
		}
	}
}

// touchClock is touch for a device's clock, its history and the entries in the
// space by device.
func (e *Engine) touchClock(l *lane, c *clock) {
	c.epoch = l.epoch
	if s := e.saving; s != nil {
		b := s.room()
		*b = s.clock(*b, l, c)
	}
}

// clock appends a clock and the entries by device that belong to it.
func (s *saving) clock(b []byte, l *lane, c *clock) []byte {
	s.clocks++
	b = append(b, clockRecord)
	b = binary.AppendUvarint(b, uint64(l.index))
	b = appendText(b, c.device)
	b = c.appendBinary(b)
	back := c.back()
	b = append(b, flag(back != nil))
	if back != nil {
		b = back.appendBinary(b)
	}
	if c.entry != nil {
		b = s.entry(b, c.entry)
	}
	if back != nil && back.entry != nil {
		b = s.entry(b, back.entry)
	}
	return b
}

func (s *saving) entry(b []byte, en *entry) []byte {
	s.entries++
	b = append(b, entryRecord)
	b = binary.AppendUvarint(b, uint64(en.space.index))
	return appendEntry(b, en)
}

func (s *saving) end(b []byte) []byte {
	b = append(b, endRecord)
	b = binary.AppendUvarint(b, uint64(s.clocks))
	return binary.AppendUvarint(b, uint64(s.entries))
}

func appendEntry(b []byte, en *entry) []byte {
	b = appendText(b, en.key())
	b = append(b, flag(en.clock.past))
	b = appendText(b, en.clock.device)
	if !en.space.devices {
		b = en.clock.appendBinary(b)
	}
	b = binary.AppendUvarint(b, uint64(len(en.starts())))
	for _, s := range en.starts() {
		b = appendText(b, s.rule)
		b = binary.AppendVarint(b, s.time)
		b = binary.AppendUvarint(b, uint64(s.n))
	}
	b = appendText(b, en.last.event)
	b = binary.AppendUvarint(b, uint64(len(en.mixed())))
	for _, m := range en.mixed() {
		b = appendText(appendText(b, m.rs.rule.id), m.event)
	}
	b = binary.AppendUvarint(b, uint64(len(en.cells)))
	var buf [512]byte
	for _, k := range en.cells {
		b = binary.AppendUvarint(b, uint64(k.slot)<<1|uint64(flag(k.due != never)))
		if k.due != never {
			b = binary.AppendVarint(b, k.due)
		}
		b = appendText(b, k.appendBinary(buf[:0]))
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
	b = binary.AppendVarint(b, a.notice.starts)
	b = binary.AppendVarint(b, a.notice.cleared)
	b = binary.AppendVarint(b, a.deadline)
	b = appendText(b, a.notice.id)
	b = appendLabels(b, a.notice.labels)
	b = append(appendText(b, a.bytes()), flag(a.said() != nil))
	if v := a.said(); v != nil {
		b = appendValue(b, *v)
	}
	return appendNotice(b, a.notice)
}
