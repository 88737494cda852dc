package rules_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules"
)

// loadWith loads the rule files among files, which end in .rules.yaml.
func loadWith(files map[string]string) (*rules.Set, error) {
	disk, list := fstest.MapFS{}, []rules.File{}
	for name, text := range files {
		disk[name] = &fstest.MapFile{Data: []byte(text)}
		if strings.HasSuffix(name, ".rules.yaml") {
			list = append(list, rules.File{Name: name, Data: []byte(text)})
		}
	}
	return rules.Load(list, rules.Options{ReadFile: func(name string) ([]byte, error) { return fs.ReadFile(disk, filepath.ToSlash(name)) }})
}

func mustLoadWith(t testing.TB, files map[string]string) *rules.Set {
	t.Helper()
	set, err := loadWith(files)
	if err != nil {
		t.Fatalf("load rules: %v", err)
	}
	return set
}

// enrichment is a log that a test of attributes hands to an engine.
type enrichment struct {
	t      testing.TB
	engine *rules.Engine
	at     int64
	said   []string
}

func newEnrichment(t testing.TB, set *rules.Set) *enrichment {
	e := &enrichment{t: t, engine: rules.NewEngine(0), at: epoch}
	e.record(event.Message{Record: event.RuleSet, Payload: set.Marshal()}, event.Event{})
	return e
}

func (e *enrichment) record(m event.Message, ev event.Event) {
	e.at += 1e9
	m.Received = e.at
	b := event.NewBatch(nil)
	b.Seq = uint64(e.at)
	b.Messages = []event.Message{m}
	if m.Record == event.Publish {
		ev.Source, ev.Measurement, ev.Time, ev.Received = "plant", "telemetry", e.at, e.at
		b.AddEvent(0, ev)
	}
	e.engine.Process(b, func(d rules.Derived) {
		if a := d.Alert; a != nil {
			e.said = append(e.said, fmt.Sprintf("%s %s %s %s", a.State, a.Rule, a.Key, a.Annotations["summary"]))
		} else {
			e.said = append(e.said, string(d.Payload))
		}
	})
	if s := e.engine.Stats(); s.RejectedSets > 0 {
		e.t.Fatalf("the engine rejected a rule set: %s", s.Rejection)
	}
}

func (e *enrichment) send(device string, temperature float64, tags ...event.Tag) {
	e.record(event.Message{}, event.Event{Device: device, Tags: tags, Fields: []event.Field{f("temperature", temperature)}})
}

// expect compares what was derived since the last call.
func (e *enrichment) expect(want ...string) {
	e.t.Helper()
	for i := range e.said {
		e.said[i] = strings.TrimSpace(e.said[i])
	}
	if !slices.Equal(e.said, want) {
		e.t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(e.said, "\n  "), strings.Join(want, "\n  "))
	}
	e.said = nil
}

const warmRule = `attributes: devices.yaml
groups:
  - name: cold-room
    rules:
      - alert: Warm
        expr: temperature > (limits.max ?? 30)
        annotations: {summary: "{{ site }} {{ attribute(\"limits.max\") ?? 'none' }}"}
`

func TestEachDeviceIsHeldToItsOwnLimit(t *testing.T) {
	e := newEnrichment(t, mustLoadWith(t, map[string]string{
		"x.rules.yaml": warmRule,
		"devices.yaml": "devices: {f1: {site: oslo, limits: {max: -15}}, f2: {site: bergen, limits: {max: -5}}, f3: {site: bodø}}",
	}))
	e.send("f1", -10)
	e.expect("firing cold-room/Warm f1 oslo -15")
	e.send("f2", -10)
	e.send("f3", -10)
	e.send("f9", 20)
	e.expect()
	e.send("f9", 31)
	e.expect("firing cold-room/Warm f9 <no site> none")
	e.send("f2", -4)
	e.expect("firing cold-room/Warm f2 bergen -5")
	e.send("f1", -16)
	e.expect("resolved cold-room/Warm f1 oslo -15")
}

