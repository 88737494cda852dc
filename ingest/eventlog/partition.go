package eventlog

import (
	"context"
	"fmt"
	"hash/crc32"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"weir/ingest/event"
)

// Headers of a batch, see batch.proto.
const (
	hdrCount = "Weir-Count"
	hdrFirst = "Weir-First"
	hdrPrev  = "Weir-Prev"
	hdrFrom  = "Weir-From"
	hdrTo    = "Weir-To"
	hdrCRC   = "Weir-Crc"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Head is the end of a partition.
type Head struct {
	Seq     uint64 `json:"seq"`     // sequence of the last batch; 0 if there was none
	Records uint64 `json:"records"` // how many records the partition has held since it was made
}

// Partition is one ordered part of the log.
type Partition struct {
	log     *Log
	id      int
	name    string // label of its metrics
	subject string
	stream  jetstream.Stream

	mu   sync.Mutex
	head Head
	tail []*sealed     // the newest batches, contiguous, the last is head
	size int           // bytes of the tail
	more chan struct{} // closed and replaced when head moves

	until int64 // Weir-To of the newest batch, which no other exceeds; only opening and the committer touch it

	pool chan *sealed // batches to be used again
	lost atomic.Uint64
}

// sealed is a durable batch in memory. Its content is parsed and decoded by
// the first reader that wants it.
type sealed struct {
	*event.Batch
	once *sync.Once
	err  error
}

// openPartition opens partition id of count. furthest is the cursor that is
// furthest in it.
func openPartition(ctx context.Context, l *Log, id, count int, furthest Cursor) (*Partition, error) {
	p := &Partition{
		log: l, id: id, name: strconv.Itoa(id), subject: subjectOf(strconv.Itoa(id)),
		more: make(chan struct{}), pool: make(chan *sealed, 64),
	}
	maxBytes := int64(-1)
	if l.cfg.MaxBytes > 0 {
		maxBytes = l.cfg.MaxBytes / int64(count)
	}
	var err error
	name := partitionStreams + p.name
	if l.cfg.Inspect {
		if p.stream, err = l.js.Stream(ctx, name); err != nil {
			return nil, err
		}
		return p, p.findHead(ctx, furthest)
	}
	p.stream, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{p.subject},
		Storage: jetstream.FileStorage, Replicas: l.cfg.Replicas, Discard: jetstream.DiscardOld,
		MaxAge: l.cfg.MaxAge, MaxBytes: maxBytes, AllowDirect: true,
	})
	if err != nil {
		return nil, err
	}
	return p, p.findHead(ctx, furthest)
}

// ID returns the number of the partition.
func (p *Partition) ID() int { return p.id }

// Head returns the end of the partition.
func (p *Partition) Head() Head {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.head
}

// First returns the sequence of the oldest batch that is still there, or one
// past the head when there is none.
func (p *Partition) First(ctx context.Context) (uint64, error) {
	info, err := p.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the state of partition %d: %w", p.id, err)
	}
	return max(1, info.State.FirstSeq), nil // 0 for a stream that never held anything
}

// header is the parsed form of a batch's headers.
type header struct {
	count, first, prev uint64
	from, to           int64
	crc                uint32
}

func subjectOf(partition string) string { return "weir.log." + partition }

func parseHeader(h nats.Header) (header, error) {
	var out header
	var first error
	num := func(key string, base, bits int) uint64 {
		var n uint64
		v, err := h[key], error(nil)
		if len(v) != 1 {
			err = fmt.Errorf("header %s is missing: %w", key, ErrMalformed)
		} else if n, err = strconv.ParseUint(v[0], base, bits); err != nil {
			err = fmt.Errorf("header %s is %q: %w", key, v[0], ErrMalformed)
		}
		if err != nil && first == nil {
			first = err
		}
		return n
	}
	out.count, out.first, out.prev = num(hdrCount, 10, 64), num(hdrFirst, 10, 64), num(hdrPrev, 10, 64)
	out.from, out.to = int64(num(hdrFrom, 10, 63)), int64(num(hdrTo, 10, 63))
	out.crc = uint32(num(hdrCRC, 16, 32))
	return out, first
}
