package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"

	"weir/simulator/wire"
)

// connectTimeout bounds one attempt, from the dial to the CONNACK.
const connectTimeout = 10 * time.Second

// RefusedError says that a broker answered a CONNECT with no.
type RefusedError struct {
	Code   byte   // of the CONNACK
	Reason string // in the broker's own words; may be empty
}

func (e *RefusedError) Error() string {
	text := "the broker refused the connection: " + wire.ReasonText(e.Code)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	return text
}

// connect dials, says CONNECT and waits for a CONNACK that accepts.
func (p *publisher) connect(ctx context.Context, clean bool) (net.Conn, error) {
	r := p.run
	options := wire.ConnectOptions{
		Version: r.Client.Version, ClientID: p.clientID(), Username: r.Endpoint.Username, Password: r.Endpoint.Password,
		Clean: clean, KeepAlive: uint16(r.Client.KeepAlive / time.Second),
	}
	if !clean {
		options.SessionExpiry = 3600
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, info, err := p.handshake(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("connection %d: %w", p.number, err)
	}
	p.window = uint64(min(r.Schedule.Window, info.ReceiveMaximum))
	if r.Load.QoS > info.MaximumQoS {
		conn.Close()
		return nil, fmt.Errorf("connection %d: the broker takes QoS %d at most", p.number, info.MaximumQoS)
	}
	return conn, nil
}

// handshake opens a connection; what follows the CONNACK stays in p.in.
func (p *publisher) handshake(ctx context.Context, o wire.ConnectOptions) (net.Conn, wire.ConnAckInfo, error) {
	var source net.IP
	if sources := p.run.Client.Sources; len(sources) > 0 {
		source = sources[p.number%len(sources)]
	}
	conn, err := p.run.Endpoint.Dial(ctx, source)
	if err != nil {
		if errors.Is(err, syscall.EMFILE) {
			err = fmt.Errorf("%w (raise the limit of open files, e.g. ulimit -n 65535)", err)
		}
		return nil, wire.ConnAckInfo{}, err
	}
	fail := func(err error) (net.Conn, wire.ConnAckInfo, error) {
		conn.Close()
		return nil, wire.ConnAckInfo{}, err
	}
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	if _, err := conn.Write(wire.AppendConnect(nil, o)); err != nil {
		return fail(fmt.Errorf("send CONNECT: %w", err))
	}
	p.in = p.in[:0]
	for {
		packet, n, need, err := wire.Parse(p.in)
		if err != nil {
			return fail(err)
		}
		if n == 0 {
			if err := p.fill(conn, need); err != nil {
				return fail(fmt.Errorf("wait for CONNACK: %w", err))
			}
			continue
		}
		if packet.Type != wire.ConnAck {
			return fail(fmt.Errorf("%w: type %d where a CONNACK belongs", wire.ErrMalformed, packet.Type))
		}
		info, err := wire.ParseConnAck(packet.Body, o.Version)
		if err != nil {
			return fail(err)
		}
		if info.Code != 0 {
			return fail(&RefusedError{Code: info.Code, Reason: info.Reason})
		}
		if !stop() { // the deadline has been, or is being, set
			return fail(context.Cause(ctx))
		}
		p.in = p.in[:copy(p.in, p.in[n:])]
		return conn, info, nil
	}
}

// forget makes the broker drop the session that an earlier run, or this one,
// left there.
func (p *publisher) forget(ctx context.Context) error {
	conn, err := p.connect(ctx, true)
	if err != nil {
		return err
	}
	_, err = conn.Write(wire.AppendDisconnect(nil))
	return errors.Join(err, conn.Close())
}

// Pauses between attempts to connect.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = 2 * time.Second
)

// open connects, again and again if the run reconnects, until ctx ends.
func (p *publisher) open(ctx context.Context, first bool) (conn net.Conn, err error) {
	err = p.insist(ctx, func() (err error) {
		conn, err = p.openOnce(ctx, first)
		return err
	})
	return conn, err
}

// insist calls f, again and again if the run reconnects, until it succeeds or
// ctx ends.
func (p *publisher) insist(ctx context.Context, f func() error) error {
	pause := firstPause
	for {
		err := f()
		if err == nil || !p.run.Fault.Reconnect {
			return err
		}
		var refused *RefusedError
		if errors.As(err, &refused) && refused.Code != 0x03 && refused.Code < 0x88 {
			return err // bad credentials do not get better
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, maxPause)
	}
}

func (p *publisher) openOnce(ctx context.Context, first bool) (net.Conn, error) {
	if !p.run.Fault.Reconnect {
		return p.connect(ctx, true)
	}
	if first {
		if err := p.forget(ctx); err != nil {
			return nil, err
		}
	}
	return p.connect(ctx, false)
}

// publish serves the whole quota, over as many connections as it takes; conn
// is the first.
func (p *publisher) publish(ctx context.Context, conn net.Conn) error {
	for {
		err := p.serve(ctx, conn)
		if err == nil {
			if p.run.Fault.Reconnect {
				return p.insist(ctx, func() error { return p.forget(ctx) })
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !p.run.Fault.Reconnect {
			return fmt.Errorf("connection %d: %w", p.number, err)
		}
		p.stats.reconnects.Add(1)
		if conn, err = p.open(ctx, false); err != nil {
			return err
		}
	}
}
