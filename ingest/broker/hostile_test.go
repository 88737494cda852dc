package broker

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// gone fails unless the broker closes the connection.
func (c *client) gone(what string) {
	c.t.Helper()
	for {
		p := c.recv()
		if p == "" {
			return
		}
		if p[0] != 0xe0 {
			c.t.Fatalf("%s: got %x, want the end of the connection", what, p)
		}
	}
}

func TestAnnouncedSizesTakeNoMemory(t *testing.T) {
	r := start(t)
	before := heapInUse()
	var cs []*client
	for range 100 {
		c := r.dial()
		c.send("\x10\xff\xff\xff\x7f\x00\x04MQTT") // a CONNECT of 256 MiB
		cs = append(cs, c)
	}
	for _, c := range cs {
		c.gone("a CONNECT of 256 MiB")
	}
	if n := r.b.Stats().Disconnected["packet_too_large"]; n != 100 {
		t.Errorf("%d connections ended for it, want 100", n)
	}
	for _, v5 := range []bool{false, true} {
		c := r.dial().connect("big", true, v5, "")
		c.send("\x32\x80\x80\x80\x16sensors")
		if p := c.recv(); v5 && (len(p) < 3 || p[:3] != "\xe0\x02\x95") || !v5 && p != "" {
			t.Errorf("v5 %v: a PUBLISH of 45 MB was answered with %x", v5, p)
		}
		c.gone("a PUBLISH of 45 MB")
	}
	// What is within the limit is only taken as it arrives.
	cs = cs[:0]
	for i := range 100 {
		c := r.dial().connect(fmt.Sprintf("slow%d", i), true, false, "")
		c.send("\x30\xf0\xff\x3f" + str("sensors/x")) // 1 MiB, of which nothing comes
		cs = append(cs, c)
	}
	eventually(t, "all is read", func() bool { return r.b.Stats().Clients == 100 })
	if after := heapInUse(); after > before+20<<20 {
		t.Errorf("the heap grew from %d to %d bytes", before, after)
	}
	for _, c := range cs {
		c.nc.Close()
	}
}

func TestThreeHundredMegabytesAreRefusedWithoutHarm(t *testing.T) {
	r := start(t)
	good := r.dial().connect("good", true, false, "")
	bad := r.dial().connect("bad", true, false, "")
	bad.send("\x30\xff\xff\xff\x7f" + str("sensors/x"))
	chunk := make([]byte, 1<<20)
	for range 300 {
		if _, err := bad.nc.Write(chunk); err != nil {
			break
		}
	}
	good.send(good.pub("sensors/a", "x", 1, 1))
	good.expect("ack", ack(typePuback, 1))
	if n := len(r.messages()); n != 1 {
		t.Errorf("%d messages in the log, want 1", n)
	}
}

func TestWhoSaysNothingIsDropped(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.ConnectTimeout = 100 * time.Millisecond })
	for _, half := range []string{"", "\x10", connectPacket("x", true, false, "")[:9]} {
		c := r.dial()
		c.send(half)
		c.gone("silence")
	}
	if n := r.b.Stats().Disconnected["connect_timeout"]; n != 3 {
		t.Errorf("%d connections timed out, want 3", n)
	}
	var c *client
	connected := ""
	for connected == "" { // again if this machine took longer than that
		c = r.dial()
		_, _ = io.WriteString(c.nc, connectPacket("y", true, false, ""))
		connected = c.recv()
	}
	if connected != "\x20\x02\x00\x00" {
		t.Fatalf("CONNACK: got %x", connected)
	}
	time.Sleep(300 * time.Millisecond) // longer than the deadline for CONNECT: it must not count any more
	c.send("\xc0\x00")
	c.expect("PINGRESP", "\xd0\x00")
}

func TestKeepAliveCountsPacketsOfBothPaths(t *testing.T) {
	for !keepAliveCounts(t) {
		t.Log("the machine stood still for so long that a client seemed silent: once more")
	}
}

