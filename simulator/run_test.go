package simulator

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/simulator/brokertest"
	"weir/simulator/model"
)

// waitFor polls until cond holds.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s in vain: %s", what)
		}
	}
}

// start runs a fleet; stop ends it and returns what Run did.
func start(t *testing.T, cfg Config) (stop func() (Status, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var status Status
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		status, err = Run(ctx, cfg, nil)
	}()
	stop = func() (Status, error) {
		cancel()
		<-done
		return status, err
	}
	t.Cleanup(func() { stop() })
	return stop
}

func fast(broker *brokertest.Broker) Config {
	cfg := Default()
	cfg.Endpoint.Broker = broker.URL()
	cfg.Devices, cfg.Sites, cfg.Interval, cfg.Anomalies = 6, 2, 20*time.Millisecond, nil
	return cfg
}

func TestEveryDeviceOfTheFleetPublishesOnItsTopic(t *testing.T) {
	for _, profile := range model.Profiles() {
		for _, clients := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s over %d clients", profile, clients), func(t *testing.T) {
				broker := brokertest.Start(t)
				cfg := fast(broker)
				cfg.Profile, cfg.Clients = profile, clients
				stop := start(t, cfg)
				waitFor(t, "60 messages", func() bool { return broker.Count() >= 60 })
				status, err := stop()
				if err != nil || status.Acked != status.Published || status.Failed != 0 || int(status.Published) != broker.Count() {
					t.Errorf("Run = %+v, %v; the broker took %d", status, err, broker.Count())
				}
				topics := make(map[string]bool)
				for _, m := range broker.Messages() {
					topics[m.Topic] = true
				}
				for i := range 6 {
					if want := fmt.Sprintf("plant/site-%d/%s-%d/telemetry", i%2+1, profile.Thing(), i+1); !topics[want] {
						t.Errorf("nothing was published to %s", want)
					}
				}
			})
		}
	}
}

func TestTheFirstFreezerIsWarmSoonAfterTheStart(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := fast(broker)
	cfg.Anomalies, cfg.FirstAnomaly = []model.Anomaly{model.Fail}, 200*time.Millisecond
	stop := start(t, cfg)
	defer stop()
	waitFor(t, "freezer-1 over -15", func() bool {
		for _, m := range broker.Messages() {
			var r struct{ Temperature float64 }
			if strings.Contains(m.Topic, "/freezer-1/") && json.Unmarshal([]byte(m.Payload), &r) == nil && r.Temperature > -15 {
				return true
			}
		}
		return false
	})
}

func TestTheSameSeedPublishesTheSameValues(t *testing.T) {
	take := func(seed uint64) string {
		broker := brokertest.Start(t)
		cfg := fast(broker)
		cfg.Devices, cfg.Seed = 1, seed
		stop := start(t, cfg)
		waitFor(t, "20 messages", func() bool { return broker.Count() >= 20 })
		stop()
		var all []string
		for _, m := range broker.Messages()[:20] {
			all = append(all, regexp.MustCompile(`"ts":\d+,`).ReplaceAllString(m.Payload, ""))
		}
		return strings.Join(all, "\n")
	}
	if a, b := take(5), take(5); a != b {
		t.Errorf("seed 5 gave\n%s\nand\n%s", a, b)
	}
	if take(5) == take(6) {
		t.Error("seeds 5 and 6 gave the same values")
	}
}

func TestAFleetOutlivesItsBroker(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := fast(broker)
	cfg.Clients = 1
	stop := start(t, cfg)
	waitFor(t, "the first messages", func() bool { return broker.Count() > 20 })
	broker.Stop()
	broker.Start()
	before := broker.Count()
	waitFor(t, "messages after the restart", func() bool { return broker.Count() > before+20 })
	status, err := stop()
	if err != nil || status.Reconnects == 0 {
		t.Errorf("Run = %+v, %v; want a reconnect and no error", status, err)
	}
}

func TestAFleetWaitsForABrokerThatIsNotUpYet(t *testing.T) {
	broker := brokertest.Start(t)
	broker.Stop()
	cfg := fast(broker)
	stop := start(t, cfg)
	broker.Start()
	waitFor(t, "messages", func() bool { return broker.Count() > 5 })
	if _, err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestARunEndsWithItsDuration(t *testing.T) {
	broker := brokertest.Start(t)
	cfg := fast(broker)
	cfg.Duration = 100 * time.Millisecond
	if status, err := Run(t.Context(), cfg, nil); err != nil || status.Seconds < 0.1 {
		t.Errorf("Run = %+v, %v", status, err)
	}
}

func TestBadConfigsAreRefusedAllAtOnce(t *testing.T) {
	cfg := Default()
	cfg.Devices, cfg.Interval, cfg.Profile, cfg.Topic, cfg.QoS = 0, 0, "fridge", "a/#", 3
	err := cfg.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"devices: 0", "interval: 0s", `profile "fridge"`, `topic: "a/#"`, "qos: 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not mention %s: %v", want, err)
		}
	}
}
