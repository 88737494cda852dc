package decode

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestCompileSaysWhichKeyIsWrongAndWhy(t *testing.T) {
	plain := func(change func(*Source)) []Source {
		s := Source{Name: "plant", Topic: "sensors/{site}/{device}/telemetry"}
		change(&s)
		return []Source{s}
	}
	for _, tt := range []struct {
		name    string
		sources []Source
		index   int
		key     string
		want    string
	}{
		{"a source without a name", plain(func(s *Source) { s.Name = "" }), 0, "name", "is missing"},
		{"two sources with one name", []Source{{Name: "a", Topic: "x"}, {Name: "a", Topic: "y"}}, 1, "name", "sources[0] has it too"},
		{"two sources with one topic", []Source{{Name: "a", Topic: "x"}, {Name: "b", Topic: "x"}}, 1, "topic", "never gets a message"},
		{"no topic", plain(func(s *Source) { s.Topic = "" }), 0, "topic", "is empty"},
		{"a topic that is no template", plain(func(s *Source) { s.Topic = "a/#/b" }), 0, "topic", "last level"},
		{"an unknown format", plain(func(s *Source) { s.Format = "jsn" }), 0, "format", `unknown format "jsn"`},
		{"an ignore filter that is no template", plain(func(s *Source) { s.Ignore = []string{"a/b+"} }), 0, "ignore", `"a/b+" `},
		{"a measurement with an unknown capture", plain(func(s *Source) { s.Measurement = "{kind}" }), 0, "measurement", "it captures {site}, {device}"},
		{"a field with braces that don't pair", plain(func(s *Source) { s.Field = "{site" }), 0, "field", "don't pair up"},
		{"a device with an unknown capture", plain(func(s *Source) { s.Device = []DeviceRef{{Text: "{id}"}} }), 0, "device", "captures no {id}"},
		{"a device that is both text and field", plain(func(s *Source) { s.Device = []DeviceRef{{Text: "x", Field: "y"}} }), 0, "device", "neither or both"},
		{"a device that is nothing", plain(func(s *Source) { s.Device = []DeviceRef{{}} }), 0, "device", "neither or both"},
		{"a device format without a verb", plain(func(s *Source) { s.Device = []DeviceRef{{Field: "id", Format: "x"}} }), 0, "device.format", "exactly one verb"},
		{"a device format with a verb that is none of ours", plain(func(s *Source) { s.Device = []DeviceRef{{Field: "id", Format: "%v"}} }), 0, "device.format", "none of s, d, x, X"},
		{"a device format with a huge width", plain(func(s *Source) { s.Device = []DeviceRef{{Field: "id", Format: "%0999999d"}} }), 0, "device.format", "no width"},
		{"a device format for a text", plain(func(s *Source) { s.Device = []DeviceRef{{Text: "{device}", Format: "%s"}} }), 0, "device.format", "for a field"},
		{"an unknown time unit", plain(func(s *Source) { s.Time = TimeSpec{Fields: []string{"ts"}, Unit: "minutes"} }), 0, "time.unit", `unknown unit "minutes"`},
		{"a layout without a date", plain(func(s *Source) { s.Time = TimeSpec{Fields: []string{"ts"}, Unit: "15:04:05"} }), 0, "time.unit", "unknown unit"},
		{"an unknown zone", plain(func(s *Source) { s.Time = TimeSpec{Fields: []string{"ts"}, Zone: "Europe/Atlantis"} }), 0, "time.zone", "Europe/Atlantis"},
		{"a unit without a field", plain(func(s *Source) { s.Time.Unit = "ms" }), 0, "time.field", "is missing"},
		{"an empty time field", plain(func(s *Source) { s.Time.Fields = []string{""} }), 0, "time.field", "is empty"},
		{"a negative max_ahead", plain(func(s *Source) { s.Time.MaxAhead = -1 }), 0, "time.max_ahead", "is negative"},
		{"an earliest time that ns cannot say", plain(func(s *Source) { s.Time.Earliest = time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC) }), 0, "time.earliest", "out of range"},
		{"device as a tag", plain(func(s *Source) { s.Tags = []string{"device"} }), 0, "tags", "already"},
		{"a tag twice", plain(func(s *Source) { s.Tags = []string{"site", "site"} }), 0, "tags", "twice"},
		{"two tags renamed to one", plain(func(s *Source) { s.Tags, s.Rename = []string{"site", "room"}, map[string]string{"site": "room"} }), 0, "tags", "twice"},
		{"an empty tag", plain(func(s *Source) { s.Tags = []string{""} }), 0, "tags", "empty"},
		{"too many fields with a role", plain(func(s *Source) {
			for i := range 70 {
				s.Tags = append(s.Tags, "t"+itoa(i))
			}
		}), 0, "tags", "more than 64 fields"},
		{"a rename to nothing", plain(func(s *Source) { s.Rename = map[string]string{"a": ""} }), 0, "rename", "empty name"},
		{"two fields renamed to one", plain(func(s *Source) { s.Rename = map[string]string{"a": "x", "b": "x"} }), 0, "rename", `"a" and "b" both become "x"`},
		{"an empty pattern", plain(func(s *Source) { s.Exclude = []string{""} }), 0, "exclude", "pattern is empty"},
		{"a condition without values", plain(func(s *Source) { s.When = map[string][]string{"type": nil} }), 0, "when", "no values"},
		{"a word for nothing", plain(func(s *Source) { s.Words = map[string]any{"x": nil} }), 0, "words", "neither boolean"},
		{"a word for NaN", plain(func(s *Source) { s.Words = map[string]any{"x": math.NaN()} }), 0, "words", "is no value"},
		{"no values for a sentinel", plain(func(s *Source) { s.NoValue = map[string][]string{"x": nil} }), 0, "no_value", "empty"},
		{"a root for line protocol", plain(func(s *Source) { s.Format, s.Root = LineProtocol, []string{"a"} }), 0, "root", "no meaning"},
		{"a time field for line protocol", plain(func(s *Source) { s.Format, s.Time.Fields = LineProtocol, []string{"a"} }), 0, "time.field", "no meaning"},
		{"auto time for line protocol", plain(func(s *Source) { s.Format, s.Time.Unit = LineProtocol, UnitAuto }), 0, "time.unit", "no meaning"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			set, err := Compile(tt.sources)
			if err == nil {
				t.Fatalf("compiles, want an error with %q", tt.want)
			}
			if set != nil {
				t.Error("a set comes with the error")
			}
			var se *SourceError
			if !errors.As(err, &se) || se.Index != tt.index || se.Key != tt.key || !strings.Contains(se.Error(), tt.want) {
				t.Errorf("error %+v, want index %d, key %q, text %q", se, tt.index, tt.key, tt.want)
			}
		})
	}
}