// keepAliveCounts returns false if this machine was too slow to tell.
func keepAliveCounts(t *testing.T) bool {
	r := start(t)
	connect := func(id string) *client {
		c := r.dial()
		c.send(frame(0x10, str("MQTT")+"\x04\x02"+id16(1)+str(id)))
		c.expect("CONNACK", "\x20\x02\x00\x00")
		return c
	}
	plain := connect("plain")
	last := time.Now()
	ask := func(packet, answer string) bool {
		_, _ = io.WriteString(plain.nc, packet)
		got := plain.recv()
		if time.Since(last) > time.Second {
			return false
		}
		if last = time.Now(); got != answer {
			t.Fatalf("a client that is not silent got %x, want %x", got, answer)
		}
		return true
	}
	trickle := connect("trickle")
	slow := plain.pub("sensors/x", strings.Repeat("x", 200), 1, 7)
	begin := time.Now()
	for i := 0; time.Since(begin) < 3*time.Second; i++ {
		if !ask(plain.pub("sensors/a", "x", 1, i+1), ack(typePuback, i+1)) {
			return false
		}
		if i < len(slow)-1 { // bytes of a packet that never ends don't count
			if _, err := trickle.nc.Write([]byte{slow[i]}); err != nil {
				break
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	trickle.gone("a client whose packet never ends")
	if !ask("\xc0\x00", "\xd0\x00") {
		return false
	}
	plain.gone("a silent client")
	if n := r.b.Stats().Disconnected["keep_alive"]; n != 2 {
		t.Errorf("%d keep alive timeouts, want 2", n)
	}
	return true
}

func TestGarbageHarmsNobody(t *testing.T) {
	r := start(t)
	good := r.dial().connect("good", true, true, "")
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	var wg sync.WaitGroup
	for i := range 300 {
		b := make([]byte, 1+rnd.IntN(400))
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		first := connectPacket(fmt.Sprintf("g%d", i), true, i%2 == 0, "")
		if i%3 == 0 {
			first = ""
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			nc, err := net.Dial("tcp", r.b.Addr("tcp").String())
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			_, _ = io.WriteString(nc, first+string(b))
			_ = nc.(*net.TCPConn).CloseWrite()
			_ = nc.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.Copy(io.Discard, nc); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection hangs after %q %x", first, b)
			}
		}()
	}
	wg.Wait()
	good.send(good.pub("sensors/a", "x", 1, 1))
	good.expect("ack", ack(typePuback, 1))
}

func TestConnectionsAreLimited(t *testing.T) {
	r := start(t, func(c *Config, _ *Deps) { c.Limits.Connections, c.Limits.PerAddress = 5, 20 })
	var cs []*client
	for i := range 5 {
		cs = append(cs, r.dial().connect(fmt.Sprintf("c%d", i), true, i%2 == 0, ""))
	}
	for _, v5 := range []bool{false, true} {
		c := r.dial()
		c.send(connectPacket("late", true, v5, ""))
		want := map[bool]byte{false: 3, true: 0x89}[v5]
		if p := c.recv(); len(p) < 4 || p[3] != want {
			t.Errorf("v5 %v: CONNACK %x, want code %#x", v5, p, want)
		}
	}
	for range 40 {
		cs = append(cs, r.dial())
	}
	eventually(t, "the rest is refused", func() bool {
		s := r.b.Stats()
		return s.Refused["address"] > 0 && s.Connections <= 21
	})
	for _, c := range cs {
		c.nc.Close()
	}
	eventually(t, "all are gone", func() bool { return r.b.Stats().Connections == 0 })
	r.dial().connect("again", true, false, "")
}

func TestASlowSubscriberHoldsNobodyUp(t *testing.T) {
	for _, qos := range []int{0, 1} {
		t.Run(fmt.Sprintf("qos=%d", qos), func(t *testing.T) {
			r := start(t, func(c *Config, _ *Deps) { c.Limits.WriteTimeout = 200 * time.Millisecond })
			slow := r.dial().connect("slow", true, false, "")
			slow.sub("sensors/#", qos)
			p := r.dial().connect("p", true, false, "")
			big := strings.Repeat("x", 100_000)
			for i := 1; i <= 300; i++ {
				p.send(p.pub("sensors/a", big, 1, i))
				p.expect("ack", ack(typePuback, i))
			}
			eventually(t, "the subscriber is cut", func() bool { return r.b.Stats().Clients == 1 })
			if n := len(r.messages()); n != 300 {
				t.Errorf("%d messages in the log, want 300", n)
			}
		})
	}
}

func TestAStuckConnectionIsTakenOver(t *testing.T) {
	r := start(t)
	stuck := r.dial().connect("x", true, false, "")
	stuck.sub("sensors/#", 1)
	p := r.dial().connect("p", true, false, "")
	big := strings.Repeat("x", 200_000)
	for i := 1; i <= 30; i++ { // it reads nothing, its buffers fill
		p.send(p.pub("sensors/a", big, 1, i))
		p.expect("ack", ack(typePuback, i))
	}
	again := r.dial().connect("x", true, false, "")
	again.send("\xc0\x00")
	again.expect("PINGRESP", "\xd0\x00")
}

func TestNoPasswordIsLogged(t *testing.T) {
	var mu sync.Mutex
	var out bytes.Buffer
	r := start(t, func(_ *Config, d *Deps) {
		d.Log = slog.New(slog.NewTextHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	c := r.dial().connect("c", true, true, "")
	second := frame(0x10, str("MQTT")+"\x05\xc2"+id16(60)+"\x00"+str("c")+str("user")+str("hunter2"))
	c.send(second)
	c.gone("a second CONNECT")
	eventually(t, "the end is logged", func() bool { mu.Lock(); defer mu.Unlock(); return strings.Contains(out.String(), "connection ended") })
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(out.String(), "hunter2") || strings.Contains(out.String(), "104 117 110 116") {
		t.Errorf("the password is in the log:\n%s", out.String())
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// An idle connection costs little: no read buffer, a short queue.
func TestAnIdleConnectionIsCheap(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector's own memory would be counted")
	}
	r := start(t)
	const n = 2000
	sys := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := sys()
	var ncs []net.Conn
	for i := range n {
		nc, err := net.Dial("tcp", r.b.Addr("tcp").String())
		if err != nil {
			t.Fatal(err)
		}
		ncs = append(ncs, nc)
		cl := &client{t: t, nc: nc}
		cl.connect(fmt.Sprintf("device-%05d", i), true, i%2 == 0, "")
		cl.send(cl.pub(fmt.Sprintf("sensors/device-%05d", i), "21.5", 1, 1))
		cl.expect("ack", ack(typePuback, 1))
	}
	each := (sys() - before) / n
	t.Logf("%d bytes an idle connection, the client's end included", each)
	if each > 28<<10 { // 20 KiB of it are the stacks of mochi's two goroutines
		t.Errorf("%d bytes an idle connection, want at most 28 KiB", each)
	}
	for _, nc := range ncs {
		nc.Close()
	}
}
