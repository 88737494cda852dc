package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules"
	"weir/test/child"
)

func TestFailuresOfARuleAreReportedAtOnceAndThenOnceAMinute(t *testing.T) {
	known := ruleFailures{}
	now := time.Unix(1_000_000, 0)
	for i, step := range []struct {
		wait   time.Duration
		errors uint64 // so far; 0 with gone: the rule is not there
		gone   bool
		want   uint64 // failures reported; 0 for no report
	}{
		{0, 0, false, 0},
		{time.Second, 3, false, 3},
		{time.Second, 10, false, 0},
		{58 * time.Second, 11, false, 0},
		{time.Second, 12, false, 9},
		{time.Hour, 12, false, 0},
		{time.Second, 13, false, 1},
		{time.Hour, 2, false, 2}, // a replay began to count anew
		{time.Second, 0, true, 0},
		{time.Second, 5, false, 5}, // edited in again
	} {
		now = now.Add(step.wait)
		totals := map[string]rules.RuleStats{}
		if !step.gone {
			totals["g/r"] = rules.RuleStats{Rule: "g/r", Errors: step.errors, LastError: "no field"}
		}
		var got uint64
		for _, f := range known.due(totals, now) {
			got += f.count
			if f.rule != "g/r" || f.cause != "no field" {
				t.Errorf("step %d: %+v", i, f)
			}
		}
		if got != step.want {
			t.Errorf("step %d: %d failures reported, want %d", i, got, step.want)
		}
	}
}

func TestABrokenRuleFileThatIsPutBackIsRightAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const good = "groups: [{name: g, rules: [{alert: A, expr: 't > 1'}]}]\n"
	write(good)
	c := config(t, dir, plain+"rules: [r.yaml]\n")
	var log bytes.Buffer
	a, err := New(c, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	reload := func(text string) string {
		log.Reset()
		write(text)
		a.reloadRules(t.Context(), nil)
		return log.String()
	}
	if said := reload(good); said != "" || a.counts.reloaded() != 1 {
		t.Errorf("nothing new: %q, %v", said, a.counts.reloaded())
	}
	if said := reload("\n"); !strings.Contains(said, ":1:1: the file is empty") || a.counts.reloaded() != 0 {
		t.Errorf("cut off: %q, %v", said, a.counts.reloaded())
	}
	if said := reload("groups: [{"); !strings.Contains(said, "rules were not reloaded") || a.counts.reloaded() != 0 {
		t.Errorf("broken: %q, %v", said, a.counts.reloaded())
	}
	first := a.counts.refused.Load()
	if len(first.Errors) != 1 || !strings.Contains(first.Errors[0].Error, "r.yaml:1:") || first.Errors[0].Hint == "" || time.Since(first.Since) > time.Minute {
		t.Errorf("refused: %+v", first)
	}
	reload("groups: [{name: ")
	if again := a.counts.refused.Load(); again.Since != first.Since {
		t.Errorf("refused since %v, and then since %v", first.Since, again.Since)
	}
	if said := reload(good); !strings.Contains(said, "rules are right again") || a.counts.refused.Load() != nil || a.counts.reloaded() != 1 {
		t.Errorf("put back: %q, %v", said, a.counts.reloaded())
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	log.Reset()
	a.reloadRules(t.Context(), nil)
	if !strings.Contains(log.String(), "there is no file") || a.counts.reloaded() != 0 || a.rulers[0].want.Load().Len() != 1 {
		t.Errorf("removed: %q, %v", log.String(), a.counts.reloaded())
	}
}

func TestWhatIsWrongWithRuleFilesIsLoggedOnceForEachChangeOfThem(t *testing.T) {
	const (
		refused = "rules were not reloaded"
		good    = "attributes: devices.csv\ngroups: [{name: g, rules: [{alert: A, expr: t > limit}]}]\n"
		table   = "device,limit\nd1,20\n"
	)
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"r.yaml": good, "devices.csv": table})
	c := config(t, dir, plain+"rules: [r.yaml]\nlog: {partitions: 1}\n")
	// The log is beside the rule files: each line of it is a change in their folder.
	name := filepath.Join(dir, "weir.log")
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	said := func() string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a, err := New(c, Options{Log: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	for deadline := time.Now().Add(time.Minute); a.Ready() != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not ready after a minute; the log:\n%s", said())
		}
	}
	time.Sleep(2 * settleTime) // the first look at the files is over
	total := 0
	for _, step := range []struct {
		name, file, text, want string // want is of each new line
		lines                  int
	}{
		{"two errors", "r.yaml", strings.Replace(good, "expr: t > limit", "expr: t >, for: 8x", 1), refused, 2},
		{"a file that says nothing", "notes.txt", "x", "", 0},
		{"the same text again", "r.yaml", strings.Replace(good, "expr: t > limit", "expr: t >, for: 8x", 1), "", 0},
		{"another edit, with one error", "r.yaml", strings.Replace(good, "t > limit", "t >", 1), refused, 1},
		{"an edit that leaves the error", "r.yaml", "# later\n" + strings.Replace(good, "t > limit", "t >", 1), refused, 1},
		{"repaired as it was", "r.yaml", good, "rules are right again", 1},
		{"a broken table", "devices.csv", "device,limit\nd1,20,30\n", refused, 1},
		{"repaired otherwise", "devices.csv", "device,limit\nd1,30\n", "rules reloaded", 1},
		{"broken as before", "devices.csv", "device,limit\nd1,20,30\n", refused, 1},
		{"removed", "devices.csv", "", refused, 1},
		{"there again", "devices.csv", table, "rules reloaded", 1},
	} {
		before := len(said())
		file := filepath.Join(dir, step.file)
		if step.text == "" {
			err = os.Remove(file)
		} else { // at once: half of it is not what is told of
			writeFiles(t, dir, map[string]string{"next": step.text})
			err = os.Rename(filepath.Join(dir, "next"), file)
		}
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); step.lines > 0 && strings.Count(said()[before:], "\n") < step.lines; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: nothing is logged within a minute", step.name)
			}
		}
		time.Sleep(3 * settleTime)
		got := said()[before:]
		if n := strings.Count(got, "\n"); n != step.lines || strings.Count(got, step.want) != n && n > 0 {
			t.Errorf("%s: %d lines, want %d with %q\n%s", step.name, n, step.lines, step.want, got)
		}
		if step.want == refused {
			total++
		}
		if n := a.counts.reloadErrors.Load(); n != uint64(total) {
			t.Errorf("%s: %d refusals are counted, want %d", step.name, n, total)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}