func TestCompileReportsEveryProblemAtOnce(t *testing.T) {
	_, err := Compile([]Source{
		{Name: "a", Topic: "x", Format: "nope", Measurement: "{y}"},
		{Name: "b", Topic: "{z", Tags: []string{"device"}},
		{Name: "", Topic: "y"},
	})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("error %v is not a join", err)
	}
	var got []string
	for _, e := range joined.Unwrap() {
		se := e.(*SourceError)
		got = append(got, itoa(se.Index)+" "+se.Key)
	}
	if want := "0 format, 0 measurement, 1 topic, 2 name"; strings.Join(got, ", ") != want {
		t.Errorf("problems %v, want %s", got, want)
	}
}

func TestPatternsStandForNamesAndWhatIsBelow(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "a.b", true}, {"a", "ab", false}, {"a.b", "a", false}, {"a.b", "a.b.c", true},
		{"*", "anything.at.all", true}, {"temp*", "temperature", true}, {"temp*", "x.temp", false}, {"*.value", "a.b.value", true},
		{"*.value", "value", false}, {"a*c*e", "abcde", true}, {"a*c*e", "ace", true}, {"a*c*e", "aec", false}, {"a*a", "a", false},
		{"meters.*.timestamp", "meters.0.timestamp", true}, {"*x", "a.bx.c", true},
	} {
		if got := matchPattern(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchPattern(%q, %q) = %v, want %v", tt.pattern, tt.name, got, tt.want)
		}
	}
}
