package strict_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

type rule struct {
	Pos   strict.Pos            `yaml:"-"`
	Keys  map[string]strict.Pos `yaml:"-"`
	Alert strict.String         `yaml:"alert"`
	Expr  strict.String         `yaml:"expr"`
	For   time.Duration         `yaml:"for"`
}

type base struct {
	Name  string `yaml:"name"`
	Level uint8  `yaml:"level"`
}

type doc struct {
	Common base              `yaml:",inline"`
	Listen strict.String     `yaml:"listen"`
	On     bool              `yaml:"on"`
	Count  int               `yaml:"count"`
	Ratio  float64           `yaml:"ratio"`
	Wait   time.Duration     `yaml:"wait"`
	Ring   strict.Size       `yaml:"ring"`
	Tags   []string          `yaml:"tags"`
	Rename map[string]string `yaml:"rename"`
	Rules  []rule            `yaml:"rules"`
	Max    *int              `yaml:"max"`
	Free   any               `yaml:"free"`
	Raw    yaml.Node         `yaml:"raw"`
	Device idOrName          `yaml:"device"`
}

// idOrName decodes "name" or {field: name}.
type idOrName struct{ Name, Field string }

func (i *idOrName) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	switch n.Kind {
	case yaml.ScalarNode:
		i.Name = n.Value
	case yaml.MappingNode:
		var m struct {
			Field string `yaml:"field"`
		}
		if d.Decode(n, &m) {
			i.Field = m.Field
		}
	default:
		d.Errorf(n, "write a name", "want a name or {field: name}")
	}
}

func TestDecodeFillsEveryKindOfField(t *testing.T) {
	src := `
name: a # inline struct
level: 7
listen: ":1883"
on: yes
count: 1_000
ratio: 3
wait: 1d12h
ring: 64KiB
tags: [x, 2, true]
rename: {a: b}
max: 5
free: {a: [1, 2.5, x]}
raw: {b: c}
device: {field: id}
`
	var d doc
	if err := strict.Decode("f.yaml", []byte(src), &d); err != nil {
		t.Fatal(err)
	}
	checks := []struct{ got, want any }{
		{d.Common, base{"a", 7}}, {d.Listen.Value, ":1883"}, {d.Listen.Pos, strict.Pos{Line: 4, Col: 10}},
		{d.On, true}, {d.Count, 1000}, {d.Ratio, 3.0}, {d.Wait, 36 * time.Hour}, {d.Ring, 64 * strict.KiB},
		{d.Tags, []string{"x", "2", "true"}}, {d.Rename, map[string]string{"a": "b"}}, {*d.Max, 5},
		{d.Free, any(map[string]any{"a": []any{1, 2.5, "x"}})}, {d.Raw.Content[1].Value, "c"}, {d.Device, idOrName{Field: "id"}},
	}
	for i, c := range checks {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("check %d: got %#v, want %#v", i, c.got, c.want)
		}
	}
}

func TestWhatTheDocumentDoesNotSayKeepsItsValue(t *testing.T) {
	d := doc{Count: 3, Tags: []string{"x"}, Wait: time.Second}
	if err := strict.Decode("f.yaml", []byte("count:\nwait: # nothing\ntags:\n"), &d); err != nil {
		t.Fatal(err)
	}
	if d.Count != 3 || len(d.Tags) != 1 || d.Wait != time.Second {
		t.Errorf("defaults were lost: %+v", d)
	}
	for _, empty := range []string{"", "# only a comment\n", "---\n", "\ufeff"} {
		if err := strict.Decode("f.yaml", []byte(empty), &d); err != nil {
			t.Errorf("decode %q: %v", empty, err)
		}
	}
}

