package attributes

import (
	"math"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
	"weir/ingest/event"
)

// yamlTable is a YAML file as it is written.
type yamlTable struct {
	Devices yamlDevices `yaml:"devices"`
}

// yamlDevices takes the mapping of devices into a builder.
type yamlDevices struct {
	builder *builder
	d       *strict.Decoder
	errs    int
}

func parseYAML(file string, data []byte) (*builder, error) {
	t := yamlTable{yamlDevices{builder: newBuilder(file)}}
	if err := strict.Decode(file, data, &t); err != nil {
		return nil, err
	}
	return t.Devices.builder, nil
}

// UnmarshalStrict decodes the devices. Keys are there once: strict has seen to it.
func (y *yamlDevices) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	y.d = d
	if n.Kind != yaml.MappingNode {
		d.Errorf(n, "write devices: {f1: {site: oslo}, ...}", "devices must be a mapping of a device to its attributes")
		return
	}
	for i := 0; i+1 < len(n.Content) && y.errs < maxErrors; i += 2 {
		k, v := follow(n.Content[i]), follow(n.Content[i+1])
		if merges(k) {
			y.fail(k, "merge the attributes of a device instead", `"<<" is not possible here`)
			continue
		}
		if err := checkDevice(k.Value); err != nil {
			y.fail(n.Content[i], "", "%v", err)
			continue
		}
		device, _ := y.builder.device(k.Value)
		y.builder.lines = append(y.builder.lines, uint32(d.PosOf(n.Content[i]).Line))
		switch {
		case v.Kind == yaml.MappingNode:
			y.attributes(device, "", v)
		case !null(v):
			y.fail(n.Content[i+1], "e.g. {site: oslo}, or nothing", "the attributes of device %q must be a mapping", k.Value)
		}
		if err := y.builder.checkBounds(); err != nil {
			y.fail(k, "", "%v", err)
			return
		}
	}
}

func (y *yamlDevices) fail(n *yaml.Node, hint, format string, args ...any) {
	y.errs++
	y.d.Errorf(n, hint, format, args...)
}

// attributes takes a mapping of attributes, whose names begin with prefix.
func (y *yamlDevices) attributes(device uint32, prefix string, n *yaml.Node) {
	if !slices.ContainsFunc(n.Content, merges) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			y.attribute(device, prefix, follow(n.Content[i]).Value, n.Content[i], n.Content[i+1])
		}
		return
	}
	var merged map[string]*yaml.Node
	if !y.d.Decode(n, &merged) {
		y.errs++
		return
	}
	names := make([]string, 0, len(merged))
	for name := range merged {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		y.attribute(device, prefix, name, merged[name], merged[name])
	}
}

// attribute takes one attribute, or a mapping of more.
func (y *yamlDevices) attribute(device uint32, prefix, name string, at, n *yaml.Node) {
	if y.errs >= maxErrors {
		return
	}
	name = prefix + name
	n = follow(n)
	if err := checkName(name); err != nil {
		y.fail(at, "give it another name", "%v", err)
		return
	}
	if n.Kind == yaml.MappingNode {
		y.attributes(device, name+".", n)
		return
	}
	v, msg, hint := scalar(n)
	if msg != "" {
		y.fail(n, hint, "%s: %s", name, msg)
		return
	}
	if v.Kind() == event.Null {
		return
	}
	if !y.builder.set(device, y.builder.column(name), v) {
		y.fail(at, "remove one of the two", "the device has %s already, as one name or as a mapping", name)
	}
}

// scalar returns what a node says, Null if nothing, or what is wrong with it.
func scalar(n *yaml.Node) (v event.Value, msg, hint string) {
	switch {
	case n.Kind == yaml.SequenceNode:
		return v, "an attribute is one value, not a list", "give each value a name of its own"
	case n.Style&yaml.TaggedStyle != 0:
		return v, "tags are not possible here", "leave out the tag"
	}
	switch n.ShortTag() {
	case "!!null":
		return v, "", ""
	case "!!bool":
		return event.BoolValue(strings.EqualFold(n.Value, "true")), "", ""
	case "!!int", "!!float":
		return yamlNumber(n)
	}
	v, err := text(n.Value)
	if err != nil {
		return v, err.Error(), ""
	}
	return v, "", ""
}

// yamlNumber returns a number, which YAML writes in more ways than JSON.
func yamlNumber(n *yaml.Node) (v event.Value, msg, hint string) {
	const quote = "put quotes around it if it is text"
	digits := strings.TrimLeft(n.Value, "+-")
	if len(digits) > 1 && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9' {
		return v, "a number can't begin with 0", quote
	}
	var x any
	if err := n.Decode(&x); err != nil {
		return v, "this is no number", quote
	}
	switch x := x.(type) {
	case int:
		return whole(int64(x)), "", ""
	case int64:
		return whole(x), "", ""
	case uint64:
		return event.UintValue(x), "", ""
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return v, "the number is not finite", quote
		}
		return number(x), "", ""
	}
	return v, "this is no number", quote
}

// follow follows aliases. strict has seen to it that they end.
func follow(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func merges(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && k.ShortTag() == "!!merge"
}
