package rules_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// report is what a command prints of the problems of rule files.
func report(err error) string {
	var errs strict.Errors
	if !errors.As(err, &errs) {
		return "not strict.Errors: " + err.Error()
	}
	var b strings.Builder
	for _, e := range errs {
		b.WriteString(e.Error() + "\n")
		if e.Hint != "" {
			b.WriteString("    hint: " + e.Hint + "\n")
		}
	}
	return b.String()
}

func TestBrokenFilesAreRefusedWithPlaceAndRemedy(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = rules.Load([]rules.File{{Name: filepath.Base(name), Data: data}}, rules.Options{
				Sinks: []string{"ops", "ops-webhook"}, Sources: []string{"plant", "kitchen"},
			})
			if err == nil {
				t.Fatal("the file was accepted")
			}
			golden := strings.TrimSuffix(name, ".yaml") + ".golden"
			got := report(err)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("problems are\n%s\nwant\n%s", got, want)
			}
		})
	}
}

const twoRules = `
groups:
  - name: cold room
    match: {type: freezer}
    labels: {team: plant}
    rules:
      - alert: Warm
        expr: temperature > 3
        for: 10m
        labels: {severity: page}
        annotations: {summary: "{{ device }}"}
        actions: [{send: ops}]
      - record: fahrenheit
        expr: round(temperature) * 1.8
`

