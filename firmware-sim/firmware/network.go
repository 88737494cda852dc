package firmware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
)

// Bounds of one connection.
const (
	connectLimit = 15 * time.Second
	ackLimit     = 20 * time.Second // an unanswered publish means the connection is no good
)

// errFlash marks errors of the device itself, which reconnecting does not mend.
var errFlash = errors.New("flash")

// network keeps the device connected until ctx ends.
func (d *Device) network(ctx context.Context) error {
	pause := d.cfg.Backoff.First
	for {
		up, err := d.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, errFlash) {
			return err
		}
		if up {
			pause = d.cfg.Backoff.First
		}
		wait := pause/2 + rand.N(pause/2+1)
		d.log.Warn("offline, will connect again", "in", wait.Round(time.Millisecond), "err", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, d.cfg.Backoff.Max)
	}
}

// session connects and sends until the connection or ctx ends. up reports that
// the broker let the device in.
func (d *Device) session(ctx context.Context) (up bool, err error) {
	lost := make(chan error, 1)
	client := paho.NewClient(d.options(lost))
	if err := d.await(ctx, client.Connect(), connectLimit); err != nil {
		client.Disconnect(0)
		return false, fmt.Errorf("connect: %w", err)
	}
	defer client.Disconnect(100)
	d.log.Info("online")
	if err := d.await(ctx, client.Subscribe(d.cfg.topic("command"), 1, nil), ackLimit); err != nil {
		return true, fmt.Errorf("subscribe to commands: %w", err)
	}
	if err := d.await(ctx, client.Publish(d.cfg.topic("status"), 1, true, "online"), ackLimit); err != nil {
		return true, fmt.Errorf("publish status: %w", err)
	}
	err = d.deliver(ctx, client, lost)
	if ctx.Err() != nil { // an orderly end sends no will
		d.await(context.WithoutCancel(ctx), client.Publish(d.cfg.topic("status"), 1, true, "offline"), time.Second)
	}
	return true, err
}

// options are the device's connection; lost gets the reason of its end. Commands
// go to the default handler, since those that waited at the broker arrive
// before the subscription does.
func (d *Device) options(lost chan<- error) *paho.ClientOptions {
	return paho.NewClientOptions().AddBroker(d.cfg.Broker.URL).SetClientID(d.cfg.Site+"-"+d.cfg.Device).
		SetUsername(d.cfg.Broker.Username).SetPassword(d.cfg.Broker.Password).SetTLSConfig(d.cfg.Broker.TLS).
		SetProtocolVersion(4).SetKeepAlive(d.cfg.Broker.KeepAlive).SetConnectTimeout(connectLimit).SetWriteTimeout(ackLimit).
		SetAutoReconnect(false). // network does that, and the queue does the sending again
		SetCleanSession(false).  // so that commands wait at the broker
		SetOrderMatters(false).  // a handler may publish
		SetDefaultPublishHandler(d.command).
		SetWill(d.cfg.topic("status"), "offline", 1, true).
		SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err })
}

// command answers one message on the command topic.
func (d *Device) command(client paho.Client, m paho.Message) {
	if m.Topic() != d.cfg.topic("command") || m.Retained() { // a retained command would be done again at each connection
		return
	}
	r, ok := d.execute(m.Payload())
	if !ok {
		return
	}
	payload, err := json.Marshal(r)
	if err != nil {
		d.log.Error("reply not encoded", "id", r.ID, "err", err)
		return
	}
	client.Publish(d.cfg.topic("command/reply"), 1, false, payload)
}

// await waits for a token.
func (d *Device) await(ctx context.Context, token paho.Token, limit time.Duration) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-time.After(limit):
		return fmt.Errorf("no answer within %v", limit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flight is a message that was sent and is not acknowledged.
type flight struct {
	seq   uint64
	token paho.Token
}

// deliver sends the queue from its first entry on, Window messages at a time,
// and removes what is acknowledged, in order. It returns when the connection
// or ctx ends.
func (d *Device) deliver(ctx context.Context, client paho.Client, lost <-chan error) error {
	synced := time.NewTimer(d.cfg.ClockDelay)
	defer synced.Stop()
	var flights []flight
	next := uint64(0)
	for {
		for len(flights) < d.cfg.Window {
			f, ok, err := d.send(client, next)
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			flights = append(flights, f)
			next = f.seq + 1
		}
		var oldest <-chan struct{}
		var overdue <-chan time.Time
		appended := d.appended
		if len(flights) > 0 {
			oldest, overdue = flights[0].token.Done(), time.After(ackLimit)
		}
		if len(flights) == d.cfg.Window {
			appended = nil
		}
		select {
		case <-oldest:
			if err := flights[0].token.Error(); err != nil {
				return fmt.Errorf("publish message %d: %w", flights[0].seq, err)
			}
			if err := d.acknowledged(flights[0].seq); err != nil {
				return err
			}
			flights = flights[1:]
		case <-overdue:
			return fmt.Errorf("message %d is not acknowledged after %v", flights[0].seq, ackLimit)
		case <-appended:
		case <-synced.C:
			d.mu.Lock()
			d.clock.set()
			d.mu.Unlock()
		case err := <-lost:
			return fmt.Errorf("connection lost: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// send publishes the oldest entry from next on; ok is false if there is none.
func (d *Device) send(client paho.Client, next uint64) (f flight, ok bool, err error) {
	d.mu.Lock()
	seq, data, ok, err := d.queue.At(next)
	var e entry
	var payload []byte
	if ok && err == nil {
		if err = json.Unmarshal(data, &e); err == nil {
			payload, err = e.payload(seq, d.queue.Dropped(), &d.clock)
		}
	}
	d.mu.Unlock()
	if err != nil {
		return flight{}, false, fmt.Errorf("%w: message %d: %w", errFlash, seq, err)
	}
	if !ok {
		return flight{}, false, nil
	}
	return flight{seq, client.Publish(d.cfg.topic(e.Topic), 1, false, payload)}, true, nil
}

// acknowledged removes a message that the broker has.
func (d *Device) acknowledged(seq uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.queue.Ack(seq); err != nil {
		return fmt.Errorf("%w: %w", errFlash, err)
	}
	d.delivered++
	return nil
}
