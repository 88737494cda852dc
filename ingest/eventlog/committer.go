package eventlog

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/ingest/event"
	"weir/ingest/ring"
)

// tickEvery is how long a partition may be silent before it gets a tick.
const tickEvery = time.Second

// ErrFenced is returned by Committer.Run when somebody else appends to the partition.
var ErrFenced = errors.New("another writer appends to this partition")

// Committer takes what connections put into the ring of one partition and
// makes it durable. One goroutine, Run's, does all of it.
//
// One append is in flight; while it is being synced the next batch gathers in
// the ring, so throughput needs no timer.
type Committer struct {
	watermark
	p    *Partition
	ring *ring.Ring

	quiet atomic.Bool // no ticks

	last    int64 // receive time that the newest publish was given
	scratch []byte
}

// NewCommitter returns a committer that is not running.
func (p *Partition) NewCommitter(r *ring.Ring) *Committer { return &Committer{p: p, ring: r} }

// Run appends until the ring is closed and drained, and then returns nil. When
// ctx ends first it stops as soon as it can, and what is not durable stays
// unacknowledged.
func (c *Committer) Run(ctx context.Context) error {
	for {
		c.linger(ctx)
		s := c.ring.Next(c.p.log.cfg.BatchBytes)
		if s.Chunks == 0 {
			if err := c.wait(ctx); err != nil {
				if errors.Is(err, ring.ErrClosed) {
					return nil
				}
				return err
			}
			continue
		}
		if err := c.append(ctx, s.Bytes, s.Records, func() {
			c.ring.Release(s.End)
			c.advance(s.End)
		}); err != nil {
			return err
		}
	}
}

// Quiet ends the ticks, or lets them go on. They say that devices are silent, so
// there are none while weir does not listen. Without them consumers that stop can
// come to the end of the log, too, and find it there at the next start.
func (c *Committer) Quiet(on bool) { c.quiet.Store(on) }

// wait parks until a chunk is there and gives the partition its ticks meanwhile.
func (c *Committer) wait(ctx context.Context) error {
	tctx, cancel := context.WithTimeout(ctx, tickEvery)
	err := c.ring.Wait(tctx)
	cancel()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		if c.quiet.Load() {
			return nil
		}
		return c.tick(ctx)
	}
	return err
}

// lingerStep is how often a linger looks whether a whole batch has gathered.
const lingerStep = 500 * time.Microsecond

// linger lets more gather: at low rates it saves an fsync and a wake-up each.
// It ends early when there is enough for a batch.
func (c *Committer) linger(ctx context.Context) {
	left := c.p.log.cfg.Linger
	if left <= 0 || c.ring.Used() == 0 {
		return
	}
	t := time.NewTimer(min(left, lingerStep))
	defer t.Stop()
	for c.ring.Used() < c.p.log.cfg.BatchBytes {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if left -= lingerStep; left <= 0 {
			return
		}
		t.Reset(min(left, lingerStep))
	}
}

func (c *Committer) tick(ctx context.Context) error {
	now := max(time.Now().UnixNano(), c.p.until) // log time does not go back
	c.scratch = AppendRecord(c.scratch[:0], &event.Message{Record: event.Tick, Received: now})
	c.p.until = now
	return c.append(ctx, c.scratch, 1, func() {})
}

