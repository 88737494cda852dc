package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"weir/ingest/eventlog"
)

// lastWill is the will of a client of MQTT 5 that keeps its session for an hour.
type lastWill struct {
	topic, payload string
	delay          int // seconds
	retain, clean  bool
	session        int // seconds; 0: an hour, -1: none
	props          string
	user, password string
}

func num(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

// connectPacket encodes a CONNECT with the will.
func (w lastWill) connectPacket(id string) string {
	flags := byte(0x04)
	if w.retain {
		flags |= 0x20
	}
	if w.clean {
		flags |= 0x02
	}
	session := "\x11" + num(3600)
	switch {
	case w.session > 0:
		session = "\x11" + num(w.session)
	case w.session < 0:
		session = ""
	}
	props := w.props
	if w.delay > 0 {
		props += "\x18" + num(w.delay)
	}
	rest := string([]byte{byte(len(props))}) + props + str(w.topic) + str(w.payload)
	if w.user != "" {
		flags |= 0xC0
		rest += str(w.user) + str(w.password)
	}
	return frame(0x10, str("MQTT")+"\x05"+string([]byte{flags})+id16(60)+string([]byte{byte(len(session))})+session+str(id)+rest)
}

// kept returns how many wills the broker knows.
func (r *rig) kept() int {
	ws := r.b.wills
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.of) + len(ws.queue)
}

// watch connects a client that sees what is published from now on.
func (r *rig) watch(filter string) *client {
	r.t.Helper()
	s := r.dial().connect("watch", true, true, "")
	s.sub(filter, 0)
	s.send("\xc0\x00")
	s.expect("PINGRESP: what is retained has been sent", "\xd0\x00")
	return s
}

// leaves connects a client with the will.
func (r *rig) leaves(id string, w lastWill) *client {
	r.t.Helper()
	c := r.dial()
	c.v5 = true
	c.send(w.connectPacket(id))
	if p := c.recv(); len(p) < 4 || p[0] != 0x20 || p[3] != 0 {
		r.t.Fatalf("CONNACK: got %x", p)
	}
	return c
}

// loses connects a client with the will and breaks the connection. Unlike
// leaves it may be called by any goroutine.
func (r *rig) loses(id string, w lastWill) error {
	nc, err := net.Dial("tcp", r.b.Addr("tcp").String())
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if _, err := nc.Write([]byte(w.connectPacket(id))); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil || answer[3] != 0 {
		return fmt.Errorf("%s: CONNACK %x, %w", id, answer, err)
	}
	return nil
}

// A client that comes back when it sees its will, and drops at once, has a will
// anew. Routing is slow here, so that what is done about the will that is sent
// and what the client does overlap.
func TestEachConnectionHasItsOwnDelayedWill(t *testing.T) {
	const clients, rounds = 8, 3
	r := start(t, func(_ *Config, d *Deps) {
		d.Route = func(topic string) Route {
			if strings.HasPrefix(topic, "wills/") {
				time.Sleep(50 * time.Millisecond)
			}
			return Route{}
		}
	})
	var wg sync.WaitGroup
	for i := range clients {
		id := fmt.Sprint("c", i)
		s := r.dial().connect("sees-"+id, true, true, "")
		s.sub("wills/"+id, 0)
		wg.Go(func() {
			for n := range rounds {
				payload := fmt.Sprint("gone ", n)
				begin := time.Now()
				if err := r.loses(id, lastWill{topic: "wills/" + id, payload: payload, delay: 1}); err != nil {
					t.Error(err)
					return
				}
				if p, err := s.next(); err != nil || !strings.HasSuffix(p, payload) {
					t.Errorf("%s: the will of connection %d: got %q, %v", id, n, p, err)
					return
				}
				if d := time.Since(begin); d < time.Second {
					t.Errorf("%s: the will of connection %d came after %v", id, n, d)
				}
			}
		})
	}
	wg.Wait()
	if n := r.b.Stats().Wills; n != clients*rounds {
		t.Errorf("%d wills are counted, want %d", n, clients*rounds)
	}
	eventually(t, "no will is kept of a client that is gone", func() bool { return r.kept() == 0 })
}

