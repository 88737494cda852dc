package broker

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Each test here guards against a defect that the MQTT library underneath has.

func TestAnIncomingIdDoesNotHarmAnOutgoingOne(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, false, "")
	s.sub("out/#", 1)
	p := r.dial().connect("p", true, false, "")
	p.send(p.pub("out/a", "x", 1, 1))
	p.expect("ack", ack(typePuback, 1))
	s.expect("delivery", s.pub("out/a", "x", 1, 1)) // not acknowledged yet
	s.send(s.pub("sensors/a", "y", 1, 1))           // the same id in the other direction
	s.expect("ack of the publish", ack(typePuback, 1))
	s.send(frame(0x82, id16(1)+str("other/#")+"\x01")) // and again in a SUBSCRIBE
	s.expect("SUBACK", "\x90\x03\x00\x01\x01")
	s.send(frame(0xa2, id16(1)+str("other/#")))
	s.expect("UNSUBACK", "\xb0\x02\x00\x01")
	s.send(s.pub("sensors/a", "z", 2, 1))
	s.expect("PUBREC", ack(typePubrec, 1))
	s.send(frame(0x62, id16(1)))
	s.expect("PUBCOMP", ack(typePubcomp, 1))
	if n := r.b.server.Info.Inflight; n != 1 {
		t.Errorf("%d messages to clients in flight, want the one", n)
	}
	s.send(ack(typePuback, 1))
	eventually(t, "it is acknowledged", func() bool { return r.b.server.Info.Clone().Inflight == 0 })
}

func TestASubscriberGetsEverythingInItsReceiveMaximum(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, true, "\x21\x00\x14") // Receive Maximum 20
	s.sub("out/#", 1)
	p := r.dial().connect("p", true, false, "")
	const n = 1000
	for i := 1; i <= n; i++ {
		p.send(p.pub("out/a", fmt.Sprint(i), 1, i))
	}
	seen := map[string]bool{} // in order, too
	var unacked []string
	for len(seen) < n {
		m := s.recv()
		if m == "" || m[0]>>4 != 3 {
			t.Fatalf("after %d messages: %x", len(seen), m)
		}
		_, _, _ = frameLength([]byte(m))
		body := m[2:]
		id := body[7:9]
		if seen[body[10:]] = true; body[10:] != fmt.Sprint(len(seen)) {
			t.Fatalf("message %s came as number %d", body[10:], len(seen))
		}
		unacked = append(unacked, id)
		if len(unacked) > 20 {
			t.Fatalf("%d messages without an ack, the client takes 20", len(unacked))
		}
		if len(unacked) == 20 || len(seen) == n {
			for _, id := range unacked {
				s.send("\x40\x02" + id)
			}
			unacked = nil
		}
	}
}

