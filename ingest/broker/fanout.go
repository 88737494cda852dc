package broker

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"
)

// fanout is who gets the plain publishes on a topic, as far as that is done
// without mochi: subscribers that are connected and take them at QoS 0.
type fanout struct {
	targets []target
	qos     byte // the highest QoS that a subscription asks for
}

// target is one subscriber.
type target struct {
	c       *conn
	props   []byte // MQTT 5: the encoded properties; nil before
	max     uint32 // largest packet that it takes; 0: any
	noLocal bool
}

// fanout returns who is to get the publishes on a source's topic, nil if
// nobody is, and whether the connection may deliver them itself.
func (b *Broker) fanout(topic string) (*fanout, bool) {
	subs := b.server.Topics.Subscribers(topic)
	if len(subs.Shared) > 0 || len(subs.InlineSubscriptions) > 0 {
		return nil, false
	}
	if len(subs.Subscriptions) == 0 {
		return nil, true
	}
	f := &fanout{}
	for id, sub := range subs.Subscriptions {
		cl, ok := b.server.Clients.Get(id)
		if !ok {
			continue
		}
		f.qos = max(f.qos, sub.Qos)
		c, ok := cl.Net.Conn.(*conn)
		if !ok || c.cl != cl || cl.Closed() || !c.rights().CanReceive(topic) {
			continue
		}
		if c.retaining.Load() || !c.live.Load() {
			return nil, false // retained messages and queued ones go first
		}
		t := target{c: c, noLocal: sub.NoLocal}
		if cl.Properties.ProtocolVersion == 5 {
			t.max = cl.Properties.Props.MaximumPacketSize
			t.props = subscriptionIDs(sub)
		}
		f.targets = append(f.targets, t)
	}
	if len(f.targets) == 0 && f.qos == 0 {
		return nil, true
	}
	return f, true
}

// subscriptionIDs encodes the properties of a delivery.
func subscriptionIDs(sub packets.Subscription) []byte {
	var ids []byte
	if len(sub.Identifiers) == 0 && sub.Identifier > 0 {
		ids = binary.AppendUvarint(append(ids, 0x0B), uint64(sub.Identifier))
	}
	for _, id := range sub.Identifiers {
		if id > 0 {
			ids = binary.AppendUvarint(append(ids, 0x0B), uint64(id))
		}
	}
	return append(binary.AppendUvarint(nil, uint64(len(ids))), ids...)
}

// deliveries gathers what the publishes of one socket read send to
// subscribers, so that each gets one write.
type deliveries struct {
	to    []delivery
	index map[*conn]int
	bytes int // gathered in all
}

type delivery struct {
	c     *conn
	out   []byte
	count int
}

// add encodes a publish for each target, at QoS 0.
func (d *deliveries) add(from *conn, f *fanout, topic string, payload []byte) {
	if d.index == nil {
		d.index = map[*conn]int{}
	}
	for i := range f.targets {
		t := &f.targets[i]
		if t.noLocal && t.c == from {
			continue
		}
		rem := 2 + len(topic) + len(t.props) + len(payload)
		if t.max > 0 && uint32(rem)+5 > t.max && uint32(rem+1+varintLen(rem)) > t.max {
			continue // [MQTT-3.1.2-24]
		}
		at, ok := d.index[t.c]
		if !ok {
			at = len(d.to)
			d.index[t.c] = at
			if at < cap(d.to) {
				d.to = d.to[:at+1]
				d.to[at].c = t.c
			} else {
				d.to = append(d.to, delivery{c: t.c})
			}
		}
		to := &d.to[at]
		o := append(to.out, typePublish)
		o = binary.AppendUvarint(o, uint64(rem))
		o = append(o, byte(len(topic)>>8), byte(len(topic)))
		o = append(o, topic...)
		o = append(o, t.props...)
		to.out = append(o, payload...)
		to.count++
		d.bytes += rem
	}
}

func varintLen(n int) int {
	l := 1
	for ; n >= 0x80; n >>= 7 {
		l++
	}
	return l
}

// send hands every subscriber what was gathered for it. One that doesn't keep
// up misses messages, which QoS 0 allows; they are counted.
func (d *deliveries) send(b *Broker) {
	if len(d.to) == 0 {
		return
	}
	for i := range d.to {
		to := &d.to[i]
		if to.c.w.full(len(to.out)) {
			b.stats.DroppedSlow.Add(uint64(to.count))
			atomic.AddInt64(&b.server.Info.MessagesDropped, int64(to.count))
		} else if _, err := to.c.w.put(to.out); err == nil {
			b.stats.FannedOut.Add(uint64(to.count))
			info := b.server.Info
			atomic.AddInt64(&info.MessagesSent, int64(to.count))
			atomic.AddInt64(&info.PacketsSent, int64(to.count))
			atomic.AddInt64(&info.BytesSent, int64(len(to.out)))
		}
	}
	d.reset()
}

func (d *deliveries) reset() {
	for i := range d.to {
		to := &d.to[i]
		to.c, to.count, to.out = nil, 0, to.out[:0]
		if cap(to.out) > readSize {
			to.out = nil
		}
	}
	d.to, d.bytes = d.to[:0], 0
	clear(d.index)
}
