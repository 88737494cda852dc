package mqtt

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"weir/ingest/event"
)

const maxTopic = 65535 // bytes, by the protocol

// template is a topic with places to fill in: "plant/{site}/{device}".
type template struct {
	text  []string // around the names: one more than names
	names []string
}

func parseTemplate(s string) (*template, error) {
	t := &template{}
	rest := s
	for {
		before, after, open := strings.Cut(rest, "{")
		if strings.Contains(before, "}") {
			return nil, fmt.Errorf("topic %q: a } without its {", s)
		}
		t.text = append(t.text, before)
		if !open {
			break
		}
		name, behind, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.ContainsAny(name, "{/") {
			return nil, fmt.Errorf("topic %q: a { needs a name and a }, e.g. {device}", s)
		}
		t.names = append(t.names, name)
		rest = behind
	}
	if err := checkTopic(strings.Join(t.text, "x")); err != nil {
		return nil, fmt.Errorf("topic %q: %w", s, err)
	}
	return t, nil
}

// fill returns the topic, with each value as part of one level.
func (t *template) fill(value func(name string) string) (string, error) {
	b := []byte(t.text[0])
	for i, name := range t.names {
		v := value(name)
		if v == "" {
			return "", fmt.Errorf("the topic needs {%s}, which it does not have", name)
		}
		b = appendLevel(b, v)
		b = append(b, t.text[i+1]...)
	}
	topic := string(b)
	return topic, checkTopic(topic)
}

// checkTopic reports why a topic can't be published to.
func checkTopic(s string) error {
	switch {
	case s == "":
		return errors.New("the topic is empty")
	case len(s) > maxTopic:
		return fmt.Errorf("the topic has %d bytes, at most %d are allowed", len(s), maxTopic)
	case !utf8.ValidString(s):
		return errors.New("the topic is not UTF-8")
	case strings.ContainsAny(s, "+#\x00"):
		return errors.New("the topic has a +, a # or a zero byte: one publishes to a topic, not to a filter")
	case s[0] == '$':
		return errors.New("the topic begins with $, which belongs to the broker")
	}
	return nil
}

// appendLevel percent-encodes what a level of a topic can't hold.
func appendLevel(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("/+#%", r) {
			for _, c := range []byte(s[i : i+n]) {
				dst = append(dst, '%', hex[c>>4], hex[c&15])
			}
		} else {
			dst = append(dst, s[i:i+n]...)
		}
		i += n
	}
	return dst
}

// alertTopic is where transitions of an alert are published if its record does
// not say.
func alertTopic(a *event.Alert) string {
	group, rule, _ := strings.Cut(a.Rule, "/")
	b := []byte("weir/alerts/")
	b = append(appendLevel(b, group), '/')
	b = append(appendLevel(b, rule), '/')
	return string(appendLevel(b, a.Key))
}

// alertName gives the values that a template may name of an alert.
func alertName(a *event.Alert) func(string) string {
	return func(name string) string {
		group, rule, _ := strings.Cut(a.Rule, "/")
		switch name {
		case "group":
			return group
		case "rule":
			return rule
		case "key":
			return a.Key
		case "device":
			return a.Device
		case "state":
			return a.State
		case "id":
			return a.ID
		}
		return a.Labels[name]
	}
}

// eventName gives the values that a template may name of an event.
func eventName(e *event.Event) func(string) string {
	return func(name string) string {
		switch name {
		case "device":
			return e.Device
		case "measurement":
			return e.Measurement
		case "source":
			return e.Source
		}
		v, _ := e.Tag(name)
		return v
	}
}
