package configs

import (
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

// Source says how the messages of some topics become events. What its keys
// mean in full is the decoder's; here they have their YAML forms.
type Source struct {
	Section     `yaml:",inline"`
	Name        strict.String            `yaml:"name"`
	Topic       strict.String            `yaml:"topic"`  // template: {capture}, {capture...}, + and #
	Format      strict.String            `yaml:"format"` // "" is json
	Device      DeviceRefs               `yaml:"device"`
	Time        Time                     `yaml:"time"`
	Precision   strict.String            `yaml:"precision"`   // of times in line protocol; "" is ns
	Measurement strict.String            `yaml:"measurement"` // "" is the name
	Tags        Texts                    `yaml:"tags"`
	Rename      map[string]strict.String `yaml:"rename"` // new names by old ones
	Field       strict.String            `yaml:"field"`  // name of a bare value, prefix of a document's fields
	Root        Texts                    `yaml:"root"`   // parts of a document that hold the fields
	Include     Texts                    `yaml:"include"`
	Exclude     Texts                    `yaml:"exclude"`
	When        map[string]Texts         `yaml:"when"`
	Ignore      Texts                    `yaml:"ignore"` // topic templates
	Numbers     Texts                    `yaml:"numbers"`
	Words       map[string]any           `yaml:"words"` // bool, float64 or string by word
	NoValue     map[string]Texts         `yaml:"no_value"`
}

// Time says where the time of an event is in its payload.
type Time struct {
	Section  `yaml:",inline"`
	Field    Texts         `yaml:"field"` // the first that is there
	Unit     strict.String `yaml:"unit"`  // auto, s, ms, us, ns, rfc3339 or a Go layout
	Zone     strict.String `yaml:"zone"`  // IANA name
	Earliest Moment        `yaml:"earliest"`
	MaxAhead time.Duration `yaml:"max_ahead"`
}

// At returns where a key stands. Dots lead into sections: "time.unit". Where
// the key is not in the file it is where its section is.
func (s *Source) At(key string) strict.Pos {
	section, rest, nested := strings.Cut(key, ".")
	if !nested {
		return s.Section.At(key)
	}
	switch {
	case section == "time" && s.Time.Pos != strict.Pos{}:
		return s.Time.At(rest)
	case section == "device" && rest == "format":
		for _, r := range s.Device {
			if at, ok := r.Keys["format"]; ok {
				return at
			}
		}
	}
	return s.Section.At(section)
}

// Texts is a list of texts; in a file also a single one.
type Texts []strict.String

// Values returns the texts without their positions.
func (t Texts) Values() []string {
	if t == nil {
		return nil
	}
	values := make([]string, len(t))
	for i, s := range t {
		values[i] = s.Value
	}
	return values
}

// UnmarshalStrict takes a text or a list of texts.
func (t *Texts) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		var one strict.String
		if d.Decode(n, &one) {
			*t = Texts{one}
		}
		return
	}
	var list []strict.String
	d.Decode(n, &list)
	*t = list
}

// DeviceRef is one way to find the device: a text with captures, or a field.
type DeviceRef struct {
	Section `yaml:",inline"`
	Text    strict.String `yaml:"text"`
	Field   strict.String `yaml:"field"`
	Format  strict.String `yaml:"format"` // of a numeric field, as in fmt: "%08x"
}

// DeviceRefs are the ways to find the device, best first. In a file it is a
// text, a mapping, or a list of these.
type DeviceRefs []DeviceRef

// UnmarshalStrict takes "{device}", {field: id}, or a list of these.
func (r *DeviceRefs) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = nil
		if !d.Decode(n, &items) {
			return
		}
	}
	*r = make(DeviceRefs, 0, len(items))
	for _, item := range items {
		for item.Kind == yaml.AliasNode {
			item = item.Alias
		}
		ref, ok := DeviceRef{}, false
		if item.Kind == yaml.ScalarNode {
			ok = d.Decode(item, &ref.Text)
			ref.Pos = d.PosOf(item)
		} else {
			ok = d.Decode(item, &ref)
		}
		if ok && (ref.Text.Value == "") == (ref.Field.Value == "") {
			d.Errorf(item, `write "{device}" or {field: id}`, "want either a text or a field")
		}
		*r = append(*r, ref)
	}
}

// Moment is a point in time. In a file it is a date (midnight UTC) or RFC 3339.
type Moment struct{ time.Time }

// UnmarshalStrict takes "2020-01-31" or "2020-01-31T12:00:00Z".
func (m *Moment) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var s string
	if !d.Decode(n, &s) {
		return
	}
	t, ok := parseMoment(s)
	if !ok {
		d.Errorf(n, `write a date such as 2020-01-31, or a time such as 2020-01-31T12:00:00Z`, "want a time")
		return
	}
	m.Time = t
}

func parseMoment(s string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
