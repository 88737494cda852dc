package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"weir/simulator/wire"
)

// script is a broker that does as a test says. It gets each PUBLISH's packet
// identifier and returns what to answer; returning io.EOF hangs up after that.
type script func(n int, id uint16, dup bool) (answer []byte, err error)

// scripted serves connections with connack and then the script, which counts
// messages over all of them. It returns the broker's address.
func scripted(t *testing.T, connack []byte, answer script) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return "tcp://" + serve(t, listener, connack, answer)
}

// serve is scripted on a listener; it returns its host:port.
func serve(t *testing.T, listener net.Listener, connack []byte, answer script) string {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n := 0
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n = converse(conn, connack, n, answer)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return listener.Addr().String()
}

// converse serves one connection, and returns how many messages were seen so
// far.
func converse(conn net.Conn, connack []byte, n int, answer script) int {
	var in []byte
	chunk := make([]byte, 4096)
	for {
		p, used, _, err := wire.Parse(in)
		if err != nil {
			return n
		}
		if used == 0 {
			got, err := conn.Read(chunk)
			if err != nil {
				return n
			}
			in = append(in, chunk[:got]...)
			continue
		}
		first, body := in[0], bytes.Clone(p.Body)
		in = in[used:]
		var out []byte
		switch p.Type {
		case wire.Connect:
			out = connack
		case wire.Publish:
			topic := int(body[0])<<8 | int(body[1])
			id := uint16(body[2+topic])<<8 | uint16(body[3+topic])
			out, err = answer(n, id, first&0x08 != 0)
			n++
		case wire.PubRel:
			out = wire.AppendAck(nil, wire.PubComp, uint16(body[0])<<8|uint16(body[1]))
		}
		if _, werr := conn.Write(out); werr != nil || err != nil {
			return n
		}
	}
}

func accepted(v wire.Version) []byte {
	if v == wire.V5 {
		return []byte{wire.ConnAck << 4, 3, 0, 0, 0}
	}
	return []byte{wire.ConnAck << 4, 2, 0, 0}
}

// single is a run of count messages over one connection.
func single(broker string, count uint64, v wire.Version) Config {
	cfg := small(broker, 1, v)
	cfg.Client.Connections, cfg.Load.Devices = 1, 1
	cfg.Schedule = Schedule{Count: count, Window: 10, Tick: time.Millisecond}
	return cfg
}

func TestAcknowledgementsOutOfOrderAreCountedAndFailTheRun(t *testing.T) {
	var held []byte
	broker := scripted(t, accepted(wire.V311), func(n int, id uint16, _ bool) ([]byte, error) {
		ack := wire.AppendAck(nil, wire.PubAck, id)
		if n%10 == 3 { // the fourth of ten is answered after the seventh
			held = ack
			return nil, nil
		}
		if n%10 == 6 {
			ack = append(ack, held...)
		}
		return ack, nil
	})
	result, err := Run(t.Context(), single(broker, 100, wire.V311), nil)
	if err == nil || !strings.Contains(err.Error(), "10 acknowledgements were out of order") {
		t.Errorf("Run = %v, want ten out of order", err)
	}
	if result.Acked != 100 || result.OutOfOrder != 10 || result.Unexpected != 0 {
		t.Errorf("result = %+v, want all 100 acked and 10 out of order", result)
	}
}

