package decode

import (
	"strings"

	"weir/ingest/event"
)

// conversion is what a source does to the values of one field.
type conversion struct {
	none    []sentinel
	words   map[string]event.Value
	numbers bool
}

// sentinel is a value that stands for "no reading".
type sentinel struct {
	text   string
	number event.Value // Null if the text is none
}

// conversionOf returns what the source does to a field, or nil for nothing.
func (src *source) conversionOf(rel, path string) *conversion {
	c := conversion{words: src.words, numbers: matchAny(src.numbers, rel, path)}
	for _, n := range src.noValue {
		if matchAny([]string{n.pattern}, rel, path) {
			for _, t := range n.texts {
				c.none = append(c.none, sentinel{t, numberOf(t)})
			}
		}
	}
	if len(c.none) == 0 && len(c.words) == 0 && !c.numbers {
		return nil
	}
	return &c
}

// apply returns what v is for the source; Null means no reading.
func (c *conversion) apply(v event.Value) event.Value {
	for i := range c.none {
		if c.none[i].is(v) {
			return event.Value{}
		}
	}
	if v.Kind() != event.String {
		return v
	}
	if w, ok := c.words[v.Text()]; ok {
		return w
	}
	if c.numbers {
		if n := numberOf(strings.Trim(v.Text(), " \t\r\n")); n.Kind() != event.Null {
			return n
		}
	}
	return v
}

func (s *sentinel) is(v event.Value) bool {
	switch v.Kind() {
	case event.String:
		return v.Text() == s.text
	case event.Bool:
		return v.Bool() && s.text == "true" || !v.Bool() && s.text == "false"
	}
	if s.number.Kind() == event.Null {
		return false
	}
	a, _ := v.Float()
	b, _ := s.number.Float()
	if a != b || v.Kind() == event.Float || s.number.Kind() == event.Float {
		return a == b
	}
	return v.String() == s.number.String() // integers that a float64 may have rounded
}