// append makes one batch durable, however long it takes, calls done, and hands
// the batch to the readers.
func (c *Committer) append(ctx context.Context, raw []byte, records int, done func()) error {
	p := c.p
	head := p.Head()
	s := p.take()
	s.Raw = append(s.Raw, raw...)
	// What is put into the log again, and what is derived from old events, has
	// an old receive time: a search by time needs an order that such don't break.
	from := p.until
	if c.last == 0 {
		c.last = from
	}
	last, to, err := restamp(s.Raw, c.last, from)
	if err != nil {
		s.Release()
		return fmt.Errorf("append to partition %d: %w", p.id, err)
	}
	first := strconv.FormatUint(head.Records, 10)
	m := &nats.Msg{Subject: p.subject, Data: s.Raw, Header: nats.Header{
		hdrCount: {strconv.Itoa(records)},
		hdrFirst: {first},
		hdrPrev:  {strconv.FormatUint(head.Seq, 10)},
		hdrFrom:  {strconv.FormatInt(from, 10)},
		hdrTo:    {strconv.FormatInt(to, 10)},
		hdrCRC:   {fmt.Sprintf("%08x", crc32.Checksum(s.Raw, castagnoli))},

		jetstream.MsgIDHeader:           {p.name + "." + first},
		jetstream.ExpectedLastSeqHeader: {strconv.FormatUint(head.Seq, 10)},
	}}
	seq, err := c.publish(ctx, m, head)
	if err != nil {
		s.Release()
		return err
	}
	p.until, c.last = to, last
	s.Partition, s.Seq, s.First = p.id, seq, head.Records
	size := len(s.Raw) // a sealed batch is the readers'
	p.seal(s, uint64(records))
	done() // after it: what is durable is behind the head
	met := p.log.cfg.Metrics
	met.records.WithLabelValues(p.name).Add(float64(records))
	met.bytes.WithLabelValues(p.name).Add(float64(size))
	met.batches.WithLabelValues(p.name).Inc()
	met.head.WithLabelValues(p.name).Set(float64(head.Records) + float64(records))
	return nil
}

// publish sends a batch until it is stored. It never gives up while ctx lives:
// publishers are held back by the ring, and nothing acknowledged is lost.
func (c *Committer) publish(ctx context.Context, m *nats.Msg, head Head) (uint64, error) {
	p := c.p
	met := p.log.cfg.Metrics
	backoff := 50 * time.Millisecond
	for attempt := 0; ; attempt++ {
		start := time.Now()
		seq, err := c.tryPublish(ctx, m, head)
		if err == nil {
			met.append.WithLabelValues(p.name).Observe(time.Since(start).Seconds())
			if attempt > 0 {
				met.held.WithLabelValues(p.name).Set(0)
				p.log.cfg.Log.Info("appends to the log go on", "partition", p.id, "attempts", attempt+1)
			}
			return seq, nil
		}
		if errors.Is(err, ErrFenced) {
			return 0, err
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("append to partition %d: %w", p.id, ctx.Err())
		}
		met.failures.WithLabelValues(p.name).Inc()
		met.held.WithLabelValues(p.name).Set(1)
		if attempt == 0 || attempt%20 == 0 {
			p.log.cfg.Log.Error("append to the log failed: publishers are held back and it is tried again", "partition", p.id, "attempt", attempt+1, "err", err)
		}
		t := time.NewTimer(backoff)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("append to partition %d: %w", p.id, ctx.Err())
		}
		backoff = min(2*backoff, 2*time.Second)
	}
}

// How long one attempt waits for its answer. In the process only a disk that
// is stuck keeps it so long; in a cluster a server that died may have taken it
// along, and asking again is safe.
const (
	syncWait   = 30 * time.Second
	answerWait = 5 * time.Second
)

func (c *Committer) tryPublish(ctx context.Context, m *nats.Msg, head Head) (uint64, error) {
	p := c.p
	patience := answerWait
	if e := p.log.emb; e != nil {
		if err := e.err(); err != nil {
			return 0, err
		}
		if err := p.log.roomOnDisk(len(m.Data)); err != nil {
			return 0, err
		}
		patience = syncWait
	}
	tctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer p.log.conn.await(cancel)()
	ack, err := p.log.js.PublishMsg(tctx, m)
	if err == nil {
		if ack.Sequence != head.Seq+1 {
			return 0, fmt.Errorf("batch was stored as %d, want %d: %w", ack.Sequence, head.Seq+1, ErrFenced)
		}
		return ack.Sequence, nil
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		// Perhaps our own earlier attempt was stored and its answer lost.
		last, gerr := p.stream.GetMsg(tctx, head.Seq+1)
		if gerr == nil && last.Header.Get(jetstream.MsgIDHeader) == m.Header.Get(jetstream.MsgIDHeader) && last.Header.Get(hdrCRC) == m.Header.Get(hdrCRC) {
			return head.Seq + 1, nil
		}
		if gerr == nil {
			return 0, fmt.Errorf("append to partition %d: %w", p.id, ErrFenced)
		}
	}
	if tctx.Err() == context.Canceled && ctx.Err() == nil {
		err = errors.New("the connection to the log broke before it answered")
		if e := p.log.emb; e != nil && e.err() != nil {
			err = e.err()
		}
	}
	return 0, err
}
