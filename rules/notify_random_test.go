package rules_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

const everything = `groups:
  - name: g
    limit: 3
    repeat: 40s
    flapping: {changes: 2, within: 90s}
    rules:
      - alert: Down
        expr: up == 0
        inhibit: [{rules: [Hot], equal: [site]}]
      - alert: Hot
        expr: temperature > 30
        clear: temperature < 20
        keep_firing_for: 3s
        escalate: [{after: 15s, actions: [{send: ops}]}, {after: 50s, actions: [{send: ops}]}]
`

// indecisiveLog returns a log of devices that come and go and of operators that
// cannot make up their minds.
func indecisiveLog(r *rand.Rand) []line {
	texts := []string{
		everything, strings.Replace(everything, "limit: 3", "limit: 2", 1), strings.Replace(everything, "    limit: 3\n", "", 1),
		strings.Replace(everything, "flapping: {changes: 2", "flapping: {changes: 3", 1), strings.Replace(everything, "equal: [site]", "equal: []", 1),
		everything[:strings.Index(everything, "      - alert: Hot")][:strings.Index(everything, "        inhibit")],
	}
	log := []line{setRecord(0, everything)}
	now := 0.0
	var began []line // when alerts may have begun
	for range 120 {
		now += []float64{0.5, 1, 1, 2, 5, 30}[r.IntN(6)]
		device := string(rune('a' + r.IntN(6)))
		site := []string{"oslo", "rome"}[int(device[0])%2]
		switch r.IntN(14) {
		case 0:
			log = append(log, silence(now, fmt.Sprint("s", r.IntN(4)), now, now+float64(1+r.IntN(30)), []string{"device=" + device, "site=" + site, "alertname=Hot"}[r.IntN(3)]))
		case 1:
			log = append(log, expire(now, fmt.Sprint("s", r.IntN(4))))
		case 2:
			if len(began) > 0 {
				b := began[r.IntN(len(began))]
				log = append(log, ack(now, []string{event.Ack, event.Unack}[r.IntN(2)], "g/Hot", b.device, b.at))
			}
		case 3, 4:
			log = append(log, at(now, device, site, "up", float64(r.IntN(2))))
		case 5:
			if r.IntN(3) == 0 {
				log = append(log, setRecord(now, texts[r.IntN(len(texts))]))
			}
		default:
			l := at(now, device, site, "temperature", []float64{10, 25, 40}[r.IntN(3)])
			log, began = append(log, l), append(began, l)
		}
	}
	return append(log, tick(now+200), tick(now+201))
}

// consistent holds what was told against what receivers may rely on.
func consistent(out []rules.Derived) error {
	ids, open := map[string]bool{}, map[string]string{}
	for i, d := range out {
		a := d.Alert
		if ids[d.ID] {
			return fmt.Errorf("record %d: the id %s was given twice", i, d.ID)
		}
		ids[d.ID] = true
		if !a.Told() {
			if len(a.Actions) > 0 {
				return fmt.Errorf("record %d is suppressed and has actions", i)
			}
			continue
		}
		switch was := open[a.ID]; {
		case a.State == event.Resolved && was != event.Firing:
			return fmt.Errorf("record %d: resolved was told of %s, which was told to be %q", i, a.ID, was)
		case a.State == event.Firing && (a.Notice == "" || a.Notice == event.NoticeResumed) && was != "":
			return fmt.Errorf("record %d: firing was told of %s, which was told to be %q", i, a.ID, was)
		case a.State == event.Firing && a.Notice != "" && a.Notice != event.NoticeResumed && was != event.Firing:
			return fmt.Errorf("record %d: %s was told of %s, which was told to be %q", i, a.Notice, a.ID, was)
		}
		open[a.ID] = a.State
	}
	return nil
}

func TestPeopleAreToldConsistently(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 1))
		log := indecisiveLog(r)
		e := rules.NewEngine(0)
		want := play(t, e, log)
		if err := consistent(want); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(story(want), "\n"))
		}
		firing := map[string]bool{}
		for _, s := range e.Active() {
			if s.Told {
				firing[s.ID] = true
			}
		}
		told := map[string]string{}
		for _, d := range want {
			if d.Alert.Told() && d.Alert.Rule != "g/limit" {
				told[d.Alert.ID] = d.Alert.State
			}
		}
		for id, state := range told { // nothing flaps any more
			if (state == event.Firing) != firing[id] {
				t.Fatalf("seed %d: people believe that %s is %s, it fires: %v\n%s", seed, id, state, firing[id], strings.Join(story(want), "\n"))
			}
		}
		for range 6 {
			stop := r.IntN(len(log))
			before := rules.NewEngine(0)
			got := play(t, before, log[:stop])
			snapshot, err := before.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			// A snapshot that is taken piece by piece is that of its beginning.
			before.BeginSnapshot()
			var pieces []byte
			next, done := stop, false
			for !done {
				if next < len(log) {
					before.Process(batch(t, uint64(next+1), log[next]), func(rules.Derived) {})
					next++
				}
				if pieces, done, err = before.NextSnapshot(pieces, 64); err != nil {
					break // a rule set came into force
				}
			}
			for _, s := range [][]byte{snapshot, pieces} {
				if err != nil && len(s) > 0 && &s[0] != &snapshot[0] || len(s) == 0 {
					continue
				}
				after := rules.NewEngine(0)
				if err := after.Restore(s); err != nil {
					t.Fatalf("seed %d: restore after %d records: %v", seed, stop, err)
				}
				if again, _ := after.Snapshot(); string(again) != string(snapshot) {
					t.Fatalf("seed %d: the snapshot of a restored engine differs after %d records", seed, stop)
				}
				rest := got
				for i := stop; i < len(log); i++ {
					after.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { rest = append(rest, d) })
				}
				if err := same(rest, want); err != nil {
					t.Fatalf("seed %d: restarted after %d records: %v", seed, stop, err)
				}
			}
		}
	}
}
