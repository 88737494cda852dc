package ruletest

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
)

// seen writes samples as the notation would without repetition.
func seen(samples []sample) string {
	var out []string
	for _, s := range samples {
		switch {
		case !s.there:
			out = append(out, "_")
		case s.value.Kind() == event.Null:
			out = append(out, "stale")
		case s.value.Kind() == event.String:
			out = append(out, fmt.Sprintf("%q", s.value.Text()))
		default:
			out = append(out, s.value.String())
		}
	}
	return strings.Join(out, " ")
}

// valueTable holds promtool's own examples and what weir adds.
var valueTable = []struct{ text, want string }{
	{"", ""},
	{"1", "1"},
	{"-2+4x3", "-2 2 6 10"},
	{" 1-2x4", "1 -1 -3 -5 -7"},
	{" 1x4", "1 1 1 1 1"},
	{" 1 _x3 stale", "1 _ _ _ stale"},
	{"10+10x2 30+20x5", "10 20 30 30 50 70 90 110 130"},
	{"1+0x6 0 0", "1 1 1 1 1 1 1 0 0"},
	{"-18x1 -10+1x2\n\t_", "-18 -18 -10 -9 -8 _"},
	{"1.5+0.25x2 1e3 1e3-1e2x1 .5 5.", "1.5 1.75 2 1000 1000 900 0.5 5"},
	{"0x2", "0 0 0"},
	{"1-1x0", "1"},
	{"_x0 1", "1"},
	{`"open" "a b"x1 'it''s'`, ""},
	{"\"open\" 'a b'x1 `c\\d` \"tab\\t\\u00e9\"", `"open" "a b" "a b" "c\\d" "tab\té"`},
	{"true falsex1 stalex1", "true false false stale stale"},
}

func TestTheNotationIsPromtools(t *testing.T) {
	for _, tt := range valueTable {
		got, err := parseValues(tt.text, 1000)
		if tt.want == "" && tt.text != "" {
			if err == nil {
				t.Errorf("%s: no error, got %s", tt.text, seen(got))
			}
			continue
		}
		if err != nil || seen(got) != tt.want {
			t.Errorf("%s gives %s, %v; want %s", tt.text, seen(got), err, tt.want)
		}
	}
}

var badValues = []struct {
	text, msg string
	offset    int
}{
	{"1 2 x", `"x" is no value`, 4},
	{"1+2", `"1+2" does not say how many steps to make`, 0},
	{"-1--1x2", `"-1--1x2" is no value`, 0},
	{"1+-1x2", `"1+-1x2" is no value`, 0},
	{"1+2x", `"1+2x" is no value`, 0},
	{"1 +x3", `"+x3" is no value`, 2},
	{"NaN", `"NaN" is no value`, 0},
	{"Inf", `"Inf" is no value`, 0},
	{"0 1e999", `"1e999" is beyond what a number can be`, 2},
	{"1e308+1e308x9", `"1e308+1e308x9" is beyond what a number can be`, 0},
	{"1x1000000000", "more than 1000000 samples in the file", 0},
	{"1 1x99999999999999999999", "more than 1000000 samples in the file", 2},
	{"_x1000", "more than 1000000 samples in the file", 0},
	{`1x500 "a"x600`, "more than 1000000 samples in the file", 6},
	{`"open`, `the text has no end: " is missing`, 0},
	{"`open", "the text has no end: ` is missing", 0},
	{`1 "o\pen"`, "this escape is not known", 4},
	{`"open"closed`, `unexpected "closed" behind the text`, 6},
	{"on", `"on" is no value`, 0},
}

func TestWhatIsNoValueIsRefusedWithItsPlace(t *testing.T) {
	for _, tt := range badValues {
		got, err := parseValues(tt.text, 1000)
		if err == nil || err.msg != tt.msg || err.offset != tt.offset {
			t.Errorf("%s gives %s, %+v; want %q at %d", tt.text, seen(got), err, tt.msg, tt.offset)
		}
	}
}

var seriesTable = []struct{ text, want string }{
	{"up", "up []"},
	{" up { } ", "up []"},
	{`temperature{device="f1", site="oslo",}`, "temperature [{device f1} {site oslo}]"},
	{`limits.max{device='a}b'}`, "limits.max [{device a}b}]"},
	{`{"DS18B20 1", device="a"}`, "DS18B20 1 [{device a}]"},
	{`{__name__="up", "my tag"="x"}`, "up [{my tag x}]"},
	{"job:up:sum{a=\"\\\"\\\\\"}", `job:up:sum [{a "\}]`},
	{"a-b{c=`d\\`}", `a-b [{c d\}]`},
}

func TestSeriesAreWrittenAsInPrometheus(t *testing.T) {
	for _, tt := range seriesTable {
		s, err := parseSeries(tt.text)
		if got := fmt.Sprint(s.field, " ", s.labels); err != nil || got != tt.want {
			t.Errorf("%s gives %s, %v; want %s", tt.text, got, err, tt.want)
		}
	}
	for _, tt := range []struct {
		text, msg string
		offset    int
	}{
		{"", "the series names no field", 0},
		{`{device="a"}`, "the series names no field", 0},
		{`up{device="a"`, "the { has no }", 2},
		{`up{device}`, `want = and a text in quotes behind "device"`, 9},
		{`up{device!="a"}`, `want = and a text in quotes behind "device"`, 9},
		{`up{device=a}`, `want a text in quotes as the value of "device"`, 10},
		{`up{a="b" c="d"}`, `want a comma or } here, got "c=\"d\"}"`, 9},
		{`up{a="b",a="c"}`, `the label "a" is there twice`, 9},
		{`up{="b"}`, "a label has no name", 3},
		{`up{a="b} `, `the text has no end: " is missing`, 5},
		{`up down`, `unexpected "down" in the series`, 3},
		{`up{} 5`, `unexpected "5" behind the series`, 5},
	} {
		_, err := parseSeries(tt.text)
		if err == nil || err.msg != tt.msg || err.offset != tt.offset {
			t.Errorf("%s gives %+v, want %q at %d", tt.text, err, tt.msg, tt.offset)
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, tt := range valueTable {
		f.Add(tt.text)
	}
	for _, tt := range badValues {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const limit = 2000
		got, err := parseValues(text, limit)
		if err != nil {
			if err.offset < 0 || err.offset > len(text) || err.msg == "" {
				t.Fatalf("%q: the error %+v has no place", text, err)
			}
			return
		}
		if len(got) > limit {
			t.Fatalf("%q gives %d samples, more than %d", text, len(got), limit)
		}
		again, err := parseValues(seen(got), limit) // written out it is the same
		if err != nil || seen(again) != seen(got) {
			t.Fatalf("%q gives %s, which gives %s, %v", text, seen(got), seen(again), err)
		}
	})
}

func FuzzSeries(f *testing.F) {
	for _, tt := range seriesTable {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSeries(text)
		if err != nil {
			if err.offset < 0 || err.offset > len(text) || err.msg == "" {
				t.Fatalf("%q: the error %+v has no place", text, err)
			}
			return
		}
		written := fmt.Sprintf("{%q", s.field)
		for _, l := range s.labels {
			written += fmt.Sprintf(", %q=%q", l.Key, l.Value)
		}
		again, err := parseSeries(written + "}")
		if err != nil || fmt.Sprint(again) != fmt.Sprint(s) {
			t.Fatalf("%q gives %q; written as %s} it gives %q, %v", text, s, written, again, err)
		}
	})
}
