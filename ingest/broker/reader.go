package broker

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	readSize  = 64 << 10 // pooled read buffer
	stashUnit = 256      // an idle connection's rest of a frame is kept in multiples of this
	minFree   = 2 << 10  // a read asks for at least this much
)

// reader is the read side of a connection. An idle TCP connection holds no
// buffer: the poller waits, and a pooled buffer is taken when there is
// something to read. A frame is gathered whole before anybody looks at it, in
// memory that grows with what has arrived, not with what was announced.
type reader struct {
	c *conn

	in     []byte // in[r:w] is read and not used up
	r, w   int
	pooled *[readSize]byte // in's array, if it is from the pool
	size   int             // how large a buffer is wanted where it can't be pooled
	need   int             // length of the frame in progress, if known
	pass   int             // bytes at r that mochi is to get
	lone   byte            // the body of that frame, if it is one byte

	readFn  func(fd uintptr) bool
	readErr error
	fresh   bool // frames were used since the deadline was set
	dead    time.Duration
	set     int64 // when the deadline was last set, unix ns

	topics  map[string]*topicInfo
	last    *topicInfo
	aliases []string
	f       plain
}

func (r *reader) init(c *conn) {
	r.c = c
	if c.raw != nil {
		r.readFn = r.readRaw
	}
}

// close gives the buffer back.
func (r *reader) close() { r.drop() }

func (r *reader) drop() {
	if r.pooled != nil {
		r.c.b.buffers.Put(r.pooled)
	}
	r.in, r.pooled, r.r, r.w, r.pass = nil, nil, 0, 0, 0
}

// room makes space behind what is buffered.
func (r *reader) room() {
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	free := len(r.in) - r.w
	if free >= minFree && r.r+r.need <= len(r.in) {
		return
	}
	if r.r > 0 && r.in != nil {
		r.w = copy(r.in, r.in[r.r:r.w])
		r.r = 0
	}
	want := min(r.need, 2*r.w) // grow with what has come
	if len(r.in)-r.w >= minFree && len(r.in) >= want {
		return
	}
	old, pooled := r.in[:r.w], r.pooled
	switch size := max(want, r.w+minFree); {
	case size > readSize:
		r.in, r.pooled = make([]byte, size), nil
	case r.readFn == nil:
		// No poller says that there is something, so the buffer is held while
		// the connection is idle: keep it small until reads fill it.
		r.in, r.pooled = make([]byte, max(size, r.size)), nil
	default:
		r.pooled = r.c.b.buffers.Get().(*[readSize]byte)
		r.in = r.pooled[:]
	}
	copy(r.in, old)
	if pooled != nil {
		r.c.b.buffers.Put(pooled)
	}
}

// rest shrinks the buffer to what is in it, before a wait.
func (r *reader) rest() {
	n := r.w - r.r
	if n == 0 {
		r.drop()
		return
	}
	if r.pooled == nil {
		return
	}
	small := make([]byte, (n+stashUnit-1)/stashUnit*stashUnit)
	copy(small, r.in[r.r:r.w])
	r.drop()
	r.in, r.w = small, n
}

// readRaw is called by the runtime's poller, first at once and then whenever
// the socket is readable.
func (r *reader) readRaw(fd uintptr) bool {
	if r.c.closing.Load() {
		r.readErr = net.ErrClosed
		return true
	}
	r.room()
	for {
		n, err := syscall.Read(int(fd), r.in[r.w:])
		switch {
		case err == syscall.EAGAIN:
			r.rest()
			return false
		case err == syscall.EINTR:
			continue
		case err != nil:
			r.readErr = err
		case n == 0:
			r.readErr = io.EOF
		default:
			r.w += n
		}
		return true
	}
}

// fill waits for more bytes.
func (r *reader) fill() error {
	r.c.working.Store(false)
	defer r.c.working.Store(true)
	if r.c.b.draining.Load() {
		<-r.c.done // what is not read is not acknowledged; drain closes us
		return errDrain
	}
	r.refresh()
	if r.readFn != nil {
		r.readErr = nil
		if err := r.c.raw.Read(r.readFn); err != nil {
			return err
		}
		return r.readErr
	}
	if r.r == r.w && len(r.in) > max(r.size, minFree) {
		r.drop()
	}
	r.room()
	free := len(r.in) - r.w
	n, err := r.c.Conn.Read(r.in[r.w:])
	r.w += n
	if n == free {
		r.size = min(readSize, max(2*r.size, 2*minFree))
	} else if n < r.size/8 {
		r.size /= 2
	}
	if n > 0 {
		return nil
	}
	return err
}