func TestRefusedMessagesAreNotAcknowledgedOnes(t *testing.T) {
	broker := scripted(t, accepted(wire.V5), func(n int, id uint16, _ bool) ([]byte, error) {
		if n%5 == 0 {
			return []byte{wire.PubAck << 4, 3, byte(id >> 8), byte(id), 0x97}, nil
		}
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	var acked bytes.Buffer
	cfg := single(broker, 50, wire.V5)
	cfg.Acked = &acked
	result, err := Run(t.Context(), cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "refused 10 messages") {
		t.Errorf("Run = %v, want ten refused", err)
	}
	if result.Acked != 40 || result.Refused != 10 || strings.Count(acked.String(), "\n") != 40 {
		t.Errorf("result = %+v with %d lines acknowledged, want 40 acked", result, strings.Count(acked.String(), "\n"))
	}
}

func TestUnexpectedAcknowledgementsAreCounted(t *testing.T) {
	for name, extra := range map[string]func(id uint16) []byte{
		"of a message that was acknowledged": func(id uint16) []byte { return wire.AppendAck(nil, wire.PubAck, id) },
		"of a message never sent":            func(id uint16) []byte { return wire.AppendAck(nil, wire.PubAck, id+200) },
		"of packet identifier 0":             func(uint16) []byte { return wire.AppendAck(nil, wire.PubAck, 0) },
		"of another kind":                    func(id uint16) []byte { return wire.AppendAck(nil, wire.PubComp, id) },
	} {
		t.Run(name, func(t *testing.T) {
			broker := scripted(t, accepted(wire.V311), func(n int, id uint16, _ bool) ([]byte, error) {
				ack := wire.AppendAck(nil, wire.PubAck, id)
				if n == 20 {
					ack = append(ack, extra(id)...)
				}
				return ack, nil
			})
			result, err := Run(t.Context(), single(broker, 50, wire.V311), nil)
			if err == nil || result.Acked != 50 || result.Unexpected != 1 {
				t.Errorf("Run = %+v, %v; want 50 acked, 1 unexpected and an error", result, err)
			}
		})
	}
}

func TestABrokersReceiveMaximumBoundsTheWindow(t *testing.T) {
	inFlight, most := 0, 0
	var pending []byte
	connack := []byte{wire.ConnAck << 4, 6, 0, 0, 3, 0x21, 0, 4} // receive maximum 4
	broker := scripted(t, connack, func(n int, id uint16, _ bool) ([]byte, error) {
		inFlight++
		most = max(most, inFlight)
		pending = wire.AppendAck(pending, wire.PubAck, id)
		if inFlight < 4 && n < 39 {
			return nil, nil
		}
		out := pending
		pending, inFlight = nil, 0
		return out, nil
	})
	cfg := single(broker, 40, wire.V5)
	cfg.Schedule.Burst = 1
	result, err := Run(t.Context(), cfg, nil)
	if err != nil || result.Acked != 40 || result.Window != 4 || most != 4 {
		t.Errorf("Run = %+v, %v, at most %d in flight; want a window of 4", result, err, most)
	}
}

func TestARefusedConnectionNamesItsReason(t *testing.T) {
	broker := scripted(t, []byte{wire.ConnAck << 4, 2, 0, 4}, nil)
	for _, reconnect := range []bool{false, true} {
		cfg := single(broker, 1, wire.V311)
		cfg.Fault.Reconnect = reconnect
		_, err := Run(t.Context(), cfg, nil)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Code != 4 || !strings.Contains(err.Error(), "bad user name or password") {
			t.Errorf("reconnect %v: Run = %v, want bad user name or password", reconnect, err)
		}
	}
}

func TestADisconnectNamesItsReason(t *testing.T) {
	broker := scripted(t, accepted(wire.V5), func(n int, id uint16, _ bool) ([]byte, error) {
		if n == 5 {
			return []byte{wire.Disconnect << 4, 1, 0x93}, io.EOF
		}
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	result, err := Run(t.Context(), single(broker, 50, wire.V5), nil)
	if err == nil || !strings.Contains(err.Error(), "receive maximum exceeded") {
		t.Errorf("Run = %v, want the reason of the disconnect", err)
	}
	if result.Acked != 5 {
		t.Errorf("acked %d, want 5", result.Acked)
	}
}

func TestRubbishEndsTheRunWithAnError(t *testing.T) {
	for name, rubbish := range map[string][]byte{
		"an endless length":  {wire.PubAck << 4, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F},
		"a subscription ack": {9 << 4, 3, 0, 1, 0},
		"a huge packet":      {wire.Publish << 4, 0xFF, 0xFF, 0xFF, 0x7F},
	} {
		broker := scripted(t, accepted(wire.V311), func(int, uint16, bool) ([]byte, error) { return rubbish, nil })
		if _, err := Run(t.Context(), single(broker, 50, wire.V311), nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAStandstillEndsTheRun(t *testing.T) {
	broker := scripted(t, accepted(wire.V311), func(int, uint16, bool) ([]byte, error) { return nil, nil })
	cfg := single(broker, 50, wire.V311)
	cfg.Fault.Timeout = 3 * time.Second
	result, err := Run(t.Context(), cfg, nil)
	if !errors.Is(err, ErrStalled) || result.Acked != 0 || result.Sent != 10 {
		t.Errorf("Run = %+v, %v; want it stalled with a window of 10 sent", result, err)
	}
}

func TestMessagesInFlightAreSentAgainWithDUPInTheirOrder(t *testing.T) {
	type seen struct {
		id  uint16
		dup bool
	}
	var got []seen
	broker := scripted(t, accepted(wire.V311), func(n int, id uint16, dup bool) ([]byte, error) {
		got = append(got, seen{id, dup})
		switch {
		case n < 3:
			return wire.AppendAck(nil, wire.PubAck, id), nil
		case n == 5:
			return nil, io.EOF // messages 4 to 6 came and are not answered
		case n < 5:
			return nil, nil
		}
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	cfg := single(broker, 20, wire.V311)
	cfg.Fault.Reconnect = true
	result, err := Run(t.Context(), cfg, nil)
	if err != nil || result.Acked != 20 || result.Reconnects != 1 || result.Resent == 0 {
		t.Fatalf("Run = %+v, %v; want 20 acked over one reconnect", result, err)
	}
	for i, s := range got[6:] { // from message 4 on, once more
		if want := uint16(i + 4); s.id != want || s.dup != (i < int(result.Resent)) {
			t.Fatalf("after the reconnect, message %d was %+v, want id %d and the first %d with DUP", i, s, want, result.Resent)
		}
	}
}

func TestACancelledRunSaysSoAndHowFarItCame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	broker := scripted(t, accepted(wire.V311), func(n int, id uint16, _ bool) ([]byte, error) {
		if n == 100 {
			cancel()
		}
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	result, err := Run(ctx, single(broker, 1<<40, wire.V311), nil)
	if !errors.Is(err, context.Canceled) || result.Acked == 0 {
		t.Errorf("Run = %+v, %v; want it canceled", result, err)
	}
}

func TestNobodyListeningIsAnErrorThatNamesTheBroker(t *testing.T) {
	if _, err := Run(t.Context(), single("tcp://127.0.0.1:1", 1, wire.V311), nil); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Run = %v, want an error that names the broker", err)
	}
}

func TestRefusedQuietConnectionsAreCountedByCause(t *testing.T) {
	broker := scripted(t, []byte{wire.ConnAck << 4, 2, 0, 3}, nil)
	cfg := single(broker, 1, wire.V311)
	cfg.Client.Connections, cfg.Load.Devices = 5, 5
	result, err := RunIdle(t.Context(), cfg, Idle{Interval: 10 * time.Millisecond, ConnectRate: 1000}, nil)
	if err == nil || result.Refused != 5 || result.Opened != 0 || result.Sent != 0 {
		t.Errorf("RunIdle = %+v, %v; want five refused", result, err)
	}
	if n := result.Causes["the broker refused the connection: server unavailable"]; n != 5 {
		t.Errorf("causes = %v", result.Causes)
	}
	var text strings.Builder
	if err := result.WriteText(&text); err != nil || !strings.Contains(text.String(), "server unavailable (5 times)") {
		t.Errorf("text = %s, %v", &text, err)
	}
}

func TestBadConfigsAreRefusedAllAtOnce(t *testing.T) {
	cfg := Default()
	cfg.Client.Connections, cfg.Load.QoS, cfg.Schedule.Window, cfg.Schedule.Count, cfg.Load.Topic, cfg.Endpoint.Broker = 0, 3, 1<<20, 0, "a/+", "http://x"
	_, err := Run(t.Context(), cfg, nil)
	for _, want := range []string{"connections: 0", "qos: 3", "window: 1048576", "count and duration", `topic: "a/+"`, `scheme "http"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
}

func TestPayloadTemplatesAreFilledIn(t *testing.T) {
	p, err := newPayloads(Load{Payload: []byte(`{"a":{"n":{seq}},"d":"{device}","t":{ts},"x":"{seqs}{`), Time: Milliseconds})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(p.append(nil, "d7", 12, 34)), `{"a":{"n":12},"d":"d7","t":34,"x":"{seqs}{`; got != want {
		t.Errorf("payload = %s, want %s", got, want)
	}
}

func TestPayloadsHaveTheSizeAskedFor(t *testing.T) {
	for _, size := range []int{120, 200, 5000} {
		p, err := newPayloads(Load{Size: size, Time: Milliseconds})
		if err != nil {
			t.Fatal(err)
		}
		for _, seq := range []uint64{0, 9, 123456789} {
			if got := len(p.append(nil, "d1", seq, 1790000000000)); got != size {
				t.Errorf("size %d, sequence %d: %d bytes", size, seq, got)
			}
		}
	}
	if _, err := newPayloads(Load{Time: "fortnights"}); err == nil {
		t.Error("a time unit of fortnights was taken")
	}
}

func TestTimesOfADeviceGrowAndDoNotRunAheadOfTheClock(t *testing.T) {
	var d target
	const now, count = 1_000_000, 500
	last := int64(0)
	for range count {
		ts := d.stamp(now, count)
		if ts <= last || ts > now {
			t.Fatalf("%d came after %d at %d", ts, last, now)
		}
		last = ts
	}
}

func TestEncodingABurstAllocatesNothing(t *testing.T) {
	cfg := single("tcp://127.0.0.1:1", 1<<40, wire.V311)
	payloads, err := newPayloads(cfg.Load)
	if err != nil {
		t.Fatal(err)
	}
	p := newPublisher(&plan{Config: cfg, payloads: payloads, epoch: time.Now()}, 0)
	burst := burstOf(p)
	burst() // buffers grow once
	if n := testing.AllocsPerRun(1000, burst); n != 0 {
		t.Errorf("allocations per burst of ten = %v, want 0", n)
	}
}

// burstOf is a function that encodes a window and takes its acknowledgements.
func burstOf(p *publisher) func() {
	var acks []byte
	return func() {
		acks = acks[:0]
		for c := p.w.next; c < p.w.next+p.window; c++ {
			acks = wire.AppendAck(acks, wire.PubAck, p.packetID(c))
		}
		p.w.buf = p.w.buf[:0]
		p.encode(p.window, p.run.clock())
		if _, _, err := p.consume(acks); err != nil {
			panic(err)
		}
	}
}

// BenchmarkMessage is the cost of a message without the system calls.
func BenchmarkMessage(b *testing.B) {
	for _, window := range []int{10, 100, 400} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) {
			cfg := single("tcp://127.0.0.1:1", 1<<40, wire.V311)
			cfg.Schedule.Window = window
			payloads, err := newPayloads(cfg.Load)
			if err != nil {
				b.Fatal(err)
			}
			p := newPublisher(&plan{Config: cfg, payloads: payloads, epoch: time.Now()}, 0)
			burst := burstOf(p)
			b.ReportAllocs()
			for b.Loop() {
				burst()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(window), "ns/message")
		})
	}
}

// oneCut is a listener whose n-th connection is cut at once.
type oneCut struct {
	net.Listener
	n int
}

func (l *oneCut) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if l.n--; err == nil && l.n == 0 {
		conn.Close()
	}
	return conn, err
}

func TestABrokerThatGoesAwayAtTheEndIsAskedAgainToForgetTheSession(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// One connection drops an old session, one publishes, and the third drops the session of that.
	addr := serve(t, &oneCut{Listener: listener, n: 3}, accepted(wire.V311), func(_ int, id uint16, _ bool) ([]byte, error) {
		return wire.AppendAck(nil, wire.PubAck, id), nil
	})
	cfg := single("tcp://"+addr, 50, wire.V311)
	cfg.Fault.Reconnect = true
	if result, err := Run(t.Context(), cfg, nil); err != nil || result.Acked != 50 {
		t.Errorf("Run = %+v, %v; want 50 acked and no error", result, err)
	}
}
