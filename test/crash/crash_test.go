package crash

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/console"
	"weir/ingest/event"
	"weir/rules"
	"weir/test/child"
	"weir/test/process"
)

func TestMain(m *testing.M) { os.Exit(process.Main(m)) }

// ruleFile has alerts that come and go with single events, alerts that begin to
// fire in the middle of a run and stay, and alerts that are pending for the whole of it.
const ruleFile = `
groups:
  - name: cold
    match: {source: bench}
    rules:
      - alert: Warm
        expr: temperature > -16.2
      - alert: Held
        expr: temperature > -100
        for: 2s
      - alert: Later
        expr: temperature > -100
        for: 12h
`

const (
	warm    = -16.2 // threshold of the rule Warm
	devices = 40
)

func seed(t *testing.T) *rand.Rand {
	n := rand.Uint64()
	if s := os.Getenv("WEIR_SEED"); s != "" {
		var err error
		if n, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("WEIR_SEED: %v", err)
		}
	}
	t.Logf("seed %d (again: WEIR_SEED=%d)", n, n)
	return rand.New(rand.NewPCG(n, 0))
}

func TestEndingUnderLoadLosesNothingAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		name         string
		qos, version string
		log          string
		count        int
		rate         int // messages a second; 0: as fast as it goes
		longest      int // ms from the start to the end of a round, at most
		rounds       int
		stop         []syscall.Signal // how it is stopped, in turn; none: kill -9
	}{
		{"kill -9 under QoS 1 in two partitions", "1", "3.1.1", "partitions: 2, min_free: 64MiB", 60_000, 9000, 1200, 4, nil},
		{"kill -9 under all the QoS 1 load that there can be", "1", "5", "partitions: 1, min_free: 64MiB", 150_000, 0, 300, 4, nil},
		{"kill -9 under QoS 2 by MQTT 5 in one partition", "2", "5", "partitions: 1, linger: 2ms, min_free: 64MiB", 30_000, 9000, 1200, 3, nil},
		{"QoS 1, stopped in an orderly way", "1", "5", "partitions: 2, min_free: 64MiB", 50_000, 9000, 1200, 4, []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rnd := seed(t)
			dir := t.TempDir()
			acked, record := filepath.Join(dir, "acked"), filepath.Join(dir, "record")
			sink := process.StartSink(t, child.FreeAddr(t), record)
			w := process.New(t, process.Setup{
				Log: tt.log, Rules: map[string]string{"cold.yaml": ruleFile},
				Sinks: fmt.Sprintf("\n  - name: lines\n    start: all\n    retry: {min: 50ms, max: 500ms}\n    influxdb: {url: %q, database: weir}\n", sink.URL),
			})
			w.Start(t)
			load := w.Load(t, "--qos", tt.qos, "--mqtt-version", tt.version, "--reconnect", "--acked-file", acked,
				"--count", fmt.Sprint(tt.count), "--connections", "10", "--devices", fmt.Sprint(devices), "--window", "200", "--rate", fmt.Sprint(tt.rate))
			seen := map[string]rules.Status{} // lasting alerts, by rule and key
			records := uint64(0)
			// The last kill comes while every connection still has something to send.
			for round := 1; round <= tt.rounds && records < uint64(tt.count)/2; round++ {
				at := time.Duration(30+rnd.IntN(tt.longest)) * time.Millisecond
				time.Sleep(at) // the random moment
				remember(t, w, seen)
				how := "kill -9"
				if len(tt.stop) > 0 {
					s := tt.stop[round%len(tt.stop)]
					how = fmt.Sprintf("%v, which took %v", s, orderly(t, w, s))
				} else {
					w.Kill()
				}
				if rnd.IntN(2) == 0 {
					w.Audit(t) // reads the data directory itself
				}
				w.Start(t)
				a := w.Audit(t)
				records = 0
				for _, p := range a.Partitions {
					records += p.Records
				}
				t.Logf("round %d: ended after %v by %s; %d records in the log", round, at, how, records)
				if rnd.IntN(2) == 0 { // under load, so that some of what the rules derive is not durable yet
					w.MustCLI(t, "events", "replay", "--consumer", "rules", "--from", "all")
				}
				goOn(t, w, seen)
			}
			b := process.Loaded(t, load, 2*process.Patience)
			t.Logf("%d acknowledged, %d sent again over %d reconnects", b.Acked, b.Resent, b.Reconnects)
			if b.OutOfOrder != 0 {
				t.Errorf("%d acknowledgements were out of order", b.OutOfOrder)
			}
			// However fast the load was: what is due only after it would come while the log is replayed.
			process.Eventually(t, "what is held fires of every device", func() error {
				n := 0
				for _, a := range process.AlertFacts(t, w.Events(t)) {
					if a.Rule == "cold/Held" {
						n++
					}
				}
				if n < devices {
					return fmt.Errorf("of %d", n)
				}
				return nil
			})
			w.Settled(t)
			w.Audit(t)
			goOn(t, w, seen)

			lines := w.Events(t)
			want := process.ReadAcked(t, acked)
			if len(want) != tt.count {
				t.Fatalf("%d messages are acknowledged, want %d", len(want), tt.count)
			}
			inLog := process.CheckLog(t, lines, want)
			checkAlerts(t, lines)
			checkReplay(t, w, lines)
			w.Stop(t)
			sink.Signal(os.Interrupt)
			sink.Wait(t, process.Patience)
			process.CheckRecord(t, record, inLog, want)
		})
	}
}

