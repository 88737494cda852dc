package window

import (
	"encoding/binary"
	"math"
	"slices"
)

// queue holds samples by time, in a circle of records as small as they can be
// without losing a bit:
//
//	distance of the time from origin, 4 to 8 bytes | number, 4 or 8 bytes
//
// Times of 18 minutes fit 5 bytes, though they are in nanoseconds, and of 3 days 6.
// What sensors measure has few decimals: then a number is an int32, to be divided
// by a power of ten. All records are of one layout. It follows from the samples when one
// comes that does not fit; that takes all of them anew, but not before the window
// has gone on by twice its length, or never again. The zero queue is empty.
type queue struct {
	buf       []byte
	origin    int64
	head, n   uint32
	room      uint32 // records in buf; 0 if there is no layout yet
	timeBytes uint8
	places    uint8 // decimals of numbers, or wide
	stride    uint8 // bytes of a record: at least 8, so that 8 can be read at once
}

const (
	maxPlaces = 6
	wide      = maxPlaces + 1 // numbers are the 8 bytes of a float64; so are texts
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
func (q *queue) mask() uint64 { return 1<<(8*q.timeBytes) - 1 }

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
	if b = b[q.timeBytes:]; q.places == wide {
		s.bits = binary.LittleEndian.Uint64(b)
	} else {
		s.bits = math.Float64bits(float64(int32(binary.LittleEndian.Uint32(b))) / powers[q.places])
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
		binary.LittleEndian.PutUint64(b, d)
		binary.LittleEndian.PutUint64(b[q.timeBytes:], s.bits)
		return true
	}
	n, ok := decimal(s.bits, q.places)
	if ok {
		binary.LittleEndian.PutUint64(b, d) // what is too much is the number's place
		binary.LittleEndian.PutUint32(b[q.timeBytes:], uint32(n))
	}
	return ok
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
		return n + max(2, n/8)
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
	buf := allocate(n * int(q.stride))
	size := int(q.stride)
	first := min(q.n, q.room-q.head)
	k := copy(buf, q.buf[int(q.head)*size:int(q.head+first)*size])
	copy(buf[k:], q.buf[:int(q.n-first)*size])
	q.buf, q.head, q.room = buf, 0, uint32(len(buf)/size)
}

// arrange chooses the layout for the samples and s, and makes room for one more.
func (q *queue) arrange(s sample) {
	first, last, places := s.t, s.t, decimals(s.bits, 0)
	if q.n > 0 {
		first, last = min(first, q.time(0)), max(last, q.time(q.len()-1))
	}
	for i := 0; i < q.len() && places < wide; i++ {
		places = decimals(q.at(i).bits, places)
	}
	to := queue{origin: first, timeBytes: 4}
	for span := uint64(last) - uint64(first); to.timeBytes < 8 && span > to.mask()/2; {
		to.timeBytes++
	}
	fill := func(places uint8) bool {
		to.layOut(q, places)
		for i := range q.len() {
			if !to.set(i, q.at(i)) {
				return false
			}
		}
		_, ok := decimal(s.bits, min(places, maxPlaces))
		return ok || places == wide
	}
	if !fill(places) { // the decimals that one has make another too long
		fill(wide)
	}
	to.n = q.n
	*q = to
}

// layOut takes a buffer for the samples of another queue and one more.
func (q *queue) layOut(from *queue, places uint8) {
	q.places, q.stride = places, q.timeBytes+4
	if places == wide {
		q.stride += 4
	}
	q.buf = from.buf
	if from.n > 0 || len(q.buf) < 2*int(q.stride) {
		q.buf = allocate(max(3, from.len()+1, spare(from.len()-1)) * int(q.stride))
	}
	q.room = uint32(len(q.buf) / int(q.stride))
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
