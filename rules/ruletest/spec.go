package ruletest

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/event"
)

// fileSpec and the types below it are a test file as it is written.
type fileSpec struct {
	Keys               map[string]strict.Pos `yaml:"-"`
	RuleFiles          []strict.String       `yaml:"rule_files"`
	EvaluationInterval duration              `yaml:"evaluation_interval"`
	FuzzyCompare       bool                  `yaml:"fuzzy_compare"`
	Start              moment                `yaml:"start"`
	StartTimestamp     moment                `yaml:"start_timestamp"`
	Config             strict.String         `yaml:"config"`
	Sources            []configs.Source      `yaml:"sources"`
	Tests              []testSpec            `yaml:"tests"`

	GroupEvalOrder []strict.String `yaml:"group_eval_order"` // promtool's; here no order makes a difference
}

type testSpec struct {
	Pos            strict.Pos            `yaml:"-"`
	Keys           map[string]strict.Pos `yaml:"-"`
	Name           strict.String         `yaml:"name"`
	Interval       duration              `yaml:"interval"`
	Start          moment                `yaml:"start"`
	StartTimestamp moment                `yaml:"start_timestamp"`
	Until          duration              `yaml:"until"`
	Series         []seriesSpec          `yaml:"input_series"`
	Events         []eventSpec           `yaml:"input_events"`
	AlertTests     []alertTestSpec       `yaml:"alert_rule_test"`
	RecordTests    []recordTestSpec      `yaml:"record_rule_test"`
	Alerts         []incidentSpec        `yaml:"alerts"`
	Recordings     []recordingSpec       `yaml:"recordings"`

	// What promtool has and weir has not.
	Promql         yaml.Node `yaml:"promql_expr_test"`
	ExternalLabels yaml.Node `yaml:"external_labels"`
	ExternalURL    yaml.Node `yaml:"external_url"`
}

type seriesSpec struct {
	Pos    strict.Pos            `yaml:"-"`
	Keys   map[string]strict.Pos `yaml:"-"`
	Series strict.String         `yaml:"series"`
	Values strict.String         `yaml:"values"`
}

type eventSpec struct {
	Pos         strict.Pos               `yaml:"-"`
	Keys        map[string]strict.Pos    `yaml:"-"`
	At          duration                 `yaml:"at"`
	Time        instant                  `yaml:"time"`
	Source      strict.String            `yaml:"source"`
	Measurement strict.String            `yaml:"measurement"`
	Device      strict.String            `yaml:"device"`
	Tags        map[string]strict.String `yaml:"tags"`
	Fields      fields                   `yaml:"fields"`
	Topic       strict.String            `yaml:"topic"`
	Payload     strict.String            `yaml:"payload"`
}

type alertTestSpec struct {
	Pos      strict.Pos            `yaml:"-"`
	Keys     map[string]strict.Pos `yaml:"-"`
	EvalTime duration              `yaml:"eval_time"`
	Alert    strict.String         `yaml:"alertname"`
	Group    strict.String         `yaml:"groupname"`
	Expected []expAlertSpec        `yaml:"exp_alerts"`
}

type expAlertSpec struct {
	Pos         strict.Pos            `yaml:"-"`
	Keys        map[string]strict.Pos `yaml:"-"`
	Labels      map[string]string     `yaml:"exp_labels"`
	Annotations map[string]string     `yaml:"exp_annotations"`
}

type recordTestSpec struct {
	Pos      strict.Pos            `yaml:"-"`
	Keys     map[string]strict.Pos `yaml:"-"`
	EvalTime duration              `yaml:"eval_time"`
	Record   strict.String         `yaml:"record"`
	Group    strict.String         `yaml:"groupname"`
	Expected []sampleSpec          `yaml:"exp_samples"`
}

type sampleSpec struct {
	Pos       strict.Pos            `yaml:"-"`
	Keys      map[string]strict.Pos `yaml:"-"`
	Labels    strict.String         `yaml:"labels"`
	Value     scalar                `yaml:"value"`
	Tolerance float64               `yaml:"tolerance"`
}

type incidentSpec struct {
	Pos         strict.Pos            `yaml:"-"`
	Keys        map[string]strict.Pos `yaml:"-"`
	Rule        strict.String         `yaml:"rule"`
	Key         strict.String         `yaml:"key"`
	Device      strict.String         `yaml:"device"`
	By          map[string]string     `yaml:"by"`
	ActiveAt    instant               `yaml:"active_at"`
	StartsAt    instant               `yaml:"starts_at"`
	EndsAt      instant               `yaml:"ends_at"`
	Labels      map[string]string     `yaml:"labels"`
	Annotations map[string]string     `yaml:"annotations"`
	Value       scalar                `yaml:"value"`
	Tolerance   float64               `yaml:"tolerance"`
	Suppressed  strict.String         `yaml:"suppressed"`
}

type recordingSpec struct {
	Pos       strict.Pos            `yaml:"-"`
	Keys      map[string]strict.Pos `yaml:"-"`
	At        instant               `yaml:"at"`
	Record    strict.String         `yaml:"record"`
	Device    strict.String         `yaml:"device"`
	Tags      map[string]string     `yaml:"tags"`
	Value     scalar                `yaml:"value"`
	Tolerance float64               `yaml:"tolerance"`
}

// duration is a length of time and where it stands.
type duration struct {
	time.Duration
	pos strict.Pos
	set bool
}