// orderly stops weir as an operator or a service manager does.
func orderly(t *testing.T, w *process.Weir, s syscall.Signal) time.Duration {
	t.Helper()
	took := w.StopWith(t, s)
	if n := len(w.Proc().Err.Lines("weir has stopped")); n != 1 {
		t.Errorf("the log says %d times that weir has stopped, want once", n)
	}
	return took.Round(time.Millisecond)
}

// lasting are the rules whose alerts, once there, stay to the end.
var lasting = []string{"cold/Held", "cold/Later"}

func remember(t *testing.T, w *process.Weir, seen map[string]rules.Status) {
	t.Helper()
	for _, a := range w.Alerts(t) {
		if slices.Contains(lasting, a.Rule) {
			seen[a.Rule+" "+a.Key] = a
		}
	}
}

// goOn checks that what was pending or firing before a kill is so after it.
func goOn(t *testing.T, w *process.Weir, seen map[string]rules.Status) {
	t.Helper()
	w.Settled(t, "rules")
	now := map[string]rules.Status{}
	for _, a := range w.Alerts(t) {
		now[a.Rule+" "+a.Key] = a
	}
	for key, was := range seen {
		is, ok := now[key]
		switch {
		case !ok:
			t.Errorf("alert %s was %s before the kill and is gone after it", key, was.State)
		case !is.Active.Equal(was.Active):
			t.Errorf("alert %s: its condition held since %v, after the kill since %v", key, was.Active, is.Active)
		case was.ID != "" && (is.ID != was.ID || !is.StartsAt.Equal(was.StartsAt)):
			t.Errorf("alert %s was %s since %v, after the kill %s since %v", key, was.ID, was.StartsAt, is.ID, is.StartsAt)
		}
	}
}

// transition is an alert's, without what an independent count can't know.
type transition struct {
	device, state string
	cause         event.Position
}