func TestWhatBecomesOfTheWillOfTheConnectionBefore(t *testing.T) {
	for _, c := range []struct {
		name       string
		will       lastWill
		gone       bool // the connection has ended before
		clean      bool // the new one starts clean
		wantTheOld bool
	}{
		{name: "delayed, the session is taken up", will: lastWill{delay: 3600}, gone: true},
		{name: "delayed, the session ends", will: lastWill{delay: 3600}, gone: true, clean: true, wantTheOld: true},
		{name: "delayed, the session is taken over", will: lastWill{delay: 3600}},
		{name: "delayed, a clean start takes over", will: lastWill{delay: 3600}, clean: true, wantTheOld: true},
		{name: "at once, the session is taken over", wantTheOld: true},
		{name: "at once, a clean start takes over", clean: true, wantTheOld: true},
		{name: "delayed beyond the session, which is taken over", will: lastWill{delay: 3600, session: -1}, wantTheOld: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			s := r.watch("state/c")
			c.will.topic, c.will.payload, c.will.retain = "state/c", "offline", true
			k := r.leaves("c", c.will)
			if c.gone {
				k.nc.Close()
				eventually(t, "the will waits", func() bool { return len(r.b.wills.waiting()) == 1 })
			}
			k = r.leaves("c", lastWill{topic: "state/c", payload: "offline again", delay: 3600, clean: c.clean})
			k.send(frame(0x31, str("state/c")+"\x00online")) // retained
			if c.wantTheOld {
				s.expect("the will", s.pub("state/c", "offline", 0, 0))
			}
			s.expect("what the client said when it was back", s.pub("state/c", "online", 0, 0))
			late := r.dial().connect("late", true, true, "")
			late.send(frame(0x82, id16(9)+"\x00"+str("state/c")+"\x00"))
			late.recv() // SUBACK
			late.expect("what is retained", frame(0x31, str("state/c")+"\x00online"))
			want := uint64(0)
			if c.wantTheOld {
				want = 1
			}
			if n := r.b.Stats().Wills; n != want {
				t.Errorf("%d wills sent, want %d", n, want)
			}
		})
	}
}

func TestAWillIsSentAtTheLatestWhenTheSessionEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		will lastWill
		bye  string
		wait time.Duration
	}{
		{"no session is kept", lastWill{session: -1}, "", 0},
		{"it is kept for less than the delay", lastWill{session: 1}, "", time.Second},
		{"DISCONNECT with will ends it", lastWill{}, frame(0xe0, "\x04\x05\x11"+num(0)), 0},
		{"DISCONNECT with will shortens it", lastWill{}, frame(0xe0, "\x04\x05\x11"+num(1)), time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			s := r.watch("sensors/#")
			c.will.topic, c.will.payload, c.will.delay, c.will.retain = "sensors/c", "gone", 3600, true
			k := r.leaves("c", c.will)
			begin := time.Now()
			if c.bye != "" {
				k.send(c.bye)
			} else {
				k.nc.Close()
			}
			s.expect("the will", s.pub("sensors/c", "gone", 0, 0))
			if d := time.Since(begin); d < c.wait {
				t.Errorf("it came after %v, want %v", d, c.wait)
			}
			eventually(t, "it is logged", func() bool { return len(r.messages()) == 1 })
			if m := r.messages()[0]; m.Topic != "sensors/c" || m.Client != "c" {
				t.Errorf("logged %+v", m)
			}
			if _, ok := r.b.server.Topics.Retained.Get("sensors/c"); !ok {
				t.Error("it is not retained")
			}
		})
	}
}