func TestAnEditedTableIsInForceFromItsRecord(t *testing.T) {
	files := map[string]string{"x.rules.yaml": warmRule, "devices.yaml": "devices: {f1: {site: oslo, limits: {max: -15}}}"}
	before := mustLoadWith(t, files)
	files["devices.yaml"] = "# nothing but a comment\n" + files["devices.yaml"]
	if same := mustLoadWith(t, files); same.Hash() != before.Hash() {
		t.Errorf("a comment in a table makes another rule set")
	}
	files["devices.yaml"] = "devices: {f1: {site: oslo, limits: {max: -5}}}"
	after := mustLoadWith(t, files)
	if before.Hash() == after.Hash() {
		t.Fatalf("two tables make one rule set %s", before.Hash())
	}
	e := newEnrichment(t, before)
	e.send("f1", -10)
	e.expect("firing cold-room/Warm f1 oslo -15")
	e.record(event.Message{Record: event.RuleSet, Payload: after.Marshal()}, event.Event{})
	e.expect()
	e.send("f1", -10)
	e.expect("resolved cold-room/Warm f1 oslo -5")
}

func TestAttributesSurviveSnapshots(t *testing.T) {
	e := newEnrichment(t, mustLoadWith(t, map[string]string{"x.rules.yaml": warmRule, "devices.yaml": "devices: {f1: {site: oslo, limits: {max: -15}}}"}))
	snapshot, err := e.engine.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	e.engine = rules.NewEngine(0)
	if err := e.engine.Restore(snapshot); err != nil {
		t.Fatal(err)
	}
	e.send("f1", -10)
	e.expect("firing cold-room/Warm f1 oslo -15")
	again, err := rules.ParseSet(e.engine.Set().Marshal())
	if err != nil || again.Hash() != e.engine.Set().Hash() || again.Attributes().Len() != 1 || !slices.Equal(again.AttributeFiles(), []string{"devices.yaml"}) {
		t.Errorf("the set came back as another one: %v", err)
	}
}

func TestMatchAdmitsAttributes(t *testing.T) {
	e := newEnrichment(t, mustLoadWith(t, map[string]string{
		"x.rules.yaml": `attributes: d.csv
groups:
  - name: g
    match: {type: [freezer, fridge]}
    rules:
      - {alert: Any, expr: temperature > 0}
      - {alert: Upstairs, match: {floor: 3.0}, expr: temperature > 0}
      - {alert: Critical, match: {critical: true, line: a}, expr: temperature > 0}
`,
		"d.csv": "device,type,floor,critical\nf1,freezer,3,\nf2,oven,3,true\nf3,fridge,,TRUE\n",
	}))
	e.send("f1", 5)
	e.expect("firing g/Any f1", "firing g/Upstairs f1")
	e.send("f2", 5)
	e.send("f4", 5)
	e.expect()
	e.send("f3", 5, event.Tag{Key: "line", Value: "a"})
	e.expect("firing g/Any f3", "firing g/Critical f3")
	e.send("f4", 5, event.Tag{Key: "type", Value: "freezer"})
	e.expect("firing g/Any f4")
	e.send("f1", 5, event.Tag{Key: "type", Value: "oven"}) // a tag hides the attribute
	e.expect()
}

func TestTablesOfSeveralFilesAreOne(t *testing.T) {
	set := mustLoadWith(t, map[string]string{
		"rules/a.rules.yaml": "attributes: [../tables/sites.csv, limits.yaml]\ngroups: []\n",
		"rules/b.rules.yaml": "attributes: ../tables/sites.csv\ngroups: [{name: g, rules: [{alert: A, expr: 'temperature > limits.max and site == \"oslo\"'}]}]\n",
		"tables/sites.csv":   "device,site\nf1,oslo\nf2,bergen\n",
		"rules/limits.yaml":  "devices: {f1: {limits.max: 3}}",
	})
	if got, want := set.AttributeFiles(), []string{"tables/sites.csv", "rules/limits.yaml"}; !slices.Equal(got, want) {
		t.Errorf("the tables are %q, want %q", got, want)
	}
	if got := set.Attributes().Columns(); set.Attributes().Len() != 2 || !slices.Equal(got, []string{"limits.max", "site"}) {
		t.Errorf("the table has %d devices and %q", set.Attributes().Len(), got)
	}
	e := newEnrichment(t, set)
	e.send("f1", 4)
	e.send("f2", 4)
	e.expect("firing g/A f1")
}

