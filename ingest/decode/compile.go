package decode

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"weir/ingest/event"
)

// Set is a compiled list of sources. It is immutable and safe for concurrent use.
type Set struct {
	sources []*source
}

// Sources returns the names of the sources, in their order.
func (s *Set) Sources() []string {
	names := make([]string, len(s.sources))
	for i, src := range s.sources {
		names[i] = src.name
	}
	return names
}

// source is a compiled Source.
type source struct {
	name    string
	index   int
	topic   *template
	ignore  []*template
	format  format
	lines   bool // line protocol: fields are found by tag and field name of a line
	measure text
	ownName bool // the source names the measurement, not the line

	device    []deviceRef
	deviceCap int // the capture {device}, or -1

	time  timeSpec
	when  []condition
	tags  []tagSpec // by key
	fixed int       // how many of tags are captures

	picks []string // fields of the payload that have a role; a pick is an index into this

	field   text
	roots   []string // longest first
	include []string
	exclude []string
	numbers []string
	noValue []noValue
	words   map[string]event.Value
	rename  map[string]string
}

type deviceRef struct {
	text   text
	pick   int // or -1 for a text
	format string
}

// condition says that a picked field has one of the texts.
type condition struct {
	pick  int
	texts []string
}

// tagSpec is a tag of a source: a capture or a picked field.
type tagSpec struct {
	key  string
	cap  int // or -1
	pick int // or -1
}

// noValue says which values of the fields that pattern stands for are none.
type noValue struct {
	pattern string
	texts   []string
}

