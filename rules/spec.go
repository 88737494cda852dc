package rules

import (
	"cmp"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

// fileSpec and the types below it are a rule file as it is written.
type fileSpec struct {
	Attributes tableNames  `yaml:"attributes"`
	Groups     []groupSpec `yaml:"groups"`
}

type groupSpec struct {
	Pos    strict.Pos            `yaml:"-"`
	Keys   map[string]strict.Pos `yaml:"-"`
	Name   strict.String         `yaml:"name"`
	Match  matchSpec             `yaml:"match"`
	Labels textMap               `yaml:"labels"`
	Rules  []ruleSpec            `yaml:"rules"`

	AllowedLateness duration      `yaml:"allowed_lateness"`
	Backfill        strict.String `yaml:"backfill"`

	Repeat   duration      `yaml:"repeat"`
	Flapping *flappingSpec `yaml:"flapping"`
	Limit    int           `yaml:"limit"`

	Mode strict.String `yaml:"mode"`

	MaxKeys  int         `yaml:"max_keys"`
	MaxState strict.Size `yaml:"max_state"`

	Interval strict.Refused `yaml:"interval"`
}

type ruleSpec struct {
	Pos         strict.Pos            `yaml:"-"`
	Keys        map[string]strict.Pos `yaml:"-"`
	Alert       strict.String         `yaml:"alert"`
	Record      strict.String         `yaml:"record"`
	Expr        strict.String         `yaml:"expr"`
	Match       matchSpec             `yaml:"match"`
	By          []strict.String       `yaml:"by"`
	For         duration              `yaml:"for"`
	Clear       strict.String         `yaml:"clear"`
	KeepFiring  duration              `yaml:"keep_firing_for"`
	Labels      textMap               `yaml:"labels"`
	Annotations textMap               `yaml:"annotations"`
	Actions     []actionSpec          `yaml:"actions"`

	Window          *windowSpec   `yaml:"window"`
	AllowedLateness duration      `yaml:"allowed_lateness"`
	Backfill        strict.String `yaml:"backfill"`

	Repeat   duration       `yaml:"repeat"`
	Escalate []escalateSpec `yaml:"escalate"`
	Inhibit  []inhibitSpec  `yaml:"inhibit"`
	Flapping *flappingSpec  `yaml:"flapping"`

	Mode    strict.String `yaml:"mode"`
	Shadows strict.String `yaml:"shadows"`

	MaxKeys  int         `yaml:"max_keys"`
	MaxState strict.Size `yaml:"max_state"`
}

type actionSpec struct {
	Pos     strict.Pos            `yaml:"-"`
	Keys    map[string]strict.Pos `yaml:"-"`
	MQTT    *mqttSpec             `yaml:"mqtt"`
	Send    strict.String         `yaml:"send"`
	Command strict.Refused        `yaml:"command"`
	On      []strict.String       `yaml:"on"`
}

type mqttSpec struct {
	Pos     strict.Pos            `yaml:"-"`
	Keys    map[string]strict.Pos `yaml:"-"`
	Topic   strict.String         `yaml:"topic"`
	Payload strict.String         `yaml:"payload"`
	QoS     int                   `yaml:"qos"`
	Retain  bool                  `yaml:"retain"`
	On      []strict.String       `yaml:"on"`
}

// duration is a length of time and where it stands.
type duration struct {
	time.Duration
	pos strict.Pos
}

// UnmarshalStrict decodes "10m".
func (v *duration) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	d.Decode(n, &v.Duration)
	v.pos = d.PosOf(n)
}

// textMap is a mapping of names to texts, in the order of the names.
type textMap []textEntry

type textEntry struct {
	key  string
	pos  strict.Pos // of the key
	text strict.String
}

// UnmarshalStrict decodes a mapping.
func (m *textMap) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var texts map[string]strict.String
	if !d.Decode(n, &texts) {
		return
	}
	at := keyPositions(d, n)
	for key, text := range texts {
		pos, ok := at[key]
		if !ok { // merged from elsewhere
			pos = text.Pos
		}
		*m = append(*m, textEntry{key, pos, text})
	}
	slices.SortFunc(*m, func(a, b textEntry) int { return cmp.Compare(a.key, b.key) })
}

// matchSpec is the static conditions of a rule, in the order of their keys.
type matchSpec []matchEntry

type matchEntry struct {
	key    string
	pos    strict.Pos // of the key
	values []strict.String
}

// UnmarshalStrict decodes a mapping of keys to a value or a list of values.
func (m *matchSpec) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var nodes map[string]yaml.Node
	if !d.Decode(n, &nodes) {
		return
	}
	at := keyPositions(d, n)
	for key, node := range nodes {
		e := matchEntry{key: key, pos: d.PosOf(&node)}
		if pos, ok := at[key]; ok {
			e.pos = pos
		}
		switch {
		case node.Kind == yaml.SequenceNode:
			d.Decode(&node, &e.values)
			if len(node.Content) == 0 {
				d.Errorf(&node, "write at least one value, or remove the key", "match.%s can match nothing", key)
			}
		case node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null":
			d.Errorf(&node, "write a value, or a list of values", "match.%s is empty", key)
		default:
			var s strict.String
			if d.Decode(&node, &s) {
				e.values = []strict.String{s}
			}
		}
		*m = append(*m, e)
	}
	slices.SortFunc(*m, func(a, b matchEntry) int { return cmp.Compare(a.key, b.key) })
}

func keyPositions(d *strict.Decoder, n *yaml.Node) map[string]strict.Pos {
	at := map[string]strict.Pos{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		at[n.Content[i].Value] = d.PosOf(n.Content[i])
	}
	return at
}
