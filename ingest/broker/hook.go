package broker

import (
	"errors"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"weir/ingest/broker/access"
	"weir/ingest/eventlog"
)

// hook is how mochi asks the broker. Its methods for a client run on the
// goroutine that reads from that client, unless they say otherwise.
type hook struct {
	mqtt.HookBase
	b *Broker
}

func (h *hook) ID() string { return "weir" }

func (h *hook) Provides(m byte) bool {
	switch m {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnDisconnect, mqtt.OnClientExpired, mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPublish, mqtt.OnPublished,
		mqtt.OnPublishDropped, mqtt.OnSubscribe, mqtt.OnSubscribed, mqtt.OnUnsubscribed, mqtt.OnSelectSubscribers,
		mqtt.OnPacketSent, mqtt.OnPacketProcessed, mqtt.OnSysInfoTick, mqtt.OnRetainMessage, mqtt.OnRetainedExpired:
		return true
	}
	return false
}

func connOf(cl *mqtt.Client) *conn {
	c, _ := cl.Net.Conn.(*conn)
	return c
}

// OnConnect sees a valid CONNECT, before the client is authenticated.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	c := connOf(cl)
	if c == nil {
		return nil
	}
	c.v5.Store(cl.Properties.ProtocolVersion == 5)
	limit := uint16(h.b.cfg.Limits.KeepAliveMax / time.Second)
	if c.v5.Load() && (pk.Connect.Keepalive == 0 || pk.Connect.Keepalive > limit) {
		cl.State.Keepalive, cl.State.ServerKeepalive = limit, true
	}
	if c.v5.Load() && pk.Properties.AuthenticationMethod != "" {
		return h.refuse(cl, packets.ErrBadAuthenticationMethod, &h.b.stats.RefusedAuth)
	}
	if pk.Connect.WillFlag {
		t := pk.Connect.WillTopic
		if strings.ContainsAny(t, "+#") || !mqtt.IsValidFilter(t, true) {
			return h.refuse(cl, packets.ErrTopicNameInvalid, &h.b.stats.RefusedACL)
		}
	}
	if h.b.draining.Load() {
		return h.refuse(cl, packets.ErrServerUnavailable, &h.b.stats.RefusedBusy)
	}
	return nil
}

// refuse answers a CONNECT with a reason and gives mochi the error that ends
// the connection.
func (h *hook) refuse(cl *mqtt.Client, code packets.Code, count *counter) error {
	count.Add(1)
	_ = h.b.server.SendConnack(cl, code, false, nil)
	return code
}

// OnConnectAuthenticate decides who the client is. A false answer makes mochi
// send CONNACK with "bad user name or password", or with c.refusal.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	c := connOf(cl)
	if c == nil {
		return false
	}
	if cl.ID == mqtt.InlineClientId { // mochi would end the client through which the broker publishes
		h.b.stats.RefusedAuth.Add(1)
		c.refusal = packets.ErrClientIdentifierNotValid.Code
		h.b.clientRefused("client_id", cl.ID, string(pk.Connect.Username), cl.Net.Remote, "err", "this client id is the broker's own")
		return false
	}
	p, err := h.b.access.Authenticate(c, access.Credentials{
		User: string(pk.Connect.Username), HasUser: pk.Connect.UsernameFlag,
		Password: pk.Connect.Password, ClientID: cl.ID, CertUser: c.certUser,
	})
	if err != nil {
		h.b.stats.RefusedAuth.Add(1)
		cause := "credentials"
		if errors.Is(err, access.ErrClientID) {
			cause, c.refusal = "client_id", packets.ErrNotAuthorized.Code
		}
		h.b.clientRefused(cause, cl.ID, string(pk.Connect.Username), cl.Net.Remote, "err", err)
		return false
	}
	if pk.Connect.WillFlag && !p.CanPublish(pk.Connect.WillTopic) {
		h.b.stats.RefusedACL.Add(1)
		c.refusal = packets.ErrNotAuthorized.Code
		h.b.clientRefused("will", cl.ID, p.User, cl.Net.Remote, "topic", clip(pk.Connect.WillTopic))
		return false
	}
	if owner, ok := h.b.owner(cl.ID); ok && owner != p.User {
		h.b.stats.RefusedAuth.Add(1)
		c.refusal = packets.ErrNotAuthorized.Code
		h.b.clientRefused("session_of_another_user", cl.ID, p.User, cl.Net.Remote)
		return false
	}
	c.principal.Store(p)
	c.cl, c.will = cl, h.b.newWill(cl, pk, p)
	cl.Properties.Will = mqtt.Will{} // the broker keeps it itself, see wills
	if err := h.b.takeUpWill(c, cl.ID, pk.Connect.Clean); err != nil {
		h.b.stats.RefusedBusy.Add(1)
		c.refusal = packets.ErrServerUnavailable.Code
		return false
	}
	return true
}