func TestOnlyANormalDisconnectTakesTheWillBack(t *testing.T) {
	r := start(t)
	s := r.watch("wills/#")
	for i, c := range []struct {
		bye  string
		want bool
	}{
		{"\xe0\x00", false},
		{"\xe0\x01\x00", false},
		{"\xe0\x02\x00\x00", false},
		{"\xe0\x01\x04", true},
		{"\xe0\x02\x04\x00", true},
		{"\xe0\x01\x80", true},                           // an error that the client has met
		{frame(0xe0, "\x00\x05\x11"+num(3600)), true},    // a session that it did not have: a protocol error
		{connectPacket("again", true, true, ""), true},   // a second CONNECT
		{"\xe0\x00" + "\xe0\x01\x04", false},             // what follows is not read
		{"\x30\x05\x00\x01a\x00x" + "\xe0\x00", false},   // behind a publish
		{frame(0x30, str("")+"\x03\x23\x00\x05x"), true}, // an alias that is not known: the broker ends it in the midst of the packet
		{frame(0x30, str("a/#")+"\x00x"), true},          // a topic that is none
	} {
		id := fmt.Sprint("c", i)
		k := r.leaves(id, lastWill{topic: "wills/" + id, payload: "gone", session: -1})
		k.send(c.bye)
		k.gone(id)
		if c.want {
			s.expect(id+": the will", s.pub("wills/"+id, "gone", 0, 0))
		}
		eventually(t, "the connection is off the books", func() bool { return r.b.Stats().Clients == 1 })
		s.send(s.pub("wills/mark", id, 0, 0))
		s.expect(id+": nothing more", s.pub("wills/mark", id, 0, 0))
	}
}

func TestAWillHasItsProperties(t *testing.T) {
	r := start(t)
	s := r.watch("wills/#")
	sent := "\x01\x01" + "\x03" + str("text/plain") + "\x08" + str("answers") + "\x09" + str("corr") + "\x26" + str("k") + str("v")
	for _, delay := range []int{0, 1} {
		r.leaves("c", lastWill{topic: "wills/c", payload: "gone", delay: delay, props: sent + "\x02" + num(3600)}).nc.Close()
		m := s.recv()
		for _, p := range []string{"\x01\x01", "\x03" + str("text/plain"), "\x08" + str("answers"), "\x09" + str("corr"), "\x26" + str("k") + str("v"), "\x02\x00\x00\x0e"} {
			if !strings.Contains(m, p) {
				t.Errorf("delay %d: the will lacks the property %x: %x", delay, p, m)
			}
		}
		if !strings.HasSuffix(m, "gone") {
			t.Errorf("delay %d: %x", delay, m)
		}
	}
	const noLocal = 4
	k := r.leaves("own", lastWill{topic: "wills/own", payload: "gone", delay: 1})
	k.send(frame(0x82, id16(9)+"\x00"+str("wills/own")+string([]byte{1 | noLocal})))
	k.recv() // SUBACK
	k.nc.Close()
	s.expect("the will", s.pub("wills/own", "gone", 0, 0))
	k = r.dial().connect("own", false, true, "\x11"+num(3600))
	k.send("\xc0\x00")
	k.expect("PINGRESP, and not its own will before it", "\xd0\x00")
}

func TestARetainedWillCountsAgainstTheLimit(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.RetainedMessages = 1 })
	s := r.watch("wills/#")
	for _, id := range []string{"a", "b", "a"} {
		r.leaves(id, lastWill{topic: "wills/" + id, payload: "gone", retain: true, session: -1}).nc.Close()
		s.expect("the will", s.pub("wills/"+id, "gone", 0, 0))
	}
	if n := r.b.Stats().Refused["retained"]; n != 1 {
		t.Errorf("%d refused, want 1", n)
	}
	if _, ok := r.b.server.Topics.Retained.Get("wills/b"); ok {
		t.Error("the one beyond the limit is retained")
	}
}

