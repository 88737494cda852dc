package window

import "unsafe"

// ring is a queue in a circle, which grows and shrinks by factors of two. The
// zero ring is empty.
type ring[T any] struct {
	buf  []T // its length is 0 or a power of two
	head uint32
	n    uint32
}

const minRing = 4

func (r *ring[T]) len() int { return int(r.n) }

// at returns a pointer to item i, counted from the front.
func (r *ring[T]) at(i int) *T { return &r.buf[(r.head+uint32(i))&uint32(len(r.buf)-1)] }

func (r *ring[T]) resize(size int) {
	buf := make([]T, size)
	for i := range r.len() {
		buf[i] = *r.at(i)
	}
	r.buf, r.head = buf, 0
}

func (r *ring[T]) push(v T) {
	if int(r.n) == len(r.buf) {
		r.resize(max(minRing, 2*len(r.buf)))
	}
	r.n++
	*r.at(int(r.n) - 1) = v
}

// insert puts v before item i, or at the end; it costs as many steps as items follow.
func (r *ring[T]) insert(i int, v T) {
	r.push(v)
	for j := r.len() - 1; j > i; j-- {
		*r.at(j) = *r.at(j - 1)
	}
	*r.at(i) = v
}

// remove takes item i out; it costs as many steps as items follow.
func (r *ring[T]) remove(i int) {
	for j := i; j < r.len()-1; j++ {
		*r.at(j) = *r.at(j + 1)
	}
	r.popBack()
}

func (r *ring[T]) popFront() {
	r.head = (r.head + 1) & uint32(len(r.buf)-1)
	r.n--
	r.shrink()
}

func (r *ring[T]) popBack() {
	r.n--
	r.shrink()
}

// shrink halves the buffer when a quarter of it is in use, so that a length
// that goes up and down by one does not resize at each step. A buffer of a cache
// line stays.
func (r *ring[T]) shrink() {
	if len(r.buf)*int(unsafe.Sizeof(r.buf[0])) > 64 && int(r.n) <= len(r.buf)/4 {
		r.resize(len(r.buf) / 2)
	}
}

// clear empties the ring, and keeps at most a small buffer.
func (r *ring[T]) clear() {
	if len(r.buf) > 4*minRing {
		r.buf = nil
	}
	r.head, r.n = 0, 0
}
