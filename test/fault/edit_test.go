package fault

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"weir/test/child"
	"weir/test/process"
)

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestABadEditUnderLoadChangesNothingAndAGoodOneTakesEffect(t *testing.T) {
	w := process.New(t, process.Setup{Log: "partitions: 2, min_free: 64MiB", Rules: map[string]string{"cold.yaml": warmRules}})
	w.Start(t)
	loaded := func() *child.Proc {
		return w.Load(t, "--count", "30000", "--rate", "9000", "--connections", "10", "--devices", "20")
	}
	load := loaded()
	// eventually waits under load, however long it takes.
	eventually := func(what string, f func() error) {
		t.Helper()
		process.Eventually(t, what, func() error {
			if !load.Alive() {
				process.Loaded(t, load, process.Patience)
				load = loaded()
			}
			return f()
		})
	}
	rules := func() string {
		var v struct {
			Rules []struct{ Name, Rule, ID string }
		}
		if err := w.Get("/api/v1/rules", &v); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(v.Rules)
	}
	fired := func(rule string) int {
		return len(w.Proc().Out.Lines("alert firing cold/" + rule + " "))
	}
	eventually("the first rules fire", func() error { return atLeast(fired("Warm"), 1) })
	was := rules()

	for _, bad := range []struct{ name, text, want string }{
		{"a key that there is not", strings.Replace(warmRules, "expr:", "exprr:", 1), `cold\.yaml:7:9`},
		{"an expression that does not parse", strings.Replace(warmRules, "> -16.15", "> >", 1), `cold\.yaml:7:\d+`},
		{"no YAML at all", "groups: [", `cold\.yaml:\d+:\d+`},
	} {
		n := len(w.Log("rules were not reloaded"))
		w.WriteRules(t, "cold.yaml", bad.text)
		var said string
		eventually(bad.name+" is refused", func() error {
			all := w.Log("rules were not reloaded")
			if len(all) <= n {
				return fmt.Errorf("the log does not say so")
			}
			said = strings.Join(all[n:], "\n")
			return nil
		})
		if !regexp.MustCompile(bad.want).MatchString(said) || !strings.Contains(said, "the old set keeps running") {
			t.Errorf("%s: the log says\n%s\nwant %s", bad.name, said, bad.want)
		}
		if is := rules(); is != was {
			t.Errorf("%s: the rules in force were %s and are %s", bad.name, was, is)
		}
		if v, err := w.Metric("weir_rules_reloads_total", `result="refused"`); err != nil || v == 0 {
			t.Errorf("reloads that were refused, as the metric says: %v (%v)", v, err)
		}
	}
	before := fired("Warm")
	eventually("the old rules go on to fire", func() error { return atLeast(fired("Warm"), before+1) })

	w.WriteRules(t, "cold.yaml", strings.Replace(warmRules, "alert: Warm", "alert: Warmer", 1))
	eventually("the new rule fires", func() error { return atLeast(fired("Warmer"), 1) })
	process.Loaded(t, load, 2*process.Patience)
	w.Settled(t)
	w.Audit(t)
	for _, a := range w.Alerts(t) {
		if a.Rule == "cold/Warm" {
			t.Errorf("alert %s of %s is active, and its rule is gone", a.Rule, a.Key)
		}
	}
	// What was in force when is in the log: a replay comes to the same.
	lines := w.Events(t)
	w.MustCLI(t, "events", "replay", "--consumer", "rules", "--from", "all")
	w.Settled(t)
	if after := w.Events(t); len(after) != len(lines) {
		t.Errorf("a replay over the change of rules added %d records to the log, want none", len(after)-len(lines))
	}
}

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d times, want %d at least", got, want)
	}
	return nil
}