func TestPositionsOfMappingsAndKeys(t *testing.T) {
	src := "rules:\n  - alert: A\n    expr: >\n      a >\n      b\n  - {alert: B, expr: \"x\"}\n"
	var d doc
	if err := strict.Decode("f.yaml", []byte(src), &d); err != nil {
		t.Fatal(err)
	}
	a, b := d.Rules[0], d.Rules[1]
	if want := (strict.Pos{Line: 2, Col: 5}); a.Pos != want {
		t.Errorf("first rule is at %v, want %v", a.Pos, want)
	}
	if want := (strict.Pos{Line: 3, Col: 5}); a.Keys["expr"] != want {
		t.Errorf("its expr key is at %v, want %v", a.Keys["expr"], want)
	}
	if _, ok := a.Keys["for"]; ok {
		t.Error("Keys holds a key that the document does not have")
	}
	if want := (strict.Pos{Line: 6, Col: 5}); b.Pos != want {
		t.Errorf("second rule is at %v, want %v", b.Pos, want)
	}
}

// TestAtFindsEveryLetter marks letters with a value and asks where they are.
func TestAtFindsEveryLetter(t *testing.T) {
	tests := map[string]string{
		"plain":                       "expr: temp > 30 && hum\n",
		"plain with an anchor":        "expr: &x temp > 30\n",
		"plain with a tag":            "expr: !!str temp > 30\n",
		"plain over lines":            "expr: temp >\n  30 &&\n\n  hum\n",
		"double quoted":               `expr: "temp > \"x\" && \u00e9\x41 z"` + "\n",
		"double quoted over lines":    "expr: \"temp \\\n  > 30\n\n  && hum\"\n",
		"single quoted":               "expr: 'it''s > ''x'' end'\n",
		"single quoted over lines":    "expr: 'a b\n  c\n\n  d'\n",
		"literal block":               "expr: |\n  temp >\n    30\n  && hum\n",
		"literal after a blank line":  "expr: |-\n\n   temp\n   b\n",
		"literal with an indicator":   "expr: |2\n    temp\n  b\n",
		"folded block":                "expr: >-\n  temp\n  > 30\n\n  && hum\n",
		"folded, more indented":       "expr: >\n  temp\n    x\n    y\n  hum\n",
		"characters of several bytes": "expr: Außen > 3 && ö == ü\n",
		"windows line ends":           "expr: |\r\n  temp >\r\n  30\r\n",
	}
	for name, body := range tests {
		src := "alert: A\n" + body
		var r rule
		if err := strict.Decode("f.yaml", []byte(src), &r); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		lines := strings.Split(strings.ReplaceAll(src, "\r\n", "\n"), "\n")
		for i, c := range r.Expr.Value {
			if c == ' ' || c == '\n' {
				continue
			}
			at := r.Expr.At(i)
			line := []rune(lines[at.Line-1])
			if at.Col > len(line) {
				t.Errorf("%s: %q at offset %d: %v is outside of line %q", name, c, i, at, string(line))
				continue
			}
			got := line[at.Col-1]
			escaped := got == '\\' && strings.HasPrefix(name, "double") // the escape that stands for the letter
			if got != c && !escaped {
				t.Errorf("%s: %q at offset %d: %v is %q", name, c, i, at, got)
			}
		}
	}
}

func TestAtOfATextWithoutAFile(t *testing.T) {
	s := strict.String{Value: "ab", Pos: strict.Pos{Line: 2, Col: 3}}
	if got, want := s.At(1), (strict.Pos{Line: 2, Col: 4}); got != want {
		t.Errorf("At(1) = %v, want %v", got, want)
	}
	if got := (strict.String{Value: "ab"}).At(1); got != (strict.Pos{}) {
		t.Errorf("At(1) of a text without position = %v, want none", got)
	}
}

