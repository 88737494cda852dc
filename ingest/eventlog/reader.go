package eventlog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"weir/ingest/event"
)

// Damage is a range of a partition that cannot be read: the batches are gone,
// malformed, or fail their checksum. Reading goes on after it.
type Damage struct {
	Partition int    `json:"partition"`
	From      uint64 `json:"from"` // first sequence that is damaged
	To        uint64 `json:"to"`   // last one
	Records   uint64 `json:"records"`
	Expired   bool   `json:"expired"` // retention removed it before it was read: no fault of the disk
	Cause     string `json:"cause"`
}

func (d *Damage) Error() string {
	what := "damaged"
	if d.Expired {
		what = "expired"
	}
	return fmt.Sprintf("partition %d: batches %d to %d (%d records) are %s: %s", d.Partition, d.From, d.To, d.Records, what, d.Cause)
}

// Reader reads one partition in order, from memory where it can. One goroutine
// uses it at a time.
type Reader struct {
	p     *Partition
	next  uint64 // sequence that Next returns
	first uint64 // records before it, once known
	known bool

	iter   jetstream.MessagesContext // nil while batches come from memory
	pushed *Damage
	held   *sealed // read ahead: what stood after a damaged range
}

// NewReader returns a reader whose first batch is the one after the sequence
// given: 0 reads from the beginning. records is how many records stand before
// that batch, if it is known, and lets damage be counted in records.
func (p *Partition) NewReader(after, records uint64) *Reader {
	return &Reader{p: p, next: after + 1, first: records, known: after == 0 || records > 0}
}

