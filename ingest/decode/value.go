package decode

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"weir/ingest/event"
)

// valueFormat decodes one bare value a message.
type valueFormat struct{}

func (valueFormat) decode(d *Decoder, t *topic, payload []byte) (reason, error) {
	if isDocument(payload) {
		return "", errors.New(`the payload is a document, not a bare value; use format: auto or json`)
	}
	return d.bare(t, payload)
}

// autoFormat decodes documents and bare values, by the first byte.
type autoFormat struct{}

func (autoFormat) decode(d *Decoder, t *topic, payload []byte) (reason, error) {
	if isDocument(payload) {
		return jsonFormat{}.decode(d, t, payload)
	}
	return d.bare(t, payload)
}

// isDocument reports whether the first byte of a payload is that of an object or array.
func isDocument(b []byte) bool {
	if len(b) >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF {
		b = b[3:]
	}
	i := skipSpace(b, 0)
	return i < len(b) && (b[i] == '{' || b[i] == '[')
}

// bare decodes a payload that is one bare value.
func (d *Decoder) bare(t *topic, b []byte) (reason, error) {
	root := d.begin(t)
	b = b[skipSpace(b, 0):]
	for len(b) > 1 && isOneOf(b[len(b)-1], " \n\r\t\x00") { // C firmware sends the NUL of its strings too
		b = b[:len(b)-1]
	}
	if len(b) > 0 && b[0] == '"' {
		s := &d.scan
		s.d, s.b, s.err = d, b, nil
		text, end := s.str(1)
		if end < 0 {
			return "", s.err
		}
		if end == len(b) {
			return d.bareText(t, root, text)
		}
	}
	if !utf8.Valid(b) {
		return "", errors.New("the payload is neither a value nor text: it is not UTF-8")
	}
	if len(b) == 0 {
		return isNoValue, nil
	}
	if len(b) == 1 && b[0] == 0 { // Homie's empty text
		return d.bareText(t, root, "")
	}
	text := unsafe.String(&b[0], len(b))
	if _, ok := t.src.words[text]; !ok {
		v, inRange := bareNumber(text)
		switch {
		case v.Kind() != event.Null:
			d.leaf(root, v)
			return d.finish(t)
		case !inRange && root.conv != nil && root.conv.apply(event.StringValue(text)).Kind() == event.Null:
			return isNoValue, nil
		case !inRange:
			return "", errors.New(beyondFloat)
		}
		if isInfinite(text) {
			return isNoValue, nil
		}
	}
	return d.bareText(t, root, text)
}

// bareText adds a value that arrived as text.
func (d *Decoder) bareText(t *topic, root *node, text string) (reason, error) {
	v := event.StringValue(text)
	if _, ok := t.src.words[text]; !ok {
		if text != "" && isNoValueWord(text) {
			return isNoValue, nil
		}
		if b, ok := bareBool(text); ok {
			v = event.BoolValue(b)
		}
	}
	d.leaf(root, v)
	return d.finish(t)
}

// bareBool returns the truth of the words that stand for one.
func bareBool(s string) (value, ok bool) {
	switch s {
	case "true", "True", "TRUE", "on", "On", "ON":
		return true, true
	case "false", "False", "FALSE", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// bareNumber returns the number that all of s is, or Null, and false if it is a
// number that no float64 can hold. Besides JSON's grammar it takes a plus sign,
// ".5" and "5."; a leading zero makes it an identifier, which stays text.
func bareNumber(s string) (_ event.Value, inRange bool) {
	if v := numberOf(s); v.Kind() != event.Null {
		return v, true
	}
	digits := strings.TrimLeft(s, "+-")
	if len(s)-len(digits) > 1 || digits == "" || digits[0] != '.' && digits[0]-'0' > 9 {
		return event.Value{}, true
	}
	if digits[0] == '0' && len(digits) > 1 && digits[1]-'0' <= 9 {
		return event.Value{}, true
	}
	for i := 0; i < len(digits); i++ {
		if c := digits[i]; c-'0' > 9 && !isOneOf(c, ".eE+-") {
			return event.Value{}, true
		}
	}
	if s[0] == '+' {
		if v := numberOf(digits); v.Kind() != event.Null {
			return v, true
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return event.Value{}, !errors.Is(err, strconv.ErrRange)
	}
	return event.FloatValue(f), true
}

// isInfinite reports whether s is a float's infinity as C, Go and others print it.
func isInfinite(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return strings.EqualFold(s, "inf") || strings.EqualFold(s, "infinity")
}

// isNoValueWord reports whether a bare text stands for "no reading".
func isNoValueWord(s string) bool {
	if len(s) > 11 {
		return false
	}
	for _, w := range [...]string{"", "nan", "-nan", "+nan", "null", "none", "n/a", "unavailable", "unknown", "undefined"} {
		if len(w) == len(s) && strings.EqualFold(w, s) {
			return true
		}
	}
	return false
}

func isOneOf(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }
