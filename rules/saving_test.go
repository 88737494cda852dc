package rules_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

// stateful are rules with every kind of state that engines have.
const stateful = `groups:
  - name: g
    rules:
      - {alert: Pending, expr: temperature > 20, for: 7s, keep_firing_for: 3s, labels: {severity: page}}
      - {alert: Firing, expr: temperature > 25, clear: temperature < 15}
      - {alert: Mean, expr: 'avg_over_time(temperature, "20s") > 22'}
      - {alert: Silent, expr: 'absent("15s")'}
      - {alert: Steps, expr: 'sequence("30s", temperature < 12, temperature > 28)'}
      - {alert: Long, expr: 'in_state(temperature > 18, "9s")'}
      - {alert: Much, expr: 'time_in_state(temperature > 18, "40s") > 20'}
      - {alert: Site, expr: 'max_over_time(temperature, "30s") > 30', by: [site]}
      - {alert: Both, expr: 'count_over_time(temperature, "30s") > 3', by: [device, site], for: 5s}
      - {alert: Late, expr: temperature > 24, for: 2s, allowed_lateness: 4s}
      - {alert: LateBoth, expr: 'count_over_time(temperature, "20s") > 2', by: [device, site], for: 3s, allowed_lateness: 4s}
      - {alert: Lost, expr: 'absent("25s") and (mode ?? "on") != "off"', match: {device: [a, b, nobody]}}
      - {record: mean, expr: avg_over_time(temperature), window: {tumbling: 10s}}
      - {alert: Framed, expr: max_over_time(temperature) > 22, window: {hopping: 20s, every: 5s}, for: 12s, keep_firing_for: 3s}
      - {alert: Few, expr: count_over_time(temperature) < 3 and count_over_time(humidity) > 0, window: {count: 4, every: 1}}
      - {alert: Mixed, expr: 'temperature > 12 and count_over_time(temperature, "20s") < 4'}
      - {alert: Both2, expr: 'humidity != 40 and max_over_time(temperature, "15s") > 20', clear: temperature < 15}
`

// randomLog is a log of a few devices, whose clocks go wrong now and then.
func randomLog(r *rand.Rand, n int) []line {
	log := []line{setRecord(0, stateful)}
	at := 1000.0
	for range n {
		if r.IntN(3) > 0 {
			at += float64(r.IntN(8)) / 2
		}
		if r.IntN(12) == 0 {
			log = append(log, tick(at))
			continue
		}
		l := temp(at, string(rune('a'+r.IntN(5))), float64(8+r.IntN(25)))
		l.tags = []event.Tag{{Key: "site", Value: string(rune('x' + r.IntN(2)))}}
		if r.IntN(5) == 0 {
			l.fields = []event.Field{f("humidity", float64(39+r.IntN(3)))}
		}
		switch r.IntN(10) {
		case 0:
			l.time = at - float64(r.IntN(8))
		case 1: // history
			l.time = at - 800 + float64(r.IntN(60))
		}
		log = append(log, l)
	}
	return log
}

// differ returns where two texts begin to differ.
func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// pieces takes what is left of a snapshot.
func pieces(t testing.TB, e *rules.Engine, b []byte, size int) []byte {
	t.Helper()
	for {
		var done bool
		var err error
		if b, done, err = e.NextSnapshot(b, size); err != nil {
			t.Fatalf("take the next piece of a snapshot: %v", err)
		}
		if done {
			return b
		}
	}
}

