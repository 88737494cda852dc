package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"

	"weir/ingest/ring"
	"weir/simulator/brokertest"
)

// still returns a broker that does not run and a client of it, for measuring
// the read path without sockets.
func still(tb testing.TB) (*Broker, *conn, *ring.Ring, *mark) {
	tb.Helper()
	cfg := Default()
	cfg.Anonymous = true
	rg, m := ring.New(8<<20), &mark{}
	b, err := New(cfg, Deps{Log: quiet(), Partitions: []Partition{{rg, m}}, Route: func(topic string) Route {
		return Route{Logged: strings.HasPrefix(topic, "sensors/")}
	}})
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.access.Load(); err != nil {
		tb.Fatal(err)
	}
	here, there := net.Pipe()
	tb.Cleanup(func() { here.Close(); there.Close() })
	c := newConn(b, here, "test")
	c.cl = b.server.NewClient(c, "tcp", "bench", false)
	c.sess = newSession(b, "bench", "")
	c.principal.Store(b.access.Offline("", "bench"))
	c.sess.adopt(c, false, true)
	c.ready = true
	return b, c, rg, m
}

// plainFrames returns n PUBLISH frames of 90 byte payloads.
func plainFrames(n, qos int) string {
	var sb strings.Builder
	cl := &client{}
	payload := `{"temperature":21.5,"humidity":40,"battery":3.61,"seq":123456,"site":"north","ok":true}123`
	for i := range n {
		sb.WriteString(cl.pub("sensors/device-0017/telemetry", payload, qos, i+1))
	}
	return sb.String()
}

func BenchmarkReadPath(b *testing.B) {
	for _, qos := range []int{0, 1} {
		b.Run(fmt.Sprintf("qos=%d", qos), func(b *testing.B) {
			br, c, rg, m := still(b)
			const n = 200
			in := []byte(plainFrames(n, qos))
			b.ReportAllocs()
			for b.Loop() {
				c.r.in, c.r.r, c.r.w = in, 0, len(in)
				if err := c.r.scan(); err != nil {
					b.Fatal(err)
				}
				s := rg.Next(1 << 20)
				rg.Release(s.End)
				m.mu.Lock()
				m.pos, m.waiters = s.End, m.waiters[:0]
				m.mu.Unlock()
				c.sess.mu.Lock()
				c.sess.armed, c.sess.fifo.size = false, 0
				c.sess.mu.Unlock()
			}
			if br.Stats().Fast == 0 {
				b.Fatal("nothing was taken")
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/publish")
		})
	}
}

func BenchmarkAckFlush(b *testing.B) {
	br, c, _, m := still(b)
	c.sess.attach(c)
	c.w.closed = true // what is written is thrown away
	m.pos = 1 << 60
	const n = 200
	b.ReportAllocs()
	for b.Loop() {
		for i := range n {
			c.sess.fifo.push(owed{pos: 1, id: uint16(i + 1), typ: typePuback, logged: true})
		}
		c.sess.flush()
	}
	if br.Stats().Acked == 0 {
		b.Fatal("nothing was acknowledged")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/ack")
}

func TestTheReadPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	_, c, rg, m := still(t)
	in := []byte(plainFrames(100, 1))
	if n := testing.AllocsPerRun(200, func() {
		c.r.in, c.r.r, c.r.w = in, 0, len(in)
		if err := c.r.scan(); err != nil {
			t.Fatal(err)
		}
		s := rg.Next(1 << 20)
		rg.Release(s.End)
		m.pos, m.waiters = s.End, m.waiters[:0]
		c.sess.armed, c.sess.fifo.size = false, 0
	}); n > 0.1 {
		t.Errorf("allocations per socket read = %v, want 0", n)
	}
}

// load publishes count QoS 1 messages over conns connections, each with a
// window of unacknowledged ones, and returns when all are acknowledged.
func load(tb testing.TB, addr string, conns, window, count int) {
	var wg sync.WaitGroup
	for n := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			nc, err := net.Dial("tcp", addr)
			if err != nil {
				tb.Error(err)
				return
			}
			defer nc.Close()
			if _, err := io.WriteString(nc, connectPacket(fmt.Sprintf("load%d", n), true, false, "")); err != nil {
				tb.Error(err)
				return
			}
			buf := make([]byte, 64<<10)
			if _, err := io.ReadFull(nc, buf[:4]); err != nil {
				tb.Error(err)
				return
			}
			half := []byte(plainFrames(window, 1))
			one := len(half) / window
			total := count / conns
			acked, sent := 0, 0
			var acks int
			for acked < total {
				if k := min(window-(sent-acked), total-sent, window-sent%window); k > 0 && (k >= window/4 || sent+k == total || sent-acked < window/2) {
					from := sent % window * one
					if _, err := nc.Write(half[from : from+k*one]); err != nil {
						tb.Error(err)
						return
					}
					sent += k
					continue
				}
				m, err := nc.Read(buf)
				if err != nil {
					tb.Error(err)
					return
				}
				acks += m
				acked = acks / 4
			}
		}()
	}
	wg.Wait()
}

