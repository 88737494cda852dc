package rules_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

// crowd is a log in which more and more devices appear that concern no rule,
// among a few that do. Some events of these are old, by seconds.
func crowd(r *rand.Rand, n int, old ...int) []line {
	log := []line{setRecord(0, `groups:
  - name: g
    rules:
      - {alert: Pending, expr: temperature > 20, for: 7s, keep_firing_for: 3s}
      - {alert: Mean, expr: 'avg_over_time(temperature, "20s") > 22'}
      - {alert: Both, expr: 'count_over_time(temperature, "30s") > 3', by: [device, site], for: 5s}
      - {alert: Site, expr: 'max_over_time(temperature, "30s") > 30', by: [site]}
      - {alert: Late, expr: temperature > 24, for: 2s, allowed_lateness: 4s}
`)}
	for i := range n {
		at := 1000 + float64(i)
		if r.IntN(3) > 0 {
			log = append(log, line{at: at, device: fmt.Sprintf("guest-%d", r.IntN(5*n)), fields: []event.Field{f("loudness", 1.0)}})
			continue
		}
		l := temp(at, string(rune('a'+r.IntN(4))), float64(8+r.IntN(25)))
		l.tags = []event.Tag{{Key: "site", Value: string(rune('x' + r.IntN(2)))}}
		if len(old) > 0 && r.IntN(8) == 0 {
			l.time = at - float64(old[r.IntN(len(old))])
		}
		log = append(log, l)
	}
	return log
}

func TestManyDevicesThatConcernNoRuleAreForgottenAndOthersAreNot(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		log := crowd(r, 600)
		want := play(t, rules.NewEngine(0), log)
		was := rules.SetMaxClocks(40)
		e := rules.NewEngine(0)
		got := play(t, e, log)
		rules.SetMaxClocks(was)
		if err := same(got, want); err != nil {
			t.Fatalf("with devices forgotten: %v", err)
		}
		if n := e.Stats().Forgotten; n < 300 {
			t.Errorf("%d devices of some 400, in two lanes, were forgotten", n)
		}
	}
}

func TestDevicesAreForgottenAlikeAfterARestart(t *testing.T) {
	defer rules.SetMaxClocks(rules.SetMaxClocks(40))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		log := crowd(r, 300, 2, 5, 700)
		whole := rules.NewEngine(0)
		want := play(t, whole, log)
		stop := 50 + r.IntN(200)
		e := rules.NewEngine(0)
		got := play(t, e, log[:stop])
		begun := len(got)
		e.BeginSnapshot()
		var saved []byte
		done := false
		for i := stop; i < len(log); i++ { // and it goes on while the snapshot is taken
			e.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { got = append(got, d) })
			if !done {
				var err error
				if saved, done, err = e.NextSnapshot(saved, 1+r.IntN(200)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !done {
			saved = pieces(t, e, saved, 100)
		}
		restored := rules.NewEngine(0)
		if err := restored.Restore(saved); err != nil {
			t.Fatal(err)
		}
		got = got[:begun]
		for i := stop; i < len(log); i++ {
			restored.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { got = append(got, d) })
		}
		if err := same(got, want); err != nil {
			t.Fatalf("restarted after %d records: %v", stop, err)
		}
		a, _ := whole.Snapshot()
		b, _ := restored.Snapshot()
		if string(a) != string(b) {
			t.Fatalf("restarted after %d records: the states differ from byte %d of %d and %d on", stop, differ(a, b), len(a), len(b))
		}
	}
}

func TestAClockThatWasForgottenTakesAnOldEventForHistory(t *testing.T) {
	defer rules.SetMaxClocks(rules.SetMaxClocks(10))
	log := []line{setRecord(0, group("alert: Hot\nexpr: temperature > 30")), temp(1, "a", 10)}
	for i := range 100 {
		log = append(log, temp(float64(2+i), fmt.Sprintf("guest-%d", i), 10))
	}
	old := temp(800, "a", 40)
	old.time = 0.5
	out := play(t, rules.NewEngine(0), append(log, old))
	if len(out) != 1 || out[0].Alert == nil || out[0].Alert.Suppressed != event.SuppressedBackfill {
		t.Errorf("an event that is 800 s old of a device that was forgotten: %v, want an alert marked as history", story(out))
	}
}