func TestMessagesHeldBackComeAfterAReconnect(t *testing.T) {
	r := start(t)
	props := "\x11\x00\x00\x0e\x10\x21\x00\x02" // session expiry, Receive Maximum 2
	s := r.dial().connect("s", true, true, props)
	s.sub("out/#", 1)
	for i := range 6 {
		if err := r.b.Publish(t.Context(), "out/a", []byte(fmt.Sprint(i)), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		s.recv() // and no ack
	}
	s.nc.Close()
	eventually(t, "it is gone", func() bool { return r.b.Stats().Clients == 0 })
	s = r.dial().connect("s", false, true, props)
	for i := range 6 {
		m := s.recv()
		if len(m) < 13 || m[0]>>4 != 3 || m[12:] != fmt.Sprint(i) {
			t.Fatalf("message %d: %x", i, m)
		}
		s.send("\x40\x02" + m[9:11])
	}
}

func TestAQueueComesInOrderAfterAReconnect(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", false, false, "")
	s.sub("out/#", 1)
	s.send("\xe0\x00")
	s.gone("DISCONNECT")
	const n = 500
	for i := range n {
		if err := r.b.Publish(t.Context(), "out/a", []byte(fmt.Sprint(i)), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	s = r.dial()
	s.send(connectPacket("s", false, false, ""))
	s.expect("CONNACK with the session", "\x20\x02\x01\x00")
	for i := range n {
		if m := s.recv(); len(m) < 12 || m[0]>>4 != 3 || m[11:] != fmt.Sprint(i) {
			t.Fatalf("message %d: %q", i, m)
		}
	}
}

func TestAHealthySubscriberMissesNothing(t *testing.T) {
	const n = 20_000
	r := start(t, func(c *Config, _ *Deps) { c.Limits.MaxInflight = n }) // its acks may be late: this is about what mochi queues
	s := r.dial().connect("s", true, false, "")
	s.sub("out/#", 1)
	done := make(chan error, 1)
	go func() {
		for i := 1; i <= n; i++ {
			m := s.recv()
			if len(m) < 11 || m[0]>>4 != 3 || m[11:] != fmt.Sprint(i) {
				done <- fmt.Errorf("message %d: %q", i, m)
				return
			}
			if _, err := s.nc.Write([]byte("\x40\x02" + m[9:11])); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	p := r.dial().connect("p", true, false, "")
	go func() {
		var b strings.Builder
		for i := 1; i <= n; i++ {
			b.WriteString(p.pub("out/a", fmt.Sprint(i), 1, i))
		}
		_, _ = p.nc.Write([]byte(b.String()))
	}()
	for i := 1; i <= n; i++ {
		p.expect("ack", ack(typePuback, i))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if d := r.b.Stats().Dropped; d["slow_subscriber"]+d["inflight_full"] > 0 {
		t.Errorf("dropped: %v", d)
	}
}

// mochi reads its tree of retained messages without a lock: the race detector
// would see it.
func TestRetainedMessagesAreLookedForWhileOthersChange(t *testing.T) {
	r := start(t)
	if err := r.b.Publish(t.Context(), "state/kept", []byte("x"), 0, true); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var publishers, subscribers sync.WaitGroup
	for i := range 3 {
		p := r.dial().connect(fmt.Sprint("p", i), true, false, "")
		publishers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				// One more topic, or one less: then a payload is empty.
				for _, payload := range []string{"x", ""} {
					if _, err := p.nc.Write([]byte(frame(0x33, str(fmt.Sprintf("state/%d/%d", i, n%5))+id16(1)+payload))); err != nil {
						t.Error(err)
						return
					}
					if got, err := p.next(); err != nil || got != ack(typePuback, 1) {
						t.Errorf("ack %x, %v", got, err)
						return
					}
				}
			}
		})
		s := r.dial().connect(fmt.Sprint("s", i), true, false, "")
		subscribers.Go(func() {
			for n := 1; n <= 300; n++ {
				for _, step := range []struct{ say, until string }{
					{frame(0x82, id16(n)+str("state/#")+"\x00"), "state/kept"}, {frame(0xa2, id16(n)+str("state/#")), "\xb0"},
				} {
					if _, err := s.nc.Write([]byte(step.say)); err != nil {
						t.Error(err)
						return
					}
					for got := ""; !strings.Contains(got, step.until); {
						var err error
						if got, err = s.next(); err != nil || got == "" {
							t.Errorf("subscription %d: %q, %v", n, got, err)
							return
						}
					}
				}
			}
		})
	}
	subscribers.Wait()
	close(stop)
	publishers.Wait()
}

func TestARetainedFloodReachesItsSubscriber(t *testing.T) {
	r := start(t)
	const n = 3000
	for i := range n {
		if err := r.b.Publish(t.Context(), fmt.Sprintf("state/%d", i), []byte("x"), 0, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, qos := range []int{0, 1} {
		s := r.dial().connect(fmt.Sprint("s", qos), true, false, "")
		s.sub("state/#", qos)
		seen := map[string]bool{}
		for len(seen) < n {
			m := s.recv()
			if m == "" || m[0]&1 != 1 {
				t.Fatalf("after %d messages: %x", len(seen), m)
			}
			seen[m] = true
		}
		s.nc.Close()
	}
}

func TestPublishesToSystemTopicsAreAnswered(t *testing.T) {
	r := start(t)
	for _, topic := range []string{"$SYS/x", "$sys/broker/x"} {
		c := r.dial().connect("c", true, true, "")
		c.send(c.pub(topic, "x", 1, 1) + c.pub(topic, "x", 2, 2) + c.pub("sensors/a", "x", 1, 3))
		c.expect("refusal", "\x40\x03\x00\x01\x90")
		c.expect("refusal", "\x50\x03\x00\x02\x90")
		c.expect("ack", ack(typePuback, 3))
		c.send("\xe0\x00")
		c.gone("DISCONNECT")
	}
}

func TestMalformedFiltersAreRefused(t *testing.T) {
	r := start(t)
	c := r.dial().connect("c", true, true, "")
	filters := []string{"a#", "a+/b", "a/#/b", "", "$share/g", "$share//a", "$share/g/", "$share/+/a", "+a", "a/\x00"}
	for _, f := range filters[:9] {
		c.send(frame(0x82, id16(5)+"\x00"+str(f)+"\x01"))
		if p := c.recv(); p != "\x90\x04\x00\x05\x00\x8f" {
			t.Errorf("filter %q: SUBACK %x", f, p)
		}
	}
	c.send(frame(0x82, id16(5)+"\x00"+str(filters[9])+"\x01"))
	c.gone("a filter with U+0000")
	for _, f := range []string{"#", "+", "+/#", "a/+/b", "/", "$share/g/a/#"} {
		if !validFilter(f) {
			t.Errorf("filter %q is refused", f)
		}
	}
}

func TestASharedSubscriptionSkipsMembersThatAreAway(t *testing.T) {
	r := start(t)
	away := r.dial().connect("a-away", false, false, "")
	away.sub("$share/g/out/#", 1)
	here := []*client{r.dial().connect("b-here", true, false, ""), r.dial().connect("c-here", true, false, "")}
	for _, c := range here {
		c.sub("$share/g/out/#", 1)
	}
	away.send("\xe0\x00")
	away.gone("DISCONNECT")
	eventually(t, "it is away", func() bool { return r.b.Stats().Clients == 2 })
	for i := range 10 {
		if err := r.b.Publish(t.Context(), "out/a", []byte(fmt.Sprint(i)), 1, false); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, c := range here { // in turn, so half for each
		for i := range 5 {
			m := c.recv()
			if m[0]>>4 != 3 {
				t.Fatalf("message %d: %x", i, m)
			}
			got = append(got, m[len(m)-1:])
		}
	}
	slices.Sort(got)
	if s := strings.Join(got, ""); s != "0123456789" {
		t.Errorf("received %s", s)
	}
}

func TestNothingIsSentToAnOldClientThatMQTT5Added(t *testing.T) {
	r := start(t)
	c := r.dial().connect("c", true, false, "")
	r.dial().connect("c", true, false, "")
	if p := c.recv(); p != "" {
		t.Errorf("a 3.1.1 client that was taken over got %x", p)
	}
	c5 := r.dial().connect("d", true, true, "")
	r.dial().connect("d", true, true, "")
	if p := c5.recv(); len(p) < 3 || p[0] != 0xe0 || p[2] != "\x8e"[0] {
		t.Errorf("an MQTT 5 client that was taken over got %x", p)
	}
}

func TestPlainPublishesReachDashboardsWithoutMochi(t *testing.T) {
	r := start(t)
	s3 := r.dial().connect("s3", true, false, "")
	s3.sub("sensors/#", 0)
	s5 := r.dial().connect("s5", true, true, "")
	s5.send(frame(0x82, id16(5)+"\x02\x0b\x07"+str("sensors/+")+"\x00")) // with a subscription identifier
	s5.expect("SUBACK", "\x90\x04\x00\x05\x00\x00")
	p := r.dial().connect("p", true, false, "")
	for _, c := range []*client{s3, s5} { // SUBACK comes before the retained messages are looked up
		c.send("\xc0\x00")
		c.expect("PINGRESP", "\xd0\x00")
	}
	for i := 1; i <= 100; i++ {
		p.send(p.pub("sensors/a", fmt.Sprint(i), 1, i))
	}
	for i := 1; i <= 100; i++ {
		p.expect("ack", ack(typePuback, i))
		s3.expect("delivery", s3.pub("sensors/a", fmt.Sprint(i), 0, 0))
		s5.expect("delivery with the identifier", frame(0x30, str("sensors/a")+"\x02\x0b\x07"+fmt.Sprint(i)))
	}
	if s := r.b.Stats(); s.Fanned != 200 || s.Fast != 100 {
		t.Errorf("%d deliveries without mochi, %d plain publishes; want 200 and 100", s.Fanned, s.Fast)
	}
	s3.send(frame(0xa2, id16(9)+str("sensors/#")))
	s3.expect("UNSUBACK", "\xb0\x02\x00\x09")
	p.send(p.pub("sensors/a", "last", 1, 101))
	p.expect("ack", ack(typePuback, 101))
	s3.send("\xc0\x00")
	s3.expect("PINGRESP", "\xd0\x00")
}
