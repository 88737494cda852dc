package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/ingest/event"
)

// errSilent is a broker that took publishes and does not acknowledge them.
var errSilent = errors.New("no acknowledgement")

// connection is the one connection of a Sink. It is made when it is needed, and
// again by the call that finds it gone: retrying is the runner's.
type connection struct {
	cfg     Config
	where   string // the address, for messages
	options *paho.ClientOptions
	metrics *Metrics

	lock   chan struct{} // holds a token while nobody uses client: a mutex that can be waited for with a context
	client paho.Client   // nil, or the last one; guarded by lock
	closed bool          // guarded by lock
}

func newConnection(cfg Config, metrics *Metrics) *connection {
	u, _ := address(cfg.URL) // Validate has parsed it
	id := cfg.ClientID
	if id == "" {
		id = "weir-" + cfg.Name
	}
	tlsConfig := cfg.TLS
	if tlsConfig == nil {
		tlsConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	// No session and no reconnecting: what is not acknowledged is still in the
	// log, and a second place that sends it again would only confuse the order.
	o := paho.NewClientOptions().AddBroker(u.String()).SetClientID(id).SetProtocolVersion(4).
		SetUsername(cfg.Username).SetPassword(cfg.Password).SetTLSConfig(tlsConfig).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).
		SetConnectTimeout(cfg.Timeout).SetWriteTimeout(cfg.Timeout).
		SetKeepAlive(30 * time.Second).SetPingTimeout(cfg.Timeout).
		SetDialer(&net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second})
	c := &connection{cfg: cfg, where: u.Scheme + "://" + u.Host, options: o, metrics: metrics, lock: make(chan struct{}, 1)}
	c.lock <- struct{}{}
	return c
}

func (c *connection) close() {
	<-c.lock
	c.closed = true
	if c.client != nil {
		c.client.Disconnect(250)
		c.client = nil
	}
	c.lock <- struct{}{}
}

// open returns a client that is connected.
func (c *connection) open(ctx context.Context) (paho.Client, error) {
	select {
	case <-c.lock:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { c.lock <- struct{}{} }()
	if c.closed {
		return nil, errors.New("the sink is closed")
	}
	if c.client != nil {
		if c.client.IsConnectionOpen() {
			return c.client, nil
		}
		c.client.Disconnect(0)
		c.client = nil
	}
	client := paho.NewClient(c.options)
	token := client.Connect()
	select {
	case <-token.Done():
	case <-ctx.Done():
		go client.Disconnect(0) // ends with the attempt to connect, which has a timeout
		return nil, ctx.Err()
	}
	if err := token.Error(); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.metrics.Connects.Add(1)
	c.client = client
	return client, nil
}

// drop ends a connection that is of no use any more.
func (c *connection) drop(client paho.Client) {
	<-c.lock
	if c.client == client {
		c.client = nil
	}
	c.lock <- struct{}{}
	client.Disconnect(0)
}

// publish returns nil when all letters are acknowledged.
func (c *connection) publish(ctx context.Context, letters []*letter) error {
	careful := 0 // so many letters are published one at a time
	for {
		letters = unacked(letters)
		if len(letters) == 0 {
			return nil
		}
		client, err := c.open(ctx)
		if err != nil {
			return c.retry(err)
		}
		if careful == 0 {
			if err = c.send(ctx, client, letters, c.cfg.Window); err == nil {
				continue
			}
			if ctx.Err() != nil || errors.Is(err, errSilent) {
				return c.retry(err)
			}
			careful = c.cfg.Window // one of those on their way may be what broke the connection
			continue
		}
		for ; careful > 0 && len(letters) > 0; careful-- {
			if err := c.send(ctx, client, letters[:1], 1); err != nil {
				if ctx.Err() != nil || errors.Is(err, errSilent) {
					return c.retry(err)
				}
				return c.blame(ctx, letters[0], err)
			}
			letters = letters[1:]
		}
		careful = 0
	}
}

// blame decides whose fault it is that the connection broke a second time, at l.
func (c *connection) blame(ctx context.Context, l *letter, err error) error {
	if _, again := c.open(ctx); again != nil {
		return c.retry(again)
	}
	return &event.MessageError{Batch: l.batch, Message: l.message, Err: fmt.Errorf(
		"publish to %q at %s: the broker closes the connection at this message of %d bytes (too large, or not allowed there?): %w",
		clip(l.topic), c.where, len(l.payload), err)}
}

func (c *connection) retry(err error) error {
	return &event.RetryError{Err: fmt.Errorf("publish to the broker at %s: %w", c.where, err)}
}

func unacked(letters []*letter) []*letter {
	for i, l := range letters {
		if l.acked {
			rest := append([]*letter(nil), letters[:i]...)
			for _, l := range letters[i:] {
				if !l.acked {
					rest = append(rest, l)
				}
			}
			return rest
		}
	}
	return letters
}

// send publishes letters in their order, at most window on their way at a time,
// and marks those that are acknowledged.
func (c *connection) send(ctx context.Context, client paho.Client, letters []*letter, window int) error {
	tokens := make(chan paho.Token, window)
	stop := make(chan struct{})
	defer close(stop)
	// Publish may block in a write for as long as the write timeout, without
	// regard to ctx; the goroutine ends after that at the latest. It uses
	// nothing but the letters, which are memory of their own.
	go func() {
		defer close(tokens)
		for _, l := range letters {
			t := client.Publish(l.topic, c.cfg.QoS, c.cfg.Retain, l.payload)
			select {
			case tokens <- t:
			case <-stop:
				return
			}
		}
	}()
	timer := time.NewTimer(c.cfg.Timeout)
	defer timer.Stop()
	for _, l := range letters {
		timer.Reset(c.cfg.Timeout)
		var t paho.Token
		select {
		case t = <-tokens:
		case <-timer.C:
			c.drop(client)
			return fmt.Errorf("%w within %v", errSilent, c.cfg.Timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-t.Done():
		case <-timer.C:
			c.drop(client)
			return fmt.Errorf("%w within %v", errSilent, c.cfg.Timeout)
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := t.Error(); err != nil {
			return err
		}
		l.acked = true
	}
	return nil
}
