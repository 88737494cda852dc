package threeways

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

const source = `
  - name: plant
    topic: "plant/{site}/{device}"
    format: json
    time: {field: ts, unit: ms}
    measurement: telemetry
    tags: [site]
`

const ruleText = `
groups:
  - name: thresholds
    rules:
      - {alert: Hot, expr: temperature > 30}
      - {alert: Held, expr: temperature > 25, for: 5m, clear: temperature < 22}
      - {alert: Kept, expr: temperature > 28, keep_firing_for: 3m}
      - {record: double, expr: temperature * 2}
      - {alert: DoubleHeld, expr: double > 52, for: 4m}
      - {record: smooth, expr: 'avg_over_time(double, "10m")'}
      - {alert: SmoothHigh, expr: smooth > 46}
  - name: windows
    rules:
      - {alert: Average, expr: 'avg_over_time(temperature, "10m") > 23'}
      - {alert: AverageHeld, expr: 'avg_over_time(temperature, "10m") > 21', for: 7m, keep_firing_for: 2m}
      - {alert: Spread, expr: 'max_over_time(temperature, "15m") - min_over_time(temperature, "15m") > 18'}
      - {alert: Quantile, expr: 'quantile_over_time(0.9, temperature, "20m") >= 29'}
      - {alert: Growth, expr: 'increase(count, "10m") > 45'}
      - {alert: Few, expr: 'count_over_time(temperature, "10m") < 4'}
      - {alert: Hourly, expr: avg_over_time(temperature) > 20.5, window: {tumbling: 30m}}
      - {alert: Hopping, expr: max_over_time(temperature) > 33, window: {hopping: 20m, every: 5m}}
      - {alert: Burst, expr: count_over_time(temperature) > 12, window: {session: 4m}}
      - {alert: Tenth, expr: sum_over_time(temperature) > 230, window: {count: 10, every: 3}}
  - name: states
    rules:
      - {alert: Silent, expr: 'absent("8m")'}
      - {alert: SiteSilent, expr: 'absent("5m")', by: [site]}
      - {alert: DoorThenWarm, expr: 'sequence("6m", door == "open", temperature > 26)'}
      - {alert: LeftOpen, expr: 'sequence("10m", door == "open", not (door == "closed"))'}
      - {alert: StillOpen, expr: 'in_state(door == "open", "9m")'}
      - {alert: MostlyOpen, expr: 'time_in_state(door == "open", "30m") >= 900'}
  - name: groups
    rules:
      - {alert: SiteWarm, expr: 'avg_over_time(temperature, "10m") > 21.5', by: [site], for: 3m}
      - {alert: SiteDoor, expr: 'sequence("4m", door == "open", temperature > 31)', by: [site]}
  - name: late
    rules:
      - {alert: Ordered, expr: 'avg_over_time(temperature, "10m") > 23', allowed_lateness: 3m, for: 2m}
`

// message is one publish of the stream.
type message struct {
	topic, payload string
	minute, at     int // of the event; the latest of the stream up to it
}

var begin = time.Date(2026, 1, 5, 6, 0, 0, 0, time.UTC)

// stream is what some devices say in some hours, a minute between two instants.
func stream(r *rand.Rand, minutes int) []message {
	type device struct {
		name, site string
		heat       float64
		count      int
		door       bool
		quiet      int
		last       int
	}
	var all []*device
	for i := range 5 {
		all = append(all, &device{name: fmt.Sprintf("d%d", i), site: []string{"oslo", "rome"}[i%2], heat: 15 + 10*r.Float64()})
	}
	var out []message
	siteQuiet := 0
	for m := range minutes {
		if siteQuiet--; siteQuiet < -60 && r.IntN(20) == 0 {
			siteQuiet = 3 + r.IntN(12)
		}
		for _, d := range all {
			d.heat = min(max(d.heat+r.Float64()*8-4, 5), 40)
			d.count += r.IntN(10)
			if r.IntN(90) == 0 {
				d.count = 0
			}
			if d.quiet--; d.quiet > 0 || siteQuiet > 0 && d.site == "rome" {
				continue
			}
			if r.IntN(25) == 0 {
				d.quiet = 1 + r.IntN(15)
			}
			at := m
			// Some are late: behind the device's last. One that is merely slow would be told from silence by
			// the time at which it was received, which the three ways do not share; and so would one that is
			// late by what Ordered allows, as of the device's last, and by more as of now.
			const allowed = 3
			if late := m - 1 - r.IntN(7); r.IntN(12) == 0 && d.last > late && (late >= m-allowed || late < d.last-allowed) {
				at = late
			}
			d.last = max(d.last, at)
			fields := map[string]any{"seq": len(out), "ts": begin.Add(time.Duration(at) * time.Minute).UnixMilli()}
			if r.IntN(10) > 0 {
				fields["temperature"] = float64(int(d.heat*10)) / 10
				fields["count"] = d.count
			}
			if r.IntN(8) == 0 {
				d.door = !d.door
				fields["door"] = map[bool]string{true: "open", false: "closed"}[d.door]
			}
			b, _ := json.Marshal(fields)
			out = append(out, message{"plant/" + d.site + "/" + d.name, string(b), at, m})
		}
	}
	for _, d := range all { // the clocks of all, and of what is recorded of them, come to the end
		b, _ := json.Marshal(map[string]any{"seq": len(out), "temperature": 20, "ts": begin.Add(time.Duration(minutes) * time.Minute).UnixMilli()})
		out = append(out, message{"plant/" + d.site + "/" + d.name, string(b), minutes, minutes})
	}
	return out
}

