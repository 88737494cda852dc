package decode

import (
	"fmt"
	"math"
	"strconv"
	"unsafe"

	"weir/ingest/event"
)

// value reads the value of a field.
func (l *lineScanner) value(key string) (event.Value, bool) {
	if !l.more() {
		return event.Value{}, l.fail(l.i, fmt.Sprintf("the field %.64q has no value", key))
	}
	start := l.i
	switch c := l.b[start]; {
	case c == '"':
		return l.quoted()
	case c|0x20 == 't' || c|0x20 == 'f':
		switch l.word() {
		case "t", "T", "true", "True", "TRUE":
			return event.BoolValue(true), true
		case "f", "F", "false", "False", "FALSE":
			return event.BoolValue(false), true
		}
		return event.Value{}, l.fail(start, fmt.Sprintf("field %.64q: %.64q is no boolean", key, l.b[start:l.i]))
	case c == '-' || c == '.' || c-'0' <= 9:
		v, err := lineNumber(l.word())
		if err != nil {
			return v, l.fail(start, fmt.Sprintf("field %.64q: %v", key, err))
		}
		return v, true
	}
	return event.Value{}, l.fail(start, fmt.Sprintf("field %.64q: expected a number, a boolean or a text in double quotes, found %s", key, l.found()))
}

// word reads up to a comma, a blank or the end of the line.
func (l *lineScanner) word() string {
	start := l.i
	for l.more() && !ends(l.b[l.i], endWord) {
		l.i++
	}
	return unsafe.String(&l.b[start], l.i-start)
}

// lineNumber returns the value of 1.5, 15i or 15u.
func lineNumber(s string) (event.Value, error) {
	digits := s[:len(s)-1]
	switch s[len(s)-1] {
	case 'i':
		i, err := parseInt(digits)
		if err != nil {
			return event.Value{}, fmt.Errorf("%.64q is no integer of 64 bits", s)
		}
		return event.IntValue(i), nil
	case 'u':
		u, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return event.Value{}, fmt.Errorf("%.64q is no unsigned integer of 64 bits", s)
		}
		return event.UintValue(u), nil
	}
	v, end := event.Value{}, -1
	if s[0] != '.' {
		v, end = scanNumber(unsafe.Slice(unsafe.StringData(s), len(s)), 0)
	}
	if end == len(s) && v.Kind() == event.Float {
		return v, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) || isOneOf('x', s) || isOneOf('X', s) {
		return event.Value{}, fmt.Errorf("%.64q is no number, or beyond the range of a 64-bit float", s)
	}
	return event.FloatValue(f), nil
}

// quoted reads a text in double quotes.
func (l *lineScanner) quoted() (event.Value, bool) {
	b, start := l.b, l.i
	i := start + 1
	for i < len(b) && b[i] != '"' && b[i] != '\\' {
		i++
	}
	text := ""
	if i < len(b) && b[i] == '"' {
		if i > start+1 {
			text = unsafe.String(&b[start+1], i-start-1)
		}
	} else {
		slab := l.d.b.TextSlab
		from := len(slab)
		slab = append(slab, b[start+1:min(i, len(b))]...)
		for ; i < len(b) && b[i] != '"'; i++ {
			c := b[i]
			if c == '\\' && i+1 < len(b) {
				if r := lineEscape(b[i+1]); r != 0 {
					c = r
					i++
				}
			}
			slab = append(slab, c)
		}
		text = l.d.slabText(slab, from)
	}
	if i >= len(b) {
		return event.Value{}, l.fail(start, "the text has no closing quote")
	}
	l.i = i + 1
	text, ok := l.checked(text, start+1)
	return event.StringValue(text), ok
}

// lineEscape returns what a backslash and c stand for in a text, or 0.
func lineEscape(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}
