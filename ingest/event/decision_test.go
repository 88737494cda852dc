package event_test

import (
	"encoding/json"
	"strings"
	"testing"

	"weir/ingest/event"
)

var decisions = []struct {
	name, json, want string // want: what the error says, "" for none
}{
	{"an acknowledgement", `{"kind":"ack","id":"1","alert":"a1","by":"eva","comment":"on it","at":"2026-01-31T12:00:00Z"}`, ""},
	{"a silence", `{"kind":"silence","id":"s1","matchers":[{"name":"site","op":"=~","value":"os.*"}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T14:00:00Z","at":"2026-01-31T12:00:00Z"}`, ""},
	{"an end of a silence", `{"kind":"expire","id":"s1","at":"2026-01-31T12:00:00Z"}`, ""},
	{"no JSON", `{"kind":`, "read a decision"},
	{"two of them", `{"kind":"expire","id":"s1"}{"kind":"expire","id":"s1"}`, "something follows"},
	{"no id", `{"kind":"expire"}`, "has no id"},
	{"no alert", `{"kind":"unack","id":"1"}`, "names no alert"},
	{"an unknown kind", `{"kind":"mute","id":"1"}`, `unknown kind of decision "mute"`},
	{"a silence of nothing", `{"kind":"silence","id":"s1"}`, "has no matcher"},
	{"a silence without an end", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=","value":"b"}]}`, "needs both"},
	{"a silence that ends before it starts", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=","value":"b"}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T11:00:00Z"}`, "not after its start"},
	{"a silence for ever", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=","value":"b"}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2036-01-31T11:00:00Z"}`, "longer than 366 days"},
	{"a silence of everything", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=~","value":".*"}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T13:00:00Z"}`, "match every alert"},
	{"a wrong pattern", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=~","value":"("}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T13:00:00Z"}`, "missing closing )"},
	{"a pattern that closes its group", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=~","value":"a)|(b"}],"starts_at":"2026-01-31T12:00:00Z","ends_at":"2026-01-31T13:00:00Z"}`, ""},
	{"a time out of range", `{"kind":"silence","id":"s1","matchers":[{"name":"a","op":"=","value":"b"}],"starts_at":"9000-01-31T12:00:00Z","ends_at":"9000-02-01T00:00:00Z"}`, "between the years"},
	{"a long comment", `{"kind":"ack","id":"1","alert":"a","comment":"` + strings.Repeat("x", 5000) + `"}`, "comment has 5000 bytes"},
}

func TestParseDecision(t *testing.T) {
	for _, tt := range decisions {
		_, err := event.ParseDecision([]byte(tt.json))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: error is %v, want %q", tt.name, err, tt.want)
		}
	}
}

var matchers = []struct {
	text, name, op, value string
	want                  string // what the error says
}{
	{"alertname=FreezerWarm", "alertname", "=", "FreezerWarm", ""},
	{"site!=oslo", "site", "!=", "oslo", ""},
	{"device=~f[0-9]+", "device", "=~", "f[0-9]+", ""},
	{`device !~ "a b\"c"`, "device", "!~", `a b"c`, ""},
	{"rule=cold-room/FreezerWarm", "rule", "=", "cold-room/FreezerWarm", ""},
	{"site=", "site", "=", "", ""},
	{"site", "", "", "", "has none of"},
	{"site!oslo", "", "", "", "comes one of"},
	{"=oslo", "", "", "", "has no name"},
	{"device=~(", "", "", "", "missing closing )"},
	{`device="a`, "", "", "", "not closed"},
	{"de vice=a", "", "", "", "is no name"},
}

func TestParseMatcher(t *testing.T) {
	for _, tt := range matchers {
		m, err := event.ParseMatcher(tt.text)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%q: error is %v, want %q", tt.text, err, tt.want)
			}
			continue
		}
		if err != nil || m.Name != tt.name || m.Op != tt.op || m.Value != tt.value {
			t.Errorf("%q is %+v, %v", tt.text, m, err)
		}
	}
}

func TestMatchersTakeTheWholeText(t *testing.T) {
	for _, tt := range []struct {
		matcher, text string
		want          bool
	}{
		{"a=~o.lo", "oslo", true}, {"a=~o.l", "oslo", false}, {"a!~o.l", "oslo", true}, {"a=~x|oslo", "oslo", true},
		{"a=~x|osl", "oslo", false}, {"a=~.*", "two\nlines", true}, {"a=oslo", "oslo", true}, {"a!=oslo", "", true}, {"a=", "", true},
	} {
		m, err := event.ParseMatcher(tt.matcher)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.Match(tt.text); got != tt.want {
			t.Errorf("%s on %q is %v", tt.matcher, tt.text, got)
		}
	}
}

func FuzzParseDecision(f *testing.F) {
	for _, tt := range decisions {
		f.Add([]byte(tt.json))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := event.ParseDecision(data)
		if err != nil {
			return
		}
		b, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		again, err := event.ParseDecision(b)
		if err != nil {
			t.Fatalf("%q becomes %q: %v", data, b, err)
		}
		if c, _ := json.Marshal(again); string(c) != string(b) {
			t.Fatalf("%q becomes %q and then %q", data, b, c)
		}
		for _, m := range o.Matchers {
			if o.Kind != event.Silence {
				break
			}
			if n, err := event.ParseMatcher(m.String()); err != nil || n != m {
				t.Fatalf("%+v is written as %q, which is %+v, %v", m, m.String(), n, err)
			}
		}
	})
}

func FuzzParseMatcher(f *testing.F) {
	for _, tt := range matchers {
		f.Add(tt.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := event.ParseMatcher(text)
		if err != nil {
			return
		}
		if n, err := event.ParseMatcher(m.String()); err != nil || n != m {
			t.Fatalf("%q is %+v, written as %q, which is %+v, %v", text, m, m.String(), n, err)
		}
	})
}
