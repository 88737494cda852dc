package ring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// HeaderLen is the size of a chunk's header in bytes.
	HeaderLen = 8
	// MaxRecords is how many records one chunk may hold.
	MaxRecords = 1<<14 - 1

	minSize   = 4 << 10
	tagLength = 0x15 // field 2, fixed32
	tagPad    = 0x18 // field 3, varint
	tagFiller = 0xFF // never part of a batch
)

var (
	// ErrClosed is returned by Append and Wait after Close.
	ErrClosed = errors.New("ring is closed")
	// ErrTooLarge is returned for records that can never fit.
	ErrTooLarge = errors.New("records are larger than half the ring")
)

// Ring is a bounded byte queue for many producers and one consumer. Positions
// are byte counts since the ring was made and never wrap.
type Ring struct {
	mem  []byte // mem[p&mask]: the producer's that claimed p, from claim to commit; then the consumer's, until released
	mask uint64 // immutable

	_    [64]byte
	tail atomic.Uint64 // producers: next byte to claim
	_    [56]byte
	head atomic.Uint64 // consumer writes, producers read: all before it is free and zeroed
	_    [56]byte

	sleeping atomic.Bool   // consumer sets before it parks, whoever clears it wakes it
	wake     chan struct{} // capacity 1

	waiting atomic.Int32 // producers parked for space
	mu      sync.Mutex
	space   chan struct{} // guarded by mu: closed and replaced when space is released while producers wait
	closed  atomic.Bool
	stalls  atomic.Uint64 // appends that had to wait

	consumer struct { // only the goroutine that calls Next and Release
		next uint64 // first byte not handed out yet
	}
}

// New returns a ring of at least size bytes, rounded up to a power of two.
func New(size int) *Ring {
	n := minSize
	for n < size {
		n <<= 1
	}
	words := make([]uint64, n/8) // 8-byte aligned, for the headers
	return &Ring{
		mem:   unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), n),
		mask:  uint64(n - 1),
		wake:  make(chan struct{}, 1),
		space: make(chan struct{}),
	}
}

// Size returns the capacity in bytes.
func (r *Ring) Size() int { return len(r.mem) }

// Used returns how many bytes are claimed and not released.
func (r *Ring) Used() int {
	head := r.head.Load() // before tail, so that the difference is never negative
	return int(r.tail.Load() - head)
}

// Stalls returns how many appends have had to wait for space.
func (r *Ring) Stalls() uint64 { return r.stalls.Load() }

// header returns the word at a chunk's start.
func (r *Ring) header(pos uint64) *uint64 {
	return (*uint64)(unsafe.Pointer(&r.mem[pos&r.mask]))
}

// padding returns how many bytes follow n bytes of records: none, or at least
// two, because a field needs two.
func padding(n int) int {
	p := -n & 7
	if p == 1 {
		p = 9
	}
	return p
}

// Append copies encoded records into the ring as one chunk and returns the
// position after it: the records are durable once the consumer's watermark has
// reached it. It waits while the ring is full. Records of one producer keep
// their order.
func (r *Ring) Append(ctx context.Context, records []byte, n int) (uint64, error) {
	for first := true; ; first = false {
		end, ok, err := r.TryAppend(records, n)
		if ok || err != nil {
			return end, err
		}
		if first {
			r.stalls.Add(1)
		}
		if err := r.waitSpace(ctx, len(records)); err != nil {
			return 0, err
		}
	}
}

// TryAppend is Append that returns false instead of waiting.
func (r *Ring) TryAppend(records []byte, n int) (end uint64, ok bool, err error) {
	pad := padding(len(records))
	need := uint64(HeaderLen + len(records) + pad)
	if need > uint64(len(r.mem))/2 {
		return 0, false, fmt.Errorf("append %d bytes to a ring of %d: %w", len(records), len(r.mem), ErrTooLarge)
	}
	if n < 1 || n > MaxRecords {
		return 0, false, fmt.Errorf("append %d records: want 1 to %d", n, MaxRecords)
	}
	var pos, fill uint64
	for {
		if r.closed.Load() {
			return 0, false, ErrClosed
		}
		var room bool
		if pos, fill, room = r.room(need); !room {
			return 0, false, nil
		}
		if r.tail.CompareAndSwap(pos, pos+fill+need) {
			break
		}
	}
	if fill > 0 {
		atomic.StoreUint64(r.header(pos), word(tagFiller, fill, 0))
		pos += fill
	}
	at := r.mem[pos&r.mask:][:need]
	copy(at[HeaderLen:], records)
	putPadding(at[HeaderLen+len(records):])
	atomic.StoreUint64(r.header(pos), word(tagLength, need, n)) // commits
	if r.sleeping.Load() && r.sleeping.CompareAndSwap(true, false) {
		r.wake <- struct{}{}
	}
	return pos + need, true, nil
}

// room returns where a chunk of need bytes would begin, the filler before it,
// and whether both fit. head is read before tail: it never overtakes it.
func (r *Ring) room(need uint64) (pos, fill uint64, ok bool) {
	head := r.head.Load()
	pos = r.tail.Load()
	if rest := uint64(len(r.mem)) - pos&r.mask; rest < need {
		fill = rest
	}
	return pos, fill, pos+fill+need-head <= uint64(len(r.mem))
}

