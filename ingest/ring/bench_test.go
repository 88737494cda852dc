package ring

import (
	"context"
	"fmt"
	"sync"
	"testing"
)

// queue is what the benchmark compares: one call per socket read.
type queue interface {
	put(b []byte, n int)
	drain(n int) // until n records have come
}

type ringQueue struct{ r *Ring }

func (q ringQueue) put(b []byte, n int) { q.r.Append(context.Background(), b, n) }
func (q ringQueue) drain(n int) {
	for n > 0 {
		s := q.r.Next(256 << 10)
		if s.Chunks == 0 {
			q.r.Wait(context.Background())
			continue
		}
		n -= s.Records
		q.r.Release(s.End)
	}
}

// chanQueue is the plain Go way: a channel of copies.
type chanQueue struct{ ch chan chunk }

type chunk struct {
	b []byte
	n int
}

func (q chanQueue) put(b []byte, n int) { q.ch <- chunk{append([]byte(nil), b...), n} }
func (q chanQueue) drain(n int) {
	var batch []byte
	for n > 0 {
		c := <-q.ch
		if len(batch) > 256<<10 {
			batch = batch[:0]
		}
		batch = append(batch, c.b...)
		n -= c.n
	}
}

// mutexQueue appends to the open batch under a lock.
type mutexQueue struct {
	mu    *sync.Mutex
	cond  *sync.Cond
	state *struct {
		buf, spare []byte
		n          int
	}
}

func (q mutexQueue) put(b []byte, n int) {
	q.mu.Lock()
	for len(q.state.buf) > 256<<10 {
		q.cond.Wait()
	}
	q.state.buf = append(q.state.buf, b...)
	q.state.n += n
	q.mu.Unlock()
	q.cond.Broadcast()
}
func (q mutexQueue) drain(n int) {
	for n > 0 {
		q.mu.Lock()
		for q.state.n == 0 {
			q.cond.Wait()
		}
		n -= q.state.n
		q.state.buf, q.state.spare, q.state.n = q.state.spare[:0], q.state.buf, 0
		q.mu.Unlock()
		q.cond.Broadcast()
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, impl := range []string{"ring", "mutex", "chan"} {
		for _, producers := range []int{1, 4, 50} {
			for _, batch := range []int{1, 16, 100} {
				b.Run(fmt.Sprintf("impl=%s/producers=%d/batch=%d", impl, producers, batch), func(b *testing.B) {
					var q queue
					switch impl {
					case "ring":
						q = ringQueue{New(8 << 20)}
					case "chan":
						q = chanQueue{make(chan chunk, 1024)}
					case "mutex":
						m := new(sync.Mutex)
						q = mutexQueue{m, sync.NewCond(m), &struct {
							buf, spare []byte
							n          int
						}{}}
					}
					one := record(nil, make([]byte, 120))
					var body []byte
					for range batch {
						body = append(body, one...)
					}
					each := b.N/producers/batch + 1
					b.SetBytes(int64(len(one)))
					b.ReportAllocs()
					b.ResetTimer()
					for range producers {
						go func() {
							for range each {
								q.put(body, batch)
							}
						}()
					}
					q.drain(each * producers * batch)
				})
			}
		}
	}
}
