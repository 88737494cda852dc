package ruletest

import (
	"strings"

	"weir/ingest/event"
)

// seriesName is what a series says beside its values.
type seriesName struct {
	field  string
	labels []event.Tag // in the order of the text, each key once
}

// label returns a label's value, and whether it is there.
func (s *seriesName) label(key string) (string, bool) {
	for _, l := range s.labels {
		if l.Key == key {
			return l.Value, true
		}
	}
	return "", false
}

const seriesHint = `write field{device="d1", site="oslo"}`

// parseSeries parses 'field{label="value", ...}' as Prometheus writes series.
// The field may be quoted inside the braces, {"a field", device="d1"}, and is
// given by __name__ if it stands nowhere else.
func parseSeries(text string) (s seriesName, err *notationError) {
	p := seriesParser{text: text}
	p.space()
	s.field = p.name()
	p.space()
	if p.next() != '{' {
		if p.i < len(text) {
			return s, wrong(p.i, seriesHint, "unexpected %q in the series", text[p.i:])
		}
	} else if err = p.braces(&s); err != nil {
		return s, err
	}
	if s.field == "" {
		return s, wrong(0, seriesHint, "the series names no field")
	}
	return s, nil
}

type seriesParser struct {
	text string
	i    int
}

// next returns the byte at hand, 0 at the end.
func (p *seriesParser) next() byte {
	if p.i < len(p.text) {
		return p.text[p.i]
	}
	return 0
}

func (p *seriesParser) space() {
	for isSpace(p.next()) {
		p.i++
	}
}

// name takes a name: everything up to a space or a character that means something.
func (p *seriesParser) name() string {
	from := p.i
	for p.i < len(p.text) && !isSpace(p.text[p.i]) && !strings.ContainsRune("{}=!~,\"'`", rune(p.text[p.i])) {
		p.i++
	}
	return p.text[from:p.i]
}

// braces parses what stands between { and }, and that nothing follows.
func (p *seriesParser) braces(s *seriesName) *notationError {
	open := p.i
	p.i++
	for {
		p.space()
		switch p.next() {
		case 0:
			return wrong(open, seriesHint, "the { has no }")
		case '}':
			p.i++
			p.space()
			if p.i < len(p.text) {
				return wrong(p.i, "", "unexpected %q behind the series", p.text[p.i:])
			}
			return nil
		}
		if err := p.label(s); err != nil {
			return err
		}
		p.space()
		switch p.next() {
		case ',':
			p.i++
		case '}', 0:
		default:
			return wrong(p.i, seriesHint, "want a comma or } here, got %q", p.text[p.i:])
		}
	}
}

// label parses one label, or the field's name in quotes.
func (p *seriesParser) label(s *seriesName) *notationError {
	at := p.i
	key, bare := "", true
	if q := p.next(); q == '"' || q == '\'' || q == '`' {
		var err *notationError
		if key, p.i, err = quoted(p.text, p.i); err != nil {
			return err
		}
		bare = false
	} else {
		key = p.name()
	}
	p.space()
	if p.next() != '=' {
		if !bare && s.field == "" {
			s.field = key
			return nil
		}
		return wrong(p.i, seriesHint, "want = and a text in quotes behind %q", key)
	}
	p.i++
	p.space()
	if q := p.next(); q != '"' && q != '\'' && q != '`' {
		return wrong(p.i, seriesHint, "want a text in quotes as the value of %q", key)
	}
	value, end, err := quoted(p.text, p.i)
	if err != nil {
		return err
	}
	p.i = end
	if key == "" {
		return wrong(at, seriesHint, "a label has no name")
	}
	if key == "__name__" && s.field == "" {
		s.field = value
		return nil
	}
	if _, ok := s.label(key); ok {
		return wrong(at, "", "the label %q is there twice", key)
	}
	s.labels = append(s.labels, event.Tag{Key: key, Value: value})
	return nil
}
