package progress

import (
	"sync"

	"weir/ingest/event"
)

// most bounds what is remembered of calls that were given up. Forgetting costs
// no more than a repeated delivery.
const most = 100_000

// Notes keeps a *T for each message that a sink works at. It is safe for
// concurrent use; a *T belongs to the goroutine that delivers its partition.
type Notes[T any] struct {
	blank func() *T

	mu sync.Mutex
	of map[event.Position]*T
}

// New returns Notes without any. blank makes the one of a message that is new.
func New[T any](blank func() *T) *Notes[T] {
	return &Notes[T]{blank: blank, of: map[event.Position]*T{}}
}

// Of returns the note of the message at a position.
func (n *Notes[T]) Of(at event.Position) *T {
	n.mu.Lock()
	defer n.mu.Unlock()
	note := n.of[at]
	if note == nil {
		if len(n.of) >= most {
			clear(n.of)
		}
		note = n.blank()
		n.of[at] = note
	}
	return note
}

// Forget drops the note of a message whose call has succeeded.
func (n *Notes[T]) Forget(at event.Position) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.of, at)
}

// Len returns how many messages are remembered.
func (n *Notes[T]) Len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.of)
}
