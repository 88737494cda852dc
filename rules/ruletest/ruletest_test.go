package ruletest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/configs"
	"weir/configs/strict"
	"weir/rules"
	"weir/rules/ruletest"
)

// load loads a test file whose rules need no config.
func load(t testing.TB, name string) *ruletest.File {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ruletest.Load(name, data, ruletest.Environment{Rules: ruletest.RuleFiles})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestScenarios runs the test files that users could have written.
func TestScenarios(t *testing.T) {
	var files []string
	for _, pattern := range []string{"testdata/*.test.yaml", "testdata/prometheus/*.test.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			results := load(t, name).Run(nil)
			for _, r := range results {
				if !r.Passed {
					var b bytes.Buffer
					if err := ruletest.Report(&b, name, results); err != nil {
						t.Fatal(err)
					}
					t.Fatalf("\n%s", b.String())
				}
			}
		})
	}
}

func TestTheIncidentsOfATestAreGivenWhetherItPassesOrNot(t *testing.T) {
	for name, want := range map[string]string{
		"testdata/backfill.test.yaml": `true [{"id":"ID","rule":"history/Hot","key":"d1","device":"d1","labels":{},"active_at":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:15:00Z","ends_at":"2026-01-01T02:06:00Z","value":31,"suppressed":"backfill","told":true}]
true [{"id":"ID","rule":"history/Hot","key":"d1","device":"d1","labels":{},"active_at":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:15:00Z","ends_at":"2026-01-01T01:00:00Z","value":31,"suppressed":"backfill","told":false}]
`,
		"testdata/failing/told.test.yaml": `false [{"id":"ID","rule":"history/Hot","key":"d1","device":"d1","labels":{},"active_at":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:15:00Z","value":31,"suppressed":"backfill","told":true}]
false [{"id":"ID","rule":"history/Hot","key":"d1","device":"d1","labels":{},"active_at":"2026-01-01T00:10:00Z","starts_at":"2026-01-01T00:15:00Z","ends_at":"2026-01-01T01:00:00Z","value":31,"suppressed":"backfill","told":false}]
`,
	} {
		got := ""
		for _, r := range load(t, name).Run(nil) {
			for i := range r.Incidents {
				if len(r.Incidents[i].ID) < 8 {
					t.Errorf("%s: the id is %q", name, r.Incidents[i].ID)
				}
				r.Incidents[i].ID = "ID"
			}
			b, err := json.Marshal(r.Incidents)
			if err != nil {
				t.Fatal(err)
			}
			got += fmt.Sprintf("%v %s\n", r.Passed, b)
		}
		if got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// TestReport holds what is said about tests that fail against testdata/failing.
func TestReport(t *testing.T) {
	for _, name := range []string{"cold-room.test.yaml", "told.test.yaml"} {
		t.Run(name, func(t *testing.T) { testReport(t, name) })
	}
}

func testReport(t *testing.T, base string) {
	name := filepath.Join("testdata", "failing", base)
	f := load(t, name)
	var b bytes.Buffer
	if err := ruletest.Report(&b, base, f.Run(nil)); err != nil {
		t.Fatal(err)
	}
	golden := strings.TrimSuffix(name, ".yaml") + ".golden"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the report is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestOnlyTheTestsAskedForRun(t *testing.T) {
	f := load(t, "testdata/lifecycle.test.yaml")
	got := f.Run(func(name string) bool { return strings.Contains(name, "null") })
	if len(got) != 1 || got[0].Name != "null says nothing either" || !got[0].Passed {
		t.Errorf("ran %+v", got)
	}
	if got := f.Run(func(string) bool { return false }); got == nil || len(got) != 0 {
		t.Errorf("ran %+v, want an empty list", got)
	}
}

func TestARunDoesNotChangeTheNext(t *testing.T) {
	f := load(t, "testdata/failing/cold-room.test.yaml")
	a, b := fmt.Sprintf("%+v", f.Run(nil)), fmt.Sprintf("%+v", f.Run(nil))
	if a != b {
		t.Errorf("the first run gives\n%s\nthe second\n%s", a, b)
	}
}

const loadRules = `
groups:
  - name: g
    rules:
      - {alert: Hot, expr: temperature > 30, match: {source: plant}}
      - {alert: Warm, expr: temperature > 20}
      - {record: double, expr: temperature * 2}
`

// memory is an environment whose only rule file is rules.yaml.
func memory(t testing.TB, text string) ruletest.Environment {
	set, err := rules.Load([]rules.File{{Name: "rules.yaml", Data: []byte(text)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return ruletest.Environment{
		Rules: func([]string, *configs.Config) (*rules.Set, error) { return set, nil },
		Glob: func(p string) ([]string, error) {
			if p == "rules.yaml" {
				return []string{p}, nil
			}
			return nil, nil
		},
	}
}

// one wraps a test in a file.
func one(test string) string { return "rule_files: [rules.yaml]\ntests:\n  - " + test + "\n" }

// expects is an expectation, for tests of other things.
const expects = "alerts: []"

var badFiles = []struct{ name, text, want, hint string }{
	{"no rules", "tests: [{alerts: []}]", "t.yaml:1:1: the file names no rule files", "write rule_files"},
	{"no tests", "rule_files: [rules.yaml]", "t.yaml:1:1: the file has no tests", "write tests:"},
	{"a rule file that is not there", "rule_files: [rule.yaml]\ntests: [{alerts: []}]", "t.yaml:1:14: there is no file rule.yaml", "names are relative"},
	{"a key that is wrong", one("{input_serie: [], alerts: []}"), `t.yaml:3:6: unknown key "input_serie"`, `did you mean "input_series"?`},
	{"a test that can't fail", one(`{name: x, input_series: [{series: 'a{device="d"}', values: 1}]}`), "t.yaml:3:5: the test expects nothing, so it can't fail", "add alert_rule_test"},
	{"PromQL", one("{promql_expr_test: [{expr: up}], alerts: []}"), "t.yaml:3:6: there is no PromQL here to test", "record_rule_test"},
	{"an external URL", one("{external_url: x, alerts: []}"), "t.yaml:3:6: templates have no external URL", "remove it"},
	{"external labels", one("{external_labels: {a: b}, alerts: []}"), "t.yaml:3:6: rules have no external labels", "labels of the group"},
	{"a rule that is not there", one("{alert_rule_test: [{eval_time: 1m, alertname: Hto}]}"), `t.yaml:3:51: there is no alert rule "Hto"`, `did you mean "Hot"?`},
	{"a rule of another kind", one("{alert_rule_test: [{eval_time: 1m, alertname: double}]}"), `t.yaml:3:51: there is no alert rule "double"`, "there are Hot, Warm"},
	{"a group that is not there", one("{alert_rule_test: [{eval_time: 1m, alertname: Hot, groupname: h}]}"), `t.yaml:3:51: there is no alert rule "Hot" in group "h"`, ""},
	{"a record that is not there", one("{record_rule_test: [{eval_time: 1m, record: doubel}]}"), `t.yaml:3:49: there is no record rule "doubel"`, `did you mean "double"?`},
	{"no eval_time", one("{alert_rule_test: [{alertname: Hot}]}"), "t.yaml:3:24: the entry has no eval_time", "eval_time: 10m"},
	{"an eval_time before the start", one("{alert_rule_test: [{eval_time: -1m, alertname: Hot}]}"), "t.yaml:3:36: eval_time is not between the start of the test and 3660 days later", ""},
	{"a series without a device", one("{input_series: [{series: up, values: 1}], alerts: []}"), "t.yaml:3:30: the series names no device", `add device="..."`},
	{"values that are wrong", one(`{input_series: [{series: 'up{device="d"}', values: '1 x'}], alerts: []}`), `t.yaml:3:59: values: "x" is no value`, "write numbers"},
	{"a series that is wrong", one(`{input_series: [{series: 'up{device=d}', values: '1'}], alerts: []}`), `t.yaml:3:41: series: want a text in quotes as the value of "device"`, "write field"},
	{"an absurd repetition", one(`{input_series: [{series: 'up{device="d"}', values: '1x1000000000'}], alerts: []}`), "t.yaml:3:57: values: more than 1000000 samples in the file", "a longer interval"},
	{"a series that is there twice", one(`{input_series: [{series: 'up{device="d",a="b"}', values: 1}, {series: 'up{a="b",device="d"}', values: 1}], alerts: []}`), `t.yaml:3:76: a second series of the field "up" with these labels`, ""},
	{"an event without a time", one("{input_events: [{device: d, fields: {a: 1}}], alerts: []}"), "t.yaml:3:21: the event has no at", "write at: 10m"},
	{"an event without a device", one("{input_events: [{at: 1m, fields: {a: 1}}], alerts: []}"), "t.yaml:3:21: the event names no device", "add device"},
	{"an event without fields", one("{input_events: [{at: 1m, device: d}], alerts: []}"), "t.yaml:3:21: the event has no fields", "add fields"},
	{"a field without a value", one("{input_events: [{at: 1m, device: d, fields: {a: .nan}}], alerts: []}"), "t.yaml:3:53: .nan can't be the value of a field", ""},
	{"a payload without sources", one("{input_events: [{at: 1m, topic: a, payload: '{}'}], alerts: []}"), "t.yaml:3:50: no sources are known that could decode the payload", "config: weir.yaml"},
	{"a payload and fields", one("{input_events: [{at: 1m, topic: a, payload: '{}', device: d}], alerts: []}"), "t.yaml:3:55: an event with a payload has no device: its source says that", "remove it"},
	{"a payload without a topic", one("{input_events: [{at: 1m, payload: '{}'}], alerts: []}"), "t.yaml:3:21: the event has no topic", ""},
	{"an until that is too early", one("{until: 1m, alert_rule_test: [{eval_time: 2m, alertname: Hot}]}"), "t.yaml:3:13: until is before eval_time of line 3, at 2m", ""},
	{"an interval that is too short", one("{interval: 1us, alerts: []}"), "t.yaml:3:16: interval is not between 1ms and 3660 days", "e.g. 1m"},
	{"too many intervals", one("{interval: 1s, until: 30d, alerts: []}"), "t.yaml:3:5: the test runs for 2592000 intervals of 1s, more than 1000000", "make the interval"},
	{"a series that is too long", one(`{interval: 1000d, input_series: [{series: 'up{device="d"}', values: '1x9'}], alerts: []}`), "t.yaml:3:74: the last of the values is not between the start of the test and 3660 days later", ""},
	{"a start that is no time", one("{start: soon, alerts: []}"), `t.yaml:3:13: want a point in time, got "soon"`, "write 2026-01-31T12:00:00Z"},
	{"two starts", one("{start: 2026-01-01, start_timestamp: 0, alerts: []}"), "t.yaml:3:42: start and start_timestamp say the same", "remove one"},
	{"an alert without a start", one("{alerts: [{rule: Hot}]}"), "t.yaml:3:15: the alert has no starts_at", "write starts_at"},
	{"an alert that ends before it starts", one("{alerts: [{rule: Hot, starts_at: 2m, ends_at: 1m}]}"), "t.yaml:3:51: ends_at is before starts_at", ""},
	{"a reason that is none", one("{alerts: [{rule: Hot, starts_at: 2m, suppressed: yes}]}"), `t.yaml:3:54: "yes" is no reason to suppress an alert`, "one of backfill"},
	{"a tolerance without a value", one("{recordings: [{record: double, at: 1m, tolerance: 1}]}"), "t.yaml:3:44: a tolerance goes with a value, and is not negative", "write value"},
	{"labels of another record", one("{record_rule_test: [{eval_time: 1m, record: double, exp_samples: [{labels: 'x{}', value: 1}]}]}"), `t.yaml:3:81: labels: "x" is not the record "double"`, "leave the name out"},
	{"labels that are wrong", one("{record_rule_test: [{eval_time: 1m, record: double, exp_samples: [{labels: '{a=b}', value: 1}]}]}"), `t.yaml:3:84: labels: want a text in quotes as the value of "a"`, ""},
	{"a config that can't be loaded", "config: weir.yaml\n" + one("{"+expects+"}"), "t.yaml:1:9: a config can't be used here", ""},
	{"a source that can't be", "sources: [{name: a}]\n" + one("{"+expects+"}"), `t.yaml:1:11: source "a" has no topic`, "e.g."},
}

func TestWhatIsWrongWithAFileIsSaidWithItsPlace(t *testing.T) {
	for _, tt := range badFiles {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ruletest.Load("t.yaml", []byte(tt.text), memory(t, loadRules))
			var list strict.Errors
			if !errors.As(err, &list) {
				t.Fatalf("load: %v, want strict.Errors", err)
			}
			if list[0].Error() != tt.want || !strings.Contains(list[0].Hint, tt.hint) {
				t.Errorf("got  %v\nhint %s\nwant %s\nhint %s", err, list[0].Hint, tt.want, tt.hint)
			}
		})
	}
}

func TestAnEventWithoutASourceIsOfTheOneThatTheRulesMatch(t *testing.T) {
	test := one(`{input_series: [{series: 'temperature{device="d"}', values: 31}], alerts: [{rule: Hot, starts_at: 0s}, {rule: Warm, starts_at: 0s}]}`)
	f, err := ruletest.Load("t.yaml", []byte(test), memory(t, loadRules))
	if err != nil {
		t.Fatal(err)
	}
	if r := f.Run(nil); !r[0].Passed {
		t.Errorf("failed: %+v", r[0].Failures)
	}
	several := strings.Replace(loadRules, "temperature > 20", "temperature > 20, match: {source: office}", 1)
	_, err = ruletest.Load("t.yaml", []byte(test), memory(t, several))
	if want := "t.yaml:3:31: the series names no source, and the rules match several: office, plant"; err == nil || err.Error() != want {
		t.Errorf("load: %v, want %s", err, want)
	}
}

// FuzzLoad holds that no file makes Load or Run panic or run for long, and that
// what is wrong is said with a place.
func FuzzLoad(f *testing.F) {
	for _, tt := range badFiles {
		f.Add([]byte(tt.text))
	}
	f.Add([]byte(one(`{start: 1.5, input_series: [{series: 'temperature{device="d"}', values: '31x3 "a" stale _'}], alerts: [{rule: Hot, key: d, starts_at: 0s}], recordings: [{at: 1m, record: double, value: 62}]}`)))
	f.Add([]byte(one(`{input_events: [{at: 1m, time: -5m, device: d, tags: {a: b}, fields: {temperature: 31, a: {b: [1, x]}}}], record_rule_test: [{eval_time: 1m, record: double, exp_samples: [{labels: '{a="b"}', value: 62}]}]}`)))
	env := memory(f, loadRules)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := ruletest.Load("t.yaml", data, env)
		if err == nil {
			for _, r := range file.Run(nil) {
				if r.Passed != (len(r.Failures) == 0) {
					t.Fatalf("%+v", r)
				}
			}
			return
		}
		var list strict.Errors
		if !errors.As(err, &list) {
			t.Fatalf("load: %v (%T), want strict.Errors", err, err)
		}
		for _, e := range list {
			if e.Line == 0 || e.Msg == "" {
				t.Fatalf("the error %q has no place", e)
			}
		}
	})
}
