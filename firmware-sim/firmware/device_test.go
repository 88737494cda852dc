package firmware

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/simulator/brokertest"
)

// quick is a device that a test can wait for.
func quick(t *testing.T, broker *brokertest.Broker) Config {
	cfg := Default()
	cfg.Device, cfg.Site, cfg.DataDir, cfg.Sync = "d1", "s1", t.TempDir(), false
	cfg.Interval, cfg.ClockDelay = 10*time.Millisecond, 0
	cfg.Broker.URL = broker.URL()
	cfg.Backoff = Backoff{First: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	return cfg
}

// boot opens a device and runs it. stop ends it in good order; kill leaves the
// flash as a kill -9 would.
func boot(t *testing.T, cfg Config) (d *Device, stop, kill func()) {
	t.Helper()
	d = New(cfg)
	if err := d.Open(); err != nil {
		t.Fatalf("Open: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	ended := false
	end := func(release func() error) {
		if ended {
			return
		}
		ended = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := release(); err != nil {
			t.Errorf("release the flash: %v", err)
		}
	}
	stop, kill = func() { end(d.Close) }, func() { end(d.release) }
	t.Cleanup(stop)
	return d, stop, kill
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s in vain: %s", what)
		}
	}
}

// waitForBacklog waits until as much is delivered as waits now. The queue itself
// may never be empty: the device goes on to measure.
func waitForBacklog(t *testing.T, d *Device) {
	t.Helper()
	now := d.Stats()
	waitFor(t, "the backlog to be delivered", func() bool { return d.Stats().Delivered >= now.Delivered+now.Queued })
}

// message is a message of the queue as it arrived.
type message struct {
	Topic   string
	Seq     uint64
	Boot    uint64
	Uptime  int64 `json:"uptime_ms"`
	TS      int64
	Dropped uint64
	Reason  string
	Queued  uint64
}

// arrived are the messages of the queue, in order of their first arrival.
func arrived(t *testing.T, broker *brokertest.Broker) []message {
	t.Helper()
	var out []message
	seen := make(map[uint64]bool)
	for _, m := range broker.Messages() {
		if !strings.HasSuffix(m.Topic, "/telemetry") && !strings.HasSuffix(m.Topic, "/boot") {
			continue
		}
		got := message{Topic: m.Topic}
		if err := json.Unmarshal([]byte(m.Payload), &got); err != nil {
			t.Fatalf("payload %q: %v", m.Payload, err)
		}
		if !seen[got.Seq] {
			seen[got.Seq] = true
			out = append(out, got)
		}
	}
	return out
}

// requireGapless checks that messages 1 to len arrived in order.
func requireGapless(t *testing.T, got []message) {
	t.Helper()
	for i, m := range got {
		if m.Seq != uint64(i+1) {
			t.Fatalf("arrival %d has sequence number %d, want %d", i, m.Seq, i+1)
		}
	}
}

func TestADeviceBootsAndPublishesInOrder(t *testing.T) {
	broker := brokertest.Start(t)
	d, stop, _ := boot(t, quick(t, broker))
	waitFor(t, "20 messages delivered", func() bool { return d.Stats().Delivered >= 20 })
	stop()
	got := arrived(t, broker)
	requireGapless(t, got)
	if first := got[0]; first.Topic != "plant/s1/d1/boot" || first.Reason != "power-on" || first.Boot != 1 {
		t.Errorf("first message = %+v, want the boot", first)
	}
	all := broker.Messages()
	last := all[len(all)-1]
	if last.Topic != "plant/s1/d1/status" || last.Payload != "offline" || !last.Retain {
		t.Errorf("last message = %+v, want a retained offline", last)
	}
}

func TestNothingIsLostOrReorderedWhileTheBrokerIsAway(t *testing.T) {
	broker := brokertest.Start(t)
	d, stop, _ := boot(t, quick(t, broker))
	for round := range 3 {
		delivered := d.Stats().Delivered
		waitFor(t, "messages while online", func() bool { return d.Stats().Delivered >= delivered+10 })
		broker.Stop()
		waitFor(t, fmt.Sprintf("a backlog in round %d", round), func() bool { return d.Stats().Queued >= 30 })
		broker.Start()
		waitForBacklog(t, d)
	}
	stop()
	requireGapless(t, arrived(t, broker))
}

func TestNothingIsLostOrReorderedWhenConnectionsAreCut(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := quick(t, broker)
	cfg.Window = 4
	d, stop, _ := boot(t, cfg)
	for range 10 {
		delivered := d.Stats().Delivered
		waitFor(t, "messages", func() bool { return d.Stats().Delivered >= delivered+8 })
		broker.Drop()
	}
	delivered := d.Stats().Delivered
	waitFor(t, "messages after the last cut", func() bool { return d.Stats().Delivered >= delivered+8 })
	stop()
	got := arrived(t, broker)
	requireGapless(t, got)
	if len(got) < 88 {
		t.Errorf("%d messages arrived, want at least 88", len(got))
	}
}

func TestAKilledDeviceDeliversWhatItHadStored(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := quick(t, broker)
	broker.Stop()
	d, _, kill := boot(t, cfg)
	waitFor(t, "a backlog", func() bool { return d.Stats().Queued >= 30 })
	kill()
	broker.Start()
	d, stop, _ := boot(t, cfg)
	waitFor(t, "the backlog and more", func() bool { return d.Stats().Delivered >= 50 })
	stop()
	got := arrived(t, broker)
	requireGapless(t, got)
	boots := 0
	for _, m := range got {
		if m.Reason != "" {
			boots++
			if want := []string{"", "power-on", "crash"}[m.Boot]; m.Reason != want {
				t.Errorf("boot %d: reason %q, want %q", m.Boot, m.Reason, want)
			}
			if m.Boot == 2 && m.Queued < 30 {
				t.Errorf("boot 2 says %d messages were queued, want at least 30", m.Queued)
			}
		}
		if m.Boot == 1 && m.TS != 0 {
			t.Errorf("message %d of a boot that never learnt the time says %d", m.Seq, m.TS)
		}
	}
	if boots != 2 {
		t.Errorf("%d boot messages, want 2", boots)
	}
}

func TestAnOrderlyStopIsARestartAndACommandedIntervalOutlivesIt(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := quick(t, broker)
	d, stop, _ := boot(t, cfg)
	if r, ok := d.execute([]byte(`{"id":"1","name":"set_interval","args":{"seconds":0.02}}`)); !ok || !r.OK {
		t.Fatalf("set_interval: %+v %v", r, ok)
	}
	stop()
	d, _, _ = boot(t, cfg)
	if got := d.interval(); got != 20*time.Millisecond {
		t.Errorf("interval after a restart = %v, want 20ms", got)
	}
	waitFor(t, "the second boot's message", func() bool {
		for _, m := range arrived(t, broker) {
			if m.Boot == 2 && m.Reason == "restart" {
				return true
			}
		}
		return false
	})
}

func TestAFullQueueSaysWhatItDropped(t *testing.T) {
	broker := brokertest.Start(t)
	broker.Stop()
	cfg := quick(t, broker)
	cfg.QueueBytes = 64 << 10
	d := New(cfg)
	if err := d.Open(); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		if err := d.store("telemetry", d.sensors.read()); err != nil {
			t.Fatal(err)
		}
	}
	dropped := d.Stats().Dropped
	if err := d.release(); err != nil {
		t.Fatal(err)
	}
	if dropped == 0 {
		t.Fatal("nothing was dropped")
	}
	broker.Start()
	cfg.Broker.URL = broker.URL()
	d, stop, _ := boot(t, cfg)
	waitForBacklog(t, d)
	stop()
	got := arrived(t, broker)
	// The queue is still full when the second boot adds to it, so there may be more gaps than the first.
	before := message{}
	for _, m := range got {
		if gap := m.Seq - before.Seq - 1; m.Seq <= before.Seq || gap > m.Dropped-before.Dropped {
			t.Fatalf("%d came after %d, and between them %d more were said to be dropped", m.Seq, before.Seq, m.Dropped-before.Dropped)
		}
		before = m
	}
	if got[0].Seq <= dropped || got[0].Dropped < dropped {
		t.Errorf("first arrival: sequence number %d, dropped %d; want more than %d and at least that", got[0].Seq, got[0].Dropped, dropped)
	}
}

