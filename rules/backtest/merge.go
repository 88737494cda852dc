package backtest

import (
	"context"
	"math"

	"weir/ingest/eventlog"
)

// merge puts the partitions of a log into one stream in the order of receive
// times, and of partitions where these are equal. A batch is split where another
// partition has something that came between.
type merge struct {
	lanes []lane
	open  bool
}

// lane is a partition and what of it is next.
type lane struct {
	*source
	cur  section // its batch is nil at the end
	time int64   // receive time of the next message; of those that weir derived, that of the message before
}

func newMerge(sources []*source) *merge {
	m := &merge{lanes: make([]lane, len(sources))}
	for i, s := range sources {
		m.lanes[i] = lane{source: s, time: math.MinInt64}
	}
	return m
}

// next returns the longest section that nothing comes between.
func (m *merge) next(ctx context.Context) (section, error) {
	if !m.open {
		for i := range m.lanes {
			if err := m.lanes[i].fill(ctx); err != nil {
				return section{}, err
			}
		}
		m.open = true
	}
	first, second := -1, -1
	for i := range m.lanes {
		switch {
		case m.lanes[i].cur.Batch == nil:
		case first < 0 || m.lanes[i].time < m.lanes[first].time:
			first, second = i, first
		case second < 0 || m.lanes[i].time < m.lanes[second].time:
			second = i
		}
	}
	if first < 0 {
		return section{}, nil
	}
	l := &m.lanes[first]
	out := l.cur
	if second >= 0 {
		out.to = l.until(m.lanes[second].time, first < second)
	}
	if out.to < l.cur.to {
		if l.cur.own == nil {
			l.cur.split()
			out.own = l.cur.own
		}
		out.Retain()
		l.cur.from = out.to
		l.time = max(l.time, l.cur.Messages[out.to].Received)
		return out, nil
	}
	last := l.time
	if out.to > out.from {
		last = max(last, latest(out.Messages[out.from:out.to]))
	}
	l.cur, l.time = section{}, last
	if err := l.fill(ctx); err != nil {
		out.Release()
		return section{}, err
	}
	return out, nil
}

// fill reads the next batch.
func (l *lane) fill(ctx context.Context) error {
	var err error
	if l.cur, err = l.source.next(ctx); err != nil {
		return err
	}
	if l.cur.Batch != nil && l.cur.to > l.cur.from {
		l.time = max(l.time, l.cur.Messages[l.cur.from].Received)
	}
	return nil
}

// until returns the index of the first message that comes after a time of
// another partition; one of the same time comes after it unless the lane goes first.
func (l *lane) until(t int64, goesFirst bool) int {
	now := l.time
	for i := l.cur.from; i < l.cur.to; i++ {
		if now = max(now, l.cur.Messages[i].Received); now > t || now == t && !goesFirst {
			return max(i, l.cur.from+1)
		}
	}
	return l.cur.to
}

func (m *merge) damaged() (all []*eventlog.Damage) {
	for i := range m.lanes {
		all = append(all, m.lanes[i].damage...)
	}
	return all
}

func (m *merge) close() {
	for i := range m.lanes {
		if b := m.lanes[i].cur.Batch; b != nil {
			b.Release()
		}
		m.lanes[i].cur = section{}
		m.lanes[i].source.close()
	}
}