// Next returns the next batch, parsed and decoded, and waits for one if there
// is none. The caller releases it. An error of type *Damage says that a range
// could not be read; the next call goes on behind it.
func (r *Reader) Next(ctx context.Context) (*event.Batch, error) {
	for {
		b, more, err := r.Poll(ctx)
		if b != nil || err != nil {
			return b, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryNext is Next that returns nil instead of waiting at the end of the log.
func (r *Reader) TryNext(ctx context.Context) (*event.Batch, error) {
	b, _, err := r.Poll(ctx)
	return b, err
}

// Poll is TryNext that also returns, at the end of the log, a channel that is
// closed when the log has grown.
func (r *Reader) Poll(ctx context.Context) (*event.Batch, <-chan struct{}, error) {
	for {
		b, more, err := r.step(ctx)
		if b != nil || err != nil || more != nil {
			return b, more, err
		}
	}
}

// Push makes the next call report damage that was met too early to be dealt with.
func (r *Reader) Push(d *Damage) { r.pushed = d }

func (r *Reader) step(ctx context.Context) (*event.Batch, <-chan struct{}, error) {
	if d := r.pushed; d != nil {
		r.pushed = nil
		return nil, nil, d
	}
	if r.held != nil {
		s := r.held
		r.held = nil
		return r.hand(s, "log"), nil, nil
	}
	s, head, more := r.p.fromTail(r.next)
	if s != nil {
		r.stopIter()
		if err := s.open(r.p.log.cfg.Decode); err != nil {
			s.Release()
			return nil, nil, r.damaged(r.next, r.next, 0, err.Error())
		}
		return r.hand(s, "memory"), nil, nil
	}
	if r.next > head.Seq {
		r.stopIter()
		return nil, more, nil
	}
	s, err := r.fromLog(ctx, head)
	if err != nil || s == nil {
		return nil, nil, err
	}
	return r.hand(s, "log"), nil, nil
}

func (r *Reader) hand(s *sealed, from string) *event.Batch {
	r.next = s.Seq + 1
	r.first, r.known = s.First+uint64(len(s.Messages)), true
	r.p.log.cfg.Metrics.reads.WithLabelValues(r.p.name, from).Inc()
	return s.Batch
}

// damaged moves the reader behind a damaged range and describes it.
func (r *Reader) damaged(from, to, records uint64, cause string) *Damage {
	d := &Damage{Partition: r.p.id, From: from, To: to, Records: records, Cause: cause}
	r.next = to + 1
	r.first += records // of no meaning unless known
	r.p.log.cfg.Metrics.damaged.WithLabelValues(r.p.name).Add(float64(to - from + 1))
	return d
}

// recordsTo returns how many records there are from the reader's place to the
// end of a batch.
func (r *Reader) recordsTo(h header) uint64 {
	if r.known && h.first+h.count > r.first {
		return h.first + h.count - r.first
	}
	return h.count
}

// fetchWait is how long one read of the log may take before it is asked for anew.
const fetchWait = 5 * time.Second

func (r *Reader) fromLog(ctx context.Context, head Head) (*sealed, error) {
	if r.iter == nil {
		c, err := r.p.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.next,
			InactiveThreshold: time.Minute,
		})
		if err != nil {
			return nil, fmt.Errorf("read partition %d from %d: %w", r.p.id, r.next, err)
		}
		r.iter, err = c.Messages(jetstream.PullMaxBytes(max(16<<20, 2*r.p.log.maxPayload())))
		if err != nil {
			return nil, fmt.Errorf("read partition %d from %d: %w", r.p.id, r.next, err)
		}
	}
	fctx, cancel := context.WithTimeout(ctx, fetchWait)
	m, err := r.iter.Next(jetstream.NextContext(fctx))
	cancel()
	if err != nil {
		r.stopIter()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return nil, r.nothingLeft(ctx, head)
		}
		return nil, fmt.Errorf("read partition %d at %d: %w", r.p.id, r.next, err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read partition %d at %d: %w", r.p.id, r.next, err)
	}
	seq := meta.Sequence.Stream
	if seq < r.next {
		return nil, nil
	}
	h, err := parseHeader(m.Headers())
	if err != nil {
		return nil, r.damaged(r.next, seq, 0, err.Error())
	}
	if h.count == 0 { // a marker of what is missing
		if seq < head.Seq {
			return nil, nil // the next batch shows how much
		}
		var records uint64
		if r.known && head.Records > r.first { // what the next batch will begin with, whatever the marker says
			records = head.Records - r.first
		}
		return nil, r.damaged(r.next, seq, records, "they are missing from the log")
	}
	if sum := crc32.Checksum(m.Data(), castagnoli); sum != h.crc {
		return nil, r.damaged(r.next, seq, r.recordsTo(h), fmt.Sprintf("checksum is %08x, want %08x", sum, h.crc))
	}
	s := r.p.take()
	s.Raw = append(s.Raw, m.Data()...)
	s.Partition, s.Seq, s.First = r.p.id, seq, h.first
	if err := s.open(r.p.log.cfg.Decode); err != nil {
		s.Release()
		return nil, r.damaged(r.next, seq, r.recordsTo(h), err.Error())
	}
	if seq > r.next {
		d, err := r.gap(ctx, seq, h.first)
		if err != nil {
			s.Release()
			r.stopIter()
			return nil, err
		}
		r.held = s
		return nil, d
	}
	return s, nil
}

// gap describes what is missing before sequence seq.
func (r *Reader) gap(ctx context.Context, seq, first uint64) (*Damage, error) {
	oldest, err := r.p.First(ctx)
	if err != nil {
		return nil, err
	}
	var records uint64
	if r.known && first > r.first {
		records = first - r.first
	}
	if oldest >= seq {
		d := &Damage{Partition: r.p.id, From: r.next, To: seq - 1, Records: records, Expired: true,
			Cause: "retention removed them before they were read"}
		r.next = seq
		return d, nil
	}
	return r.damaged(r.next, seq-1, records, "they are missing from the log"), nil
}

// nothingLeft is called when the log gave nothing although its head is further
// on: everything up to the head has expired or is damaged.
func (r *Reader) nothingLeft(ctx context.Context, head Head) error {
	oldest, err := r.p.First(ctx)
	if err != nil {
		return err
	}
	var records uint64
	if r.known {
		records = head.Records - r.first
	}
	if oldest > head.Seq {
		d := &Damage{Partition: r.p.id, From: r.next, To: head.Seq, Records: records, Expired: true,
			Cause: "retention removed them before they were read"}
		r.next, r.first = head.Seq+1, head.Records
		return d
	}
	// Is the batch there at all? A slow disk is no damage.
	if _, err := r.p.stream.GetMsg(ctx, r.next); err == nil || !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	for to := r.next; to <= head.Seq; to++ {
		if _, err := r.p.stream.GetMsg(ctx, to); err == nil {
			return r.damaged(r.next, to-1, 0, "they are missing from the log")
		}
	}
	return r.damaged(r.next, head.Seq, records, "they are missing from the log")
}

func (r *Reader) stopIter() {
	if r.iter != nil {
		r.iter.Stop()
		r.iter = nil
	}
}

// Close gives up what the reader holds. It is idempotent.
func (r *Reader) Close() error {
	r.stopIter()
	if r.held != nil {
		r.held.Release()
		r.held = nil
	}
	return nil
}

// SeqAt returns the sequence of the first batch received at or after t, or one
// past the head. Batches carry the receive time of their first and last chunk.
func (p *Partition) SeqAt(ctx context.Context, t time.Time) (uint64, error) {
	lo, err := p.First(ctx)
	if err != nil {
		return 0, err
	}
	hi := p.Head().Seq + 1
	for lo < hi {
		mid := lo + (hi-lo)/2
		to, err := p.receivedUntil(ctx, mid)
		if err != nil {
			return 0, err
		}
		if to < t.UnixNano() {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, nil
}

// receivedUntil returns the receive time of the last chunk of a batch, or of
// the next one that is there and has one.
func (p *Partition) receivedUntil(ctx context.Context, seq uint64) (int64, error) {
	for head := p.Head().Seq; seq <= head; seq++ {
		m, err := p.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read batch %d of partition %d: %w", seq, p.id, err)
		}
		h, err := parseHeader(m.Header)
		if err != nil || h.to == 0 { // a log begins with records that weir wrote before anything was received
			continue
		}
		return h.to, nil
	}
	return 1<<63 - 1, nil
}

// RecordsBefore returns how many records stand before batch seq.
func (p *Partition) RecordsBefore(ctx context.Context, seq uint64) (uint64, error) {
	head := p.Head()
	for s := max(1, seq); s <= head.Seq; s++ {
		m, err := p.stream.GetMsg(ctx, s)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read batch %d of partition %d: %w", s, p.id, err)
		}
		h, err := parseHeader(m.Header)
		if err != nil {
			continue
		}
		return h.first, nil
	}
	return head.Records, nil
}
