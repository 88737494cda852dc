package devices

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"weir/ingest/event"
)

func appendTags(s []byte, tags []event.Tag) []byte {
	at, kept := len(s), 0
	s = append(s, 0) // MaxTags fits one byte
	for i := range tags {
		if kept == MaxTags {
			break
		}
		if len(tags[i].Key) <= MaxName {
			s = appendString(appendString(s, tags[i].Key), cut(tags[i].Value, MaxText))
			kept++
		}
	}
	s[at] = byte(kept)
	return s
}

// appendFields appends the last section and returns how many fields are in it.
func appendFields(s []byte, fields []event.Field) ([]byte, int) {
	at, kept := len(s), 0
	s = append(s, 0) // MaxFields fits one byte
	for i := range fields {
		if kept == MaxFields {
			break
		}
		if len(fields[i].Name) <= MaxName {
			s = appendValue(appendString(s, fields[i].Name), &fields[i].Value)
			kept++
		}
	}
	s[at] = byte(kept)
	return s, kept
}

func appendValue(s []byte, v *event.Value) []byte {
	s = append(s, byte(v.Kind()))
	switch v.Kind() {
	case event.Float, event.Int, event.Uint:
		return binary.LittleEndian.AppendUint64(s, bits(v))
	case event.Bool:
		return append(s, bit(v))
	case event.String:
		return appendString(s, cut(v.Text(), MaxText))
	}
	return s
}

// bits returns the 64 bits of a number.
func bits(v *event.Value) uint64 {
	switch v.Kind() {
	case event.Float:
		f, _ := v.Float()
		return math.Float64bits(f)
	case event.Int:
		return uint64(v.Int())
	}
	return v.Uint()
}

func bit(v *event.Value) byte {
	if v.Bool() {
		return 1
	}
	return 0
}

func appendString(s []byte, text string) []byte {
	if len(text) < 0x80 {
		return append(append(s, byte(len(text))), text...)
	}
	return append(binary.AppendUvarint(s, uint64(len(text))), text...)
}

func appendBytes(s, text []byte) []byte {
	return append(binary.AppendUvarint(s, uint64(len(text))), text...)
}

// cut returns at most n bytes of s, ending between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// patch writes the values of e into a text of an event that has the same source,
// measurement, tags and fields and values of the same sizes, and reports
// whether it could. It saves encoding everything again in the usual case. A text
// that it could not patch holds old and new values of fields that e has: of use
// only to who replaces all of e's fields in it.
func patch(text []byte, e *event.Event) bool {
	i := 0
	if i = match(text, i, e.Source); i < 0 {
		return false
	}
	if i = match(text, i, e.Measurement); i < 0 || int(text[i]) != len(e.Tags) {
		return false
	}
	i++
	for t := range e.Tags {
		if i = match(text, i, e.Tags[t].Key); i < 0 {
			return false
		}
		if i = match(text, i, e.Tags[t].Value); i < 0 {
			return false
		}
	}
	if int(text[i]) != len(e.Fields) {
		return false
	}
	i++
	for f := range e.Fields {
		if i = match(text, i, e.Fields[f].Name); i < 0 {
			return false
		}
		v := &e.Fields[f].Value
		kind := v.Kind()
		if event.Kind(text[i]) != kind {
			return false
		}
		i++
		switch kind {
		case event.Float, event.Int, event.Uint:
			binary.LittleEndian.PutUint64(text[i:], bits(v))
			i += 8
		case event.Bool:
			text[i] = bit(v)
			i++
		case event.String:
			s := v.Text()
			if len(s) >= 0x80 || int(text[i]) != len(s) {
				return false
			}
			i += 1 + copy(text[i+1:], s)
		}
	}
	return true
}

// match returns the place behind the string at text[i:] if it is s, and -1 if it
// is not. Strings of 128 bytes and more never match.
func match(text []byte, i int, s string) int {
	if len(s) >= 0x80 || int(text[i]) != len(s) {
		return -1
	}
	if i++; string(text[i:i+len(s)]) != s {
		return -1
	}
	return i + len(s)
}

// decodeValue returns the Go value of an encoded one. JSON has no NaN and no
// infinity: they become nil.
func decodeValue(b []byte) any {
	switch event.Kind(b[0]) {
	case event.Float:
		f := math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		return f
	case event.Int:
		return int64(binary.LittleEndian.Uint64(b[1:]))
	case event.Uint:
		return binary.LittleEndian.Uint64(b[1:])
	case event.Bool:
		return b[1] == 1
	case event.String:
		c := cursor{b: b, at: 1}
		return string(c.bytes())
	}
	return nil
}

var errCutShort = errors.New("it ends too early")

// cursor reads the encoded form. After an error it stands still and returns
// zeroes.
type cursor struct {
	b   []byte
	at  int
	err error
}

func (c *cursor) fail(what string) {
	if c.err == nil {
		c.err = errors.New(what)
	}
	c.at = len(c.b)
}

func (c *cursor) uvarint() uint64 {
	if c.at < len(c.b) && c.b[c.at] < 0x80 {
		c.at++
		return uint64(c.b[c.at-1])
	}
	v, n := binary.Uvarint(c.b[c.at:])
	if n <= 0 {
		c.short()
		return 0
	}
	c.at += n
	return v
}

func (c *cursor) short() {
	if c.err == nil {
		c.err = errCutShort
	}
	c.at = len(c.b)
}

// varint reads a signed number in zig-zag form.
func (c *cursor) varint() int64 {
	u := c.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// take returns the next n bytes, which stay part of the cursor's buffer.
func (c *cursor) take(n uint64) []byte {
	if n > uint64(len(c.b)-c.at) {
		c.short()
		return nil
	}
	from := c.at
	c.at += int(n)
	return c.b[from:c.at:c.at]
}

func (c *cursor) bytes() []byte { return c.take(c.uvarint()) }

func (c *cursor) name() {
	if len(c.bytes()) > MaxName {
		c.fail("a name is too long")
	}
}

func (c *cursor) count(most int) int {
	n := c.uvarint()
	if n > uint64(most) {
		c.fail(fmt.Sprintf("a count of %d, more than %d", n, most))
		return 0
	}
	return int(n)
}

func (c *cursor) int64() int64 {
	b := c.take(8)
	if b == nil {
		return 0
	}
	return int64(binary.LittleEndian.Uint64(b))
}

func (c *cursor) value() []byte {
	from := c.at
	c.skipValue()
	return c.b[from:c.at:c.at]
}

func (c *cursor) skipValue() {
	kind := c.take(1)
	if kind == nil {
		return
	}
	switch event.Kind(kind[0]) {
	case event.Null:
	case event.Float, event.Int, event.Uint:
		c.take(8)
	case event.Bool:
		c.take(1)
	case event.String:
		if len(c.bytes()) > MaxText {
			c.fail("a text is too long")
		}
	default:
		c.fail(fmt.Sprintf("unknown kind of value %d", kind[0]))
	}
}
