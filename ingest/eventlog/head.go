package eventlog

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// furthest returns, for each partition, the cursor that is furthest in it.
func (l *Log) furthest(ctx context.Context) (map[int]Cursor, error) {
	all, err := l.Cursors(ctx)
	if err != nil {
		return nil, err
	}
	out := map[int]Cursor{}
	for _, c := range all {
		if c.Seq >= out[c.Partition].Seq {
			out[c.Partition] = c
		}
	}
	return out, nil
}

// findHead finds the end of the partition: that of its last batch. If the
// newest batches are not there, because retention took them while weir was
// stopped or because the disk lost them, the cursors still say how far the
// partition had come: what was read once is a lower bound. No sequence is ever
// given to a second batch, or consumers would take it for one that they had read.
func (p *Partition) findHead(ctx context.Context, furthest Cursor) error {
	info, err := p.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read its state: %w", err)
	}
	last, records, err := p.newest(ctx, info.State)
	if err != nil {
		return err
	}
	p.head = Head{Seq: info.State.LastSeq, Records: records}
	if furthest.Seq > p.head.Seq && !p.log.cfg.Inspect {
		if err := p.raise(ctx, info.State.Msgs, furthest); err != nil {
			return err
		}
	}
	if furthest.Seq == p.head.Seq { // the last batch may be a marker, which knows no better
		p.head.Records = max(p.head.Records, furthest.Records)
	}
	if last == p.head.Seq {
		return nil
	}
	// Of batches that neither are there nor were read nothing is known but that
	// each held a record.
	p.head.Records = max(records, furthest.Records) + p.head.Seq - max(last, min(furthest.Seq, p.head.Seq))
	if info.State.Msgs > 0 {
		p.log.cfg.Log.Error("the newest batches of the log are damaged: consumers that have not read them will report it", "partition", p.id,
			"from", last+1, "to", p.head.Seq, "records", p.head.Records-records)
	}
	return nil
}

// lookBack is how many damaged batches at the end of a partition are passed in
// search of one that can be read.
const lookBack = 1000

// newest returns the last batch that can be read, and how many records the
// partition held after it; 0 if there is none.
func (p *Partition) newest(ctx context.Context, state jetstream.StreamState) (seq, records uint64, err error) {
	if state.Msgs == 0 {
		return 0, 0, nil
	}
	m, err := p.stream.GetLastMsgForSubject(ctx, p.subject)
	for seq = state.LastSeq; ; seq-- {
		if err == nil {
			if h, herr := parseHeader(m.Header); herr == nil {
				p.until = h.to
				return m.Sequence, h.first + h.count, nil
			}
		} else if ctx.Err() != nil || Unavailable(err) {
			return 0, 0, fmt.Errorf("read the last batch: %w", err)
		}
		if seq < state.FirstSeq || seq == 0 || state.LastSeq-seq == lookBack {
			return 0, 0, nil
		}
		m, err = p.stream.GetMsg(ctx, seq)
	}
}

// raise makes the stream, whose end is before a cursor's place, go on behind
// that: the sequences between are taken by markers, which readers report as
// missing batches.
func (p *Partition) raise(ctx context.Context, msgs uint64, c Cursor) error {
	if msgs == 0 {
		if err := p.stream.Purge(ctx, jetstream.WithPurgeSequence(c.Seq+1)); err != nil {
			return fmt.Errorf("go on after batch %d, which consumer %s has read: %w", c.Seq, c.Consumer, err)
		}
		p.head.Seq = c.Seq
		return nil
	}
	now := strconv.FormatInt(time.Now().UnixNano(), 10)
	for seq := p.head.Seq + 1; seq <= c.Seq; seq++ {
		m := &nats.Msg{Subject: p.subject, Header: nats.Header{
			hdrCount: {"0"}, hdrFirst: {strconv.FormatUint(c.Records, 10)}, hdrPrev: {strconv.FormatUint(seq-1, 10)},
			hdrFrom: {now}, hdrTo: {now}, hdrCRC: {"00000000"},
			jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(seq-1, 10)},
		}}
		if _, err := p.log.js.PublishMsg(ctx, m); err != nil {
			return fmt.Errorf("mark batch %d, which is missing: %w", seq, err)
		}
	}
	p.head.Seq = c.Seq
	return nil
}
