package broker

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAMessageSentAgainIsLoggedOnceAndAcknowledged(t *testing.T) {
	r := start(t)
	l := r.logs[0]
	c := r.dial().connect("c", false, false, "")
	l.hold()
	c.send(c.pub("sensors/a", "one", 1, 1) + c.pub("sensors/a", "two", 2, 2))
	dup := func(b string) string { return string(b[0]|8) + b[1:] }
	c.send(dup(c.pub("sensors/a", "one", 1, 1)) + c.pub("sensors/a", "two", 2, 2)) // the first copies answer these
	c.send("\xc0\x00")
	c.expect("PINGRESP", "\xd0\x00")
	c.nc.Close()
	eventually(t, "it is gone", func() bool { return r.b.Stats().Clients == 0 })
	again := r.dial()
	again.send(connectPacket("c", false, false, ""))
	again.expect("CONNACK with the session", "\x20\x02\x01\x00")
	again.send("\xc0\x00")
	l.release()
	again.expect("no ack that was not asked for", "\xd0\x00")
	eventually(t, "both are durable", func() bool { return len(r.messages()) == 2 })
	again.send(dup(c.pub("sensors/a", "one", 1, 1)) + dup(c.pub("sensors/a", "two", 2, 2)))
	again.expect("PUBACK", ack(typePuback, 1))
	again.expect("PUBREC", ack(typePubrec, 2))
	again.send(frame(0x62, id16(2)))
	again.expect("PUBCOMP", ack(typePubcomp, 2))
	// A client that has lost its state uses the id anew.
	again.send(c.pub("sensors/a", "new", 1, 1))
	again.expect("PUBACK", ack(typePuback, 1))
	if n := len(r.messages()); n != 3 {
		t.Errorf("%d messages in the log, want 3: %v", n, r.messages())
	}
}

func TestAnIdUsedAnewIsNotAcknowledgedForItsOldMessage(t *testing.T) {
	r := start(t)
	l := r.logs[0]
	c := r.dial().connect("c", false, false, "")
	l.hold()
	c.send(c.pub("sensors/a", "old", 1, 1))
	c.send("\xc0\x00")
	c.expect("PINGRESP", "\xd0\x00")
	c.nc.Close()
	eventually(t, "it is gone", func() bool { return r.b.Stats().Clients == 0 })
	l.release()
	eventually(t, "the old one is durable", func() bool { return len(r.messages()) == 1 })
	l.hold()
	again := r.dial()
	again.send(connectPacket("c", false, false, "") + c.pub("sensors/a", "new", 1, 1) + "\xc0\x00")
	again.expect("CONNACK", "\x20\x02\x01\x00")
	again.expect("no ack yet", "\xd0\x00")
	l.release()
	again.expect("PUBACK", ack(typePuback, 1))
}

func TestMoreThanTheReceiveMaximum(t *testing.T) {
	small := func(c *Config, _ *Deps) { c.Limits.ReceiveMaximum = 10 }
	for _, v5 := range []bool{true, false} {
		for _, fast := range []bool{true, false} {
			t.Run(fmt.Sprintf("v5=%v/fast=%v", v5, fast), func(t *testing.T) {
				r := start(t, small, func(c *Config, _ *Deps) { c.FastPath = fast })
				c := r.dial().connect("c", true, v5, "")
				r.logs[0].hold()
				burst := ""
				for i := 1; i <= 25; i++ {
					burst += c.pub("sensors/a", fmt.Sprint(i), 1, i)
				}
				c.send(burst)
				if v5 {
					if p := c.recv(); len(p) < 3 || p[0] != 0xe0 || p[2] != "\x93"[0] {
						t.Fatalf("got %x, want DISCONNECT 0x93", p)
					}
					r.logs[0].release()
					c.gone("the maximum is exceeded")
					eventually(t, "what was within it is logged", func() bool { return len(r.messages()) == 10 })
					return
				}
				eventually(t, "the client is held back", func() bool { return r.b.Stats().WindowWaits > 0 })
				r.logs[0].release()
				for i := 1; i <= 25; i++ {
					c.expect("ack", ack(typePuback, i))
				}
			})
		}
	}
}