func TestATableAmongTheRuleFilesIsNoRuleFile(t *testing.T) {
	set := mustLoadWith(t, map[string]string{
		"rules/devices.rules.yaml": "devices: {f1: {limits: {max: -15}}}",
		"rules/x.rules.yaml":       "attributes: devices.rules.yaml\n" + warmRule[strings.Index(warmRule, "groups"):],
	})
	e := newEnrichment(t, set)
	e.send("f1", -10)
	e.expect("firing cold-room/Warm f1 <no site> -15")
	_, err := loadWith(map[string]string{"devices.rules.yaml": "devices: {f1: {limits: {max: -15}}}"})
	if err == nil || !strings.Contains(err.Error(), `devices.rules.yaml:1:1: unknown key "devices"`) {
		t.Errorf("a table that no rule file names: %v", err)
	}
}

func TestWhatIsWrongWithTablesIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a file that is not there", map[string]string{"r/x.rules.yaml": "groups: []\nattributes: d.csv"}, "r/x.rules.yaml:2:13: read the table of devices: open r/d.csv: file does not exist"},
		{"one of a list that is not there", map[string]string{"x.rules.yaml": "attributes:\n  - d.csv\n  - e.csv\n", "d.csv": "device\na\n"}, "x.rules.yaml:3:5: read the table of devices: open e.csv: file does not exist"},
		{"an empty name", map[string]string{"x.rules.yaml": "attributes: ''"}, "x.rules.yaml:1:14: attributes has an empty file name"},
		{"what is no name", map[string]string{"x.rules.yaml": "attributes: {f1: {}}"}, "x.rules.yaml:1:13: want a list, got a mapping"},
		{"a wrong table", map[string]string{"r/x.rules.yaml": "attributes: d.csv", "r/d.csv": "device,time\n"}, `r/d.csv:1:8: no attribute can be called "time": it means something else in rules`},
		{"a table of another format", map[string]string{"r/x.rules.yaml": "attributes: d.json", "r/d.json": "{}"}, "r/x.rules.yaml:1:13: r/d.json: a table of devices is YAML or CSV: the file's name does not say which"},
		{"one attribute in two tables", map[string]string{"x.rules.yaml": "attributes: [d.csv, e.csv]", "d.csv": "device,a\nf1,1\n", "e.csv": "device,a\nf1,1\n"}, `e.csv:2: attribute "a" of device "f1" is there already, at d.csv:2`},
		{"an attribute that is not there", map[string]string{"x.rules.yaml": strings.ReplaceAll(warmRule, `\"limits.max\"`, `\"limit\"`), "devices.yaml": "devices: {f1: {a: 1}}"}, `no device has an attribute "limit"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := loadWith(tt.files)
			var errs strict.Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
	_, err := rules.Load([]rules.File{{Name: "x.yaml", Data: []byte("attributes: d.csv")}}, rules.Options{})
	if err == nil || err.Error() != "x.yaml:1:13: tables of devices cannot be read here" {
		t.Errorf("without ReadFile: %v", err)
	}
}

func TestATableThatNoRecordCanHoldIsRefused(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString("device,key\n")
	for range 120_000 {
		fmt.Fprintf(&b, "%016x,%016x-%016x\n", random.Uint64(), random.Uint64(), random.Uint64())
	}
	_, err := loadWith(map[string]string{"x.rules.yaml": "groups: []\nattributes: d.csv\n", "d.csv": b.String()})
	if err == nil || !strings.HasPrefix(err.Error(), "x.rules.yaml:2:13: the rules with their table of 120000 devices take ") ||
		!strings.Contains(err.Error(), fmt.Sprintf("more than the %d that a record may have", rules.MaxPayload)) {
		t.Errorf("got %v", err)
	}
}

func TestLargeRuleFilesArePacked(t *testing.T) {
	var b strings.Builder
	b.WriteString("groups:\n  - name: g\n    rules:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "      - {alert: A%d, expr: temperature > %d, annotations: {summary: it is too warm here}}\n", i, i)
	}
	set := mustLoadWith(t, map[string]string{"x.rules.yaml": b.String()})
	payload := set.Marshal()
	if len(payload) > b.Len()/5 {
		t.Errorf("%d bytes of rules make a record of %d", b.Len(), len(payload))
	}
	again, err := rules.ParseSet(payload)
	if err != nil || again.Len() != 2000 || again.Hash() != set.Hash() || string(again.Marshal()) != string(payload) {
		t.Errorf("it came back as another set (%v)", err)
	}
}

func TestADamagedTableInARecordIsRefused(t *testing.T) {
	set := mustLoadWith(t, map[string]string{"x.rules.yaml": "attributes: d.csv\n", "d.csv": "device,a\nf1,1\n"})
	payload := string(set.Marshal())
	for _, change := range [][2]string{
		{`"hash":"` + set.Attributes().Hash(), `"hash":"00`}, // of a table that nobody holds
		{`"table":"`, `"table":"AAAA`},
		{`"version":2`, `"version":3`},
		{`"attributes":{`, `"attribute":{`},
	} {
		bad := strings.Replace(payload, change[0], change[1], 1)
		if change[0] == `"table":"` { // a table in use is not unpacked again
			bad = strings.ReplaceAll(bad, set.Attributes().Hash(), "00")
		}
		if _, err := rules.ParseSet([]byte(bad)); bad == payload || err == nil {
			t.Errorf("with %s for %s it was taken", change[1], change[0])
		}
	}
}