func TestAWaitingWillIsDroppedWithTheRightToIt(t *testing.T) {
	h, err := bcrypt.GenerateFromPassword([]byte("pw"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "users.yaml")
	users := func(names ...string) {
		t.Helper()
		src := "users:\n"
		for _, n := range names {
			name, topic, _ := strings.Cut(n, " ")
			src += fmt.Sprintf("  - {name: %s, password: %q, acl: [{topic: %q, allow: publish}, {topic: \"#\", allow: subscribe}]}\n", name, h, topic)
		}
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	users("ann wills/#", "bob wills/#", "eve wills/#")
	r := start(t, func(c *Config, _ *Deps) { c.Anonymous, c.UsersFile = false, file })
	gone := []*client{}
	for _, u := range []string{"ann", "bob", "eve"} {
		gone = append(gone, r.leaves(u, lastWill{topic: "wills/" + u, payload: "gone", delay: 3600, user: u, password: "pw"}))
	}
	for _, c := range gone {
		c.nc.Close()
	}
	waiting := func() (all []string) {
		for _, w := range r.b.wills.waiting() {
			all = append(all, w.client)
		}
		slices.Sort(all)
		return all
	}
	eventually(t, "all wait", func() bool { return len(waiting()) == 3 })
	live := r.leaves("live", lastWill{topic: "wills/live", payload: "gone", user: "eve", password: "pw"})
	users("ann wills/#", "bob other/#") // eve is gone
	if err := r.b.ReloadUsers(); err != nil {
		t.Fatal(err)
	}
	if got := waiting(); len(got) != 1 || got[0] != "ann" {
		t.Errorf("the wills of %v wait, want ann's only", got)
	}
	live.gone("its user is gone")
	eventually(t, "it is off the books", func() bool { return r.b.Stats().Connections == 0 })
	if n := r.b.Stats().Wills; n != 0 {
		t.Errorf("%d wills sent", n)
	}
}

func TestWaitingWillsAreReportedAtShutdown(t *testing.T) {
	var log lines
	r := start(t, log.option())
	r.leaves("c", lastWill{topic: "wills/c", payload: "gone", delay: 3600}).nc.Close()
	eventually(t, "it waits", func() bool { return len(r.b.wills.waiting()) == 1 })
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	r.done <- nil // for the cleanup
	if s := log.String(); !strings.Contains(s, "delayed wills are lost") || !strings.Contains(s, "wills=1") {
		t.Errorf("log:\n%s", s)
	}
}

// fill appends to the log until it takes nothing more.
func fill(t *testing.T, l *logRig) {
	t.Helper()
	for _, size := range []int{1 << 20, 1 << 10, 1} {
		rec := eventlog.AppendPublish(nil, 1, "sensors/fill", make([]byte, size), "", 0, false)
		for ok := true; ok; {
			var err error
			if _, ok, err = l.ring.TryAppend(rec, 1); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// While the log takes nothing, a client whose will is to be logged first can't
// come back. The will is not lost, and comes once.
func TestAClientWhoseWillTheLogDoesNotTakeIsToldToComeLater(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.ConnectTimeout = 200 * time.Millisecond })
	s := r.watch("sensors/will")
	k := r.leaves("c", lastWill{topic: "sensors/will", payload: "gone", session: -1})
	r.logs[0].hold()
	fill(t, r.logs[0])
	again := r.dial()
	again.send(connectPacket("c", true, true, ""))
	if p := again.recv(); len(p) < 4 || p[3] != 0x88 {
		t.Errorf("CONNACK %x, want reason 0x88", p)
	}
	k.gone("it was taken over")
	r.logs[0].release()
	s.expect("the will", s.pub("sensors/will", "gone", 0, 0))
	r.dial().connect("c", true, true, "")
	if n := r.b.Stats().Wills; n != 1 {
		t.Errorf("%d wills sent, want 1", n)
	}
}