// word builds a header in memory order.
func word(tag byte, length uint64, records int) uint64 {
	b := [8]byte{tag, 0, 0, 0, 0, tagPad, byte(records) | 0x80, byte(records >> 7)}
	binary.LittleEndian.PutUint32(b[1:], uint32(length))
	return binary.NativeEndian.Uint64(b[:])
}

func unword(w uint64) (tag byte, length uint64, records int) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], w)
	return b[0], uint64(binary.LittleEndian.Uint32(b[1:])), int(b[6]&0x7f) | int(b[7])<<7
}

// putPadding writes field 3 with the value zero in exactly len(b) bytes.
func putPadding(b []byte) {
	if len(b) == 0 {
		return
	}
	b[0] = tagPad
	for i := 1; i < len(b)-1; i++ {
		b[i] = 0x80
	}
	b[len(b)-1] = 0
}

// waitSpace parks until space may be there.
func (r *Ring) waitSpace(ctx context.Context, n int) error {
	r.mu.Lock()
	ch := r.space
	r.waiting.Add(1)
	r.mu.Unlock()
	defer r.waiting.Add(-1)
	// Release reads waiting after it has moved head: one of the two sees the other.
	if _, _, ok := r.room(uint64(HeaderLen + n + padding(n))); ok || r.closed.Load() {
		return nil
	}
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for space in the ring: %w", ctx.Err())
	}
}

// Stretch is a contiguous run of committed chunks, in place.
type Stretch struct {
	Bytes   []byte // valid until Release(End)
	Records int
	Chunks  int
	Last    int    // where the last chunk starts in Bytes
	End     uint64 // position after it
}

// Next returns the committed chunks from where the last call ended, up to
// about max bytes (a single larger chunk is returned whole), or an empty
// Stretch if nothing is committed. Only the consumer calls it.
func (r *Ring) Next(max int) Stretch {
	var s Stretch
	pos := r.consumer.next
	start := pos
	for {
		if pos&r.mask == 0 && pos != start {
			break // the buffer ends here
		}
		if pos-r.head.Load() >= uint64(len(r.mem)) {
			break // a whole ring is handed out: what stands here is the oldest chunk, not a new one
		}
		w := atomic.LoadUint64(r.header(pos))
		if w == 0 {
			break
		}
		tag, length, n := unword(w)
		if tag == tagFiller {
			pos += length
			if s.Chunks > 0 {
				break
			}
			start = pos
			continue
		}
		if s.Chunks > 0 && int(pos-start+length) > max {
			break
		}
		s.Last = int(pos - start)
		s.Chunks++
		s.Records += n
		pos += length
	}
	if s.Chunks > 0 {
		// A trailing filler is handed out with the stretch: it is released with
		// it, but is not part of its bytes.
		end := start + uint64(s.Last) + r.chunkLen(start+uint64(s.Last))
		s.Bytes = r.mem[start&r.mask:][: end-start : end-start]
	}
	r.consumer.next = pos
	s.End = pos
	return s
}

func (r *Ring) chunkLen(pos uint64) uint64 {
	_, length, _ := unword(atomic.LoadUint64(r.header(pos)))
	return length
}

// Release gives everything before end back to the producers. Only the
// consumer calls it, with End of a Stretch, in order.
func (r *Ring) Release(end uint64) {
	head := r.head.Load()
	for head < end {
		at := head & r.mask
		n := min(end-head, uint64(len(r.mem))-at)
		clear(r.mem[at : at+n])
		head += n
	}
	r.head.Store(end)
	if r.waiting.Load() > 0 {
		r.broadcast()
	}
}

func (r *Ring) broadcast() {
	r.mu.Lock()
	close(r.space)
	r.space = make(chan struct{})
	r.mu.Unlock()
}

// Wait parks the consumer until a chunk is committed, the context ends or the
// ring is closed and drained (ErrClosed).
func (r *Ring) Wait(ctx context.Context) error {
	for {
		r.sleeping.Store(true)
		if r.ready() {
			r.unsleep()
			return nil
		}
		if r.closed.Load() && r.tail.Load() == r.consumer.next {
			r.unsleep()
			return ErrClosed
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			r.unsleep()
			return ctx.Err()
		}
	}
}

// unsleep takes back the announcement that the consumer parks, and the wake-up
// of a producer that answered it.
func (r *Ring) unsleep() {
	if !r.sleeping.CompareAndSwap(true, false) {
		<-r.wake
	}
}

func (r *Ring) ready() bool {
	pos := r.consumer.next
	return pos-r.head.Load() < uint64(len(r.mem)) && atomic.LoadUint64(r.header(pos)) != 0
}

// Close lets no further chunk in; what is in can still be taken. It is idempotent.
func (r *Ring) Close() error {
	if r.closed.Swap(true) {
		return nil
	}
	r.broadcast()
	if r.sleeping.CompareAndSwap(true, false) {
		r.wake <- struct{}{}
	}
	return nil
}