var badTable = []struct {
	name, src string
	want      string // joined errors
	hint      string // of the first
}{
	{"an unknown key near a known one", "lisen: x\n", `f.yaml:1:1: unknown key "lisen"`, `did you mean "listen"?`},
	{"an unknown key near nothing", "rules:\n - {alert: A, zzzzzz: 1}\n", `f.yaml:2:15: unknown key "zzzzzz"`, "known keys: alert, expr, for"},
	{"several problems at once", "count: x\nwait: 10\non: 3\n",
		"f.yaml:1:8: want a whole number, got \"x\"\nf.yaml:2:7: want a duration, got 10\nf.yaml:3:5: want true or false, got 3", "write a number"},
	{"a duplicate key", "a: &x {b: 1, b: 2}\n", `f.yaml:1:14: duplicate key "b", first on line 1`, "remove one of the two"},
	{"a number out of range", "level: 256\n", `f.yaml:1:8: want a whole number, got 256`, "write a whole number from 0 to 255"},
	{"a fraction for a whole number", "count: 1.5\n", `f.yaml:1:8: want a whole number, got 1.5`, "write a whole number from -9223372036854775808 to 9223372036854775807"},
	{"a quoted number", "count: \"5\"\n", `f.yaml:1:8: want a whole number, got "5"`, "write it without quotes"},
	{"a text for a list", "tags: site\n", `f.yaml:1:7: want a list, got "site"`, "write [site]"},
	{"an empty list item", "tags: [a, ~]\n", `f.yaml:1:11: this list item is empty`, ""},
	{"a list for a text", "listen: [a]\n", `f.yaml:1:9: want text, got a list`, ""},
	{"a template without quotes", "rules: [{expr: {x: y}}]\n", `f.yaml:1:16: want text, got a mapping`, `put quotes around text that begins with "{"`},
	{"a list for a struct", "rules: [[1]]\n", `f.yaml:1:9: want a mapping (key: value), got a list`, "known keys: alert, expr, for"},
	{"a list for the document", "- a\n", `f.yaml:1:1: want a mapping (key: value), got a list`, ""},
	{"a size with an odd unit", "ring: 64K\n", `f.yaml:1:7: want a size, got "64K"`, `write a number of bytes with a unit: B, KiB, MiB, GiB, TiB, or kB, MB, GB, TB, e.g. "64KiB"`},
	{"two documents", "count: 1\n---\ncount: 2\n", `f.yaml:2:1: a second YAML document begins here; a file holds one`, "remove the line ---, or split the file"},
	{"a mapping as a key", "{a: 1}: b\n", `f.yaml:1:1: a key must be text, got a mapping`, ""},
	{"tabs", "rules:\n\t- alert: x\n", "f.yaml:2:2: not valid YAML: found character that cannot start any token", "indent with spaces, YAML does not allow tabs"},
	{"a colon in plain text", "a: b\nlisten: a: b\n", "f.yaml:2:1: not valid YAML: mapping values are not allowed in this context", `put quotes around text that holds ": ", and check the indentation`},
	{"a key between two indentations", "rules:\n  - alert: x\n   expr: y\n", "f.yaml:3:4: not valid YAML: did not find expected '-' indicator", "check the indentation of this line, and the - of lists: it does not go with the lines above"},
	{"a key that is indented less than its neighbours", "rules:\n    - alert: x\n      expr: y\n  level: 1\ncount: 1\n", "f.yaml:4:3: not valid YAML: did not find expected key", "check the indentation of this line, and the - of lists: it does not go with the lines above"},
	{"a bracket that is not closed", "count: 1\nrules:\n  - {alert: x\n", "f.yaml:3:5: not valid YAML: did not find expected ',' or '}'", "check indentation, brackets and quotes here and in the lines above"},
	{"the outer of two brackets that is not closed", "count: 1\nrules: [{alert: 'a]', expr: x}\n\n", "f.yaml:2:8: not valid YAML: did not find expected ',' or ']'", "check indentation, brackets and quotes here and in the lines above"},
	{"a quote that is not closed", "count: 1\nrules:\n  - alert: \"it's\"\n    expr: 'x\n", "f.yaml:4:11: not valid YAML: found unexpected end of stream", "end the text with the quote that it begins with"},
	{"a tab before spaces", "rules:\n  - alert: x\n\t expr: y\n", "f.yaml:3:1: not valid YAML: found a tab character that violates indentation", "indent with spaces, YAML does not allow tabs"},
	{"a text behind quotes", "count: 1\nlisten: \"a\" == b\n", "f.yaml:2:13: not valid YAML: did not find expected key", "put quotes around the whole text: it begins with a quote or a bracket, and goes on behind that"},
	{"a text that begins with a sign of YAML", "count: 1\nlisten: > 5\n", "f.yaml:2:1: not valid YAML: did not find expected comment or line break", "put quotes around text that begins with >, |, !, & or *"},
	{"a negation that is a tag", "listen: !open\nname: a\n", "f.yaml:1:9: !open is a YAML tag, which means nothing here", `put quotes around text that begins with "!", or write not`},
	{"a negation that would be lost", "rules:\n  - expr: &a ! open\n", "f.yaml:2:14: ! is a YAML tag, which means nothing here", `put quotes around text that begins with "!", or write not`},
	{"a tag on a mapping", "rename: !map {a: b}\n", "f.yaml:1:9: !map is a YAML tag, which means nothing here", ""},
	{"an expression with ?? in brackets", "rules:\n  - {alert: x, expr: a > (b ?? 5)}\n", "f.yaml:2:3: not valid YAML: did not find expected ',' or '}'", "inside { } and [ ] put quotes around text that holds a comma, a quote or ?, as expressions do, e.g. expr: 'x > (limit ?? 5)'; and check the brackets"},
	{"an expression with a comma in brackets", "rules:\n  - {alert: x, expr: avg_over_time(a, \"5m\") > 5}\n", "f.yaml:2:3: not valid YAML: did not find expected ',' or '}'", "inside { } and [ ] put quotes around text that holds a comma, a quote or ?, as expressions do, e.g. expr: 'x > (limit ?? 5)'; and check the brackets"},
	{"an expression that a comma ends", "rules:\n  - {alert: x, expr: sum_over_time(a, 5m) > 5}\n", `f.yaml:2:39: unknown key "5m) > 5"`, `inside { } a comma ends text: put quotes around the whole, as in expr: 'sum_over_time(x, "5m") > 3'`},
	{"a duration that is too long", "rules: [{for: 100000000h}]\n", `f.yaml:1:15: the duration "100000000h" is longer than 292 years`, `write a shorter one, e.g. "10m" or "7d"`},
	{"an unknown anchor", "count: 1\nlisten: *nope\n", "f.yaml:2:9: not valid YAML: unknown anchor 'nope' referenced", "put quotes around text that begins with *"},
	{"not UTF-8", "count: 1\nlisten: a\xff\n", "f.yaml:2:10: byte 0xff is not UTF-8", "save the file as UTF-8"},
	{"UTF-16", "\xff\xfea\x00", "f.yaml:1:1: the file is in UTF-16", ""},
	{"a control character", "listen: a\x00b\n", "f.yaml:1:10: control character U+0000 is not allowed", ""},
	{"an anchor in itself", "free: &a [*a]\n", `f.yaml:1:11: anchor "a" contains itself`, ""},
	{"a tag that does not fit", "name: !!int x\n", `f.yaml:1:7: cannot be decoded as !!int`, "leave out the tag"},
	{"a merge of a text", "<<: x\n", `f.yaml:1:5: "<<" takes a mapping or a list of mappings, got "x"`, ""},
	{"a type that decodes itself", "device: [a]\n", "f.yaml:1:9: want a name or {field: name}", "write a name"},
	{"a key unknown to a type that decodes itself", "device: {fild: a}\n", `f.yaml:1:10: unknown key "fild"`, `did you mean "field"?`},
}

