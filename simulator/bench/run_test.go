package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/simulator/brokertest"
	"weir/simulator/wire"
)

// small is a run that a test can afford.
func small(broker string, qos byte, v wire.Version) Config {
	cfg := Default()
	cfg.Endpoint.Broker = broker
	cfg.Client.Connections, cfg.Client.Version = 4, v
	cfg.Load.QoS, cfg.Load.Devices = qos, 10
	cfg.Schedule.Count, cfg.Schedule.Window = 3001, 40
	return cfg
}

func TestEveryMessageArrivesOnceInDeviceOrderAndIsAcknowledged(t *testing.T) {
	for _, qos := range []byte{0, 1, 2} {
		for _, v := range []wire.Version{wire.V311, wire.V5} {
			t.Run(fmt.Sprintf("qos %d version %d", qos, v), func(t *testing.T) {
				broker := brokertest.Start(t)
				var acked bytes.Buffer
				cfg := small(broker.URL(), qos, v)
				cfg.Acked = &acked
				result, err := Run(t.Context(), cfg, nil)
				if err != nil {
					t.Fatalf("Run: %v", err)
				}
				if result.Sent != 3001 || result.Acked != 3001 || result.OutOfOrder != 0 || result.Unexpected != 0 {
					t.Errorf("result = %+v, want 3001 sent and acked, none out of order or unexpected", result)
				}
				if qos > 0 && (result.Latency == nil || result.Latency.P50 <= 0 || result.Latency.Max < result.Latency.P999) {
					t.Errorf("latency = %+v", result.Latency)
				}
				requireEachSequenceOnce(t, broker.Messages(), 3001, qos)
				if qos > 0 {
					requireLines(t, acked.String(), 3001)
				}
			})
		}
	}
}

// requireEachSequenceOnce checks payloads: sequences 0 to n-1 once each, rising
// within a device, as are its times.
func requireEachSequenceOnce(t *testing.T, got []brokertest.Message, n int, qos byte) {
	t.Helper()
	if len(got) != n {
		t.Fatalf("the broker took %d messages, want %d", len(got), n)
	}
	type reading struct {
		Device string
		Seq    uint64
		TS     int64
	}
	seen := make([]bool, n)
	last := make(map[string]reading)
	for _, m := range got {
		var r reading
		if err := json.Unmarshal([]byte(m.Payload), &r); err != nil {
			t.Fatalf("payload %q: %v", m.Payload, err)
		}
		if want := "sensors/" + r.Device + "/telemetry"; m.Topic != want || m.QoS != qos {
			t.Fatalf("published to %q at QoS %d, want %q at %d", m.Topic, m.QoS, want, qos)
		}
		if r.Seq >= uint64(n) || seen[r.Seq] {
			t.Fatalf("sequence %d came twice or was never to come", r.Seq)
		}
		seen[r.Seq] = true
		before, again := last[r.Device]
		if again && (r.Seq <= before.Seq || r.TS <= before.TS) {
			t.Fatalf("device %s: %+v came after %+v", r.Device, r, before)
		}
		if r.TS > time.Now().UnixMilli() {
			t.Fatalf("device %s says %d, which is yet to come", r.Device, r.TS)
		}
		last[r.Device] = r
	}
	if len(last) != 10 {
		t.Errorf("%d devices published, want 10", len(last))
	}
}

// requireLines checks that text is the numbers 0 to n-1, one a line, in any order.
func requireLines(t *testing.T, text string, n int) {
	t.Helper()
	var got []int
	for line := range strings.Lines(text) {
		v, err := strconv.Atoi(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatalf("acknowledged line %q: %v", line, err)
		}
		got = append(got, v)
	}
	slices.Sort(got)
	got = slices.Compact(got)
	if len(got) != n || got[0] != 0 || got[n-1] != n-1 {
		t.Errorf("%d different sequence numbers were acknowledged, want 0 to %d", len(got), n-1)
	}
}

func TestNothingIsLostWhenTheBrokerDropsConnections(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			broker := brokertest.Start(t)
			cfg := small(broker.URL(), qos, wire.V311)
			cfg.Schedule.Count = 20000
			cfg.Fault.Reconnect = true
			var acked bytes.Buffer
			cfg.Acked = &acked
			var drops atomic.Int32
			broker.OnMessage(func(m brokertest.Message) {
				// Cut everything at two points of the run, in passing.
				if n := broker.Count(); (n > 4000 && drops.CompareAndSwap(0, 1)) || (n > 12000 && drops.CompareAndSwap(1, 2)) {
					go broker.Drop()
				}
			})
			result, err := Run(t.Context(), cfg, nil)
			// This broker sometimes sends old acknowledgements again, in any order, when a session is resumed.
			if err != nil && result.OutOfOrder == 0 {
				t.Fatalf("Run: %v (%+v)", err, result)
			}
			if result.Acked != 20000 || result.Sent != 20000 || result.Reconnects == 0 {
				t.Errorf("result = %+v, want 20000 sent and acked over reconnects", result)
			}
			requireLines(t, acked.String(), 20000)
			requireAll(t, broker.Messages(), 20000)
		})
	}
}