func TestAFullLogHoldsPublishersBackAndLosesNothing(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.ReceiveMaximum = 65535 })
	l := r.logs[0]
	l.hold()
	big := strings.Repeat("x", 50_000)
	c := r.dial().connect("c", true, false, "")
	const n = 400 // 20 MB, the ring holds 8
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := 1; i <= n; i++ {
			if _, err := c.nc.Write([]byte(c.pub("sensors/a", big, 1, i))); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	eventually(t, "the ring is full", func() bool { return l.ring.Stalls() > 0 })
	// Somebody else's connection to the same log can be closed while it waits.
	d := r.dial().connect("d", true, false, "")
	d.send(d.pub("sensors/a", big, 1, 1))
	eventually(t, "both wait", func() bool { return l.ring.Stalls() > 1 })
	other := r.dial().connect("d", true, false, "") // takes it over
	other.send("\xc0\x00")
	other.expect("PINGRESP", "\xd0\x00")
	l.release()
	for i := 1; i <= n; i++ {
		c.expect("ack", ack(typePuback, i))
	}
	<-sent
}

func TestAClosedLogAcknowledgesNothing(t *testing.T) {
	for _, fast := range []bool{true, false} {
		r := start(t, func(c *Config, _ *Deps) { c.FastPath = fast })
		c := r.dial().connect("c", true, true, "")
		r.logs[0].ring.Close()
		c.send(c.pub("sensors/a", "x", 1, 1))
		c.gone("the log is closed")
		if s := r.b.Stats(); s.Acked != 0 || s.Disconnected["log_closed"] == 0 {
			t.Errorf("fast %v: %d acks, disconnected %v", fast, s.Acked, s.Disconnected)
		}
	}
}

func TestDrainLetsOwedAcksOut(t *testing.T) {
	r := start(t)
	l := r.logs[0]
	c5, c3 := r.dial().connect("c5", true, true, ""), r.dial().connect("c3", true, false, "")
	l.hold()
	for _, c := range []*client{c5, c3} {
		c.send(c.pub("sensors/a", "x", 1, 1) + c.pub("sensors/a", "x", 1, 2) + "\xc0\x00")
		c.expect("PINGRESP", "\xd0\x00")
	}
	done := make(chan struct{})
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r.b.Drain(ctx)
		close(done)
	}()
	eventually(t, "nobody is let in", func() bool { return r.b.draining.Load() })
	l.release()
	<-done
	for _, c := range []*client{c5, c3} {
		c.expect("ack", ack(typePuback, 1))
		c.expect("ack", ack(typePuback, 2))
		p := c.recv()
		if c.v5 && (len(p) < 3 || p[0] != 0xe0 || p[2] != "\x8b"[0]) || !c.v5 && p != "" {
			t.Errorf("v5 %v: at last %x", c.v5, p)
		}
	}
}

func TestWillsOfSourceTopicsAreLogged(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, false, "")
	s.sub("sensors/#", 0)
	c := r.dial()
	c.send(frame(0x10, str("MQTT")+"\x04\x06"+id16(60)+str("c")+str("sensors/c/online")+str("0")))
	c.expect("CONNACK", "\x20\x02\x00\x00")
	c.nc.Close()
	s.expect("the will", s.pub("sensors/c/online", "0", 0, 0))
	eventually(t, "it is logged", func() bool { return len(r.messages()) == 1 })
	if m := r.messages()[0]; m.Topic != "sensors/c/online" || string(m.Payload) != "0" || m.Client != "c" {
		t.Errorf("logged %+v", m)
	}
}

func TestTheBrokersOwnPublishesAreDurableOnSourceTopics(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, false, "")
	s.sub("#", 1)
	if err := r.b.Publish(t.Context(), "sensors/a", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	if n := len(r.messages()); n != 1 {
		t.Errorf("%d messages in the log when Publish returned, want 1", n)
	}
	s.expect("delivery", s.pub("sensors/a", "x", 1, 1))
	r.logs[0].hold()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.b.Publish(ctx, "sensors/a", []byte("x"), 1, false); err == nil {
		t.Error("Publish returned although nothing is durable")
	}
	for _, topic := range []string{"", "a/#", "a/+", "$SYS/x", "a\x00"} {
		if err := r.b.Publish(t.Context(), topic, nil, 0, false); err == nil {
			t.Errorf("Publish to %q did not fail", topic)
		}
	}
	if err := r.b.Publish(t.Context(), "a", nil, 3, false); err == nil {
		t.Error("Publish with QoS 3 did not fail")
	}
}

func TestAPublishRateHoldsAClientBack(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.PublishRate = 100 })
	c := r.dial().connect("c", true, false, "")
	begin := time.Now()
	for i := 1; i <= 150; i++ {
		c.send(c.pub("sensors/a", "x", 1, i))
		c.expect("ack", ack(typePuback, i))
	}
	if d := time.Since(begin); d < 300*time.Millisecond { // 100 at once, 50 at 100/s
		t.Errorf("150 publishes at 100/s took %v", d)
	}
}

