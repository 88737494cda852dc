package ruletest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/rules"
)

const (
	maxUntil    = 3660 * 24 * time.Hour // how long a test may run, in the time of its events
	maxSteps    = 1_000_000             // intervals in it
	minInterval = time.Millisecond
	maxTests    = 10_000 // of a file

	defaultInterval = time.Minute
	defaultStart    = int64(1_767_225_600e9) // 2026-01-01T00:00:00Z, a Thursday
	defaultSource   = "test"
)

// Environment is what a test file refers to. What is nil is not available.
type Environment struct {
	// Rules loads and checks rule files; without names, those of the config.
	// cfg is nil if the test file has none.
	Rules func(names []string, cfg *configs.Config) (*rules.Set, error)
	// Glob returns the files that a pattern stands for; nil is filepath.Glob.
	Glob func(pattern string) ([]string, error)
	// Config loads the config that a test file names, or -c does.
	Config func(name string) (*configs.Config, error)
	// Sources compiles the sources of a config.
	Sources func(cfg *configs.Config) (*decode.Set, error)
	// ConfigFile is the config for test files that name none, if not "".
	ConfigFile string
}

// RuleFiles is an Environment.Rules that knows no config.
func RuleFiles(names []string, _ *configs.Config) (*rules.Set, error) {
	var files []rules.File
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, strict.Errors{{File: name, Msg: fmt.Sprintf("read rules: %v", err)}}
		}
		files = append(files, rules.File{Name: name, Data: b})
	}
	return rules.Load(files, rules.Options{ReadFile: os.ReadFile})
}

// File is a test file that was loaded and checked.
type File struct {
	Name  string
	set   *rules.Set
	fuzzy bool
	tests []*test
}

// Rules returns the rule set that the tests are about.
func (f *File) Rules() *rules.Set { return f.set }

// Load decodes and checks a test file, and loads the rules that it names. It
// returns strict.Errors with every problem found.
func Load(name string, data []byte, env Environment) (*File, error) {
	l := &loader{name: name, env: env, file: &File{Name: name}}
	var spec fileSpec
	if err := strict.Decode(name, data, &spec); err != nil {
		l.add(err, strict.Pos{})
	}
	l.load(&spec)
	if err := l.errs.Err(); err != nil {
		return nil, err
	}
	return l.file, nil
}

// loader builds a File and collects what is wrong.
type loader struct {
	name    string
	env     Environment
	file    *File
	errs    strict.Errors
	cfg     *configs.Config
	sources *decode.Set
	without bool // no config and no sources are named
	rules   []rules.Info

	samples int // so far, of all tests
}

func (l *loader) addf(at strict.Pos, hint, format string, args ...any) {
	l.errs.Addf(l.name, at, hint, format, args...)
}

// add takes an error over: as it is if it has a place of its own.
func (l *loader) add(err error, at strict.Pos) {
	var list strict.Errors
	if errors.As(err, &list) {
		l.errs = append(l.errs, list...)
		return
	}
	l.addf(at, "", "%v", err)
}

func present(n yaml.Node) bool { return n.Kind != 0 }

func (l *loader) load(spec *fileSpec) {
	l.file.fuzzy = spec.FuzzyCompare
	l.config(spec)
	l.ruleFiles(spec)
	interval := l.interval("evaluation_interval", spec.EvaluationInterval, defaultInterval)
	start := l.start(spec.Start, spec.StartTimestamp, defaultStart)
	if len(spec.Tests) == 0 && len(l.errs) == 0 {
		l.addf(strict.Pos{Line: 1, Col: 1}, "write tests: and a list of tests", "the file has no tests")
	}
	if len(spec.Tests) > maxTests {
		l.addf(spec.Keys["tests"], "split the file", "%d tests in a file, more than %d", len(spec.Tests), maxTests)
		return
	}
	for i := range spec.Tests {
		t := &spec.Tests[i]
		if t.Pos == (strict.Pos{}) { // no mapping, which is reported already
			continue
		}
		l.file.tests = append(l.file.tests, l.test(t, i, interval, start))
	}
}