func TestASetDescribesItsRules(t *testing.T) {
	s, err := rules.Load([]rules.File{{Name: "b.yaml", Data: []byte(twoRules)}, {Name: "a.yaml"}}, rules.Options{Sinks: []string{"ops"}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(s.Rules())
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"rule":"cold room/Warm","group":"cold room","name":"Warm","kind":"alert","file":"b.yaml","line":7,"match":{"type":["freezer"]},` +
		`"expr":"temperature \u003e 3","for":"10m0s","labels":{"severity":"page","team":"plant"},"annotations":{"summary":"{{ device }}"},"send":["ops"],"actions":[{"on":["firing","resolved"],"send":"ops"}],"compiled":true},` +
		`{"rule":"cold room/fahrenheit","group":"cold room","name":"fahrenheit","kind":"record","file":"b.yaml","line":13,"match":{"type":["freezer"]},` +
		`"expr":"round(temperature) * 1.8","compiled":false}]`
	if string(got) != want {
		t.Errorf("rules are\n%s\nwant\n%s", got, want)
	}
}

func TestASetSurvivesTheLog(t *testing.T) {
	for _, o := range []rules.Options{{Sinks: []string{"ops", "b"}}, {Sinks: []string{"ops"}, Sources: []string{}}, {Sinks: []string{"ops"}, Sources: []string{"plant"}}} {
		a, err := rules.Load([]rules.File{{Name: "b.yaml", Data: []byte(twoRules)}, {Name: "a.yaml", Data: []byte("# \u00e9 nothing\n")}}, o)
		if err != nil {
			t.Fatal(err)
		}
		b, err := rules.ParseSet(a.Marshal())
		if err != nil {
			t.Fatal(err)
		}
		if a.Hash() != b.Hash() || len(b.Rules()) != 2 || string(a.Marshal()) != string(b.Marshal()) {
			t.Errorf("the set was %s, after the log it is %s", a.Marshal(), b.Marshal())
		}
	}
}

func TestHashesTellSetsApart(t *testing.T) {
	seen := map[string]string{}
	for name, load := range map[string]struct {
		files []rules.File
		o     rules.Options
	}{
		"nothing":         {},
		"no sources":      {o: rules.Options{Sources: []string{}}},
		"a sink":          {o: rules.Options{Sinks: []string{"a"}}},
		"a source":        {o: rules.Options{Sources: []string{"a"}}},
		"an empty file":   {files: []rules.File{{Name: "a"}}},
		"another name":    {files: []rules.File{{Name: "b"}}},
		"two empty files": {files: []rules.File{{Name: "a"}, {Name: "b"}}},
		"a comment":       {files: []rules.File{{Name: "a", Data: []byte("#")}}},
	} {
		s, err := rules.Load(load.files, load.o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if other, ok := seen[s.Hash()]; ok {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[s.Hash()] = name
	}
}

func TestNamesAreUniqueOverAllFiles(t *testing.T) {
	_, err := rules.Load([]rules.File{{Name: "a.yaml", Data: []byte(twoRules)}, {Name: "b.yaml", Data: []byte(twoRules)}}, rules.Options{Sinks: []string{"ops"}})
	want := `b.yaml:3:11: a second group "cold room", the first is at a.yaml:3
b.yaml:7:16: a second rule "Warm" in group "cold room", the first is at a.yaml:7
b.yaml:13:17: a second rule "fahrenheit" in group "cold room", the first is at a.yaml:13`
	if err == nil || err.Error() != want {
		t.Errorf("problems are\n%v\nwant\n%s", err, want)
	}
}

func TestAFileOrderDoesNotMatter(t *testing.T) {
	a, b := rules.File{Name: "a", Data: []byte("#1")}, rules.File{Name: "b", Data: []byte("#2")}
	x, _ := rules.Load([]rules.File{a, b}, rules.Options{Sinks: []string{"1", "2"}})
	y, _ := rules.Load([]rules.File{b, a}, rules.Options{Sinks: []string{"2", "1"}})
	if x.Hash() != y.Hash() {
		t.Errorf("hashes are %s and %s, want them equal", x.Hash(), y.Hash())
	}
}

func TestDamagedRuleSetRecordsAreRefused(t *testing.T) {
	s, err := rules.Load([]rules.File{{Name: "b.yaml", Data: []byte(twoRules)}}, rules.Options{Sinks: []string{"ops"}})
	if err != nil {
		t.Fatal(err)
	}
	good := string(s.Marshal())
	for _, tt := range []struct{ name, payload, want string }{
		{"no JSON", good[:len(good)/2], "rule set record: unexpected end of JSON input"},
		{"a later version", strings.Replace(good, `"version":1`, `"version":9`, 1), "rule set record has version 9, this weir knows 2"},
		{"other text", strings.Replace(good, "temperature", "temperatura", 1), "rule set record is damaged: its hash is"},
		{"broken rules", strings.Replace(good, "round", "rund", 1), "rule set record: b.yaml:14:15: expr: unknown function rund"},
	} {
		if _, err := rules.ParseSet([]byte(tt.payload)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error is %v, want %s", tt.name, err, tt.want)
		}
	}
}

// recorded returns the record of a set that only an earlier version took.
func recorded(t *testing.T, text string) []byte {
	t.Helper()
	file, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	record := func(hash string) []byte {
		return fmt.Appendf(nil, `{"version":1,"hash":%q,"options":{},"files":[{"name":"r.yaml","text":%s}]}`, hash, file)
	}
	_, err = rules.ParseSet(record(""))
	_, hash, ok := strings.Cut(fmt.Sprint(err), "its content's ")
	if !ok {
		t.Fatalf("the record is refused: %v", err)
	}
	return record(hash)
}

func TestWhatEarlierVersionsTookStaysInForce(t *testing.T) {
	for _, rule := range []string{
		`{record: r, expr: x, backfill: notify}`,
		`{alert: A, expr: 'x > 3 and x == "hot"'}`,
		`{record: r, expr: r + 1}`,
		`{alert: A, expr: 'avg_over_time(x, "5m5m") > 3', for: 1m1h}`,
		`{alert: A, expr: avg_over_time(x) > 3, window: {hopping: 1h, every: 5m5m}}`,
		`{alert: A, expr: x > 3, match: {mesurement: a}}`,
		`{alert: A, expr: 'max(x) > 3 or sum(x) > 3', annotations: {summary: "{{ any(x, # > 3) }}"}}`,
	} {
		text := "groups: [{name: g, rules: [" + rule + "]}]"
		if _, err := rules.Load([]rules.File{{Name: "r.yaml", Data: []byte(text)}}, rules.Options{}); err == nil {
			t.Errorf("%s is accepted from a file", rule)
		}
		if _, err := rules.ParseSet(recorded(t, text)); err != nil {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

func TestARecordOfAnEarlierVersionThatReadsItsOwnNameDoesNotSeeItsOwn(t *testing.T) {
	log := batch(t, 1, tick(0), line{at: 1, device: "a", fields: []event.Field{f("t", 2.0)}},
		line{at: 2, record: &event.Recorded{Rule: "g/t", Name: "t", Device: "a", Value: 4.0}})
	log.Messages[0].Record, log.Messages[0].Payload = event.RuleSet, recorded(t, group("record: t\nexpr: t * 2"))
	var got []rules.Derived
	rules.NewEngine(0).Process(log, func(d rules.Derived) { got = append(got, d) })
	if story := strings.Join(story(got), "\n"); story != "1 t=4 a" {
		t.Errorf("derived %s", story)
	}
}

// FuzzLoad loads any text: a set that survives the log, or problems with
// places in the file; and never a panic of an engine that runs it.
func FuzzLoad(f *testing.F) {
	f.Add(twoRules)
	files, _ := filepath.Glob("testdata/broken/*.yaml")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(string(data))
		}
	}
	for _, tt := range lifecycles {
		f.Add(group(tt.rules))
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := rules.Load([]rules.File{{Name: "f.yaml", Data: []byte(text)}}, rules.Options{Sinks: []string{"ops"}})
		if err != nil {
			var errs strict.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("error is %#v, want strict.Errors", err)
			}
			for _, e := range errs {
				if e.File != "f.yaml" || e.Line < 1 || e.Col < 1 || e.Msg == "" {
					t.Fatalf("problem without a place: %+v", *e)
				}
			}
			return
		}
		again, err := rules.ParseSet(s.Marshal())
		if err != nil || again.Hash() != s.Hash() {
			t.Fatalf("the set does not survive the log: %v", err)
		}
		e := rules.NewEngine(0)
		log := batch(t, 1, tick(0), temp(1, "a", 31), tick(1e6), temp(2e6, "a", -31))
		log.Messages[0].Record, log.Messages[0].Payload = event.RuleSet, s.Marshal()
		e.Process(log, func(d rules.Derived) {
			if !json.Valid(d.Payload) || d.ID == "" || strings.ContainsAny(d.Topic, "+#\x00") {
				t.Fatalf("derived %+v", d)
			}
		})
		snapshot, err := e.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := rules.NewEngine(0).Restore(snapshot); err != nil {
			t.Fatal(err)
		}
	})
}