// OnSessionEstablish runs before the session is taken over and CONNACK sent.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	c := connOf(cl)
	if c == nil {
		return
	}
	v5 := c.v5.Load()
	c.sess = h.b.session(cl.ID, c.rights().User, pk.Connect.Clean)
	c.sess.adopt(c, v5, !v5 && pk.Connect.Clean)
	if v5 {
		c.gate.window = int(cl.Properties.Props.ReceiveMaximum)
	}
	cl.State.Inflight.ResetSendQuota(0) // of mochi's, none: it is the gate's
	if r := h.b.cfg.Limits.PublishRate; r > 0 {
		c.limiter = newLimiter(r)
	}
}

// OnSessionEstablished runs when CONNACK is out and the client's queued
// messages have been sent again.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := connOf(cl)
	if c == nil || c.sess == nil {
		return
	}
	cl.State.Inflight.ResetReceiveQuota(1 << 30)          // the window is the session's
	for _, held := range cl.State.Inflight.GetAll(true) { // while the session was taken over
		c.flow.in.Add(1)
		_ = cl.WritePacket(held)
	}
	c.gate.start(&c.w, func(id uint16) int64 {
		pk, _ := cl.State.Inflight.Get(id)
		return pk.Created
	})
	c.live.Store(true)
	c.rmu.Lock()
	c.r.keepAlive(time.Duration(cl.State.Keepalive) * 3 * time.Second / 2) // [MQTT-3.1.2-22]
	c.ready = true
	c.rmu.Unlock()
	c.sess.attach(c)
	h.b.register(c)
	if cl.State.Subscriptions.Len() > 0 {
		h.b.Invalidate() // it is there again for plain publishes
	}
	h.b.saveSession(cl)
}

// OnDisconnect runs when the client's connection has ended.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	c := connOf(cl)
	if c == nil || c.sess == nil {
		return
	}
	h.b.endWill(c) // before unregister: ReloadUsers finds it in one place or the other
	c.sess.detach(c)
	h.b.unregister(c)
	if !expire && !cl.IsTakenOver() {
		h.b.saveSession(cl) // its time away begins
	}
	if expire && !cl.IsTakenOver() {
		h.b.forget(cl.ID, c)
	}
}

// OnClientExpired runs on mochi's own goroutine.
func (h *hook) OnClientExpired(cl *mqtt.Client) {
	h.b.server.UnsubscribeClient(cl) // mochi leaves the subscriptions behind
	h.b.forget(cl.ID, connOf(cl))
}