func TestASnapshotTakenBitByBitIsTheStateAtItsBegin(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	changed := 0
	for range 60 {
		log := randomLog(r, 150)
		e := rules.NewEngine(0)
		stop := 20 + r.IntN(100)
		play(t, e, log[:stop])
		want, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		e.BeginSnapshot()
		var got []byte
		var whole []rules.Derived
		done := false
		for i := stop; i < len(log); i++ {
			e.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { whole = append(whole, d) })
			if r.IntN(3) == 0 && !done {
				if got, done, err = e.NextSnapshot(got, 1+r.IntN(300)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if now, _ := e.Snapshot(); string(now) != string(want) {
			changed++
		}
		if !done {
			got = pieces(t, e, got, 100)
		}
		restored := rules.NewEngine(0)
		if err := restored.Restore(got); err != nil {
			t.Fatalf("restore a snapshot that was taken bit by bit: %v", err)
		}
		if again, _ := restored.Snapshot(); string(again) != string(want) {
			t.Fatalf("the snapshot that was taken bit by bit, at record %d, does not restore to what was there when it began: they differ from byte %d of %d and %d on", stop, differ(again, want), len(again), len(want))
		}
		if err := same(playFrom(t, restored, log, stop), whole); err != nil {
			t.Fatalf("restored at record %d: %v", stop, err)
		}
	}
	if changed < 50 {
		t.Errorf("the state changed while only %d of 60 snapshots were taken", changed)
	}
}

// playFrom is play from a record of the log on.
func playFrom(t testing.TB, e *rules.Engine, log []line, from int) []rules.Derived {
	t.Helper()
	return playWith(t, e, log, from, nil)
}

func TestASnapshotIsGivenUpWhenTheRulesChange(t *testing.T) {
	e := rules.NewEngine(0)
	play(t, e, []line{setRecord(0, group("alert: Hot\nexpr: temperature > 0\nfor: 5s")), temp(1, "a", 3)})
	e.BeginSnapshot()
	e.Process(batch(t, 3, setRecord(2, group("alert: Cold\nexpr: temperature < 0"))), func(rules.Derived) {})
	if _, done, err := e.NextSnapshot(nil, 1); err != rules.ErrSnapshotEnded || done {
		t.Errorf("the next piece is %v %v, want %v", done, err, rules.ErrSnapshotEnded)
	}
	want, _ := e.Snapshot()
	e.BeginSnapshot()
	restored := rules.NewEngine(0)
	if err := restored.Restore(pieces(t, e, nil, 10)); err != nil {
		t.Fatal(err)
	}
	if got, _ := restored.Snapshot(); string(got) != string(want) {
		t.Errorf("the next snapshot is not that of the engine")
	}
}

// fleetRules are three rules with state for every device.
const fleetRules = `groups:
  - name: g
    match: {source: plant}
    rules:
      - {alert: Hot, expr: temperature > 0, for: 10h}
      - {alert: Mean, expr: 'avg_over_time(temperature, "5m") > 90'}
      - {alert: Silent, expr: 'absent("1h")'}
`

// fleet sends rounds of events, 10 s apart, of many devices to an engine.
func fleet(tb testing.TB, e *rules.Engine, devices, from, rounds int, between func()) {
	tb.Helper()
	size := min(20_000, devices/20)
	b := event.NewBatch(nil)
	for round := from; round < from+rounds; round++ {
		for first := 0; first < devices; first += size {
			b.Reset()
			b.Seq = uint64(2 + round*devices/size + first/size)
			for i := range min(size, devices-first) {
				at := epoch + int64(round)*10e9 + int64(first+i)*10e9/int64(devices)
				b.Messages = append(b.Messages, event.Message{Received: at})
				b.AddEvent(i, event.Event{
					Source: "plant", Measurement: "telemetry", Device: fmt.Sprintf("device-%07d", first+i), Time: at, Received: at,
					Fields: []event.Field{f("temperature", 20+float64((first+i+round)%90)/10), f("humidity", 40.0), f("battery", 3.1)},
				})
			}
			e.Process(b, func(rules.Derived) {})
			if between != nil {
				between()
			}
		}
	}
}

func median(d []time.Duration) time.Duration {
	d = slices.Clone(d)
	slices.Sort(d)
	return d[len(d)/2]
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAMillionDevices measures what the state of a million devices with three
// rules takes: memory, and time to save and restore it while events come in.
// The bounds are those of a machine that has nothing else to do.
func TestAMillionDevices(t *testing.T) {
	if os.Getenv("WEIR_LONG") == "" {
		t.Skip("set WEIR_LONG=1 for a test that takes a minute and 4 GiB")
	}
	const devices = 1_000_000
	before := heap()
	e := engineWith(t, fleetRules)
	start := time.Now()
	fleet(t, e, devices, 0, 5, nil)
	t.Logf("5 rounds in %v", time.Since(start))
	fleet(t, e, devices, 5, 25, nil)
	state := heap() - before
	for _, s := range e.Stats().Rules {
		if s.Stopped != "" {
			t.Fatalf("%s is %s: what follows would say nothing", s.Rule, s.Stopped)
		}
	}
	t.Logf("state: %d MiB, %d bytes a device", state>>20, state/devices)

	start = time.Now()
	e.BeginSnapshot()
	longest := time.Since(start)
	var all [][]byte
	size := 0
	var taken []time.Duration
	done, busy, batches := false, time.Duration(0), 0
	for round := 30; !done; round++ {
		fleet(t, e, devices, round, 1, func() {
			if batches++; done {
				return
			}
			begin := time.Now()
			for !done && time.Since(begin) < 5*time.Millisecond {
				var err error
				var piece []byte
				if piece, done, err = e.NextSnapshot(nil, 64<<10); err != nil {
					t.Fatal(err)
				}
				all = append(all, piece)
				size += len(piece)
			}
			taken = append(taken, time.Since(begin))
			longest = max(longest, time.Since(begin))
			busy += time.Since(begin)
		})
	}
	t.Logf("snapshot: %d MiB, %v of work in slices of 5 ms, the longest %v, the median %v, during %d batches and %v", size>>20, busy, longest, median(taken), batches, time.Since(start))
	saved := bytes.Join(all, nil)
	all = nil
	start = time.Now()
	if err := rules.NewEngine(0).Restore(saved); err != nil {
		t.Fatal(err)
	}
	restore := time.Since(start)
	t.Logf("restore: %v", restore)
	if state > 1<<30 {
		t.Errorf("the state takes %d MiB, want at most 1024", state>>20)
	}
	if longest > 50*time.Millisecond {
		t.Errorf("evaluation paused for %v, want at most 50ms", longest)
	}
	if busy > 10*time.Second || restore > 10*time.Second {
		t.Errorf("saving takes %v of work and restoring %v, want at most 10s each", busy, restore)
	}
}

// BenchmarkState measures the memory that a device takes: what remains in the
// heap after 30 events of it, 10 s apart.
func BenchmarkState(b *testing.B) {
	const devices = 20_000
	for _, bb := range []struct{ name, text string }{
		{"none", group("alert: Hot\nexpr: temperature > 90")},
		{"for", group("alert: Hot\nexpr: temperature > 0\nfor: 10h")},
		{"avg-5m", group("alert: Mean\nexpr: avg_over_time(temperature, \"5m\") > 90")},
		{"absent", group("alert: Silent\nexpr: absent(\"1h\")")},
		{"in-state", group("alert: Long\nexpr: in_state(temperature > 0, \"1h\")")},
		{"sequence", group("alert: Steps\nexpr: sequence(\"1h\", temperature > 0, temperature > 90)")},
		{"three", fleetRules},
	} {
		b.Run(bb.name, func(b *testing.B) {
			total := uint64(0)
			for b.Loop() {
				before := heap()
				e := engineWith(b, bb.text)
				fleet(b, e, devices, 0, 30, nil)
				total += heap() - before
				runtime.KeepAlive(e)
			}
			b.ReportMetric(float64(total)/float64(b.N)/devices, "B/device")
		})
	}
}
