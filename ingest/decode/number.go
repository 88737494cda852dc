package decode

import (
	"math"
	"strconv"
	"unsafe"

	"weir/ingest/event"
)

// pow10 are the powers of ten that a float64 holds exactly. It never changes.
var pow10 = [...]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11,
	1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// beyondFloat is why a number is refused in every format of documents and values.
const beyondFloat = "the number is beyond the range of a 64-bit float"

// scanNumber reads the number in JSON's grammar that begins at b[i] and
// returns its value and the index after it. If there is none, the value is
// Null and the index is that of the byte that is wrong; if it is beyond a
// float64's range, the value is Null and the index is i.
//
// The value is a Float with its text, or an Int or Uint where it is an integer
// of 2^53 or more that fits. It aliases b.
func scanNumber(b []byte, i int) (event.Value, int) {
	start, neg := i, false
	if b[i] == '-' {
		neg = true
		i++
	}
	first := i
	var m uint64
	for i < len(b) && b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	digits, frac, exp := i-first, 0, false
	if digits == 0 {
		return event.Value{}, i
	}
	if digits > 1 && b[first] == '0' {
		return event.Value{}, first + 1
	}
	if i < len(b) && b[i] == '.' {
		i++
		dot := i
		for i < len(b) && b[i]-'0' <= 9 {
			m = m*10 + uint64(b[i]-'0')
			i++
		}
		if frac = i - dot; frac == 0 {
			return event.Value{}, i
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		exp = true
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return event.Value{}, i
		}
	}
	text := unsafe.String(&b[start], i-start)
	switch {
	case exp || digits+frac > 19: // m may have wrapped
	case m < 1<<53 && frac <= 22:
		f := float64(m)
		if frac > 0 {
			f /= pow10[frac]
		}
		if neg {
			f = -f
		}
		return event.FloatLiteral(f, text), i
	case frac == 0 && neg && m <= 1<<63:
		return event.IntValue(-int64(m)), i
	case frac == 0 && !neg && m <= math.MaxInt64:
		return event.IntValue(int64(m)), i
	case frac == 0 && !neg:
		return event.UintValue(m), i
	}
	if frac == 0 && !exp && !neg {
		if u, err := strconv.ParseUint(text, 10, 64); err == nil {
			return event.UintValue(u), i
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return event.Value{}, start
	}
	return event.FloatLiteral(f, text), i
}

// numberOf returns the number that all of s is in JSON's grammar, or Null.
func numberOf(s string) event.Value {
	if s == "" || s[0] != '-' && s[0]-'0' > 9 {
		return event.Value{}
	}
	v, end := scanNumber(unsafe.Slice(unsafe.StringData(s), len(s)), 0)
	if end != len(s) {
		return event.Value{}
	}
	return v
}

// parseInt is strconv.ParseInt in base 10, without its detours for short numbers.
func parseInt(s string) (int64, error) {
	digits := s
	if s != "" && s[0] == '-' {
		digits = s[1:]
	}
	if digits == "" || len(digits) > 18 {
		return strconv.ParseInt(s, 10, 64)
	}
	n := int64(0)
	for i := 0; i < len(digits); i++ {
		c := digits[i] - '0'
		if c > 9 {
			return 0, strconv.ErrSyntax
		}
		n = n*10 + int64(c)
	}
	if len(digits) < len(s) {
		n = -n
	}
	return n, nil
}

func itoa(i int) string { return strconv.Itoa(i) }
