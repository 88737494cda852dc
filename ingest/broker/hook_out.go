package broker

import (
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// OnACLCheck is asked about deliveries and subscriptions (write false) by the
// goroutine that publishes or subscribes. Publishes are decided in OnPublish,
// where a refusal keeps its place among the acks.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	if write {
		return true
	}
	c := connOf(cl)
	if c == nil {
		return h.b.offline(cl).CanReceive(topic)
	}
	p := c.rights()
	if p == nil {
		return false
	}
	if strings.ContainsAny(topic, "+#") || mqtt.IsSharedFilter(topic) {
		ok := p.CanSubscribe(topic)
		if !ok {
			c.denied("subscribe", topic)
		}
		return ok
	}
	if !p.CanReceive(topic) {
		if c.subscribing.Load() {
			c.denied("subscribe", topic)
		}
		return false
	}
	switch {
	case c.closing.Load():
	case c.subscribing.Load():
		c.flow.in.Add(1) // OnSubscribed takes back what was no delivery
	default:
		c.reserve()
	}
	return true
}

// OnPacketEncode sees every packet that mochi is about to write. It runs on
// whatever goroutine writes.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := connOf(cl)
	if c == nil {
		return pk
	}
	l := &h.b.cfg.Limits
	switch pk.FixedHeader.Type {
	case packets.Publish:
		// Only this client's own goroutine waits here. What can't be queued
		// behind it is dropped by mochi, and counted.
		c.flow.blocked.Store(true)
		c.w.wait()
		if c.live.Load() { // else it is the goroutine that reads the acks
			c.gate.wait(c, l.WriteBuffer/2)
		}
		c.flow.blocked.Store(false)
		if !pk.FixedHeader.Dup { // else it was not in the queue
			c.flow.begin()
		}
		if pk.Expiry < 0 { // mochi had held it back: now it doesn't
			pk.Expiry = 0
			cl.State.Inflight.Set(pk)
		}
	case packets.Connack:
		cl.State.Inflight.ResetSendQuota(0) // a session that was taken over has mochi's again
		h.connack(c, cl, &pk)
	case packets.Suback, packets.Unsuback:
		if c.subID != 0 {
			pk.PacketID, c.subID = c.subID, 0
		}
	}
	return pk
}

// connack completes the CONNACK of mochi.
func (h *hook) connack(c *conn, cl *mqtt.Client, pk *packets.Packet) {
	l := &h.b.cfg.Limits
	v5 := cl.Properties.ProtocolVersion == 5
	busy := pk.ReasonCode == packets.ErrServerBusy.Code || !v5 && pk.ReasonCode == packets.Err3ServerUnavailable.Code
	if busy && !h.b.draining.Load() { // mochi asks no hook
		h.b.stats.RefusedBusy.Add(1)
		h.b.clientRefused("max_connections", cl.ID, string(cl.Properties.Username), cl.Net.Remote, "limit", l.Connections)
	}
	if c.refusal != 0 && pk.ReasonCode != 0 {
		pk.ReasonCode, pk.Properties.ReasonString = c.refusal, ""
	}
	if v5 {
		if pk.ReasonCode == 0 {
			pk.Properties.TopicAliasMaximum = uint16(l.TopicAliasMaximum)
			pk.Properties.MaximumPacketSize = uint32(l.MaxPacket)
		}
		return
	}
	switch pk.ReasonCode { // mochi maps not all of them, and one of them wrongly
	case packets.ErrNotAuthorized.Code, packets.ErrTopicNameInvalid.Code:
		pk.ReasonCode = packets.Err3NotAuthorized.Code
	case packets.ErrServerBusy.Code, packets.ErrServerUnavailable.Code:
		pk.ReasonCode = packets.Err3ServerUnavailable.Code
	case packets.ErrClientIdentifierNotValid.Code:
		pk.ReasonCode = packets.Err3ClientIdentifierNotValid.Code
	case packets.ErrUnspecifiedError.Code:
		if !cl.Properties.Clean && cl.Properties.Props.AssignedClientID != "" { // it gave none [MQTT-3.1.3-8]
			pk.ReasonCode = packets.Err3ClientIdentifierNotValid.Code
		}
	}
}

// OnPublishDropped counts what a subscriber's full queue loses.
func (h *hook) OnPublishDropped(cl *mqtt.Client, _ packets.Packet) {
	h.b.stats.DroppedSlow.Add(1)
	if c := connOf(cl); c != nil {
		c.flow.in.Add(-1)
	}
}

// OnPacketSent runs when mochi has encoded a packet, and written it or put it
// with others that it will write.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if c := connOf(cl); c != nil && pk.FixedHeader.Type == packets.Publish && !pk.FixedHeader.Dup {
		c.flow.writing.Store(false)
	}
}

