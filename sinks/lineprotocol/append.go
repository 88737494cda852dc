package lineprotocol

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// What a byte needs in each place. A byte of class 0 is copied as it is.
const (
	escapedInMeasurement = 1 << iota // space, comma
	escapedInName                    // space, comma, equals sign
	escapedInString                  // quote, backslash
	control                          // must not stand in a name as it is
	backslash                        // harmless in a name unless the next character is special
	nonASCII                         // must be checked to be UTF-8
)

// class is a constant table.
var class = func() (t [256]uint8) {
	for c := range 0x20 {
		t[c] = control
	}
	t[0x7f] = control
	for c := 0x80; c < 256; c++ {
		t[c] = nonASCII
	}
	t[' '] |= escapedInMeasurement | escapedInName
	t[','] |= escapedInMeasurement | escapedInName
	t['='] |= escapedInName
	t['"'] |= escapedInString
	t['\\'] |= escapedInString | backslash
	return t
}()

const (
	measurementMask = escapedInMeasurement | control | backslash | nonASCII
	nameMask        = escapedInName | control | backslash | nonASCII
	stringMask      = escapedInString | nonASCII
)

// AppendMeasurement appends the name of a measurement.
func AppendMeasurement(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "(empty)"...)
	}
	if s[0] == '#' {
		dst = append(dst, '\\')
	}
	if plain(s, measurementMask) {
		return append(dst, s...)
	}
	return appendEscaped(dst, s, escapedInMeasurement)
}

// AppendName appends a tag key, a tag value or a field key.
func AppendName(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "(empty)"...)
	}
	if plain(s, nameMask) {
		return append(dst, s...)
	}
	return appendEscaped(dst, s, escapedInName)
}

// AppendString appends a string field value with its quotes.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	if plain(s, stringMask) {
		dst = append(dst, s...)
		return append(dst, '"')
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			n := runeLen(s[i:])
			if n == 0 {
				dst = append(dst, '?')
				i++
				continue
			}
			dst = append(dst, s[i:i+n]...)
			i += n
			continue
		}
		if class[c]&escapedInString != 0 {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
		i++
	}
	return append(dst, '"')
}

// AppendFloat appends a finite float. literal is the decimal text it was parsed
// from, or ""; it is written as it is if there is one, so that "21.50" stays so.
func AppendFloat(dst []byte, f float64, literal string) []byte {
	// The server parses the text again: what is longer than a float can be
	// precise is only work for it.
	if literal != "" && len(literal) <= 32 {
		return append(dst, literal...)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// AppendInt appends an integer field value.
func AppendInt(dst []byte, i int64) []byte { return append(strconv.AppendInt(dst, i, 10), 'i') }

// AppendUint appends an unsigned field value, which InfluxDB 1.x does not know.
func AppendUint(dst []byte, u uint64) []byte { return append(strconv.AppendUint(dst, u, 10), 'u') }

// AppendBool appends a boolean field value.
func AppendBool(dst []byte, b bool) []byte { return strconv.AppendBool(dst, b) }

// Finite reports whether f can be a field value at all: NaN and the infinities
// cannot be written.
func Finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

func plain(s string, mask uint8) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]]&mask != 0 {
			return false
		}
	}
	return true
}

func appendEscaped(dst []byte, s string, special uint8) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		k := class[c]
		switch {
		case k&special != 0:
			dst = append(dst, '\\', c)
		case k&control != 0:
			dst = appendControl(dst, c)
		case k&backslash != 0:
			if i+1 == len(s) || class[s[i+1]]&(special|control|backslash) != 0 && !endsWell(s[i+1:], special) {
				c = '/'
			}
			dst = append(dst, c)
		case k&nonASCII != 0:
			n := runeLen(s[i:])
			if n == 0 {
				dst = append(dst, '?')
				break
			}
			dst = append(dst, s[i:i+n]...)
			i += n
			continue
		default:
			dst = append(dst, c)
		}
		i++
	}
	return dst
}

// endsWell reports whether s, which follows a backslash, is a run of
// backslashes before an ordinary character: those escape nothing.
func endsWell(s string, special uint8) bool {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			return class[s[i]]&(special|control) == 0
		}
	}
	return false
}

func appendControl(dst []byte, c byte) []byte {
	switch c {
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\f':
		return append(dst, '\\', 'f')
	}
	return append(dst, '?')
}

// runeLen returns the length of the UTF-8 sequence that s begins with, and 0 if
// it is none.
func runeLen(s string) int {
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n <= 1 {
		return 0
	}
	return n
}
