package eventlog

import "sync/atomic"

// Waiter is called once after the durable position of a committer has moved.
// Who waits owns it and may register the same Waiter again and again; while it
// is registered, registering it does nothing.
type Waiter struct {
	// Wake is called by the committer's goroutine, or by Register itself when
	// the position had already moved: it must not block.
	Wake func()

	next   *Waiter
	queued atomic.Bool
}

// watermark is the durable position of one partition and who waits for it.
type watermark struct {
	durable atomic.Uint64
	waiters atomic.Pointer[Waiter] // a stack of those that wait
}

// Durable returns the ring position up to which everything is on disk.
func (m *watermark) Durable() uint64 { return m.durable.Load() }

// Register asks for one call of w.Wake after the durable position has reached
// pos or moved at all. If pos is durable already, Wake is called at once.
func (m *watermark) Register(w *Waiter, pos uint64) {
	if w.queued.CompareAndSwap(false, true) {
		for {
			top := m.waiters.Load()
			w.next = top
			if m.waiters.CompareAndSwap(top, w) {
				break
			}
		}
	}
	// The committer stores durable before it takes the stack, so either it sees
	// w there or we see the new position here.
	if m.durable.Load() >= pos {
		w.Wake()
	}
}

// advance publishes a new durable position and wakes who waits.
func (m *watermark) advance(pos uint64) {
	m.durable.Store(pos)
	for w := m.waiters.Swap(nil); w != nil; {
		next := w.next
		w.next = nil
		w.queued.Store(false)
		w.Wake()
		w = next
	}
}
