package broker

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

var seed = flag.Uint64("seed", 0, "seed of the differential test; 0: a new one")

// script is what one client sends: its packets, and where the bytes are cut.
type script struct {
	v5      bool
	packets []string
	cuts    []int
}

// randomScript returns packets of which most are plain and some are anything
// else, faulty ones included.
func randomScript(rnd *rand.Rand) script {
	s := script{v5: rnd.IntN(2) == 0}
	pick := func(l ...string) string { return l[rnd.IntN(len(l))] }
	hostile := rnd.IntN(2) == 0
	id := 0
	for range 1 + rnd.IntN(60) {
		topic := pick("sensors/a", "sensors/b", "sensors/c", "sensors/watched", "other/x", "sensors/é")
		qos, first := rnd.IntN(2), byte(0x30)
		if rnd.IntN(12) == 0 {
			qos = 2
		}
		id++
		pid := id
		switch rnd.IntN(25) {
		case 0:
			first |= 1 // retain
		case 1:
			if qos > 0 {
				first |= 8
				s.packets = append(s.packets, "sync") // whether the first copy is durable decides
				pid = max(1, id-rnd.IntN(4))          // sent again, perhaps
			}
		}
		props := ""
		if s.v5 {
			body := ""
			switch rnd.IntN(10) {
			case 0:
				body = "\x26" + str("k") + str("v")
			case 1:
				body = "\x23" + id16(1+rnd.IntN(4))
			case 2:
				body, topic = "\x23"+id16(1), pick(topic, "")
			case 3:
				body = "\x01\x01" + "\x02\x00\x00\x00\x3c"
			}
			if hostile {
				switch rnd.IntN(60) {
				case 0:
					body = "\x23" + id16(pickInt(rnd, 0, 33, 65535))
				case 1:
					body = "\x26" + str("k\xff") + str("v")
				case 2:
					body = "\x7f"
				case 3:
					body = "\x23" + id16(1) + "\x23" + id16(2)
				case 4:
					body = "\x0b\x01"
				}
			}
			props = string([]byte{byte(len(body))}) + body
		}
		if hostile {
			switch rnd.IntN(120) {
			case 0:
				topic = pick("", "sensors/+", "sensors/#", "$SYS/x", "sensors/\x00", "sensors/\xff", "$share/g/sensors/a", "sensors/\xed\xa0\x80")
			case 1:
				pid = 0
			case 2:
				first |= 6 // QoS 3 or so
			case 3:
				s.packets = append(s.packets, pick("\xf0\x00", "\x00\x00", "\x30\xff\xff\xff\xff\x01", "\x32\x03\x00\x05a", "\xc1\x00", "\x38\x00", "\x30\x00", "\x32\xff\xff\xff\x7f", connectPacket("again", true, s.v5, "")))
				continue
			}
		}
		body := str(topic)
		if qos > 0 {
			body += id16(pid)
		}
		s.packets = append(s.packets, frame(first|byte(qos<<1), body+props+strings.Repeat("x", rnd.IntN(200))+fmt.Sprint(id)))
		if qos == 2 {
			s.packets = append(s.packets, "sync", frame(0x62, id16(pid)))
		}
		switch rnd.IntN(15) {
		case 0:
			s.packets = append(s.packets, "\xc0\x00")
		case 1:
			s.packets = append(s.packets, "sync")
		}
	}
	for range rnd.IntN(20) {
		s.cuts = append(s.cuts, 1+rnd.IntN(300))
	}
	return s
}

func pickInt(rnd *rand.Rand, l ...int) int { return l[rnd.IntN(len(l))] }

// outcome is what a broker made of a script.
type outcome struct {
	answers string   // acks in their order
	end     string   // how the broker ended the connection: "", "closed", or DISCONNECT with its reason
	pings   int      // PINGRESP may overtake acks
	logged  []string // what reached the log
	seen    []string // what a subscriber got
}

