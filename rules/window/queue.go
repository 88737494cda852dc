package window

import (
	"encoding/binary"
	"math"
	"slices"
)

// queue holds samples by time, in a circle of records as small as they can be
// without losing a bit:
//
//	distance of the time from origin, 4 to 8 bytes | number, 2, 4 or 8 bytes
//
// Times of 18 minutes fit 5 bytes, though they are in nanoseconds, and of 3 days 6.
// What sensors measure has few decimals: then a number is an int16 or an int32, to
// be divided by a power of ten. All records are of one layout. It follows from the
// samples when one comes that does not fit; that takes all of them anew, but not
// before the window has gone on by twice its length, or a few times more. The zero
// queue is empty.
type queue struct {
	buf     []byte // of room records, and up to overrun more
	origin  int64
	head, n uint32
	room    uint32 // records in buf; 0 if there is no layout yet
	layout
}

// layout is how records are written.
type layout struct {
	timeBytes   uint8
	numberBytes uint8
	places      uint8 // decimals of numbers, or wide
	stride      uint8 // bytes of a record
}

const (
	maxPlaces = 6
	wide      = maxPlaces + 1 // numbers are the 8 bytes of a float64; so are texts
	overrun   = 2             // the least record has 6 bytes, and 8 are read at once
)

var powers = [maxPlaces + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6}

// decimal returns the n for which a number is n/10^places, to the bit, and
// false if there is none.
func decimal(bits uint64, places uint8) (int32, bool) {
	y := math.RoundToEven(math.Float64frombits(bits) * powers[places])
	if !(math.Abs(y) <= math.MaxInt32) {
		return 0, false
	}
	return int32(y), math.Float64bits(float64(int32(y))/powers[places]) == bits
}

func (q *queue) len() int { return int(q.n) }

// mask is the largest distance that a time can be from origin.
func (l *layout) mask() uint64 { return 1<<(8*l.timeBytes) - 1 }

// record returns the bytes from record i on, counted from the front.
func (q *queue) record(i int) []byte {
	j := q.head + uint32(i)
	if j >= q.room {
		j -= q.room
	}
	return q.buf[int(j)*int(q.stride):]
}

// time returns the time of sample i.
func (q *queue) time(i int) int64 {
	return q.origin + int64(binary.LittleEndian.Uint64(q.record(i))&q.mask())
}

// at returns sample i.
func (q *queue) at(i int) sample {
	b := q.record(i)
	s := sample{t: q.origin + int64(binary.LittleEndian.Uint64(b)&q.mask())}
	switch b = b[q.timeBytes:]; q.numberBytes {
	case 8:
		s.bits = binary.LittleEndian.Uint64(b)
	case 4:
		s.bits = math.Float64bits(float64(int32(binary.LittleEndian.Uint32(b))) / powers[q.places])
	default:
		s.bits = math.Float64bits(float64(int16(binary.LittleEndian.Uint16(b))) / powers[q.places])
	}
	return s
}

// set makes record i that of s, and reports whether it can hold it.
func (q *queue) set(i int, s sample) bool {
	d := uint64(s.t) - uint64(q.origin)
	if s.t < q.origin || d > q.mask() {
		return false
	}
	b := q.record(i)
	if q.places == wide {
		binary.LittleEndian.PutUint64(b, d) // what is too much is the number's place
		binary.LittleEndian.PutUint64(b[q.timeBytes:], s.bits)
		return true
	}
	n, ok := decimal(s.bits, q.places)
	switch {
	case !ok || q.numberBytes == 2 && n != int32(int16(n)):
		return false
	case q.numberBytes == 4:
		binary.LittleEndian.PutUint64(b, d)
		binary.LittleEndian.PutUint32(b[q.timeBytes:], uint32(n))
	default: // there may be no place for 8 bytes, and others behind
		binary.LittleEndian.PutUint32(b, uint32(d))
		for j := 4; j < int(q.timeBytes); j++ {
			b[j] = byte(d >> (8 * j))
		}
		binary.LittleEndian.PutUint16(b[q.timeBytes:], uint16(n))
	}
	return true
}

// insert puts s before sample i, or at the end; it costs as many steps as samples follow.
func (q *queue) insert(i int, s sample) {
	if q.n == q.room && q.n > 0 {
		q.resize(spare(q.len()))
	}
	if q.room == 0 || !q.set(q.len(), s) {
		q.arrange(s)
		q.set(q.len(), s)
	}
	q.n++
	if i == q.len()-1 {
		return
	}
	for j := q.len() - 1; j > i; j-- {
		copy(q.record(j)[:q.stride], q.record(j - 1)[:q.stride])
	}
	q.set(i, s)
}

