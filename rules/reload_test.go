package rules_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

func TestEditsKeepWhatTheyCan(t *testing.T) {
	hot := func(expr, more string) string { return group("alert: Hot\nexpr: " + expr + "\n" + more) }
	for _, tt := range []struct {
		name string
		log  []line
		want []string
	}{
		{
			"an edited threshold, label and annotation keep a pending alert's timer",
			[]line{
				setRecord(0, hot("temperature > 30", "for: 10s")), temp(1, "a", 35),
				setRecord(5, hot("temperature > 33", "for: 10s\nlabels: {team: x}\nannotations: {a: b}")), tick(20),
			},
			[]string{"11 firing g/Hot a"},
		},
		{
			"a shorter for that is over fires at once",
			[]line{
				setRecord(0, hot("temperature > 30", "for: 10s")), temp(1, "a", 35), temp(3, "b", 35),
				setRecord(6, hot("temperature > 30", "for: 4s")), tick(20),
			},
			[]string{"6 firing g/Hot a", "7 firing g/Hot b"},
		},
		{
			"a longer for is waited for",
			[]line{
				setRecord(0, hot("temperature > 30", "for: 10s")), temp(1, "a", 35),
				setRecord(6, hot("temperature > 30", "for: 14s")), tick(20),
			},
			[]string{"15 firing g/Hot a"},
		},
		{
			"keep_firing_for goes on under the new rule",
			[]line{
				setRecord(0, hot("temperature > 30", "keep_firing_for: 10s")), temp(1, "a", 35), temp(2, "a", 3),
				setRecord(6, hot("temperature > 31", "keep_firing_for: 5s")), tick(20),
			},
			[]string{"1 firing g/Hot a", "7 resolved g/Hot a"},
		},
		{
			"a rule that is gone resolves what fires and forgets what is pending",
			[]line{
				setRecord(0, hot("temperature > 30", "")+"      - {alert: Later, expr: temperature > 30, for: 1h}\n"), temp(1, "a", 35),
				setRecord(6, group("alert: Other\nexpr: temperature > 100")), tick(7200),
			},
			[]string{"1 firing g/Hot a", "6 resolved g/Hot a"},
		},
		{
			"a rule that no longer matches the device resolves",
			[]line{
				setRecord(0, hot("temperature > 30", "")), temp(1, "a", 35), temp(2, "b", 35),
				setRecord(6, hot("temperature > 30", "match: {device: b}")), temp(7, "a", 36), temp(8, "b", 3),
			},
			[]string{"1 firing g/Hot a", "2 firing g/Hot b", "6 resolved g/Hot a", "8 resolved g/Hot b"},
		},
		{
			"an alert that becomes a record resolves",
			[]line{setRecord(0, hot("temperature > 30", "")), temp(1, "a", 35), setRecord(6, group("record: Hot\nexpr: temperature")), temp(7, "a", 36)},
			[]string{"1 firing g/Hot a", "6 resolved g/Hot a", "7 Hot=36 a"},
		},
		{
			"the same set again changes nothing",
			[]line{setRecord(0, hot("temperature > 30", "")), temp(1, "a", 35), setRecord(6, hot("temperature > 30", "")), temp(7, "a", 3)},
			[]string{"1 firing g/Hot a", "7 resolved g/Hot a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := story(play(t, rules.NewEngine(0), tt.log))
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

func TestAnAlertKeepsItsLabelsAndIDThroughAnEdit(t *testing.T) {
	out := play(t, rules.NewEngine(0), []line{
		setRecord(0, group("alert: Hot\nexpr: temperature > 30\nlabels: {severity: page}")), temp(1, "a", 35),
		setRecord(2, group("alert: Hot\nexpr: temperature > 33\nlabels: {severity: ticket}\nannotations: {now: \"{{ labels.severity }} {{ temperature }}\"}")),
		temp(3, "a", 31),
	})
	if len(out) != 2 || out[0].Alert.ID != out[1].Alert.ID {
		t.Fatalf("derived %v, want one incident that fires and is resolved", story(out))
	}
	if got := out[1].Alert; got.Labels["severity"] != "page" || got.Annotations["now"] != "page 31" {
		t.Errorf("resolved with labels %v and annotations %v, want the label it fired with", got.Labels, got.Annotations)
	}
}

func TestARuleSetRecordThatCannotBeUsedChangesNothing(t *testing.T) {
	e := engineWith(t, group("alert: Hot\nexpr: temperature > 30"))
	b := batch(t, 2, tick(1), temp(2, "a", 31))
	b.Messages[0].Record, b.Messages[0].Payload = event.RuleSet, []byte(`{"version":1}`)
	fired := 0
	e.Process(b, func(rules.Derived) { fired++ })
	if s := e.Stats(); fired != 1 || s.RejectedSets != 1 || s.Rejection == "" {
		t.Errorf("%d fired, stats %+v, want the old set to fire and one set rejected", fired, s)
	}
}

// someRules returns one of a few rule sets that share names.
func someRules(r *rand.Rand) string {
	hot := func(n int, more string) string {
		return fmt.Sprintf("alert: Hot\nexpr: temperature > %d\n%s", n, more)
	}
	sets := []string{
		group(hot(20, "for: 7s\nkeep_firing_for: 3s")),
		group(hot(25, "for: 4s\nclear: temperature < 18\nlabels: {severity: page}")),
		group(hot(22, "")),
		group(hot(22, "keep_firing_for: 9s\nclear: temperature < 10\nactions: [{send: ops}]")),
		group("record: twice\nexpr: temperature * 2"),
		group(hot(20, "match: {device: [a, c]}\nfor: 1s")),
		"groups: []",
	}
	return sets[r.IntN(len(sets))]
}

func TestRandomLogsAreTheSameAfterRandomRestarts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 60 {
		log := []line{setRecord(0, someRules(r))}
		at := 0.0
		for range 80 {
			if r.IntN(3) > 0 {
				at += float64(r.IntN(8)) / 2
			}
			switch n := r.IntN(20); {
			case n == 0:
				log = append(log, setRecord(at, someRules(r)))
			case n < 3:
				log = append(log, tick(at))
			case n == 3:
				log = append(log, line{at: at, device: "a", fields: []event.Field{f("temperature", "warm"), f("humidity", 3.0)}})
			default:
				log = append(log, temp(at, string(rune('a'+r.IntN(4))), float64(8+r.IntN(25))))
			}
		}
		want := play(t, rules.NewEngine(0), log)
		ids := map[string]bool{}
		for _, d := range want {
			if ids[d.ID] {
				t.Fatalf("id %s was given twice", d.ID)
			}
			ids[d.ID] = true
		}
		e := rules.NewEngine(0)
		var got []rules.Derived
		for i, l := range log {
			if r.IntN(6) == 0 {
				snapshot, err := e.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				e = rules.NewEngine(0)
				if err := e.Restore(snapshot); err != nil {
					t.Fatal(err)
				}
			}
			e.Process(batch(t, uint64(i+1), l), func(d rules.Derived) { got = append(got, d) })
		}
		if err := same(got, want); err != nil {
			t.Fatal(err)
		}
	}
}

func snapshotOfAFiringAlert(t testing.TB) []byte {
	e := rules.NewEngine(3)
	play(t, e, []line{
		setRecord(0, group("alert: Hot\nexpr: temperature > 30\nfor: 5s\nlabels: {severity: page}")),
		temp(1, "a", 31), temp(5, "b", 31), tick(7),
		{at: 8, device: "c", tags: []event.Tag{{Key: "site", Value: "n"}}, fields: []event.Field{f("temperature", 40), f("on", true), f("s", "x")}},
	})
	snapshot, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good := snapshotOfAFiringAlert(t)
	for at := range good {
		bad := append([]byte(nil), good...)
		bad[at] ^= 0x10
		e := rules.NewEngine(3)
		if err := e.Restore(bad); err == nil {
			t.Fatalf("a snapshot with a flipped bit in byte %d was restored", at)
		}
		if e.Set().Len() != 0 || e.Now() != 0 {
			t.Fatalf("an engine that refused a snapshot has changed")
		}
		if err := e.Restore(good[:at]); err == nil {
			t.Fatalf("a snapshot of %d bytes was restored from its first %d", len(good), at)
		}
	}
	if err := rules.NewEngine(1).Restore(good); err == nil || err.Error() != "restore rules: the snapshot is of partition 3, this is partition 1" {
		t.Errorf("error for another partition's snapshot is %v", err)
	}
	if err := rules.NewEngine(3).Restore(good); err != nil {
		t.Errorf("the undamaged snapshot was refused: %v", err)
	}
}

// FuzzRestore restores any bytes behind a right checksum: an error, or an
// engine that works and snapshots to what it was restored from.
func FuzzRestore(f *testing.F) {
	good := snapshotOfAFiringAlert(f)
	body, err := rules.OpenSnapshot(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Fuzz(func(t *testing.T, body []byte) {
		snapshot := rules.SealSnapshot(body)
		e := rules.NewEngine(3)
		if err := e.Restore(snapshot); err != nil {
			return
		}
		e.Process(batch(t, 9, temp(20, "a", 3), tick(100)), func(rules.Derived) {})
		if _, err := e.Snapshot(); err != nil {
			t.Fatal(err)
		}
	})
}