func TestOneAnswerThreeWays(t *testing.T) {
	for _, partitions := range []int{1, 2} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			seed := rand.Uint64()
			if s := os.Getenv("WEIR_SEED"); s != "" {
				seed, _ = strconv.ParseUint(s, 10, 64)
			}
			t.Logf("seed %d (again: WEIR_SEED=%d)", seed, seed)
			r := rand.New(rand.NewPCG(seed, 0))
			messages := stream(r, 400)
			w := process.New(t, process.Setup{
				Log: fmt.Sprintf("partitions: %d", partitions), Sources: source, Rules: map[string]string{"rules.yaml": ruleText},
			})
			publish(t, w, r, messages)
			w.Settled(t)
			w.Elapse(t, 8*time.Second) // what is due at the end is decided after the grace that clocks have
			w.Settled(t)
			live := incidents(t, w)
			fired := map[string]int{}
			for _, i := range live {
				fired[i.Rule]++
			}
			t.Logf("%d messages, %d incidents: %v", len(messages), len(live), fired)
			if len(fired) < 20 {
				t.Errorf("only %d rules fired: the stream tests too little", len(fired))
			}

			file := testFile(messages, live)
			if err := os.WriteFile(filepath.Join(w.Dir, "stream.test.yaml"), []byte(file), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, errs, status := w.CLI(t, "rules", "test", filepath.Join(w.Dir, "stream.test.yaml")); status != 0 {
				t.Errorf("a test of the rules that expects what was decided live ends with %d:\n%s%s", status, head(out), head(errs))
			}
			back := func(when string) {
				out, errs, status := w.CLI(t, "rules", "backtest", "--against", "log", "--fail-on-change", filepath.Join(w.Dir, "rules", "rules.yaml"))
				if status != 0 {
					t.Errorf("a backtest %s against what was decided live ends with %d:\n%s%s", when, status, head(out), head(errs))
				}
			}
			back("beside weir")
			w.Stop(t)
			back("of a stopped weir")
		})
	}
}

func head(s string) string {
	lines := strings.Split(s, "\n")
	if len(lines) > 80 {
		lines = append(lines[:80], "...")
	}
	return strings.Join(lines, "\n")
}

// publish sends the stream with QoS 1, one message after the other, and kills
// weir a few times in the middle.
func publish(t *testing.T, w *process.Weir, r *rand.Rand, messages []message) {
	t.Helper()
	w.Start(t)
	kills := []int{r.IntN(len(messages)), r.IntN(len(messages)), r.IntN(len(messages))}
	client := connect(t, w)
	var sent []paho.Token
	from := 0
	settle := func(upTo int) {
		for i, tok := range sent {
			if !tok.WaitTimeout(process.Patience) || tok.Error() != nil {
				t.Fatalf("message %d: %v", from+i, tok.Error())
			}
		}
		sent, from = sent[:0], upTo
	}
	for i, m := range messages {
		if slices.Contains(kills, i) {
			settle(i)
			if r.IntN(2) == 0 {
				time.Sleep(time.Duration(r.IntN(300)) * time.Millisecond)
			}
			w.Kill()
			client.Disconnect(0)
			w.Start(t)
			client = connect(t, w)
		}
		sent = append(sent, client.Publish(m.topic, 1, false, m.payload))
		if len(sent) == 50 {
			settle(i + 1)
		}
	}
	settle(len(messages))
	client.Disconnect(100)
}

func connect(t *testing.T, w *process.Weir) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + w.MQTT).SetClientID("stream").SetAutoReconnect(false))
	process.Eventually(t, "a connection", func() error {
		tok := c.Connect()
		tok.WaitTimeout(5 * time.Second)
		return tok.Error()
	})
	return c
}

type incident struct {
	ID, Rule, Key string
	Starts        time.Time
	Ends          *time.Time
	transitions   []string
}

// incidents returns what the log says was decided, and checks that each
// transition is there once.
func incidents(t *testing.T, w *process.Weir) []*incident {
	t.Helper()
	byID := map[string]*incident{}
	var all []*incident
	for _, a := range process.AlertFacts(t, w.Everything(t)) {
		i := byID[a.ID]
		if i == nil {
			i = &incident{ID: a.ID, Rule: a.Rule, Key: a.Key, Starts: a.StartsAt}
			byID[a.ID] = i
			all = append(all, i)
		}
		i.transitions = append(i.transitions, a.State+a.Notice)
		i.Ends = a.EndsAt
	}
	for _, i := range all {
		if s := strings.Join(i.transitions, " "); s != "firing" && s != "firing resolved" {
			t.Errorf("the incident %s of %s %s at %v has the transitions %s", i.ID, i.Rule, i.Key, i.Starts, s)
		}
	}
	return all
}

// testFile is a test of the rules with the stream as input, which expects the
// incidents.
func testFile(messages []message, want []*incident) string {
	var b strings.Builder
	fmt.Fprintf(&b, "rule_files: [rules/rules.yaml]\nstart: %s\nsources:%s\ntests:\n  - name: the stream\n    input_events:\n", begin.Format(time.RFC3339), source)
	for _, m := range messages {
		fmt.Fprintf(&b, "      - {at: %dm, topic: %s, payload: %q}\n", m.at, m.topic, m.payload)
	}
	fmt.Fprintf(&b, "    until: %dm\n    alerts:\n", messages[len(messages)-1].at)
	for _, i := range want {
		fmt.Fprintf(&b, "      - {rule: %s, key: %s, starts_at: %s", i.Rule, i.Key, i.Starts.Sub(begin))
		if i.Ends != nil {
			fmt.Fprintf(&b, ", ends_at: %s", i.Ends.Sub(begin))
		}
		b.WriteString("}\n")
	}
	return b.String()
}