// OnPacketRead sees every packet that mochi has decoded. It takes the QoS out
// of publishes, so that mochi's state for incoming messages, which shares its
// ids with outgoing ones, is never used.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if c == nil {
		return pk, nil
	}
	cl.Net.Inline = false // never left over from a publish that ended early
	c.cur = current{}
	switch pk.FixedHeader.Type {
	case packets.Publish:
		return c.unwrap(pk), nil
	case packets.Pubrel:
		if c.sess != nil {
			c.sess.release(c, pk.PacketID)
		}
		// To mochi it is an ack of nothing.
		return packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Puback}}, nil
	case packets.Puback, packets.Pubcomp:
		c.flow.acks.Add(1)
		c.gate.done(&c.w, pk.PacketID)
	case packets.Pubrec:
		c.flow.acks.Add(1)
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code { // the client refuses it
			c.gate.done(&c.w, pk.PacketID)
		}
	case packets.Disconnect:
		if pk.FixedHeader.Remaining == 1 { // mochi does not read a reason code without properties
			pk.ReasonCode = c.r.lone
		}
		limit := uint32(h.b.cfg.Limits.SessionExpiry / time.Second) // mochi applies it to CONNECT only
		pk.Properties.SessionExpiryInterval = min(pk.Properties.SessionExpiryInterval, limit)
	case packets.Subscribe, packets.Unsubscribe:
		// mochi refuses an id that one of its outgoing messages has. It gets a
		// free one, and the answer is given the client's own again.
		if _, used := cl.State.Inflight.Get(pk.PacketID); used && pk.PacketID != 0 {
			for id := uint16(65535); id > 0; id-- {
				if _, used := cl.State.Inflight.Get(id); !used {
					c.subID, pk.PacketID = pk.PacketID, id
					break
				}
			}
		}
	}
	return pk, nil
}

// unwrap takes the QoS, the id and the alias out of a PUBLISH.
func (c *conn) unwrap(pk packets.Packet) packets.Packet {
	p := &pk.Properties
	if p.TopicAliasFlag && p.TopicAlias > 0 && int(p.TopicAlias) <= c.b.cfg.Limits.TopicAliasMaximum {
		known := ""
		if int(p.TopicAlias) < len(c.r.aliases) {
			known = c.r.aliases[p.TopicAlias]
		}
		switch {
		case pk.TopicName != "" && !strings.ContainsAny(pk.TopicName, "+#"):
			c.alias(p.TopicAlias, pk.TopicName)
			p.TopicAlias, p.TopicAliasFlag = 0, false
		case pk.TopicName == "" && known != "":
			pk.TopicName = known
			p.TopicAlias, p.TopicAliasFlag = 0, false
		}
	}
	if pk.FixedHeader.Qos > 0 && pk.PacketID != 0 {
		c.cur = current{id: pk.PacketID, qos: pk.FixedHeader.Qos, dup: pk.FixedHeader.Dup, live: true}
		if pk.TopicName != "" && !strings.ContainsAny(pk.TopicName, "+#") && !mqtt.IsValidFilter(pk.TopicName, true) {
			c.cur.live = false // mochi drops it without an answer
			c.b.stats.RefusedTopic.Add(1)
			c.sess.refuse(c, c.cur.typ(), c.cur.id, packets.ErrTopicNameInvalid.Code)
		}
		pk.PacketID, pk.FixedHeader.Qos, pk.FixedHeader.Dup = 0, 0, false
	}
	return pk
}

// typ is the packet type that answers the publish.
func (k current) typ() byte {
	if k.qos == 2 {
		return typePubrec
	}
	return typePuback
}

// OnPublish sees every publish that mochi is to retain and to deliver.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	pk, err := h.publish(cl, pk)
	if err == nil && pk.FixedHeader.Retain {
		h.b.retained.Lock() // until OnRetainMessage: that is what mochi does next
	}
	return pk, err
}

