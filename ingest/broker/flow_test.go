package broker

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestUnderSteadyLoadADashboardIsServedWithoutMochiSoon(t *testing.T) {
	r := start(t)
	if err := r.b.Publish(t.Context(), "sensors/a", []byte("kept"), 0, true); err != nil {
		t.Fatal(err)
	}
	const n, window = 20_000, 100
	p := r.dial().connect("p", true, false, "")
	s := r.dial().connect("s", true, false, "")
	done := make(chan error, 1)
	subscribed := make(chan struct{})
	go func() { // never pauses for longer than the answers take
		for i := 1; i <= n; i += window {
			var out strings.Builder
			for k := range window {
				out.WriteString(p.pub("sensors/a", fmt.Sprint(i+k), 1, (i+k)%50_000+1))
			}
			if _, err := p.nc.Write([]byte(out.String())); err != nil {
				done <- err
				return
			}
			for k := range window {
				if got := p.recv(); got != ack(typePuback, (i+k)%50_000+1) {
					done <- fmt.Errorf("ack %d: %x", i+k, got)
					return
				}
			}
			if i == 1 {
				close(subscribed)
			}
		}
		done <- nil
	}()
	<-subscribed
	s.send(frame(0x82, id16(9)+str("sensors/#")+"\x00"))
	next, kept, suback := 0, false, false
	for next <= n {
		m := s.recv()
		switch {
		case m == "":
			t.Fatal("the subscriber was cut off")
		case m[0] == 0x90:
			suback = true
			continue
		case m[0]&1 == 1:
			kept = true
			continue
		}
		var i int
		if _, err := fmt.Sscan(m[2+2+len("sensors/a"):], &i); err != nil {
			t.Fatal(err)
		}
		if next != 0 && i != next {
			t.Fatalf("message %d came where %d was expected", i, next)
		}
		next = i + 1
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if st := r.b.Stats(); !kept || !suback || st.Slow > n/4 || st.Fanned == 0 {
		t.Errorf("retained %v, suback %v; %d of %d publishes read by mochi, %d deliveries without it", kept, suback, st.Slow, n, st.Fanned)
	}
}

func TestASubscriberThatNeverAcknowledgesIsCutOff(t *testing.T) {
	for _, v5 := range []bool{false, true} {
		r := start(t, func(c *Config, _ *Deps) {
			c.Limits.MaxInflight, c.Limits.WriteTimeout = 50, 200*time.Millisecond
		})
		s := r.dial().connect("s", true, v5, "")
		s.sub("sensors/#", 1)
		p := r.dial().connect("p", true, false, "")
		for i := 1; i <= 200; i++ {
			p.send(p.pub("sensors/a", "x", 1, i))
			p.expect("ack", ack(typePuback, i))
		}
		last := ""
		for m := s.recv(); m != ""; m = s.recv() {
			last = m
		}
		if v5 && (len(last) < 3 || last[0] != typeDisconnect || last[2] != "\x97"[0]) {
			t.Errorf("the last it got is %x, want DISCONNECT with reason 0x97", last)
		}
		if st := r.b.Stats(); st.Disconnected["slow"] != 1 || st.Dropped["inflight_full"] == 0 {
			t.Errorf("disconnected %v, dropped %v", st.Disconnected, st.Dropped)
		}
	}
}

func TestASubscriberThatStandsStillIsWaitedForOnce(t *testing.T) {
	r := start(t)
	s := r.dial().connect("s", true, false, "")
	s.sub("sensors/#", 1)
	c := s.c(r)
	c.flow.blocked.Store(true) // as if mochi's writer waited for it
	limit := int64(c.b.cfg.Limits.PendingWrites)
	c.flow.in.Store(c.flow.out.Load() + 2*limit)
	c.reserve()
	if c.flow.stalled.Load() != 1+c.flow.out.Load() {
		t.Fatal("that it makes no progress is not remembered")
	}
	for range 10_000 { // 17 minutes if each waited
		c.reserve()
	}
}

func TestANeverReaderAtQoS0CountsAsSlow(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.WriteTimeout = 100 * time.Millisecond })
	s := r.dial()
	_ = s.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	s.connect("s", true, false, "").sub("sensors/#", 0)
	p := r.dial().connect("p", true, false, "")
	payload := strings.Repeat("x", 64<<10)
	eventually(t, "it is cut off", func() bool {
		p.send(p.pub("sensors/a", payload, 0, 0))
		return r.b.Stats().Disconnected["slow"] == 1
	})
}
