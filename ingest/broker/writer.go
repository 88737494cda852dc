package broker

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// writer is the write side of a connection: bytes go to the socket at once if
// it takes them, else to a bounded buffer that a short-lived goroutine drains.
type writer struct {
	c *conn

	mu       sync.Mutex
	out      []byte // waits to be written
	flushing bool   // a goroutine is at it; it alone writes to the socket
	closed   bool   // no more is taken
	err      error
	low      chan struct{} // not nil: closed when out has gone below half its bound

	now   []byte // argument and results of try, under mu
	nowN  int
	nowFn func(fd uintptr) bool
}

func (w *writer) init(c *conn) {
	w.c = c
	w.nowFn = func(fd uintptr) bool {
		w.nowN, _ = syscall.Write(int(fd), w.now)
		return true
	}
}

// put takes all of b, which is whole packets, or fails. A peer that lets the buffer overflow is cut.
func (w *writer) put(b []byte) (int, error) {
	n := len(b)
	w.mu.Lock()
	if w.err != nil || w.closed {
		err := w.err
		w.mu.Unlock()
		if err == nil {
			err = net.ErrClosed
		}
		return 0, err
	}
	w.closed = b[0] == typeDisconnect // nothing may follow it
	if !w.flushing && w.c.raw != nil {
		b = b[w.tryLocked(b):]
		if len(b) == 0 {
			w.mu.Unlock()
			return n, nil
		}
	}
	if len(w.out)+len(b) > w.c.b.cfg.Limits.WriteBuffer {
		w.err = errSlow
		w.mu.Unlock()
		w.c.tooSlow("mqtt.limits.write_buffer is full")
		w.c.cut()
		return 0, errSlow
	}
	w.out = append(w.out, b...)
	if !w.flushing {
		w.flushing = true
		go w.flush() // ends when the buffer is empty or the socket fails
	}
	w.mu.Unlock()
	return n, nil
}

// tryLocked writes without waiting and returns how much the socket took. An
// error of the socket shows at the next write or read.
func (w *writer) tryLocked(b []byte) int {
	w.now, w.nowN = b, 0
	err := w.c.raw.Write(w.nowFn)
	w.now = nil
	if err != nil || w.nowN < 0 {
		return 0
	}
	return w.nowN
}

// flush writes until the buffer is empty.
func (w *writer) flush() {
	var spare []byte
	w.mu.Lock()
	for len(w.out) > 0 && w.err == nil {
		out := w.out
		w.out = spare[:0]
		w.mu.Unlock()
		_ = w.c.Conn.SetWriteDeadline(time.Now().Add(w.c.b.cfg.Limits.WriteTimeout))
		_, err := w.c.Conn.Write(out)
		_ = w.c.Conn.SetWriteDeadline(time.Time{})
		spare = nil
		if cap(out) <= 64<<10 {
			spare = out
		}
		w.mu.Lock()
		if err != nil && w.err == nil {
			w.err = err
			if errors.Is(err, os.ErrDeadlineExceeded) {
				w.c.tooSlow("it took nothing for mqtt.limits.write_timeout")
			}
		}
		if w.low != nil && len(w.out) < w.c.b.cfg.Limits.WriteBuffer/2 {
			close(w.low)
			w.low = nil
		}
	}
	w.out = nil
	w.flushing = false
	if w.low != nil {
		close(w.low)
		w.low = nil
	}
	bad, closed := w.err != nil, w.closed
	w.mu.Unlock()
	if bad && !closed {
		w.c.cut()
	}
}

// full reports whether n more bytes would bring the buffer over half its bound.
func (w *writer) full(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.out)+n > w.c.b.cfg.Limits.WriteBuffer/2
}

// wait returns when the buffer is below half its bound or the connection ends.
func (w *writer) wait() {
	w.mu.Lock()
	if len(w.out) < w.c.b.cfg.Limits.WriteBuffer/2 || w.err != nil || w.closed || !w.flushing {
		w.mu.Unlock()
		return
	}
	if w.low == nil {
		w.low = make(chan struct{})
	}
	low := w.low
	w.mu.Unlock()
	select {
	case <-low:
	case <-w.c.done:
	}
}

// drain takes nothing more and returns when what was taken is written, or the
// write deadline has passed.
func (w *writer) drain() {
	w.mu.Lock()
	w.closed = true
	for w.flushing && w.err == nil {
		if w.low == nil {
			w.low = make(chan struct{})
		}
		low := w.low
		w.mu.Unlock()
		<-low // flush closes it, at the latest when it ends
		w.mu.Lock()
	}
	w.mu.Unlock()
}
