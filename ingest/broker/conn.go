package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"golang.org/x/time/rate"

	"weir/ingest/broker/access"
)

var (
	errSlow        = errors.New("slow client: its write buffer is over the limit")
	errDrain       = errors.New("broker is stopping")
	errTakenOver   = errors.New("session taken over by another connection")
	errReceiveMax  = errors.New("receive maximum exceeded")
	errKeepAlive   = errors.New("keep alive timeout")
	errLevel       = errors.New("protocol level is not supported")
	errConnectTime = errors.New("no CONNECT in time")
)

// conn wraps an accepted connection. mochi reads from it and writes to it as if
// it were the socket; in between it takes plain PUBLISH frames for itself, and
// keeps every writer from waiting for the peer.
//
// It is a context.Context too, which ends when the connection is closed.
type conn struct {
	net.Conn
	b    *Broker
	raw  syscall.RawConn // nil where the bytes of the socket are not MQTT's (TLS, WebSocket)
	addr string          // peer's address without port, for the limit per address
	done chan struct{}   // closed by Close

	closing atomic.Bool
	live    atomic.Bool // the session is established: packets are read
	working atomic.Bool // the reader is at work on what it has read
	drained atomic.Bool // peer is gone or was cut: nothing to linger for

	w    writer
	gate gate // window is set before CONNACK

	// What follows is the reader's: whoever holds rmu.
	rmu sync.Mutex
	r   reader

	// Set once, before CONNACK, by the goroutine that reads.
	cl        *mqtt.Client
	sess      *session
	principal atomic.Pointer[access.Principal]
	certUser  string
	will      *will // the client's; nil: none
	refusal   byte  // reason in CONNACK in place of mochi's; 0: mochi's

	limiter *rate.Limiter
	v5      atomic.Bool
	ready   bool // CONNACK is out: plain frames may be taken
	goodbye bool // the client has said DISCONNECT, and wants no will published

	flow        flow        // what mochi queues and writes
	retaining   atomic.Bool // a SUBSCRIBE is worked on: retained messages may follow
	subscribing atomic.Bool // and its filters are checked
	asked       int64       // of them, those that the check takes for deliveries
	slow        atomic.Bool // it was cut off because it was slow

	looking sync.Mutex
	looks   bool // the connection holds Broker.retained for reading

	cur   current
	subID uint16 // packet id that the SUBSCRIBE in progress really has
}

// current is what was taken out of the PUBLISH that mochi is working on.
// Only the goroutine that reads touches it.
type current struct {
	id   uint16
	qos  byte
	dup  bool
	live bool
}

func newConn(b *Broker, nc net.Conn, addr string) *conn {
	c := &conn{Conn: nc, b: b, addr: addr, done: make(chan struct{}), flow: newFlow()}
	if t, ok := nc.(*net.TCPConn); ok {
		c.raw, _ = t.SyscallConn()
	}
	c.w.init(c)
	c.r.init(c)
	// A client that does not say CONNECT in time is dropped.
	_ = nc.SetReadDeadline(time.Now().Add(b.cfg.Limits.ConnectTimeout))
	return c
}

// Deadline, Done, Err and Value make conn a context for waits that must end
// with the connection.
func (c *conn) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *conn) Done() <-chan struct{}       { return c.done }
func (c *conn) Value(any) any               { return nil }
func (c *conn) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

// rights returns what the client may do; nil before it is authenticated.
func (c *conn) rights() *access.Principal { return c.principal.Load() }

// SetDeadline does nothing: mochi calls it for every packet it reads. The
// connection keeps the read deadline itself, see reader.refresh.
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Write queues b. It never waits for the peer.
func (c *conn) Write(b []byte) (int, error) {
	if len(b) == 2 && b[0] == typeDisconnect && !c.v5.Load() {
		return len(b), nil // before MQTT 5 a server has no DISCONNECT
	}
	var n int
	var err error
	if c.gate.window > 0 || !c.live.Load() {
		n, err = c.gate.write(&c.w, b)
	} else {
		n, err = c.w.put(b)
	}
	c.flow.wrote(b)
	return n, err
}

// Close lets what is buffered out, then closes the socket. It returns at once
// and is idempotent.
func (c *conn) Close() error {
	if c.closing.Swap(true) {
		return nil
	}
	close(c.done)
	c.b.wg.Add(1)
	go func() {
		defer c.b.wg.Done()
		c.finish()
	}()
	return nil
}

// cut closes the socket at once: the peer doesn't take what it is sent.
func (c *conn) cut() {
	c.drained.Store(true)
	_ = c.Conn.Close()
	_ = c.Close()
}

// finish flushes, half-closes and reads on for a second, so that the peer gets
// the reason in a DISCONNECT before a reset throws it away.
func (c *conn) finish() {
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // the reader leaves
	c.rmu.Lock()
	c.r.close()
	c.rmu.Unlock()
	c.w.drain()
	defer c.Conn.Close()
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || c.drained.Load() || half.CloseWrite() != nil {
		return
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(time.Second))
	var b [512]byte
	for n := 0; n < 1<<20; {
		k, err := c.Conn.Read(b[:])
		if n += k; err != nil {
			return
		}
	}
}

// Read gives mochi the next frame that the connection doesn't take itself, in
// one piece or several. It returns bytes of one frame at a time.
func (c *conn) Read(b []byte) (int, error) {
	c.rmu.Lock()
	defer c.rmu.Unlock()
	r := &c.r
	for {
		if c.closing.Load() {
			return 0, net.ErrClosed
		}
		if r.pass > 0 {
			n := copy(b, r.in[r.r:r.r+r.pass])
			r.r += n
			r.pass -= n
			return n, nil
		}
		err := r.scan()
		if err == nil && r.pass > 0 {
			continue
		}
		if err == nil {
			err = r.fill()
		}
		if err != nil {
			return 0, c.readError(err)
		}
	}
}

// readError says what is done about an error of the read side, counts it, and
// tells an MQTT 5 client the reason.
func (c *conn) readError(err error) error {
	s := &c.b.stats
	code := byte(0)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		c.drained.Store(true)
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		if c.closing.Load() {
			return net.ErrClosed
		}
		if c.b.draining.Load() {
			c.working.Store(false)
			<-c.done // drain closes it when the acks owed are out
			return errDrain
		}
		if !c.ready {
			s.ConnectTimeouts.Add(1)
			return errConnectTime
		}
		s.KeepAliveTimeouts.Add(1)
		err, code = errKeepAlive, 0x8D
	case errors.Is(err, errTooLarge):
		s.TooLarge.Add(1)
		code = 0x95
	case errors.Is(err, errMalformedLength):
		s.Malformed.Add(1)
		code = 0x81
	case errors.Is(err, errReceiveMax):
		s.ReceiveMaximum.Add(1)
		code = 0x93
	case errors.Is(err, errTakenOver), c.closing.Load():
	default:
		code = 0x80 // the log takes nothing more
	}
	if code != 0 && c.ready {
		c.disconnect(code)
	}
	return err
}

// disconnect writes a DISCONNECT with a reason to an MQTT 5 client.
func (c *conn) disconnect(code byte) {
	if c.v5.Load() {
		_, _ = c.w.put([]byte{typeDisconnect, 2, code, 0})
	}
}