func TestTimeIsLeftOutUntilItIsKnownAndThenWorkedOutForTheSameBoot(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	c := clock{boot: 3, now: func() time.Time { return now }, start: now, skew: time.Hour}
	e := entry{Topic: "telemetry", Boot: 3, Uptime: 500, Body: json.RawMessage(`{"temperature":-18}`)}
	publish := func(e entry) string {
		b, err := e.payload(7, 0, &c)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got, want := publish(e), `{"seq":7,"boot":3,"uptime_ms":500,"temperature":-18}`; got != want {
		t.Errorf("before the time is known: %s, want %s", got, want)
	}
	now = now.Add(10 * time.Second)
	c.set()
	if got, want := publish(e), `{"seq":7,"boot":3,"uptime_ms":500,"ts":1790003600500,"temperature":-18}`; got != want {
		t.Errorf("an hour fast, after it is known: %s, want %s", got, want)
	}
	e.Boot = 2
	if got, want := publish(e), `{"seq":7,"boot":2,"uptime_ms":500,"temperature":-18}`; got != want {
		t.Errorf("of an earlier boot: %s, want %s", got, want)
	}
	e.TS = 1_789_000_000_000
	if got := publish(e); !strings.Contains(got, `"ts":1789000000000`) {
		t.Errorf("with a time of its own: %s", got)
	}
}

func TestTwoDevicesDoNotShareADataDirectory(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := quick(t, broker)
	boot(t, cfg)
	other := New(cfg)
	if err := other.Open(); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second Open = %v, want it refused", err)
	}
	if err := other.Close(); err != nil {
		t.Errorf("Close after a failed Open: %v", err)
	}
}

func TestBadConfigsAreRefusedAllAtOnce(t *testing.T) {
	cfg := Default()
	cfg.Device, cfg.Interval, cfg.QueueBytes, cfg.Broker.URL = "a/b", 0, 1, "localhost"
	err := New(cfg).Open()
	for _, want := range []string{`device: "a/b"`, "interval: 0s", "queue: 1 bytes", `broker: "localhost"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
}
