package strict_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

// same holds the kinds that strict and yaml.v3 both know.
type same struct {
	Name   string            `yaml:"name"`
	On     bool              `yaml:"on"`
	Count  int               `yaml:"count"`
	Level  uint8             `yaml:"level"`
	Ratio  float64           `yaml:"ratio"`
	Tags   []string          `yaml:"tags"`
	Rename map[string]string `yaml:"rename"`
	Max    *int              `yaml:"max"`
	Free   any               `yaml:"free"`
	Sub    []struct {
		Expr string  `yaml:"expr"`
		Next *same   `yaml:"next"`
		Nums []int32 `yaml:"nums"`
	} `yaml:"sub"`
}

// placed holds what has positions.
type placed struct {
	same   `yaml:",inline"`
	Listen strict.String   `yaml:"listen"`
	Texts  []strict.String `yaml:"texts"`
	Ring   strict.Size     `yaml:"ring"`
	Raw    yaml.Node       `yaml:"raw"`
}

var lineBreaks = regexp.MustCompile("\r\n|[\r\n\u0085\u2028\u2029]")

// FuzzDecode holds that no input panics, that each error is at a place that
// the file has, that the texts' positions are in the file, and that what
// decodes is what yaml.v3 makes of it.
func FuzzDecode(f *testing.F) {
	for _, tt := range badTable {
		f.Add([]byte(tt.src))
	}
	for _, s := range []string{
		"name: a\non: true\ncount: 0x1f\nlevel: 3\nratio: .inf\ntags: [a, 'b', \"c\"]\nrename: {a: b, c: ~}\nmax: 3\nfree: {a: [1, 2001-01-01, x]}\n",
		"sub:\n  - expr: |\n      a\n       b\n  - expr: >-\n      a\n      b\n    nums: [1, 2]\n    next: {name: x}\n",
		"listen: !!str &x \"a\\u00e9\\\n  b\"\ntexts: [*x, 'a''b', c\n d, \"\"]\nring: 64KiB\nraw: {a: [b]}\n",
		"name: !!binary aGVsbG8=\nfree: !!float 3\n", "free: &a {x: 1}\nrename: {<<: *a, y: z}\n", "%YAML 1.1\n---\nname: x\n...\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		lines := lineBreaks.Split(strings.TrimPrefix(string(src), "\ufeff"), -1)
		inFile := func(p strict.Pos) bool {
			return p.Line >= 1 && p.Line <= len(lines) && p.Col >= 1 && p.Col <= utf8.RuneCountInString(lines[p.Line-1])+1
		}
		var p placed
		if err := strict.Decode("f.yaml", src, &p); err != nil {
			var list strict.Errors
			if !errors.As(err, &list) {
				t.Fatalf("error is a %T", err)
			}
			for _, e := range list {
				if !inFile(e.Pos) || e.File != "f.yaml" || e.Msg == "" {
					t.Fatalf("%#v is not in the file", e)
				}
			}
		}
		for _, s := range append(p.Texts, p.Listen) {
			for i := range s.Value + "." {
				if s.Node != nil && !inFile(s.At(i)) {
					t.Fatalf("offset %d of %q is at %v, not in the file", i, s.Value, s.At(i))
				}
			}
		}
		var got, want same
		if strict.Decode("f.yaml", src, &got) != nil {
			return
		}
		dec := yaml.NewDecoder(bytes.NewReader(src))
		dec.KnownFields(true)
		if err := dec.Decode(&want); err != nil {
			if strings.Contains(err.Error(), "excessive aliasing") || err.Error() == "EOF" {
				return
			}
			t.Fatalf("strict decodes it, yaml.v3 says %v", err)
		}
		if g, w := plain(reflect.ValueOf(got)), plain(reflect.ValueOf(want)); g != w {
			t.Fatalf("strict: %s\nyaml.v3: %s", g, w)
		}
	})
}

// plain writes a value as text. Keys that yaml.v3 leaves as numbers and the
// like in free-form maps are only counted.
func plain(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "nil"
		}
		return plain(v.Elem())
	case reflect.Struct:
		if v.Type().PkgPath() == "time" {
			return fmt.Sprint(v)
		}
		var b strings.Builder
		for i := range v.NumField() {
			fmt.Fprintf(&b, "%s: %s; ", v.Type().Field(i).Name, plain(v.Field(i)))
		}
		return b.String()
	case reflect.Slice:
		var b strings.Builder
		for i := range v.Len() {
			fmt.Fprintf(&b, "%s, ", plain(v.Index(i)))
		}
		return "[" + b.String() + "]"
	case reflect.Map:
		if v.Type().Elem().Kind() == reflect.Interface {
			return fmt.Sprintf("map of %d", v.Len())
		}
		return fmt.Sprintf("%v", v)
	}
	return fmt.Sprintf("%#v", v)
}