// OnSubscribe makes the filters invalid that mochi wrongly takes for valid, and
// those beyond the client's limit.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	if c := connOf(cl); c != nil {
		c.retaining.Store(true)   // until OnPacketProcessed
		c.subscribing.Store(true) // until OnSubscribed: OnACLCheck is asked about filters, too
		c.asked = 0
	}
	n := cl.State.Subscriptions.Len()
	for i := range pk.Filters {
		f := pk.Filters[i].Filter
		_, have := cl.State.Subscriptions.Get(f)
		if !validFilter(f) || !have && n >= h.b.cfg.Limits.Subscriptions {
			pk.Filters[i].Filter = "" // mochi answers "topic filter invalid"
			h.b.stats.RefusedFilter.Add(1)
		} else if !have {
			n++
		}
		if c := connOf(cl); c != nil && c.plainFilter(pk.Filters[i]) {
			c.asked++
		}
	}
	return pk
}

// plainFilter reports whether OnACLCheck, asked about the filter of a
// SUBSCRIBE, takes it for a delivery.
func (c *conn) plainFilter(sub packets.Subscription) bool {
	f := sub.Filter
	return f != "" && !strings.ContainsAny(f, "+#") && !mqtt.IsSharedFilter(f) && mqtt.IsValidFilter(f, false) && c.rights().CanReceive(f)
}

// OnSubscribed runs after the subscriptions are in force and before SUBACK.
func (h *hook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, _ []byte) {
	if c := connOf(cl); c != nil {
		c.subscribing.Store(false)
		c.flow.in.Add(-c.asked)
	}
	h.b.Invalidate()
	h.b.saveSession(cl)
	if c := connOf(cl); c != nil {
		c.look() // until OnPacketProcessed
	}
}

// OnPacketProcessed runs when mochi is done with a packet of the client: with a
// SUBSCRIBE, when the retained messages are queued.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	c := connOf(cl)
	if c == nil {
		return
	}
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
		if c.retaining.Swap(false) {
			h.b.Invalidate()
		}
		c.lookAway()
	case packets.Disconnect:
		c.goodbye = err == nil && pk.ReasonCode == packets.CodeDisconnect.Code
	}
}

// OnUnsubscribed runs on the client's goroutine, or on the one that ends its session.
func (h *hook) OnUnsubscribed(cl *mqtt.Client, _ packets.Packet) {
	h.b.Invalidate()
	h.b.saveSession(cl)
}

// OnSelectSubscribers chooses one member of each shared subscription, in turn,
// among those that are connected; any if none is.
func (h *hook) OnSelectSubscribers(subs *mqtt.Subscribers, _ packets.Packet) *mqtt.Subscribers {
	subs.SharedSelected = map[string]packets.Subscription{}
	for _, members := range subs.Shared {
		var on, off []string
		for id := range members {
			if cl, ok := h.b.server.Clients.Get(id); ok && !cl.Closed() {
				on = append(on, id)
			} else {
				off = append(off, id)
			}
		}
		if len(on) == 0 {
			on = off
		}
		if len(on) == 0 {
			continue
		}
		id := pick(on, h.b.turn.Add(1))
		sub := members[id]
		if have, ok := subs.SharedSelected[id]; ok {
			sub = have.Merge(sub)
		} else {
			sub = sub.Merge(sub)
		}
		subs.SharedSelected[id] = sub
	}
	return subs
}

// pick returns the member whose turn it is: the n-th in the order of their names.
func pick(ids []string, n uint64) string {
	k := int(n % uint64(len(ids)))
	for i := range k + 1 { // a selection sort as far as it is needed
		for j := i + 1; j < len(ids); j++ {
			if ids[j] < ids[i] {
				ids[i], ids[j] = ids[j], ids[i]
			}
		}
	}
	return ids[k]
}

// OnRetainMessage runs after a message was retained (r is 1), or removed.
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	h.b.retained.Unlock()
	h.b.own.set(pk.TopicName, pk.Origin == mqtt.InlineClientId && len(pk.Payload) > 0)
	h.b.saveRetained(pk)
}

// OnRetainedExpired runs on mochi's own goroutine.
func (h *hook) OnRetainedExpired(topic string) {
	h.b.own.set(topic, false)
	h.b.dropRetained(topic)
}

// validFilter reports whether a subscription's filter is well-formed.
func validFilter(f string) bool {
	if f == "" || !validText([]byte(f)) {
		return false
	}
	if mqtt.IsSharedFilter(f) {
		rest := strings.SplitN(f, "/", 3)
		if len(rest) < 3 || rest[1] == "" || rest[2] == "" || strings.ContainsAny(rest[1], "+#") {
			return false
		}
		f = rest[2]
	}
	levels := strings.Split(f, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i < len(levels)-1 {
			return false // [MQTT-4.7.1-2] [MQTT-4.7.1-3]
		}
	}
	return true
}

// counter is a plain number that any goroutine may add to.
type counter = atomic.Uint64