func TestARuleThatFailsOnEveryEventIsSeenInTheLogTheAPIAndTheMetrics(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"r.yaml": "groups: [{name: g, rules: [{alert: A, expr: 't > 1'}, {record: b, expr: 'u + 1'}]}]\n"})
	c := config(t, dir, plain+"rules: [r.yaml]\nlog: {partitions: 1}\n")
	var log child.Output
	a, err := New(c, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not after a minute; the log:\n%s", what, log.String())
			}
		}
	}
	await("weir is ready", func() bool { return a.Ready() == nil })
	if err := a.reinsert(ctx, &event.Message{Topic: "p/d1", Payload: []byte(`{"t":"hot"}`), Received: now()}); err != nil {
		t.Fatal(err)
	}
	await("the failure is logged", func() bool {
		return strings.Contains(log.String(), `msg="a rule fails: for these events it is neither true nor false" rule=g/A failures=1 cause=`)
	})
	all := a.rulesInForce()
	if len(all) != 2 || all[0].Rule != "g/A" || all[0].Errors != 1 || all[0].LastError == "" || all[1].Errors != 0 {
		t.Errorf("rules in force: %+v", all)
	}
	families, err := a.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string][]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == "rule" {
					series[f.GetName()] = append(series[f.GetName()], l.GetValue())
				}
			}
		}
	}
	if got := series["weir_alerts"]; !slices.Equal(got, []string{"g/A", "g/A"}) {
		t.Errorf("weir_alerts of rules %v", got)
	}
	if got := series["weir_rules_recordings_total"]; !slices.Equal(got, []string{"g/b"}) {
		t.Errorf("weir_rules_recordings_total of rules %v", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
}