// Compile checks and compiles sources. The error joins a *SourceError for
// each thing that is wrong.
func Compile(sources []Source) (*Set, error) {
	set := &Set{}
	var errs []error
	for i := range sources {
		c := compiler{in: &sources[i], index: i}
		c.out = &source{name: c.in.Name, index: i, deviceCap: -1}
		c.compile()
		for j := range i {
			if sources[j].Name == c.in.Name && c.in.Name != "" {
				c.fail("name", fmt.Errorf("sources[%d] has it too", j), "a source's name is its identity: give each its own")
			}
			if sources[j].Topic == c.in.Topic && c.in.Topic != "" && len(sources[j].Ignore) == 0 {
				c.fail("topic", fmt.Errorf("sources[%d] %q has the same, so this one never gets a message", j, sources[j].Name), "the first source that fits takes a message")
			}
		}
		errs = append(errs, c.errs...)
		set.sources = append(set.sources, c.out)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return set, nil
}

// compiler compiles one source.
type compiler struct {
	in    *Source
	out   *source
	index int
	errs  []error
}

func (c *compiler) fail(key string, err error, hint string) {
	c.errs = append(c.errs, &SourceError{Index: c.index, Name: c.in.Name, Key: key, Err: err, Hint: hint})
}

func (c *compiler) compile() {
	if c.in.Name == "" {
		c.fail("name", errors.New("is missing"), "rules and metrics refer to a source by its name")
	}
	t, err := parseTemplate(c.in.Topic)
	if err != nil {
		c.fail("topic", err, `e.g. "sensors/{device}/telemetry"`)
		return // the rest would complain of captures that are not there
	}
	c.out.topic = t
	c.out.deviceCap = slices.Index(t.names, "device")
	if f, err := formatOf(c.in.Format); err != nil {
		c.fail("format", err, fmt.Sprintf("one of %s, %s, %s, %s", JSON, Value, Auto, LineProtocol))
	} else {
		c.out.format = f
	}
	c.out.lines = c.in.Format == LineProtocol
	for _, s := range c.in.Ignore {
		t, err := parseTemplate(s)
		if err != nil {
			c.fail("ignore", fmt.Errorf("%q %w", s, err), `a topic template, e.g. "zigbee2mqtt/{any...}/set"`)
			continue
		}
		c.out.ignore = append(c.out.ignore, t)
	}
	name := c.in.Measurement
	c.out.ownName = name != ""
	if name == "" {
		name = c.in.Name
		if strings.ContainsAny(name, "{}") {
			c.fail("name", errors.New("has braces"), "or set measurement, which is the name by default")
			name = ""
		}
	}
	c.out.measure = c.text("measurement", name)
	c.out.field = c.text("field", c.in.Field)
	if c.out.lines {
		c.refuseForLines()
	}
	c.devices()
	c.times()
	c.conditions()
	c.tagSpecs()
	c.names()
	c.values()
}

func (c *compiler) text(key, s string) text {
	t, err := parseText(s, c.out.topic)
	if err != nil {
		c.fail(key, err, "")
	}
	return t
}

// refuseForLines refuses what has no meaning for line protocol, so that no
// setting is without effect.
func (c *compiler) refuseForLines() {
	for _, k := range []struct {
		key string
		set bool
	}{{"field", c.in.Field != ""}, {"root", len(c.in.Root) > 0}, {"time.field", len(c.in.Time.Fields) > 0}} {
		if k.set {
			c.fail(k.key, errors.New("has no meaning for line-protocol"), "a line says this itself; leave the key out")
		}
	}
}

// maxPicks bounds the fields with a role, so that a set of them is a uint64.
const maxPicks = 64

// pick returns the index of a field of the payload that has a role.
func (c *compiler) pick(path string) int {
	if i := slices.Index(c.out.picks, path); i >= 0 {
		return i
	}
	if len(c.out.picks) == maxPicks {
		c.fail("tags", fmt.Errorf("device, time, tags and when name more than %d fields", maxPicks), "")
		return 0
	}
	c.out.picks = append(c.out.picks, path)
	return len(c.out.picks) - 1
}

func (c *compiler) devices() {
	refs := c.in.Device
	if len(refs) == 0 {
		if c.out.lines {
			refs = append(refs, DeviceRef{Field: "device"})
		}
		if c.out.deviceCap >= 0 {
			refs = append(refs, DeviceRef{Text: "{device}"})
		}
	}
	for _, r := range refs {
		switch {
		case (r.Text == "") == (r.Field == ""):
			c.fail("device", errors.New("neither or both of a text and a field"), `e.g. "{device}" or {field: id}`)
		case r.Field != "":
			if err := checkVerb(r.Format); err != nil {
				c.fail("device.format", err, `one verb of s, d, x, X, e.g. "!%08x"`)
				continue
			}
			c.out.device = append(c.out.device, deviceRef{pick: c.pick(r.Field), format: r.Format})
		case r.Format != "":
			c.fail("device.format", errors.New("is for a field, not for a text"), "")
		default:
			c.out.device = append(c.out.device, deviceRef{text: c.text("device", r.Text), pick: -1})
		}
	}
	if len(c.in.Device) == 0 && c.out.deviceCap < 0 { // the whole topic
		c.out.device = append(c.out.device, deviceRef{pick: -1})
	}
}

func (c *compiler) conditions() {
	for _, path := range sortedKeys(c.in.When) {
		texts := c.in.When[path]
		if len(texts) == 0 {
			c.fail("when", fmt.Errorf("%q has no values", path), "list those that a message may have")
		}
		c.out.when = append(c.out.when, condition{c.pick(path), texts})
	}
}

func (c *compiler) tagSpecs() {
	for _, name := range c.in.Tags {
		t := tagSpec{key: name, cap: slices.Index(c.out.topic.names, name), pick: -1}
		if to, ok := c.in.Rename[name]; ok {
			t.key = to
		}
		switch {
		case name == "":
			c.fail("tags", errors.New("a name is empty"), "")
			continue
		case t.key == "device":
			c.fail("tags", errors.New(`"device" is a tag of every event already`), "leave it out, or rename it")
			continue
		case slices.ContainsFunc(c.out.tags, func(o tagSpec) bool { return o.key == t.key }):
			c.fail("tags", fmt.Errorf("%q stands there twice", t.key), "")
			continue
		}
		if t.cap < 0 {
			t.pick = c.pick(name)
		} else {
			c.out.fixed++
		}
		c.out.tags = append(c.out.tags, t)
	}
	slices.SortFunc(c.out.tags, func(a, b tagSpec) int { return strings.Compare(a.key, b.key) })
}

// names compiles what decides the names of fields.
func (c *compiler) names() {
	c.out.roots = append([]string(nil), c.in.Root...)
	if len(c.out.roots) == 0 {
		c.out.roots = []string{""}
	}
	slices.SortStableFunc(c.out.roots, func(a, b string) int { return len(b) - len(a) })
	c.out.include, c.out.exclude, c.out.numbers = c.in.Include, c.in.Exclude, c.in.Numbers
	for _, k := range []struct {
		key string
		all []string
	}{{"include", c.in.Include}, {"exclude", c.in.Exclude}, {"numbers", c.in.Numbers}} {
		if slices.Contains(k.all, "") {
			c.fail(k.key, errors.New("a pattern is empty"), `"*" stands for every field`)
		}
	}
	c.out.rename = c.in.Rename
	to := map[string]string{}
	for _, from := range sortedKeys(c.in.Rename) {
		n := c.in.Rename[from]
		if n == "" {
			c.fail("rename", fmt.Errorf("%q gets an empty name", from), "to leave a field out, use exclude")
		} else if other, ok := to[n]; ok {
			c.fail("rename", fmt.Errorf("%q and %q both become %q", other, from, n), "")
		}
		to[n] = from
	}
}

// values compiles what decides the values of fields.
func (c *compiler) values() {
	c.out.words = make(map[string]event.Value, len(c.in.Words))
	for _, w := range sortedKeys(c.in.Words) {
		switch v := c.in.Words[w].(type) {
		case bool:
			c.out.words[w] = event.BoolValue(v)
		case string:
			c.out.words[w] = event.StringValue(v)
		case float64:
			if math.IsNaN(v) || math.IsInf(v, 0) {
				c.fail("words", fmt.Errorf("%q: %v is no value", w, v), "for a word that means no reading, use no_value")
				continue
			}
			c.out.words[w] = event.FloatValue(v)
		case int:
			c.out.words[w] = event.FloatValue(float64(v))
		default:
			c.fail("words", fmt.Errorf("%q: %v is neither boolean, number nor text", w, v), "for a word that means no reading, use no_value")
		}
	}
	for _, p := range sortedKeys(c.in.NoValue) {
		if p == "" || len(c.in.NoValue[p]) == 0 {
			c.fail("no_value", fmt.Errorf("%q: the pattern or the list of values is empty", p), `e.g. {humidity: [127.5], "*": ["n/a"]}`)
		}
		c.out.noValue = append(c.out.noValue, noValue{p, c.in.NoValue[p]})
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// checkVerb checks a DeviceRef's Format.
func checkVerb(s string) error {
	if s == "" {
		return nil
	}
	at := strings.IndexByte(s, '%')
	if at < 0 || strings.Count(s, "%") != 1 {
		return fmt.Errorf("%q does not hold exactly one verb", s)
	}
	end := strings.IndexAny(s[at:], "sdxX")
	if end < 0 {
		return fmt.Errorf("%q: the verb is none of s, d, x, X", s)
	}
	if flags := s[at+1 : at+end]; flags != "" {
		if n, err := strconv.Atoi(flags); err != nil || n < 0 || n > 64 {
			return fmt.Errorf("%q: %q is no width from 0 to 64", s, flags)
		}
	}
	return nil
}