func TestRulesWithoutTablesHaveTheRecordThatTheyHad(t *testing.T) {
	set := mustLoadWith(t, map[string]string{"x.rules.yaml": "groups: [{name: g, rules: [{alert: A, expr: temperature > 1}]}]"})
	if p := string(set.Marshal()); !strings.HasPrefix(p, `{"version":1,"hash":"`) || strings.Contains(p, "packed") || strings.Contains(p, "attributes") {
		t.Errorf("the record is %s", p)
	}
	if set.Attributes() != nil || set.Attributes().Len() != 0 {
		t.Errorf("it knows devices")
	}
}

func BenchmarkAttributes(b *testing.B) {
	var table strings.Builder
	table.WriteString("device,site,limits.max\n")
	for i := range 10_000 {
		fmt.Fprintf(&table, "d%d,site-%d,%d\n", i, i%100, i%50+100)
	}
	for _, bench := range []struct{ name, rule string }{
		{"none", "{alert: A, expr: temperature > 100}"},
		{"expr", "{alert: A, expr: 'temperature > (limits.max ?? 100)'}"},
		{"match", "{alert: A, match: {site: site-7}, expr: temperature > 100}"},
	} {
		b.Run(bench.name, func(b *testing.B) {
			e := newEnrichment(b, mustLoadWith(b, map[string]string{
				"x.rules.yaml": "attributes: d.csv\ngroups: [{name: g, rules: [" + bench.rule + "]}]", "d.csv": table.String(),
			}))
			batch := event.NewBatch(nil)
			batch.Seq = 1
			const n = 1000
			for i := range n {
				batch.Messages = append(batch.Messages, event.Message{Received: e.at})
				batch.AddEvent(i, event.Event{Source: "plant", Measurement: "telemetry", Device: fmt.Sprintf("d%d", i*7), Time: e.at, Received: e.at,
					Fields: []event.Field{f("temperature", 20.0)}})
			}
			b.ReportAllocs()
			for b.Loop() {
				e.engine.Process(batch, func(rules.Derived) { b.Fatal("derived something") })
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}