// requireAll checks that sequences 0 to n-1 arrived at least once, and that a
// sequence always came with the same payload.
func requireAll(t *testing.T, got []brokertest.Message, n int) {
	t.Helper()
	payloads := make(map[uint64]string)
	for _, m := range got {
		var r struct{ Seq uint64 }
		if err := json.Unmarshal([]byte(m.Payload), &r); err != nil {
			t.Fatalf("payload %q: %v", m.Payload, err)
		}
		if before, ok := payloads[r.Seq]; ok && before != m.Payload {
			t.Fatalf("sequence %d came as %q and as %q", r.Seq, before, m.Payload)
		}
		payloads[r.Seq] = m.Payload
	}
	if len(payloads) != n {
		t.Errorf("%d different messages arrived, want %d", len(payloads), n)
	}
}

func TestNothingIsLostWhenTheBrokerRestarts(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := small(broker.URL(), 1, wire.V311)
	cfg.Schedule.Count = 20000
	cfg.Fault.Reconnect = true
	var restarted atomic.Bool
	done := make(chan struct{})
	broker.OnMessage(func(brokertest.Message) {
		if broker.Count() > 5000 && restarted.CompareAndSwap(false, true) {
			go func() {
				defer close(done)
				broker.Stop()
				broker.Start()
			}()
		}
	})
	result, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatalf("Run: %v (%+v)", err, result)
	}
	<-done
	requireAll(t, broker.Messages(), 20000)
}

func TestABrokenConnectionFailsTheRunWithoutReconnect(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := small(broker.URL(), 1, wire.V311)
	cfg.Schedule.Count = 1 << 40
	var once atomic.Bool
	broker.OnMessage(func(brokertest.Message) {
		if broker.Count() > 1000 && once.CompareAndSwap(false, true) {
			go broker.Drop()
		}
	})
	result, err := Run(t.Context(), cfg, nil)
	if err == nil || !strings.Contains(err.Error(), "connection ") {
		t.Errorf("Run = %v, want an error that names the connection", err)
	}
	if result.Acked == 0 || result.Acked > result.Sent {
		t.Errorf("sent %d, acked %d: want what came before the end", result.Sent, result.Acked)
	}
}

func TestABoundedRateIsKeptAndEndsWithTheDuration(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := small(broker.URL(), 1, wire.V311)
	cfg.Schedule = Schedule{Duration: time.Second, Rate: 2000, Window: 100}
	result, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	// Never more than the schedule says, whatever the machine is doing.
	if most := uint64(result.Seconds*2000) + 8; result.Sent == 0 || result.Sent > most {
		t.Errorf("sent %d in %.3f s at 2000 a second, want at most %d", result.Sent, result.Seconds, most)
	}
}

func TestPahoMeasuresTheSameLoad(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := small(broker.URL(), 1, wire.V311)
	cfg.Paho = true
	var acked bytes.Buffer
	cfg.Acked = &acked
	result, err := Run(t.Context(), cfg, nil)
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	if result.Sent != 3001 || result.Acked != 3001 || !result.OrderUnchecked {
		t.Errorf("result = %+v", result)
	}
	requireEachSequenceOnce(t, broker.Messages(), 3001, 1)
	requireLines(t, acked.String(), 3001)
}

func TestQuietConnectionsAllPublishAndStay(t *testing.T) {
	for _, qos := range []byte{0, 1, 2} {
		t.Run(fmt.Sprintf("qos %d", qos), func(t *testing.T) {
			broker := brokertest.Start(t)
			cfg := small(broker.URL(), qos, wire.V5)
			cfg.Client.Connections, cfg.Load.Devices = 100, 100
			cfg.Client.Sources = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2)}
			result, err := RunIdle(t.Context(), cfg, Idle{Interval: 100 * time.Millisecond, ConnectRate: 5000, Hold: 200 * time.Millisecond}, nil)
			if err != nil {
				t.Fatalf("RunIdle: %v (%+v)", err, result)
			}
			if result.Opened != 100 || result.OpenAtEnd != 100 || result.Sent != 200 || result.Dropped+result.Refused+result.Failed != 0 {
				t.Errorf("result = %+v, want 100 open and 200 sent", result)
			}
			if qos > 0 && result.Acked != 200 {
				t.Errorf("acked %d, want 200", result.Acked)
			}
		})
	}
}

func TestQuietConnectionsThatBreakAreCounted(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := small(broker.URL(), 0, wire.V311)
	cfg.Client.Connections, cfg.Load.Devices = 10, 10
	var once atomic.Bool
	broker.OnMessage(func(brokertest.Message) {
		if once.CompareAndSwap(false, true) {
			go broker.Drop()
		}
	})
	result, err := RunIdle(t.Context(), cfg, Idle{Interval: 20 * time.Millisecond, ConnectRate: 5000, Hold: 2 * time.Second}, nil)
	if err == nil || result.Dropped == 0 {
		t.Errorf("RunIdle = %+v, %v; want dropped connections and an error", result, err)
	}
}