// checkAlerts derives the transitions of Warm from the log with its own loop and
// compares them, in order, with those that the log holds. It checks of all
// alerts that no transition is there twice.
//
// Rules are evaluated in the order of the devices' own times: an event that is
// older than one that came before it in the same device's stream is late and is
// not evaluated. Here those are messages that a publisher sent again after a
// reconnect though the log had them. One with the same time is evaluated.
func checkAlerts(t *testing.T, lines []console.Line) {
	t.Helper()
	firing := map[string]bool{}
	latest := map[string]int64{} // ms, by device
	late := 0
	want := map[uint16][]transition{}
	for _, l := range lines {
		if l.Kind != "message" {
			continue
		}
		device := strings.Split(l.Topic, "/")[1]
		ts, err := strconv.ParseInt(member(l.Payload, "ts"), 10, 64)
		if err != nil {
			t.Fatalf("payload %s: %v", l.Payload, err)
		}
		if age := l.Received.Sub(time.UnixMilli(ts)); age < -time.Minute || age > 10*time.Minute {
			t.Fatalf("message at %v is from %v before it was received: it is evaluated by rules that this loop does not know", l.Position, age)
		}
		if ts < latest[device] {
			late++
			continue
		}
		latest[device] = ts
		value, err := strconv.ParseFloat(member(l.Payload, "temperature"), 64)
		if err != nil {
			t.Fatalf("payload %s: %v", l.Payload, err)
		}
		if (value > warm) != firing[device] {
			firing[device] = value > warm
			state := event.Resolved
			if firing[device] {
				state = event.Firing
			}
			want[l.Position.Partition] = append(want[l.Position.Partition], transition{device, state, l.Position})
		}
	}
	got := map[uint16][]transition{}
	held := map[string]int{}
	type fact struct{ id, state string }
	seen := map[fact]bool{}
	for i, a := range process.AlertFacts(t, lines) {
		if f := (fact{a.ID, a.State}); seen[f] {
			t.Errorf("transition %d, %s %s of %s, is in the log twice", i, a.Rule, a.State, a.Key)
		} else {
			seen[f] = true
		}
		if a.State == event.Resolved && !seen[fact{a.ID, event.Firing}] {
			t.Errorf("alert %s of %s is resolved before it fires", a.Rule, a.Key)
		}
		switch a.Rule {
		case "cold/Warm":
			p := a.Event.Position.Partition
			got[p] = append(got[p], transition{a.Device, a.State, a.Event.Position})
		case "cold/Held":
			if held[a.Key]++; a.State != event.Firing || held[a.Key] > 1 {
				t.Errorf("alert Held of %s: transition %d is %s, want one, firing", a.Key, held[a.Key], a.State)
			}
		default:
			t.Errorf("alert %s of %s is %s, want no transition", a.Rule, a.Key, a.State)
		}
	}
	total := 0
	for p, list := range want {
		total += len(list)
		if !slices.Equal(got[p], list) {
			i := 0
			for i < len(list) && i < len(got[p]) && got[p][i] == list[i] {
				i++
			}
			t.Errorf("partition %d: %d transitions of Warm, want %d; the first that differs is number %d: %+v, want %+v", p, len(got[p]), len(list), i,
				at(got[p], i), at(list, i))
		}
	}
	if total == 0 || len(held) == 0 {
		t.Errorf("the load caused %d transitions of Warm and %d of Held: the test tests nothing", total, len(held))
	}
	t.Logf("alerts: %d transitions of Warm, %d of Held; %d messages came late", total, len(held), late)
}

// member returns the text of a number in a flat JSON object, "" if it is not there.
func member(object []byte, name string) string {
	_, rest, _ := strings.Cut(string(object), `"`+name+`":`)
	return rest[:max(0, strings.IndexAny(rest, ",}"))]
}

func at(list []transition, i int) any {
	if i < len(list) {
		return list[i]
	}
	return "none"
}

// checkReplay makes the rules read the whole log again: they must come to the
// same alerts, and add nothing to the log.
func checkReplay(t *testing.T, w *process.Weir, before []console.Line) {
	t.Helper()
	type life struct {
		state, id string
		active    int64
	}
	alerts := func() map[string]life {
		out := map[string]life{}
		for _, a := range w.Alerts(t) {
			out[a.Rule+" "+a.Key] = life{a.State, a.ID, a.Active.UnixNano()}
		}
		return out
	}
	was := alerts()
	w.MustCLI(t, "events", "replay", "--consumer", "rules", "--from", "all")
	w.Settled(t, "rules")
	is := alerts()
	if len(is) != len(was) {
		t.Errorf("%d alerts are active after a replay of the log, %d before", len(is), len(was))
	}
	for key, a := range was {
		if is[key] != a {
			t.Errorf("alert %s after a replay of the log: %+v, before: %+v", key, is[key], a)
		}
	}
	after := w.Events(t)
	if len(after) != len(before) {
		t.Errorf("a replay of the log added %d records to it, want none", len(after)-len(before))
	}
	w.Audit(t)
}

func TestASecondWeirOnTheSameDataIsRefused(t *testing.T) {
	first := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB"})
	first.Start(t)
	second := process.New(t, process.Setup{Dir: first.Data, Log: "partitions: 1, min_free: 64MiB"})
	p := second.Launch(t)
	if status := p.Wait(t, process.Patience); status != 1 {
		t.Errorf("the second weir ended with status %d, want 1", status)
	}
	for _, want := range []string{first.Data, "in use by another process", fmt.Sprintf("process %d", first.Proc().PID())} {
		if !strings.Contains(p.Err.String(), want) {
			t.Errorf("the second weir does not say %q:\n%s", want, p.Err)
		}
	}
	first.Ready(t)
	process.Loaded(t, first.Load(t, "--count", "1000", "--connections", "2"), process.Patience)
}
