package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

// historyOf returns the history of a log of one line a batch, and counts the
// records that are read of it.
func historyOf(t testing.TB, log []line, read *int) rules.History {
	return func(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
		for i, l := range log {
			b := batch(t, uint64(i+1), l)
			if b.Seq >= until.Seq {
				return nil
			}
			if b.Messages[0].Received >= since {
				*read++
				each(b, 0, len(b.Messages))
			}
		}
		return fmt.Errorf("there is no record at %v", until)
	}
}

// playWith is play with a history.
func playWith(t testing.TB, e *rules.Engine, log []line, from int, history rules.History) []rules.Derived {
	t.Helper()
	e.SetHistory(history)
	var out []rules.Derived
	for i := from; i < len(log); i++ {
		e.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { out = append(out, d) })
	}
	return out
}

func TestWhatANewRuleWouldHaveKnownIsReadFromTheLog(t *testing.T) {
	hot := "alert: Hot\nexpr: temperature > 1000"
	var filler []line
	for i := range 20 {
		filler = append(filler, temp(float64(-3600+i), "a", 500))
	}
	for _, tt := range []struct {
		name  string
		rules string // that are added
		log   []line // before and, after nil, after the edit at second 100
		want  []string
	}{
		{
			"an average includes what came before the edit",
			"record: mean\nexpr: avg_over_time(temperature, \"10m\")",
			[]line{temp(10, "a", 10), temp(20, "b", 1), temp(30, "a", 20), {}, temp(110, "a", 60)},
			[]string{"110 mean=30 a"},
		},
		{
			"but nothing that had left the window",
			"record: mean\nexpr: avg_over_time(temperature, \"90s\")",
			[]line{temp(10, "a", 10), temp(30, "a", 20), {}, temp(110, "a", 60)},
			[]string{"110 mean=40 a"},
		},
		{
			"a device that fell silent before the edit is missed in time",
			"alert: Gone\nexpr: absent(\"2m\")",
			[]line{temp(10, "a", 10), {}, tick(129), tick(131)},
			[]string{"130 firing g/Gone a"},
		},
		{
			"one that has been silent for long is missed at once",
			"alert: Gone\nexpr: absent(\"1m\")",
			[]line{temp(10, "a", 10), tick(99), {}, tick(101)},
			[]string{"100 firing g/Gone a"},
		},
		{
			"a sequence that was under way goes on",
			"alert: Twice\nexpr: sequence(\"5m\", temperature > 50, temperature < 5)",
			[]line{temp(10, "a", 60), temp(20, "a", 10), {}, temp(110, "a", 2)},
			[]string{"110 firing g/Twice a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := append([]line{setRecord(-7200, group(hot))}, filler...)
			added := group(hot) + "      - " + strings.ReplaceAll(tt.rules, "\n", "\n        ") + "\n"
			for _, l := range tt.log {
				if l.at == 0 {
					l = setRecord(100, added)
				}
				log = append(log, l)
			}
			read := 0
			history := historyOf(t, log, &read)
			live := playWith(t, rules.NewEngine(0), log, 0, history)
			if got := story(live); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
			if read == 0 {
				t.Error("nothing was read from the log")
			}
			for cut := range log {
				first := rules.NewEngine(0)
				out := playWith(t, first, log[:cut], 0, history)
				state, err := first.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				second := rules.NewEngine(0)
				second.SetHistory(history)
				if err := second.Restore(state); err != nil {
					t.Fatal(err)
				}
				out = append(out, playWith(t, second, log, cut, history)...)
				if err := same(out, live); err != nil {
					t.Fatalf("restarted before record %d: %v", cut, err)
				}
			}
		})
	}
}

func TestEditsKeepWindowsSilencesAndSequences(t *testing.T) {
	none := func(int64, event.Position, func(*event.Batch, int, int)) error {
		return fmt.Errorf("the log was asked for, though nothing is new")
	}
	rule := func(expr, text string) string {
		return group("alert: A\nexpr: " + expr + "\nannotations: {summary: \"" + text + "\"}")
	}
	for _, tt := range []struct {
		name string
		log  []line
		want []string
	}{
		{
			"a window, when the threshold and the text change",
			[]line{
				setRecord(0, rule(`avg_over_time(temperature, "10m") > 50`, "x")), temp(10, "a", 10), temp(20, "a", 20),
				setRecord(30, rule(`avg_over_time(temperature, "10m") > 25`, "y")), temp(40, "a", 60),
			},
			[]string{"40 firing g/A a"}, // (10+20+60)/3
		},
		{
			"a silence, when the text changes",
			[]line{
				setRecord(0, rule(`absent("60s")`, "x")), temp(10, "a", 10),
				setRecord(30, rule(`absent("60s")`, "y")), tick(69), tick(71),
			},
			[]string{"70 firing g/A a"},
		},
		{
			"a silence that is an alert, and its end",
			[]line{
				setRecord(0, rule(`absent("20s")`, "x")), temp(10, "a", 10), tick(31),
				setRecord(35, rule(`absent("20s")`, "y")), tick(40), temp(41, "a", 10),
			},
			[]string{"30 firing g/A a", "41 resolved g/A a"},
		},
		{
			"a sequence, when the text changes",
			[]line{
				setRecord(0, rule(`sequence('5m', temperature > 50, temperature < 5)`, "x")), temp(10, "a", 60),
				setRecord(30, rule(`sequence('5m', temperature > 50, temperature < 5)`, "y")), temp(40, "a", 2),
			},
			[]string{"40 firing g/A a"},
		},
		{
			"a rule's window goes on when other rules come and go",
			[]line{
				setRecord(0, rule(`avg_over_time(temperature, "10m") > 25`, "x")), temp(10, "a", 10), temp(20, "a", 20),
				setRecord(30, strings.ReplaceAll(rule(`avg_over_time(temperature, "10m") > 25`, "x"), "alert: A", "alert: B")), temp(40, "a", 60),
			},
			[]string{"40 firing g/B a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := rules.NewEngine(0)
			e.Process(batch(t, 1, setRecord(0, group("alert: Z\nexpr: temperature > 1000"))), func(rules.Derived) {})
			var out []rules.Derived
			for i, l := range tt.log {
				if i == 1 {
					e.SetHistory(none)
				}
				e.Process(batch(t, uint64(i+2), l), func(d rules.Derived) { out = append(out, d) })
			}
			if got := story(out); strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
			if s := e.Stats(); s.Rejection != "" {
				t.Error(s.Rejection)
			}
		})
	}
}