// publish decides about a publish that came through mochi, logs it if its
// topic is a source's, and queues its ack.
func (h *hook) publish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	if cl.Net.Inline || c == nil {
		return pk, nil // the broker's own: Publish has logged it
	}
	k := c.cur
	c.cur = current{}
	if pk.TopicName == "" {
		h.b.stats.RefusedTopic.Add(1)
		_ = h.b.server.DisconnectClient(cl, packets.ErrTopicAliasInvalid)
		return pk, packets.ErrRejectPacket
	}
	h.b.stats.Received.Add(1)
	if c.limiter != nil {
		if err := c.pace(1); err != nil {
			return pk, packets.ErrRejectPacket
		}
	}
	t := c.lookup([]byte(pk.TopicName))
	if !t.allowed {
		c.denied("publish", pk.TopicName)
		return pk, h.deny(c, cl, k)
	}
	if k.live {
		switch v, err := h.admit(c, k); {
		case err != nil:
			_ = c.Close()
			return pk, packets.ErrRejectPacket
		case v == over:
			h.b.stats.ReceiveMaximum.Add(1)
			_ = h.b.server.DisconnectClient(cl, packets.ErrReceiveMaximum)
			return pk, packets.ErrRejectPacket
		case v != publish:
			return pk, packets.ErrRejectPacket
		}
	}
	retain := !pk.FixedHeader.Retain || len(pk.Payload) == 0 || h.b.mayRetain(pk.TopicName)
	if !retain && !t.logged && k.live && c.v5.Load() { // success would say that it is kept somewhere
		h.b.stats.RetainedRefused.Add(1)
		c.sess.refuse(c, k.typ(), k.id, packets.ErrQuotaExceeded.Code)
		return pk, packets.ErrRejectPacket
	}
	if err := h.store(c, t, k, &pk); err != nil {
		if !errors.Is(err, errTakenOver) {
			_ = h.b.server.DisconnectClient(cl, packets.ErrUnspecifiedError)
		}
		_ = c.Close()
		return pk, packets.ErrRejectPacket
	}
	t.behind = true
	if !retain {
		h.b.stats.RetainedRefused.Add(1)
		pk.FixedHeader.Retain = false
	}
	if k.live {
		pk.FixedHeader.Qos = k.qos
		cl.Net.Inline = true // until OnPublished: mochi delivers at the true QoS and sends no ack
	}
	return pk, nil
}

// admit asks the session about a publish, as often as it has to wait.
func (h *hook) admit(c *conn, k current) (verdict, error) {
	for {
		v, err := c.sess.admit(c, k.typ(), k.id, k.dup)
		if err != nil || v != waiting {
			return v, err
		}
		if err := c.sess.waitRoom(c); err != nil {
			return v, err
		}
	}
}

// deny answers a publish that the client has no right to. Before MQTT 5 there
// is no way to say so, and an ack would be a lie: the connection is closed.
func (h *hook) deny(c *conn, cl *mqtt.Client, k current) error {
	h.b.stats.RefusedACL.Add(1)
	if k.live && c.v5.Load() {
		c.sess.refuse(c, k.typ(), k.id, packets.ErrNotAuthorized.Code)
	} else if k.live {
		cl.Stop(packets.ErrNotAuthorized)
	}
	return packets.ErrRejectPacket
}

// store puts a publish into the log if its topic is a source's, and queues the
// ack in either case.
func (h *hook) store(c *conn, t *topicInfo, k current, pk *packets.Packet) error {
	o := owed{id: k.id, typ: k.typ(), part: uint16(t.part), logged: t.logged}
	if t.logged {
		rec := eventlog.AppendPublish(nil, h.b.deps.Now(), pk.TopicName, pk.Payload, c.cl.ID, k.qos, pk.FixedHeader.Retain)
		pos, err := h.b.append(c, t.part, rec, 1)
		if err != nil {
			return err
		}
		o.pos = pos
		h.b.stats.Logged.Add(1)
	}
	if !k.live {
		return nil
	}
	if err := c.sess.push(c, []owed{o}); err != nil {
		return err
	}
	if !o.logged {
		c.sess.flush()
	}
	return nil
}

// OnPublished ends what OnPublish began.
func (h *hook) OnPublished(cl *mqtt.Client, _ packets.Packet) {
	if connOf(cl) != nil {
		cl.Net.Inline = false
	}
}