func TestBadDocumentsAreReportedWithPlaceAndRemedy(t *testing.T) {
	for _, tt := range badTable {
		t.Run(tt.name, func(t *testing.T) {
			var d doc
			err := strict.Decode("f.yaml", []byte(tt.src), &d)
			var list strict.Errors
			if !errors.As(err, &list) {
				t.Fatalf("decode: %v, want Errors", err)
			}
			if list[0].Error() != strings.Split(tt.want, "\n")[0] || err.Error() != tt.want {
				t.Errorf("got:\n%v\nwant:\n%s", err, tt.want)
			}
			if tt.hint != "" && list[0].Hint != tt.hint {
				t.Errorf("hint %q, want %q", list[0].Hint, tt.hint)
			}
			var one *strict.Error
			if !errors.As(err, &one) || one != list[0] {
				t.Error("errors.As does not find the first Error")
			}
		})
	}
}

func TestBombsAreRefused(t *testing.T) {
	var laughs strings.Builder
	laughs.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&laughs, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	for name, tt := range map[string]struct{ src, want string }{
		"aliases": {"free:\n  " + strings.ReplaceAll(laughs.String(), "\n", "\n  "), "aliases repeat more than"},
		"nesting": {"free: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "nested deeper than 100 levels"},
	} {
		err := strict.Decode("f.yaml", []byte(tt.src), new(doc))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %.200v, want %q", name, err, tt.want)
		}
	}
}

