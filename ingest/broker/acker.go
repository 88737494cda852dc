package broker

import (
	"context"
	"sync"
)

// acker writes acks after commits, so that committers never wait for sockets.
type acker struct {
	mu    sync.Mutex
	queue []*session // woken, to be flushed
	wake  chan struct{}
}

func newAcker() *acker { return &acker{wake: make(chan struct{}, 1)} }

// put queues a session. It never blocks.
func (a *acker) put(s *session) {
	a.mu.Lock()
	a.queue = append(a.queue, s)
	first := len(a.queue) == 1
	a.mu.Unlock()
	if first {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// run flushes sessions until ctx ends.
func (a *acker) run(ctx context.Context) {
	var spare []*session
	for {
		select {
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		a.mu.Lock()
		todo := a.queue
		a.queue = spare[:0]
		a.mu.Unlock()
		for i, s := range todo {
			s.queued.Store(false) // before flush: what becomes durable from now on queues it again
			s.flush()
			todo[i] = nil
		}
		spare = todo
	}
}