func (r *rig) play(s script, n int) outcome {
	name := fmt.Sprintf("c%d", n)
	w := r.dial().connect("w"+name, true, true, "")
	w.sub("sensors/watched", 0)
	w.send("\xc0\x00") // SUBACK comes before the retained messages are looked up
	w.expect("PINGRESP", "\xd0\x00")
	c := r.dial().connect(name, true, s.v5, "")
	from := len(r.messages())
	var o outcome
	var mu sync.Mutex
	answered := make(chan string, 4096)
	go func() {
		defer close(answered)
		for p := c.recv(); p != ""; p = c.recv() {
			answered <- p
		}
	}()
	read := func(p string) {
		mu.Lock()
		defer mu.Unlock()
		if p == "\xd0\x00" {
			o.pings++
			return
		}
		if p[0] == 0xe0 {
			o.end = fmt.Sprintf("%x", p[:3]) // the reason string may differ
			return
		}
		o.answers += fmt.Sprintf("%x ", p)
	}
	// until reads answers up to the ack of a barrier publish, which is logged
	// after everything before it. It returns false at the end of the connection.
	barrier := 60000
	until := func() bool {
		barrier++
		if _, err := c.nc.Write([]byte(c.pub("sensors/barrier", "", 1, barrier))); err != nil {
			for p := range answered {
				read(p)
			}
			return false
		}
		for p := range answered {
			if p == ack(typePuback, barrier) {
				return true
			}
			read(p)
		}
		return false
	}
	buf, cut, alive := "", 0, true
	for _, p := range s.packets {
		if p != "sync" {
			buf += p
			continue
		}
		alive = alive && r.fragments(c, buf, s.cuts, &cut) && until()
		buf = ""
		if !alive {
			break
		}
	}
	if alive && r.fragments(c, buf, s.cuts, &cut) && until() {
		c.nc.Close()
	} else if o.end == "" {
		o.end = "closed"
	}
	for p := range answered {
		read(p)
	}
	c.nc.Close()
	eventually(r.t, "the client is gone", func() bool { return r.b.Stats().Clients == 1 })
	eventually(r.t, "all is committed", func() bool { return uint64(len(r.messages())) == r.b.Stats().Logged })
	for _, m := range r.messages()[from:] {
		if m.Topic != "sensors/barrier" {
			o.logged = append(o.logged, fmt.Sprintf("%s %d %v %s %s", m.Topic, m.QoS, m.Retain, m.Client, m.Payload))
		}
	}
	w.send("\xc0\x00")
	if err := r.b.Publish(r.t.Context(), "sensors/watched", []byte("last"), 0, false); err != nil {
		r.t.Fatal(err)
	}
	for {
		p := w.recv()
		if p == "" {
			r.t.Fatal("the subscriber was disconnected")
		}
		if strings.HasSuffix(p, "last") {
			break
		}
		if p[0]>>4 == 3 {
			o.seen = append(o.seen, fmt.Sprintf("%q", p))
		}
	}
	for _, topic := range []string{"sensors/a", "sensors/b", "sensors/c", "sensors/watched", "sensors/é", "other/x"} {
		if err := r.b.Publish(r.t.Context(), topic, nil, 0, true); err != nil { // what was retained
			r.t.Fatal(err)
		}
	}
	w.nc.Close()
	eventually(r.t, "the subscriber is gone", func() bool { return r.b.Stats().Connections == 0 })
	return o
}

// c returns the broker's side of a client.
func (c *client) c(r *rig) *conn {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	for k := range r.b.clients {
		if k.Conn.RemoteAddr().String() == c.nc.LocalAddr().String() {
			return k
		}
	}
	r.t.Fatal("the broker doesn't know the client")
	return nil
}

// fragments writes b in pieces. It returns false when the connection has ended.
func (r *rig) fragments(c *client, b string, cuts []int, at *int) bool {
	for len(b) > 0 {
		n := len(b)
		if len(cuts) > 0 {
			n = min(n, cuts[*at%len(cuts)])
			*at++
		}
		if _, err := c.nc.Write([]byte(b[:n])); err != nil {
			return false
		}
		b = b[n:]
		if len(cuts) > 0 && *at%5 == 0 {
			time.Sleep(time.Millisecond) // lets the broker see the piece alone; decides nothing
		}
	}
	return true
}

// The connection's own reading and mochi's give the same answers, the same
// log, and the same deliveries.
func TestBothReadPathsGiveTheSame(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d (rerun: -seed %d)", s, s)
	fast := start(t)
	slow := start(t, func(c *Config, _ *Deps) { c.FastPath = false })
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for n := range rounds {
		sc := randomScript(rand.New(rand.NewPCG(s, uint64(n))))
		a, b := fast.play(sc, n), slow.play(sc, n)
		// When the broker ends a connection, acks may or may not have got out.
		short := min(len(a.answers), len(b.answers))
		same := a.answers == b.answers || a.end != "" && a.answers[:short] == b.answers[:short]
		for _, d := range []struct {
			what, fast, slow string
			same             bool
		}{
			{"answers", a.answers, b.answers, same},
			{"end", a.end, b.end, a.end == b.end},
			{"log", fmt.Sprintf("%q", a.logged), fmt.Sprintf("%q", b.logged), fmt.Sprint(a.logged) == fmt.Sprint(b.logged)},
			{"deliveries", fmt.Sprint(a.seen), fmt.Sprint(b.seen), fmt.Sprint(a.seen) == fmt.Sprint(b.seen)},
		} {
			if !d.same {
				t.Fatalf("script %d, v5 %v, cuts %v: %s differ\nfast %s\nslow %s\npackets %q", n, sc.v5, sc.cuts, d.what, d.fast, d.slow, sc.packets)
			}
		}
	}
	if f, s := fast.b.Stats().Fast, slow.b.Stats().Fast; f == 0 || s != 0 {
		t.Errorf("taken by the connection: %d with the fast path, %d without", f, s)
	}
}