func TestMergedMappings(t *testing.T) {
	src := "free: &d {alert: base, for: 5m}\nrules:\n  - {<<: *d, alert: own}\n  - {<<: [{for: 1m}, *d]}\n"
	var d doc
	if err := strict.Decode("f.yaml", []byte(src), &d); err != nil {
		t.Fatal(err)
	}
	if r := d.Rules[0]; r.Alert.Value != "own" || r.For != 5*time.Minute {
		t.Errorf("own keys over merged ones: %v %v", r.Alert, r.For)
	}
	if r := d.Rules[1]; r.Alert.Value != "base" || r.For != time.Minute {
		t.Errorf("the first of a list wins: %v %v", r.Alert, r.For)
	}
}

func TestExpandedValuesAreNeverShown(t *testing.T) {
	expand := func(s string) (string, error) {
		switch s {
		case "${N}":
			return "42", nil
		case "${SECRET}":
			return "hunter2", nil
		case "${EMPTY}":
			return "", nil
		case "${UNSET}":
			return "", &strict.Error{Msg: "UNSET is not set", Hint: "set it"}
		}
		return s, nil
	}
	d := doc{Listen: strict.String{Value: "default"}}
	src := "count: \"${N}\"\nlevel: ${N}\nlisten: ${EMPTY}\nname: ${SECRET}\nfree: ${N}\n"
	if err := strict.DecodeExpanded("f.yaml", []byte(src), &d, expand); err != nil {
		t.Fatal(err)
	}
	if d.Count != 42 || d.Common.Level != 42 || d.Listen.Value != "" || d.Common.Name != "hunter2" || d.Free != "42" {
		t.Errorf("got %+v", d)
	}
	src = "count: ${SECRET}\non: ${SECRET}\nwait: ${SECRET}\nring: ${SECRET}\ntags: ${SECRET}\nrules: ${SECRET}\nlisten: x${UNSET}\nname: ${UNSET}\n"
	err := strict.DecodeExpanded("f.yaml", []byte(src), &d, expand)
	var list strict.Errors
	if !errors.As(err, &list) || len(list) != 7 {
		t.Fatalf("got %v, want 7 errors", err)
	}
	for _, e := range list {
		if strings.Contains(e.Error()+e.Hint, "hunter2") {
			t.Errorf("an expanded value is shown: %v (%s)", e, e.Hint)
		}
	}
	if e := list[6]; e.Error() != "f.yaml:8:7: UNSET is not set" || e.Hint != "set it" {
		t.Errorf("got %v (hint %q)", e, e.Hint)
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"temperature", "humidity", "on", "max_bytes", "x"}
	for name, want := range map[string]string{
		"tempreature": "temperature", "Temperature": "temperature", "max-bytes": "max_bytes", "humidty": "humidity",
		"no": "on", "pressure": "", "": "", "y": "", "zz": "",
	} {
		if got := strict.Suggest(name, known); got != want {
			t.Errorf("Suggest(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "10m": 10 * time.Minute, "500ms": 500 * time.Millisecond, "1d": 24 * time.Hour, "7d": 168 * time.Hour,
		"1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "-5m": -5 * time.Minute, "5µs": 5 * time.Microsecond,
	} {
		if got, err := strict.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10", "m", "1 h", "1h 30m", "ten", "1y", "300000d", "99999999999999999999d", "1..5h", "--5m", "+"} {
		if got, err := strict.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
}

func TestUnitsFall(t *testing.T) {
	for _, text := range []string{"", "0", "5m", "-5m", "1w2d3h4m5s6ms7us8ns", "1.5h30m", "10", "often", "5x5m"} {
		if !strict.UnitsFall(text) {
			t.Errorf("the units of %q are refused", text)
		}
	}
	for _, text := range []string{"1m1h", "5m5m", "-1s1m", "1h1m1h", "1us1µs"} {
		if strict.UnitsFall(text) {
			t.Errorf("the units of %q are taken", text)
		}
	}
	var v struct{ D time.Duration }
	if err := strict.Decode("a.yaml", []byte("d: 1m1h"), &v); err == nil || v.D != 0 {
		t.Errorf("1m1h is taken as %v", v.D)
	}
	if err := strict.DecodeRecorded("a.yaml", []byte("d: 1m1h"), &v); err != nil || v.D != time.Hour+time.Minute {
		t.Errorf("1m1h of a record is %v, %v", v.D, err)
	}
}

func TestSlip(t *testing.T) {
	for name, want := range map[string]bool{
		"mesurement": true, "measurment": true, "measuremnet": true, "Measurement": true, "measurements": true,
		"measurement": false, "measure": false, "messurment": false,
	} {
		if strict.Slip(name, "measurement") != want {
			t.Errorf("%s is a slip: %t, want %t", name, !want, want)
		}
	}
}

func TestLeadDropsWhatOthersBringAbout(t *testing.T) {
	var v struct {
		N struct {
			Keys map[string]strict.Pos `yaml:"-"`
			S    string                `yaml:"s"`
			Old  strict.Refused        `yaml:"old"`
		} `yaml:"n"`
	}
	var errs strict.Errors
	if err := strict.Decode("a.yaml", []byte("n:\n  old: 3\n  s: [a]\n  sss: 1\n"), &v); !errors.As(err, &errs) || len(errs) != 2 {
		t.Fatalf("got %v", err)
	}
	if strings.Contains(errs[1].Hint, "old") {
		t.Errorf("the hint %q names a key that is refused", errs[1].Hint)
	}
	errs.Addf("a.yaml", v.N.Keys["s"], "", "there is no s")
	errs.Addf("a.yaml", v.N.Keys["old"], "", "old is refused")
	errs.Addf("b.yaml", v.N.Keys["s"], "", "there is no s")
	want := "a.yaml:3:6: want text, got a list\na.yaml:4:3: unknown key \"sss\"\na.yaml:2:3: old is refused\nb.yaml:3:3: there is no s"
	if got := errs.Lead().Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestParseSize(t *testing.T) {
	for text, want := range map[string]strict.Size{
		"0": 0, "4096": 4096, "64KiB": 64 << 10, "1.5MiB": 3 << 19, "1MB": 1e6, "20GiB": 20 << 30, "2 tib": 2 << 40, "10B": 10,
	} {
		if got, err := strict.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5B", "64K", "9999999TiB", "1e3", "1/2", "0x10"} {
		if got, err := strict.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", text, int64(got))
		}
	}
	if got := (20 * strict.GiB).String(); got != "20GiB" {
		t.Errorf("String() = %s, want 20GiB", got)
	}
}
