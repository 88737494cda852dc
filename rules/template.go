package rules

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/rules/expression"
)

// template is a text with expressions in {{ }}, compiled.
type template []part

// part is a piece of literal text, or an expression if program is set.
type part struct {
	at      int // byte of the template at which it begins
	text    string
	program *expression.Program
}

// namedText is a label or an annotation.
type namedText struct {
	key    string
	source string
	text   template
}

func sources(all []namedText) map[string]string {
	if len(all) == 0 {
		return nil
	}
	m := make(map[string]string, len(all))
	for _, t := range all {
		m[t.key] = t.source
	}
	return m
}

// usage says where a template stands, and so what it may read.
type usage uint8

const (
	inLabel usage = iota
	inAnnotation
	inAction
)

// variables returns the names that a template may read beside those of the
// event, and their roots.
func (u usage) variables(labels []string) (names, roots []string) {
	names = []string{"alert.name", "alert.group", "alert.key", "alert.value", "value"}
	if u != inLabel {
		names = append(names, "alert.id", "alert.state", "alert.starts_at")
		for _, l := range labels {
			names = append(names, "labels."+l)
		}
	}
	return names, []string{"alert", "labels"}
}

// texts compiles the templates of labels or annotations.
func (l *loader) texts(m textMap, u usage, labels []string) []namedText {
	all := make([]namedText, 0, len(m))
	for _, e := range m {
		all = append(all, namedText{e.key, e.text.Value, l.template(e.text, u, labels)})
	}
	return all
}

// template compiles a text and reports what is wrong with it.
func (l *loader) template(s strict.String, u usage, labels []string) template {
	var t template
	names, roots := u.variables(labels)
	text := s.Value
	for at := 0; at < len(text); {
		open := strings.Index(text[at:], "{{")
		if open < 0 {
			t = append(t, part{at: at, text: text[at:]})
			break
		}
		if open > 0 {
			t = append(t, part{at: at, text: text[at : at+open]})
		}
		from := at + open + 2
		length := closing(text[from:])
		if length < 0 {
			l.addf(s.At(at+open), `end the expression with }}; for a literal {{ write {{ "{{" }}`, "the template's {{ is not closed")
			return t
		}
		p, errs := expression.Compile(text[from:from+length], expression.Options{
			Table: l.set.texts, Variables: names, Roots: roots, Accepted: l.recorded,
		})
		for _, e := range errs {
			l.addf(s.At(from+e.Offset), e.Hint, "template: %s", e.Msg)
		}
		t = append(t, part{at: from, program: p})
		at = from + length + 2
	}
	return t
}

// closing returns where the }} that ends an expression stands: outside of
// quotes and of the expression's own braces. -1 if there is none.
func closing(s string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}' && i+1 < len(s) && s[i+1] == '}':
			return i
		}
	}
	return -1
}

// render returns the text for the scope's event. What cannot be evaluated
// shows as <error: ...> or <no name>, and ok is false.
func (t template) render(s *expression.Scope) (text string, ok bool) {
	if len(t) == 1 && t[0].program == nil {
		return t[0].text, true
	}
	var b strings.Builder
	ok = true
	for _, p := range t {
		if p.program == nil {
			b.WriteString(p.text)
			continue
		}
		v, err := p.program.Any(s)
		switch {
		case err != nil:
			ok = false
			fmt.Fprintf(&b, "<error: %v>", err)
		case v == nil:
			ok = false
			if names := p.program.Missing(s); len(names) > 0 {
				fmt.Fprintf(&b, "<no %s>", names[0])
			} else {
				b.WriteString("<nil>")
			}
		default:
			b.WriteString(format(v))
		}
	}
	return b.String(), ok
}

// format returns a value as people write it.
func format(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return formatFloat(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case time.Duration, int, int64, uint64, bool:
		return fmt.Sprint(v)
	}
	if b, err := json.Marshal(v); err == nil {
		return string(b)
	}
	return fmt.Sprint(v)
}

// formatFloat returns a number without an exponent where people would write
// none, and without the noise of binary arithmetic: 0.1+0.2 is 0.3.
func formatFloat(f float64) string {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	if mantissa, _, _ := strings.Cut(strings.TrimPrefix(s, "-"), "e"); len(mantissa) > 16 && f != math.Trunc(f) { // more than 15 digits and a point
		short, err := strconv.ParseFloat(strconv.FormatFloat(f, 'e', 14, 64), 64)
		if err == nil {
			f = short
		}
	}
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// literal reports a character that a template must not hold literally.
func (l *loader) literal(s strict.String, t template, chars, hint, what string) {
	for _, p := range t {
		if i := strings.IndexAny(p.text, chars); i >= 0 {
			l.addf(s.At(p.at+i), hint, "%s", what)
			return
		}
	}
}

func knownStates() []string { return []string{"firing", "resolved"} }

// states returns on which transitions an action is taken.
func (l *loader) states(on []strict.String, given bool, at strict.Pos) (firing, resolved bool) {
	if !given {
		return true, true
	}
	if len(on) == 0 {
		l.addf(at, "write [firing], [resolved] or both", "the action would never be taken: on is empty")
	}
	var seen []string
	for _, s := range on {
		switch {
		case s.Pos == (strict.Pos{}): // no text, which is reported already
		case !slices.Contains(knownStates(), s.Value):
			l.addf(s.Pos, suggestion(s.Value, knownStates()), "unknown state %q", s.Value)
		case slices.Contains(seen, s.Value):
			l.addf(s.Pos, "remove one of them", "%q is there twice", s.Value)
		}
		seen = append(seen, s.Value)
	}
	return slices.Contains(seen, "firing"), slices.Contains(seen, "resolved")
}
