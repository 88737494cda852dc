package backtest

import (
	"context"
	"errors"
	"math"
	"slices"

	"weir/ingest/event"
	"weir/ingest/eventlog"
)

// source reads one partition over the range of a backtest. One goroutine uses
// it at a time.
type source struct {
	reader  *eventlog.Reader
	span    span
	damage  []*eventlog.Damage // met so far
	ended   bool               // nothing more is to be evaluated
	further int                // batches read after that
	endTime int64
}

// span is the part of a partition that is read.
type span struct {
	partition *eventlog.Partition
	after     uint64 // batch before the first
	until     uint64 // last batch that is evaluated
	head      uint64 // last batch there is
	to        int64  // records that were received then or later are not evaluated
	facts     bool   // what was decided on the range is wanted too: it stands behind it
	behind    bool   // the rules that run have not come to the end of the range
}

// section is some messages of a batch, in log order.
type section struct {
	*event.Batch
	from, to int          // the messages to evaluate
	own      *event.Batch // of all sections of a batch that was split, for who evaluates them
}

// How far facts are looked for behind the records that they were decided on:
// until this many batches and this much time have passed. The rules are that
// far behind only if weir was not running in between.
const (
	furtherBatches = 2000
	furtherTime    = int64(10 * 60 * 1e9)
)

func newSource(s span) *source {
	return &source{reader: s.partition.NewReader(s.after, 0), span: s, ended: s.after >= s.until}
}

// next returns the next batch, which the caller releases, and which of its
// messages are to be evaluated. Its batch is nil at the end.
func (s *source) next(ctx context.Context) (section, error) {
	for {
		if s.ended && !s.span.facts {
			return section{}, nil
		}
		b, err := s.reader.TryNext(ctx)
		var d *eventlog.Damage
		if errors.As(err, &d) {
			if d.From <= s.span.until {
				s.damage = append(s.damage, d)
			}
			s.ended = s.ended || d.To >= s.span.until
			if d.To >= s.span.head {
				return section{}, nil
			}
			continue
		}
		if b == nil || err != nil {
			return section{}, err
		}
		if b.Seq > s.span.head {
			b.Release()
			return section{}, nil
		}
		n := 0
		if !s.ended && b.Seq <= s.span.until {
			if n = before(b, s.span.to); n > 0 {
				s.endTime = max(s.endTime, latest(b.Messages[:n]))
			}
			s.ended = b.Seq == s.span.until || n < len(b.Messages)
		} else {
			s.ended = true
			s.further++
			if s.further > furtherBatches && latest(b.Messages) > s.endTime+furtherTime {
				b.Release()
				return section{}, nil
			}
		}
		return section{Batch: b, to: n}, nil
	}
}

func (s *source) damaged() []*eventlog.Damage { return s.damage }

func (s *source) close() { _ = s.reader.Close() } // it only stops reading

// before returns how many messages of a batch were received before a time.
// Records that weir derived carry an older time than their neighbours.
func before(b *event.Batch, to int64) int {
	if to == math.MaxInt64 {
		return len(b.Messages)
	}
	for i := range b.Messages {
		if b.Messages[i].Received >= to {
			return i
		}
	}
	return len(b.Messages)
}

func latest(list []event.Message) int64 {
	t := int64(math.MinInt64)
	for i := range list {
		t = max(t, list[i].Received)
	}
	return t
}

// split makes a batch ready to be given out in sections.
func (s *section) split() {
	b := event.NewBatch(nil)
	b.Partition, b.Seq, b.First, b.Raw = s.Partition, s.Seq, s.First, s.Raw
	b.Events, b.Rejects = s.Events, s.Rejects
	b.Messages = slices.Clone(s.Messages[:s.to])
	clear(b.Messages[:s.from])
	s.own = b
}

// batch returns the section as a batch of its own, in which everything keeps
// its position: before the section stand messages that say nothing. It shares
// the memory of the whole batch and must not outlive it. The sections of a batch
// are for one goroutine, in their order, each followed by done.
func (s *section) batch() *event.Batch {
	switch {
	case s.own != nil:
		s.own.Messages = s.own.Messages[:s.to]
		return s.own
	case s.from == 0 && s.to == len(s.Messages):
		return s.Batch
	}
	s.split()
	return s.own
}

// done ends the work on the section.
func (s *section) done() {
	if s.own != nil {
		clear(s.own.Messages[s.from:s.to]) // a publish without events
	}
}
