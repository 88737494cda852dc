package rules

import (
	"weir/ingest/event"
)

// Merge puts the records of several partitions into one order: that of their
// receive times, of equal ones that of the partitions. The order is a function of
// the log alone, so a partition that has nothing to offer yet is waited for;
// silent ones have a tick a second.
//
// Records that weir derived or put into the log again have older times than what
// stands before them in their partition. They count as received just after that.
type Merge struct{ parts []mergePart }

type mergePart struct {
	batches []*event.Batch // offered and not taken; the first one in part
	next    Place
}

// Place is how far one partition was taken.
type Place struct {
	Seq     uint64 // of the batch that is next
	Message uint32 // of it, the one that is next
	Time    int64  // the latest receive time of what was taken, ns
}

// NewMerge returns a merge of n partitions of which nothing was taken.
func NewMerge(n int) *Merge { return &Merge{parts: make([]mergePart, n)} }

// Place returns how far a partition was taken.
func (m *Merge) Place(partition int) Place { return m.parts[partition].next }

// GoOn lets a partition go on at a place. What it has offered is forgotten.
func (m *Merge) GoOn(partition int, p Place) { m.parts[partition] = mergePart{next: p} }

// Offer hands over consecutive batches of a partition in place of those that it
// offered before. What was taken already is passed over. Merge keeps them until
// they are taken, or Offer is called again.
func (m *Merge) Offer(partition int, batches []*event.Batch) {
	p := &m.parts[partition]
	p.batches = batches
	p.skip()
}

// Empty reports whether all that a partition offered was taken.
func (m *Merge) Empty(partition int) bool { return len(m.parts[partition].batches) == 0 }

// skip passes over what was taken.
func (p *mergePart) skip() {
	for len(p.batches) > 0 {
		b := p.batches[0]
		if b.Seq > p.next.Seq { // what is missing in between can't be read
			p.next.Seq, p.next.Message = b.Seq, 0
		}
		if b.Seq == p.next.Seq && int(p.next.Message) < len(b.Messages) {
			return
		}
		if b.Seq == p.next.Seq {
			p.next.Seq, p.next.Message = b.Seq+1, 0
		}
		p.batches = p.batches[1:]
	}
	p.batches = nil
}

// time is when the next record counts as received.
func (p *mergePart) time(message uint32) int64 {
	return max(p.next.Time, p.batches[0].Messages[message].Received)
}

// Next takes the messages that come next, which are those of a batch from one
// index up to another, or returns false if a partition has nothing to offer.
func (m *Merge) Next() (b *event.Batch, from, to int, ok bool) {
	best, second := -1, -1 // the partitions whose records come first
	for i := range m.parts {
		p := &m.parts[i]
		if len(p.batches) == 0 {
			return nil, 0, 0, false
		}
		switch {
		case best < 0 || p.time(p.next.Message) < m.parts[best].time(m.parts[best].next.Message):
			best, second = i, best
		case second < 0 || p.time(p.next.Message) < m.parts[second].time(m.parts[second].next.Message):
			second = i
		}
	}
	p := &m.parts[best]
	b, from = p.batches[0], int(p.next.Message)
	limit := never
	if second >= 0 {
		limit = m.parts[second].time(m.parts[second].next.Message)
	}
	to = from
	for to < len(b.Messages) {
		t := p.time(uint32(to))
		if to > from && (t > limit || t == limit && best > second) {
			break
		}
		p.next.Time = t
		to++
	}
	p.next.Message = uint32(to)
	p.skip()
	return b, from, to, true
}