// refresh moves the read deadline after whole frames have come, at most once a
// second: keep alive counts packets, not bytes.
func (r *reader) refresh() {
	if !r.fresh || r.dead == 0 {
		return
	}
	now := time.Now()
	if now.UnixNano()-r.set < int64(time.Second) {
		return
	}
	r.fresh, r.set = false, now.UnixNano()
	if !r.c.closing.Load() && !r.c.b.draining.Load() {
		_ = r.c.Conn.SetReadDeadline(now.Add(r.dead))
		if r.c.closing.Load() || r.c.b.draining.Load() {
			_ = r.c.Conn.SetReadDeadline(time.Unix(1, 0)) // we may have undone the kick
		}
	}
}

// keepAlive sets how long the client may be silent; 0: for ever.
func (r *reader) keepAlive(d time.Duration) {
	r.dead = d
	var t time.Time
	if d > 0 {
		t = time.Now().Add(d)
	}
	r.set = time.Now().UnixNano()
	if !r.c.closing.Load() && !r.c.b.draining.Load() {
		_ = r.c.Conn.SetReadDeadline(t)
	}
}

// scan works off the complete frames in the buffer, up to the first that mochi
// is to get: pass is its length then. What was taken before it is in the ring,
// and its acks are owed, when scan returns. A client that may publish so often
// only is served in pieces, so that its acks and pings don't wait long.
func (r *reader) scan() error {
	for {
		more, err := r.some()
		if err != nil || !more || r.c.closing.Load() || r.c.b.draining.Load() {
			return err
		}
	}
}

// some is a piece of scan. It reports whether there may be more.
func (r *reader) some() (more bool, err error) {
	c := r.c
	limit := c.b.cfg.Limits.MaxPacket
	if !c.ready {
		limit = c.b.cfg.Limits.MaxConnect
	}
	var b *batch
	var bytes, packets int
	r.need = 0
	for r.w-r.r >= 2 {
		if c.limiter != nil && packets >= max(1, c.limiter.Burst()/8) {
			more = true
			break
		}
		buf := r.in[r.r:r.w]
		head, total, ferr := frameLength(buf)
		if ferr == nil && total > limit {
			ferr = errTooLarge
		}
		if ferr != nil {
			err = ferr
			break
		}
		if total == 0 || total > len(buf) {
			r.need = total
			break
		}
		r.fresh = true
		if !c.ready && buf[0] == typeConnect {
			if refusal := refuseLevel(buf[head:total]); refusal != nil {
				_, _ = c.w.put(refusal)
				err = errLevel
				break
			}
		}
		if isPlain(buf[0]) && c.ready && c.b.cfg.FastPath && r.f.parse(buf[0], buf[head:total], c.v5.Load()) {
			if b == nil {
				b = c.b.batches.Get().(*batch)
				b.begin(c)
			}
			taken, terr := b.take(&r.f)
			if terr != nil {
				err = terr
				break
			}
			if taken {
				r.r += total
				bytes += total
				packets++
				continue
			}
		}
		r.pass = total
		r.lone = 0
		if total == 3 {
			r.lone = buf[2]
		}
		break
	}
	if b != nil {
		if cerr := b.commit(); cerr != nil && err == nil {
			err, r.pass = cerr, 0
		}
		b.end()
		info := c.b.server.Info
		atomic.AddInt64(&info.BytesReceived, int64(bytes))
		atomic.AddInt64(&info.PacketsReceived, int64(packets))
		atomic.AddInt64(&info.MessagesReceived, int64(packets))
		if c.limiter != nil && err == nil {
			err = c.pace(packets)
		}
	}
	return more, err
}

// pace holds the client back to its publish rate, until the broker drains.
func (c *conn) pace(n int) error {
	for n > 0 {
		k := min(n, c.limiter.Burst())
		n -= k
		d := c.limiter.ReserveN(time.Now(), k).Delay()
		if d <= 0 {
			continue
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-c.b.drain:
			t.Stop()
			return nil
		case <-c.done:
			t.Stop()
			return net.ErrClosed
		}
	}
	return nil
}

// newBuffers returns the pool of read buffers that all connections share.
func newBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return new([readSize]byte) }}
}
