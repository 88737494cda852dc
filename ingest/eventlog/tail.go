package eventlog

import (
	"sync"

	"weir/ingest/event"
)

// sealedCost is what a batch counts for in the tail beyond its bytes: decoded,
// a batch takes about four times its encoded size.
const sealedCost = 4

// take returns an empty batch to fill: an old one, if one is free.
func (p *Partition) take() *sealed {
	select {
	case s := <-p.pool:
		s.Batch.Reset()
		s.once, s.err = new(sync.Once), nil
		return s
	default:
	}
	s := &sealed{once: new(sync.Once)}
	s.Batch = event.NewBatch(func(*event.Batch) {
		if cap(s.Raw) > 4*p.log.cfg.BatchBytes {
			return // a rare giant is left to the collector
		}
		select {
		case p.pool <- s:
		default:
		}
	})
	return s
}

// seal makes a durable batch the head of the partition and hands it to whoever
// waits for it.
func (p *Partition) seal(s *sealed, records uint64) {
	cost := sealedCost * len(s.Raw)
	p.mu.Lock()
	p.head = Head{Seq: s.Seq, Records: s.First + records}
	p.tail = append(p.tail, s)
	p.size += cost
	var old []*sealed
	n := 0
	for p.size > p.log.cfg.TailBytes && n < len(p.tail)-1 {
		p.size -= sealedCost * len(p.tail[n].Raw)
		n++
	}
	if n > 0 {
		old = append(old, p.tail[:n]...)
		m := copy(p.tail, p.tail[n:])
		clear(p.tail[m:])
		p.tail = p.tail[:m]
	}
	close(p.more)
	p.more = make(chan struct{})
	p.mu.Unlock()
	for _, s := range old {
		s.Release()
	}
}

// fromTail returns batch seq with a reference for the caller, if it is in memory.
// Otherwise it returns the head and a channel that is closed when that moves.
func (p *Partition) fromTail(seq uint64) (*sealed, Head, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.tail); n > 0 && seq >= p.tail[0].Seq && seq <= p.head.Seq {
		s := p.tail[seq-p.tail[0].Seq]
		s.Retain()
		return s, p.head, nil
	}
	return nil, p.head, p.more
}

// open parses and decodes the batch once, whoever comes first.
func (s *sealed) open(decode func(*event.Batch)) error {
	s.once.Do(func() {
		if s.err = Parse(s.Raw, s.Batch); s.err == nil && decode != nil {
			decode(s.Batch)
		}
	})
	return s.err
}