// config finds the config and the sources.
func (l *loader) config(spec *fileSpec) {
	name, at := l.env.ConfigFile, strict.Pos{}
	if spec.Config.Value != "" {
		name, at = within(l.name, spec.Config.Value), spec.Config.Pos
	}
	_, inline := spec.Keys["sources"]
	if inline && spec.Config.Value != "" {
		l.addf(spec.Keys["sources"], "remove one of the two", "the file has sources of its own and names a config")
		return
	}
	var err error
	switch {
	case inline:
		if l.cfg, err = configs.FromSources(l.name, spec.Sources); err != nil {
			l.add(err, spec.Keys["sources"])
			return
		}
	case name == "":
		l.without = true
		return
	case l.env.Config == nil:
		l.addf(at, "", "a config can't be used here")
		return
	default:
		if l.cfg, err = l.env.Config(name); err != nil {
			l.add(err, at)
			return
		}
	}
	if l.env.Sources == nil {
		return
	}
	if l.sources, err = l.env.Sources(l.cfg); err != nil {
		l.add(err, at)
	}
	if inline { // it names no rules and no sinks
		l.cfg = nil
	}
}

// within returns a file's name relative to the folder of the test file.
func within(file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}

func (l *loader) ruleFiles(spec *fileSpec) {
	glob := l.env.Glob
	if glob == nil {
		glob = filepath.Glob
	}
	var names []string
	for _, p := range spec.RuleFiles {
		if p.Pos == (strict.Pos{}) { // an empty item, which is reported already
			continue
		}
		found, err := glob(within(l.name, p.Value))
		switch {
		case p.Value == "" || err != nil:
			l.addf(p.Pos, "write the name of a file, or a pattern such as rules/*.yaml", "%q is no name of rule files", p.Value)
		case len(found) == 0:
			l.addf(p.Pos, "names are relative to the test file", "there is no file %s", p.Value)
		}
		names = append(names, found...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	at := spec.Keys["rule_files"]
	switch {
	case len(l.errs) > 0: // what is wrong with rules that are not the ones meant says little
		return
	case len(names) == 0 && l.cfg == nil:
		l.addf(strict.Pos{Line: 1, Col: 1}, "write rule_files: [FILE], relative to this file; with a config, its rules are the default", "the file names no rule files")
		return
	case l.env.Rules == nil:
		l.addf(at, "", "rule files can't be loaded here")
		return
	}
	set, err := l.env.Rules(names, l.cfg)
	if err != nil {
		l.add(err, at)
		return
	}
	l.file.set, l.rules = set, set.Rules()
}

func (l *loader) interval(key string, d duration, without time.Duration) time.Duration {
	switch {
	case !d.set:
		return without
	case d.Duration < minInterval || d.Duration > maxUntil:
		l.addf(d.pos, "e.g. 1m", "%s is not between %v and %d days", key, minInterval, maxUntil/(24*time.Hour))
		return without
	}
	return d.Duration
}

func (l *loader) start(own, promtool moment, without int64) int64 {
	switch {
	case own.set && promtool.set:
		l.addf(promtool.pos, "remove one of the two", "start and start_timestamp say the same")
	case own.set:
		return own.ns
	case promtool.set:
		return promtool.ns
	}
	return without
}

// refuse reports what promtool has and weir has not.
func (l *loader) refuse(spec *testSpec) {
	if present(spec.Promql) {
		l.addf(spec.Keys["promql_expr_test"], "test what a record rule gives with record_rule_test: {eval_time, record, exp_samples}", "there is no PromQL here to test")
	}
	if present(spec.ExternalLabels) {
		l.addf(spec.Keys["external_labels"], "write them as labels of the group", "rules have no external labels")
	}
	if present(spec.ExternalURL) {
		l.addf(spec.Keys["external_url"], "remove it", "templates have no external URL")
	}
}

// test loads one test. It goes on after an error, to find the others.
func (l *loader) test(spec *testSpec, i int, interval time.Duration, start int64) *test {
	t := &test{name: spec.Name.Value, line: spec.Pos.Line, fuzzy: l.file.fuzzy}
	if t.name == "" {
		t.name = fmt.Sprintf("test %d", i+1)
	}
	l.refuse(spec)
	t.interval = l.interval("interval", spec.Interval, interval)
	t.start = l.start(spec.Start, spec.StartTimestamp, start)
	l.series(t, spec)
	for j := range spec.Events {
		if e := &spec.Events[j]; e.Pos != (strict.Pos{}) {
			l.event(t, e)
		}
	}
	slices.SortStableFunc(t.inputs, func(a, b input) int { return cmp.Compare(a.at, b.at) })
	for j := range spec.AlertTests {
		l.alertTest(t, &spec.AlertTests[j])
	}
	for j := range spec.RecordTests {
		l.recordTest(t, &spec.RecordTests[j])
	}
	slices.SortStableFunc(t.checks, func(a, b check) int { return cmp.Compare(a.at, b.at) })
	_, t.exact = spec.Keys["alerts"]
	for j := range spec.Alerts {
		l.incident(t, &spec.Alerts[j])
	}
	for j := range spec.Recordings {
		l.recording(t, &spec.Recordings[j])
	}
	if len(spec.AlertTests) == 0 && len(spec.RecordTests) == 0 && !t.exact && len(spec.Recordings) == 0 {
		l.addf(spec.Pos, "add alert_rule_test, alerts, record_rule_test or recordings", "the test expects nothing, so it can't fail")
	}
	l.until(t, spec)
	return t
}

// mention notes that something of the test is at a time, from its start.
func (l *loader) mention(t *test, at time.Duration, pos strict.Pos, what string) bool {
	if at < 0 || at > maxUntil {
		l.addf(pos, "", "%s is not between the start of the test and %d days later", what, maxUntil/(24*time.Hour))
		return false
	}
	if at > t.until {
		t.until, t.last, t.lastPos = at, what, pos
	}
	return true
}

func (l *loader) until(t *test, spec *testSpec) {
	if u := spec.Until; u.set {
		switch {
		case u.Duration < t.until:
			l.addf(u.pos, "", "until is before %s of line %d, at %s", t.last, t.lastPos.Line, short(t.until))
		case l.mention(t, u.Duration, u.pos, "until"):
			t.until = u.Duration
		}
	}
	if steps := t.until / t.interval; steps > maxSteps {
		l.addf(spec.Pos, "make the interval of the test longer: time passes in steps of it", "the test runs for %d intervals of %s, more than %d", steps, short(t.interval), maxSteps)
	}
}

// only returns the one value that the rules' match has for a key, "" if they
// have none, and all of them if there are several.
func (l *loader) only(key string) (string, []string) {
	seen := map[string]bool{}
	for _, r := range l.rules {
		for _, v := range r.Match[key] {
			seen[v] = true
		}
	}
	if key == "measurement" { // recordings are not sent by devices
		for _, r := range l.rules {
			if r.Kind == rules.KindRecord {
				delete(seen, r.Name)
			}
		}
	}
	all := slices.Sorted(maps.Keys(seen))
	switch len(all) {
	case 0:
		return "", nil
	case 1:
		return all[0], nil
	}
	return "", all
}

// origin completes what an event says of where it comes from.
func (l *loader) origin(ev *event.Event, at strict.Pos, what string) {
	known := []string{}
	if l.sources != nil {
		known = l.sources.Sources()
	}
	if ev.Source == "" {
		one, several := l.only("source")
		switch {
		case several != nil:
			l.addf(at, fmt.Sprintf("add source: %s, or one of the others", several[0]), "the %s names no source, and the rules match several: %s", what, strings.Join(several, ", "))
			return
		case one != "":
			ev.Source = one
		case len(known) == 1:
			ev.Source = known[0]
		default:
			ev.Source = defaultSource
		}
	} else if len(known) > 0 && !slices.Contains(known, ev.Source) {
		hint := "known sources: " + strings.Join(known, ", ")
		if s := strict.Suggest(ev.Source, known); s != "" {
			hint = fmt.Sprintf("did you mean %q?", s)
		}
		l.addf(at, hint, "unknown source %q", ev.Source)
	}
	if ev.Measurement == "" {
		one, several := l.only("measurement")
		switch {
		case several != nil:
			l.addf(at, fmt.Sprintf("add measurement: %s, or one of the others", several[0]), "the %s names no measurement, and the rules match several: %s", what, strings.Join(several, ", "))
		case one != "":
			ev.Measurement = one
		default:
			ev.Measurement = ev.Source
		}
	}
}