func cpu() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkLoopback compares brokers under the same load in the same process;
// the CPU time contains the client's. impl=client is a peer that only answers.
func BenchmarkLoopback(b *testing.B) {
	const conns, window, count = 50, 100, 500_000
	run := func(b *testing.B, addr string, n int) {
		b.ReportAllocs()
		for b.Loop() {
			runtime.GC()
			before, begin := cpu(), time.Now()
			load(b, addr, conns, window, n)
			b.ReportMetric(float64(n)/time.Since(begin).Seconds(), "publish/s")
			b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(n)/1e3, "cpu-µs/publish")
		}
	}
	b.Run("impl=weir", func(b *testing.B) { r := startQuiet(b, true); run(b, r.addr, count) })
	b.Run("impl=weir-slow", func(b *testing.B) { r := startQuiet(b, false); run(b, r.addr, count) })
	b.Run("impl=mochi", func(b *testing.B) {
		run(b, brokertest.Serve(b, mqtt.New(&mqtt.Options{Logger: quiet()})), count/5)
	})
	b.Run("impl=client", func(b *testing.B) { run(b, answerer(b), count) })
}

// quickRig is a broker whose log throws everything away at once.
type quickRig struct{ addr string }

func startQuiet(tb testing.TB, fast bool) quickRig {
	tb.Helper()
	cfg := Default()
	cfg.Listen, cfg.Anonymous, cfg.FastPath = "127.0.0.1:0", true, fast
	l := &fastLog{ring: ring.New(8 << 20)}
	b, err := New(cfg, Deps{Log: quiet(), Partitions: []Partition{{l.ring, &l.mark}}, Route: func(string) Route { return Route{Logged: true} }})
	if err != nil {
		tb.Fatal(err)
	}
	if err := b.Open(context.Background()); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	go l.run()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
		l.ring.Close()
	})
	return quickRig{b.Addr("tcp").String()}
}

type fastLog struct {
	ring *ring.Ring
	mark mark
}

func (l *fastLog) run() {
	for {
		s := l.ring.Next(256 << 10)
		if s.Chunks == 0 {
			if errors.Is(l.ring.Wait(context.Background()), ring.ErrClosed) {
				return
			}
			continue
		}
		time.Sleep(2 * time.Millisecond) // a commit
		l.ring.Release(s.End)
		l.mark.advance(s.End)
	}
}

// answerer is a peer that reads frames of a known size and acknowledges them
// at once: what is left of a figure when it is taken off is the broker's.
func answerer(tb testing.TB) string {
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { nl.Close() })
	one := len(plainFrames(1, 1))
	var served atomic.Int64
	go func() {
		for {
			nc, err := nl.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				buf, acks := make([]byte, 64<<10), []byte(strings.Repeat("\x40\x02\x00\x01", 1<<10))
				if n, err := nc.Read(buf); err != nil || n == 0 {
					return
				}
				if _, err := nc.Write([]byte("\x20\x02\x00\x00")); err != nil {
					return
				}
				got := 0
				for {
					n, err := nc.Read(buf)
					if err != nil {
						return
					}
					got += n
					k := got / one
					got -= k * one
					served.Add(int64(k))
					if _, err := nc.Write(acks[:4*k]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return nl.Addr().String()
}