// The moment in which mochi deletes a client that has just come back is too
// short to be met by a test.
func TestAClientThatMochiHasDeletedByMistakeIsListedAgain(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, false, "")
	s.sub("out/#", 1)
	gone := r.dial().connect("gone", true, false, "")
	gone.send("\xe0\x00")
	gone.gone("DISCONNECT")
	eventually(t, "its session ends", func() bool { return r.b.Stats().Sessions == 1 })
	r.b.server.Clients.Delete("s")
	(&hook{b: r.b}).OnSysInfoTick(nil)
	if _, ok := r.b.server.Clients.Get("gone"); ok {
		t.Error("a client that is gone is listed")
	}
	if err := r.b.Publish(t.Context(), "out/a", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	s.expect("delivery", s.pub("out/a", "x", 1, 1))
}

func TestASessionIsKeptForAtMostItsLimitWhateverDisconnectSays(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.SessionExpiry = time.Minute })
	c := r.dial().connect("c", false, true, "\x11\x00\x00\x00\x01")
	cl, _ := r.b.server.Clients.Get("c")
	c.send(frame(0xe0, "\x00\x05\x11\xff\xff\xff\xff"))
	c.gone("DISCONNECT")
	eventually(t, "it is off the books", func() bool { return r.b.Stats().Connections == 0 })
	if n := cl.Properties.Props.SessionExpiryInterval; n != 60 {
		t.Errorf("the session is kept for %d s, want 60", n)
	}
}

func TestConfigErrorsNameTheirKey(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*Config)
		want string
	}{
		{"an address without a port", func(c *Config) { c.Listen = "localhost" }, "mqtt.listen"},
		{"no certificate", func(c *Config) { c.TLS.Listen = ":0" }, "mqtt.tls: cert and key"},
		{"a mode that is none", func(c *Config) { c.TLS.ClientCert = "maybe" }, "mqtt.tls.client_cert"},
		{"client certificates without an authority", func(c *Config) { c.TLS.ClientCert = "required" }, "client_ca"},
		{"a path without a slash", func(c *Config) { c.WebSocket.Listen, c.WebSocket.Path = ":0", "mqtt" }, "mqtt.websocket.path"},
		{"a packet size of nothing", func(c *Config) { c.Limits.MaxPacket = 0 }, "mqtt.limits.max_packet"},
		{"a keep alive of days", func(c *Config) { c.Limits.KeepAliveMax = 48 * time.Hour }, "keepalive_max"},
		{"a write buffer smaller than a packet", func(c *Config) { c.Limits.WriteBuffer = 5000 }, "write_buffer"},
	} {
		c := Default()
		tt.set(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.want)
		}
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the defaults are invalid: %v", err)
	}
}

// What the connections of a client do to each other while one takes over from
// another is for the race detector to see; that the last one works is not.
func TestAClientThatTakesItsSessionOverAgainAndAgainIsServed(t *testing.T) {
	const clients, rounds = 4, 40
	st := &memStore{m: map[string][]byte{}}
	r := start(t, func(_ *Config, d *Deps) { d.Store = st })
	var wg sync.WaitGroup
	for i := range clients {
		id := fmt.Sprint("again", i)
		hour := "\x11\x00\x00\x0e\x10" // session expiry
		connects := []string{connectPacket(id, true, false, ""), connectPacket(id, false, false, ""), connectPacket(id, false, true, hour), connectPacket(id, true, true, hour)}
		ends := []string{"", "\xe0\x00", frame(0xe0, "\x00\x05\x11\x00\x00\x00\x01")}
		for k := range rounds {
			c := r.dial()
			wg.Go(func() { // nothing that it writes need arrive: the next one ends it at any moment
				props := ""
				if c.v5 = k%len(connects) >= 2; c.v5 {
					props = "\x00"
				}
				_, _ = c.nc.Write([]byte(connects[k%len(connects)] + frame(0x82, id16(9)+props+str("sensors/#")+"\x01")))
				for n := 1; n <= 20; n++ {
					_, _ = c.nc.Write([]byte(c.pub("sensors/a", id, n%3, n) + "\xc0\x00"))
				}
				_, _ = c.nc.Write([]byte(ends[k%len(ends)]))
			})
			go func() { _, _ = io.Copy(io.Discard, c.nc) }() // ended by the broker, or by the end of the test
			time.Sleep(time.Duration(k%4) * time.Millisecond)
		}
	}
	wg.Wait()
	for i := range clients {
		c := r.dial().connect(fmt.Sprint("again", i), true, false, "")
		c.send(c.pub("sensors/a", "last", 1, 1))
		c.expect("PUBACK", ack(typePuback, 1))
	}
}
