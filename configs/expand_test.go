package configs

import (
	"errors"
	"strings"
	"testing"

	"weir/configs/strict"
)

var testExpander = expander{
	getenv: func(k string) string {
		return map[string]string{"A": "one", "B": "x: [1]", "D": "${A} $$ $"}[k]
	},
	readFile: func(name string) ([]byte, error) {
		if name == "f" {
			return []byte("line\n\n"), nil
		}
		return nil, errors.New("no such file")
	},
}

func TestExpand(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", "${A}": "one", "a${A}b${A}": "aonebone", "${X:-}": "", "${X:-d}": "d", "${A:-d}": "one",
		"${X:-${A}}": "one", "${X:-a}b}": "ab}", "$$": "$", "$${A}": "${A}", "$SYS/#": "$SYS/#", "5$": "5$", "$2y$12$x": "$2y$12$x",
		"${file:f}": "line", "${B}": "x: [1]", "${D}": "${A} $$ $", "{device}": "{device}", "${X:-$$}": "$", "$$$": "$$",
	} {
		if got, err := testExpander.expand(in); err != nil || got != want {
			t.Errorf("expand(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"${X}": "environment variable X is not set", "${A": `"${" has no "}"`, "${}": "is not the name of a variable", "${1A}": "is not the name",
		"${A:?x}": "is not the name", "${file:g}": "read ${file:g}: no such file",
		strings.Repeat("${X:-", 20) + strings.Repeat("}", 20): "nested too deep",
	} {
		var e *strict.Error
		if got, err := testExpander.expand(in); !errors.As(err, &e) || !strings.Contains(e.Msg, want) {
			t.Errorf("expand(%q) = %q, %v, want an error with %q", in, got, err, want)
		}
	}
}

func TestAValueCannotInjectYAML(t *testing.T) {
	env := func(k string) string { return "x\nanonymous: true\nlisten: ':1'" }
	c, err := Parse("weir.yaml", []byte("mqtt:\n  users_file: ${EVIL}\nsources: [{name: \"${EVIL}\", topic: a}]\n"), env)
	if err != nil {
		t.Fatal(err)
	}
	if c.MQTT.Anonymous || c.MQTT.UsersFile.Value != env("") || len(c.Sources) != 1 {
		t.Errorf("the value became more than a text: %+v", c.MQTT)
	}
}

// FuzzExpand holds that what is expanded holds nothing that is not in the text
// or in what variables and files give, and that doubling each dollar undoes it.
func FuzzExpand(f *testing.F) {
	for _, s := range []string{"${A}", "${X:-${A}}", "$$", "$", "${", "${file:f}", "$$${A}}", "a$b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := testExpander.expand(s); err != nil {
			var e *strict.Error
			if !errors.As(err, &e) || e.Msg == "" {
				t.Fatalf("expand(%q): %v is not a strict.Error", s, err)
			}
		}
		if got, err := testExpander.expand(strings.ReplaceAll(s, "$", "$$")); err != nil || got != s {
			t.Fatalf("expand of the escaped %q = %q, %v", s, got, err)
		}
	})
}

// FuzzParse holds that no file panics, and that errors have a place.
func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(secretConfig))
	f.Add([]byte("sources: [{device: [~, {}, [a]], time: {earliest: x}, words: {a: [b]}}]\nsinks: [~, {start: ~, mqtt: ~}]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := Parse("weir.yaml", src, func(string) string { return "x" })
		if err == nil {
			if c.DataDir.Value == "" || c.Log.PartitionCount() < 1 {
				t.Fatalf("accepted without what is needed: %+v", c)
			}
			return
		}
		var list strict.Errors
		if !errors.As(err, &list) {
			t.Fatalf("error is a %T: %v", err, err)
		}
		for _, e := range list {
			if e.Line < 1 || e.Col < 1 || e.Msg == "" {
				t.Fatalf("%#v has no place", e)
			}
		}
	})
}