func (q *queue) popFront() {
	if q.head++; q.head == q.room {
		q.head = 0
	}
	q.n--
	if len(q.buf) > 64 && q.n <= q.room/4 {
		q.resize(int(q.room / 2))
	}
}

// clear empties the queue, and keeps at most a small buffer.
func (q *queue) clear() {
	buf := q.buf
	if len(buf) > 128 {
		buf = nil
	}
	*q = queue{buf: buf}
}

// spare returns for how many samples there should be room if there is none
// for one more than n.
func spare(n int) int {
	if n < 64 {
		return n + max(2, n/10)
	}
	return n + n/4
}

// allocate returns at least n bytes, and all that the allocator gives with them.
func allocate(n int) []byte {
	b := slices.Grow([]byte(nil), n)
	return b[:cap(b)]
}

// resize makes room for n samples.
func (q *queue) resize(n int) {
	buf := allocate(n*int(q.stride) + overrun)
	size := int(q.stride)
	first := min(q.n, q.room-q.head)
	k := copy(buf, q.buf[int(q.head)*size:int(q.head+first)*size])
	copy(buf[k:], q.buf[:int(q.n-first)*size])
	q.head = 0
	q.take(buf)
}

// take makes a buffer that of the queue.
func (q *queue) take(buf []byte) {
	q.buf, q.room = buf, uint32((len(buf)-overrun)/int(q.stride))
}

// arrange chooses the layout for the samples and s, and makes room for one more.
func (q *queue) arrange(s sample) {
	var m measure
	for i := range q.len() {
		m.add(q.at(i))
	}
	m.add(s)
	to, ok := q.rearranged(s, m.first, m.layout())
	if !ok {
		m.places = wide
		to, _ = q.rearranged(s, m.first, m.layout())
	}
	*q = to
}

// rearranged returns a queue of the same samples in a layout, with room for one
// more, and whether they and s fit it.
func (q *queue) rearranged(s sample, origin int64, l layout) (queue, bool) {
	to := queue{origin: origin, n: q.n, layout: l}
	buf, size := q.buf, int(l.stride)
	if q.n > 0 || len(buf) < 2*size+overrun {
		buf = allocate(max(3, q.len()+1, spare(q.len()-1))*size + overrun)
	}
	to.take(buf)
	for i := range q.len() {
		if !to.set(i, q.at(i)) {
			return to, false
		}
	}
	return to, to.set(q.len(), s)
}

// reserve makes room for samples that an empty queue is to get.
func (q *queue) reserve(m *measure) {
	*q = queue{origin: m.first, layout: m.layout()}
	q.take(allocate(m.n*int(q.stride) + overrun))
}

// measure is what a layout follows from.
type measure struct {
	n           int
	first, last int64 // times
	places      uint8
	most        float64 // of the numbers, without sign
}

func (m *measure) add(s sample) {
	if m.n++; m.n == 1 {
		m.first, m.last = s.t, s.t
	}
	m.first, m.last = min(m.first, s.t), max(m.last, s.t)
	if m.places = decimals(s.bits, m.places); m.places < wide {
		m.most = max(m.most, math.Abs(s.number()))
	}
}

// layout returns the smallest layout in which the samples fit.
func (m *measure) layout() layout {
	l := layout{timeBytes: 4, places: m.places}
	for span := uint64(m.last) - uint64(m.first); l.timeBytes < 8 && span > l.mask()/2; {
		l.timeBytes++
	}
	if l.places < wide && math.RoundToEven(m.most*powers[l.places]) > math.MaxInt32 { // the decimals that one has make another too long
		l.places = wide
	}
	switch {
	case l.places == wide:
		l.numberBytes = 8
	case math.RoundToEven(m.most*powers[l.places]) > math.MaxInt16:
		l.numberBytes = 4
	default:
		l.numberBytes = 2
	}
	l.stride = l.timeBytes + l.numberBytes
	return l
}

// decimals returns how many decimals a number has, or wide if they are too
// many; at least is what others have.
func decimals(bits uint64, atLeast uint8) uint8 {
	for ; atLeast < wide; atLeast++ {
		if _, ok := decimal(bits, atLeast); ok {
			break
		}
	}
	return atLeast
}
