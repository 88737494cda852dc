package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// listener accepts connections of one kind.
type listener struct {
	net.Listener
	kind  string
	tls   *tls.Config // nil: plain
	serve func(b *Broker)
	once  sync.Once
	err   error
}

func (l *listener) close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// listen opens every listener. A port that is taken is an error.
func (b *Broker) listen(ctx context.Context) error {
	open := func(kind, addr string) (*listener, error) {
		nl, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen for mqtt over %s: %w", kind, err)
		}
		l := &listener{Listener: nl, kind: kind}
		l.serve = func(b *Broker) { b.accept(l) }
		b.listeners = append(b.listeners, l)
		return l, nil
	}
	if b.cfg.Listen != "" {
		if _, err := open("tcp", b.cfg.Listen); err != nil {
			return err
		}
	}
	var certs *tls.Config
	if b.cfg.TLS.Listen != "" || b.cfg.WebSocket.Listen != "" && b.cfg.WebSocket.TLS {
		var err error
		if certs, err = newCertificates(b.cfg.TLS, b.log); err != nil {
			return err
		}
	}
	if b.cfg.TLS.Listen != "" {
		l, err := open("tls", b.cfg.TLS.Listen)
		if err != nil {
			return err
		}
		l.tls = certs
	}
	if b.cfg.WebSocket.Listen != "" {
		l, err := open("websocket", b.cfg.WebSocket.Listen)
		if err != nil {
			return err
		}
		if b.cfg.WebSocket.TLS {
			l.Listener = tls.NewListener(l.Listener, certs)
		}
		l.serve = func(b *Broker) { b.serveWebSocket(l) }
	}
	return nil
}

// accept takes connections until the listener is closed.
func (b *Broker) accept(l *listener) {
	var lim *rate.Limiter
	if r := b.cfg.Limits.AcceptRate; r > 0 {
		lim = newLimiter(r)
	}
	for {
		if lim != nil && lim.Wait(b.ctx) != nil {
			return
		}
		nc, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) || b.draining.Load() {
				return
			}
			b.log.Warn("accept failed, trying again", "listener", l.kind, "err", err)
			select { // out of file descriptors: give it time
			case <-time.After(50 * time.Millisecond):
				continue
			case <-b.ctx.Done():
				return
			}
		}
		if l.tls != nil {
			nc = tls.Server(nc, l.tls)
		}
		c := b.admit(nc)
		if c == nil {
			_ = nc.Close()
			continue
		}
		b.spawn(func() { b.serveConn(l, c) })
	}
}

// admit counts a new socket against the limits, nil if it is one too many.
func (b *Broker) admit(nc net.Conn) *conn {
	addr, _, _ := net.SplitHostPort(nc.RemoteAddr().String())
	b.mu.Lock()
	defer b.mu.Unlock()
	// A few more than may connect, so that a client over the limit is told so
	// in CONNACK while it lasts.
	if b.state == closed || b.draining.Load() || len(b.conns) >= b.cfg.Limits.Connections+b.cfg.Limits.Connections/8+16 {
		b.stats.RefusedBusy.Add(1)
		if b.state != closed && !b.draining.Load() {
			b.clientRefused("max_connections", "", "", nc.RemoteAddr().String(), "limit", b.cfg.Limits.Connections)
		}
		return nil
	}
	if n := b.cfg.Limits.PerAddress; n > 0 && b.perAddr[addr] >= n {
		b.stats.RefusedAddress.Add(1)
		b.clientRefused("connections_per_address", "", "", nc.RemoteAddr().String(), "limit", n)
		return nil
	}
	b.stats.Accepted.Add(1)
	b.wg.Add(1) // until release; Close waits only after it has set the state
	c := newConn(b, nc, addr)
	b.conns[c] = struct{}{}
	b.perAddr[addr]++
	return c
}

// release takes a connection off the books.
func (b *Broker) release(c *conn) {
	defer b.wg.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
	if b.perAddr[c.addr]--; b.perAddr[c.addr] <= 0 {
		delete(b.perAddr, c.addr)
	}
}

// serveConn runs a connection to its end.
func (b *Broker) serveConn(l *listener, c *conn) {
	defer b.release(c)
	defer b.endWill(c) // mochi tells nobody of a connection that ends before CONNACK is out
	defer c.Close()
	if t, ok := c.Conn.(*tls.Conn); ok {
		if err := t.HandshakeContext(c); err != nil { // within the deadline for CONNECT
			b.stats.RefusedTLS.Add(1)
			b.log.Debug("handshake failed", "listener", l.kind, "remote", c.addr, "err", err)
			c.drained.Store(true)
			return
		}
		if chains := t.ConnectionState().VerifiedChains; len(chains) > 0 && b.cfg.TLS.CertUser {
			c.certUser = chains[0][0].Subject.CommonName
		}
	}
	if err := b.server.EstablishConnection(l.kind, c); err != nil {
		b.log.Debug("connection ended", "listener", l.kind, "remote", c.addr, "err", err)
	}
}
