package decode

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// PayloadError says where a payload is not in its format.
type PayloadError struct {
	Format string // e.g. "JSON"
	Offset int    // of the byte that is wrong, from 0
	Line   int    // from 1
	Column int    // in bytes, from 1
	What   string // is wrong
}

func (e *PayloadError) Error() string {
	return fmt.Sprintf("not %s: line %d, column %d: %s", e.Format, e.Line, e.Column, e.What)
}

// payloadError returns the error for the byte at offset of b.
func payloadError(format string, b []byte, offset int, what string) *PayloadError {
	offset = min(offset, len(b))
	line := 1 + bytes.Count(b[:offset], []byte{'\n'})
	column := offset - bytes.LastIndexByte(b[:offset], '\n')
	return &PayloadError{format, offset, line, column, what}
}

// move counts n bytes that stand before what was read.
func (e *PayloadError) move(b []byte, n int) {
	if n > 0 {
		*e = *payloadError(e.Format, b, e.Offset+n, e.What)
	}
}

// fail notes that b[i] is not what was expected, and returns -1.
func (s *scanner) fail(i int, expected string) int {
	return s.failWith(i, "expected "+expected+", found "+s.found(i))
}

func (s *scanner) failWith(i int, what string) int {
	s.err = payloadError("JSON", s.b, i, what)
	return -1
}

// found describes what stands at b[i].
func (s *scanner) found(i int) string {
	if i >= len(s.b) {
		return "the end of the payload"
	}
	rest := s.b[i:]
	for _, w := range []string{"NaN", "nan", "Infinity", "inf", "True", "False", "None", "undefined"} {
		if bytes.HasPrefix(rest, []byte(w)) {
			return w + ", which JSON doesn't have"
		}
	}
	switch {
	case rest[0] == '\'':
		return "', where JSON wants double quotes"
	case rest[0] == '/' && len(rest) > 1 && (rest[1] == '/' || rest[1] == '*'):
		return "a comment, which JSON doesn't have"
	case i == 0 && len(rest) > 1 && (rest[0] == 0xFF && rest[1] == 0xFE || rest[0] == 0xFE && rest[1] == 0xFF):
		return "UTF-16; send UTF-8"
	}
	r, size := utf8.DecodeRune(rest)
	if r == utf8.RuneError && size <= 1 {
		return fmt.Sprintf("the byte 0x%02x", rest[0])
	}
	return strconv.QuoteRune(r)
}

func (s *scanner) failKey(i int) int {
	if i < len(s.b) && s.b[i] == '}' {
		return s.failWith(i, "a comma before }")
	}
	return s.fail(i, "a key in double quotes")
}

// failNumber reports the number at b[i] that went wrong at b[at].
func (s *scanner) failNumber(i, at int) int {
	switch {
	case at == i:
		return s.failWith(i, beyondFloat)
	case at < len(s.b) && s.b[at]-'0' <= 9:
		return s.failWith(i, "the number begins with 0")
	}
	return s.fail(at, "a digit")
}

func (s *scanner) failDepth(i int) int {
	return s.failWith(i, fmt.Sprintf("nested deeper than %d levels", maxDepth))
}

func (s *scanner) failFull(i int) int {
	return s.failWith(i, s.d.tooBig().Error())
}

func (s *scanner) failEscape(i int) int {
	return s.failWith(i, "unknown escape in a string")
}

func (s *scanner) failControl(i int) int {
	return s.failWith(i, fmt.Sprintf("the control character 0x%02x stands bare in a string; JSON wants it escaped", s.b[i]))
}

func (s *scanner) failUTF8(i int) int {
	return s.failWith(i, fmt.Sprintf("the byte 0x%02x is not UTF-8; is the text Latin-1?", s.b[i]))
}

// unescape appends what the escape at b[i], after its backslash, stands for,
// and returns the index after it. Half a surrogate pair becomes U+FFFD.
func unescape(dst, b []byte, i int) ([]byte, int, bool) {
	if i >= len(b) {
		return dst, i, false
	}
	switch c := b[i]; c {
	case '"', '\\', '/':
		return append(dst, c), i + 1, true
	case 'b':
		return append(dst, '\b'), i + 1, true
	case 'f':
		return append(dst, '\f'), i + 1, true
	case 'n':
		return append(dst, '\n'), i + 1, true
	case 'r':
		return append(dst, '\r'), i + 1, true
	case 't':
		return append(dst, '\t'), i + 1, true
	case 'u':
		r, ok := hex4(b, i+1)
		if !ok {
			return dst, i, false
		}
		i += 5
		if utf16.IsSurrogate(r) {
			r2 := rune(-1)
			if i+1 < len(b) && b[i] == '\\' && b[i+1] == 'u' {
				r2, _ = hex4(b, i+2)
			}
			if r = utf16.DecodeRune(r, r2); r != utf8.RuneError {
				i += 6
			}
		}
		return utf8.AppendRune(dst, r), i, true
	}
	return dst, i, false
}

func hex4(b []byte, i int) (rune, bool) {
	if len(b)-i < 4 {
		return -1, false
	}
	var r rune
	for _, c := range b[i : i+4] {
		switch {
		case c-'0' <= 9:
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return -1, false
		}
	}
	return r, true
}

// quotedKey returns a key as it stands in JSON after its first quote, with a
// colon; for a key that needs escapes, a text that no JSON holds.
func quotedKey(key string) string {
	for i := 0; i < len(key); i++ {
		if key[i] == '"' || key[i] == '\\' || key[i] < ' ' {
			return "\x00"
		}
	}
	return key + `":`
}