// UnmarshalStrict decodes "10m".
func (v *duration) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	v.set, v.pos = d.Decode(n, &v.Duration), d.PosOf(n)
}

// moment is a point in time: RFC 3339, a date, or seconds since the Unix epoch.
type moment struct {
	ns  int64
	pos strict.Pos
	set bool
}

// Points in time that a test may use: what nanoseconds in 64 bits hold, with
// room for lengths of time on both sides.
const (
	earliest = 0
	latest   = int64(4_102_444_800e9) // the year 2100
)

// UnmarshalStrict decodes "2026-01-31T12:00:00Z", "2026-01-31" or 1769860800.
func (m *moment) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var text string
	if !d.Decode(n, &text) {
		return
	}
	m.pos, m.set = d.PosOf(n), true
	t, ok := parseMoment(text)
	if s, err := strconv.ParseFloat(text, 64); !ok && err == nil && s >= 0 && s < float64(latest/1e9) {
		t, ok = time.Unix(0, int64(math.Round(s*1e9))), true
	}
	if !ok || t.Before(time.Unix(0, earliest)) || t.After(time.Unix(0, latest)) {
		d.Errorf(n, "write 2026-01-31T12:00:00Z, 2026-01-31, or seconds since 1970, up to the year 2100", "want a point in time, got %q", text)
		return
	}
	m.ns = t.UnixNano()
}

func parseMoment(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// instant is a point in time that may be told from the start of the test.
type instant struct {
	ns       int64 // from the start, or since the Unix epoch if absolute
	absolute bool
	pos      strict.Pos
	set      bool
}

// UnmarshalStrict decodes "10m" or "2026-01-31T12:00:00Z".
func (i *instant) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var text string
	if !d.Decode(n, &text) {
		return
	}
	i.pos, i.set = d.PosOf(n), true
	if v, err := strict.ParseDuration(text); err == nil && v.Abs() <= maxUntil {
		i.ns = int64(v)
		return
	}
	t, ok := parseMoment(text)
	if !ok || t.Before(time.Unix(0, earliest)) || t.After(time.Unix(0, latest)) {
		d.Errorf(n, "write the time since the start of the test, e.g. 10m, or a point in time such as 2026-01-31T12:00:00Z", "want a time, got %q", text)
		return
	}
	i.ns, i.absolute = t.UnixNano(), true
}

// from returns the point in time in ns since the Unix epoch.
func (i instant) from(start int64) int64 {
	if i.absolute {
		return i.ns
	}
	return start + i.ns
}

// scalar is a number, a text, a boolean, or null.
type scalar struct {
	value event.Value
	set   bool
}

// UnmarshalStrict decodes a scalar.
func (s *scalar) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	s.value, s.set = valueOf(d, n)
}

func valueOf(d *strict.Decoder, n *yaml.Node) (event.Value, bool) {
	var v any
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, "", "want a number, a text, true or false")
		return event.Value{}, false
	}
	if n.ShortTag() == "!!timestamp" { // only YAML takes it for a time
		return event.StringValue(n.Value), true
	}
	if !d.Decode(n, &v) {
		return event.Value{}, false
	}
	const exact = 1 << 53 // as in JSON: what a float64 holds exactly is one
	switch v := v.(type) {
	case nil:
		return event.Value{}, true
	case bool:
		return event.BoolValue(v), true
	case string:
		return event.StringValue(v), true
	case int:
		if v > exact || v < -exact {
			return event.IntValue(int64(v)), true
		}
		return event.FloatValue(float64(v)), true
	case uint64:
		return event.UintValue(v), true
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return event.FloatValue(v), true
		}
	}
	d.Errorf(n, "", "%s can't be the value of a field", n.Value)
	return event.Value{}, false
}

// fields are the fields of an event, in the order of the file.
type fields []event.Field

// maxFields bounds the fields of an event.
const maxFields = 500

// UnmarshalStrict decodes a mapping. Mappings and lists in it get dotted names,
// as they do in JSON.
func (f *fields) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.Errorf(n, "write fields: {temperature: -3, door: open}", "want a mapping of names to values")
		return
	}
	f.add(d, "", n)
}

func (f *fields) add(d *strict.Decoder, name string, n *yaml.Node) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	below := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch n.Kind {
	case yaml.MappingNode:
		var nodes map[string]yaml.Node // with what "<<" brings
		d.Decode(n, &nodes)
		var own []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			own = append(own, n.Content[i].Value)
		}
		for _, key := range slices.Sorted(maps.Keys(nodes)) {
			if !slices.Contains(own, key) {
				own = append(own, key)
			}
		}
		for _, key := range own {
			if node, ok := nodes[key]; ok {
				f.add(d, below(key), &node)
			}
		}
	case yaml.SequenceNode:
		for i, c := range n.Content {
			f.add(d, below(strconv.Itoa(i)), c)
		}
	default:
		v, ok := valueOf(d, n)
		switch {
		case !ok:
		case strings.TrimSpace(name) == "":
			d.Errorf(n, "", "a field has no name")
		case slices.ContainsFunc(*f, func(o event.Field) bool { return o.Name == name }):
			d.Errorf(n, "", "the field %q is there twice", name)
		case len(*f) == maxFields:
			d.Errorf(n, "", "more than %d fields", maxFields)
		case len(*f) < maxFields:
			*f = append(*f, event.Field{Name: name, Value: v})
		}
	}
}
