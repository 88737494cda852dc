package event

import (
	"math"
	"strconv"
)

// Kind is the type of a Value.
type Kind uint8

// The kinds of a Value. The zero Value is Null: a field that is not there.
const (
	Null Kind = iota
	Float
	Int
	Uint
	Bool
	String
)

// String returns the name of the kind as it appears in messages to users.
func (k Kind) String() string {
	switch k {
	case Null:
		return "null"
	case Float:
		return "float"
	case Int:
		return "integer"
	case Uint:
		return "unsigned"
	case Bool:
		return "boolean"
	case String:
		return "string"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one immutable scalar: null, a 64-bit number, a boolean or a string.
//
// Formats that do not tell integers from floats (JSON) give Float for every
// number that a float64 holds exactly, and Int or Uint for integers beyond 2^53.
// A number may carry the text it arrived as, see Literal.
type Value struct {
	kind Kind
	num  uint64 // the bits of the number; 0 or 1 for Bool
	str  string // the text of a String; the literal of a number, or ""
}

// FloatValue returns a Float.
func FloatValue(f float64) Value { return Value{kind: Float, num: math.Float64bits(f)} }

// FloatLiteral returns a Float that remembers the decimal text it was parsed
// from. The text must be a number in JSON's grammar that parses to f.
func FloatLiteral(f float64, text string) Value {
	return Value{kind: Float, num: math.Float64bits(f), str: text}
}

// IntValue returns an Int.
func IntValue(i int64) Value { return Value{kind: Int, num: uint64(i)} }

// UintValue returns a Uint.
func UintValue(u uint64) Value { return Value{kind: Uint, num: u} }

// BoolValue returns a Bool.
func BoolValue(b bool) Value {
	if b {
		return Value{kind: Bool, num: 1}
	}
	return Value{kind: Bool}
}

// StringValue returns a String.
func StringValue(s string) Value { return Value{kind: String, str: s} }

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// Float returns the value as a float64, and whether it is a number at all.
// Integers beyond 2^53 are rounded.
func (v Value) Float() (float64, bool) {
	switch v.kind {
	case Float:
		return math.Float64frombits(v.num), true
	case Int:
		return float64(int64(v.num)), true
	case Uint:
		return float64(v.num), true
	}
	return 0, false
}

// Int returns the bits of an Int as int64. It is meaningful for Int only.
func (v Value) Int() int64 { return int64(v.num) }

// Uint returns the bits of a Uint. It is meaningful for Uint only.
func (v Value) Uint() uint64 { return v.num }

// Bool returns the value of a Bool, and false for every other kind.
func (v Value) Bool() bool { return v.kind == Bool && v.num == 1 }

// Text returns the text of a String, and "" for every other kind.
func (v Value) Text() string {
	if v.kind != String {
		return ""
	}
	return v.str
}

// Literal returns the decimal text that a Float was parsed from, or "".
func (v Value) Literal() string {
	if v.kind != Float {
		return ""
	}
	return v.str
}

// Any returns the value as nil, float64, int64, uint64, bool or string.
func (v Value) Any() any {
	switch v.kind {
	case Float:
		return math.Float64frombits(v.num)
	case Int:
		return int64(v.num)
	case Uint:
		return v.num
	case Bool:
		return v.num == 1
	case String:
		return v.str
	}
	return nil
}

// String returns the value as text for people: a string without quotes.
func (v Value) String() string {
	switch v.kind {
	case Float:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	case Int:
		return strconv.FormatInt(int64(v.num), 10)
	case Uint:
		return strconv.FormatUint(v.num, 10)
	case Bool:
		return strconv.FormatBool(v.num == 1)
	case String:
		return v.str
	}
	return "null"
}

// Equal reports whether two values have the same kind and content. Literals
// are not compared; NaN equals NaN.
func (v Value) Equal(w Value) bool {
	if v.kind != w.kind {
		return false
	}
	if v.kind == String {
		return v.str == w.str
	}
	return v.num == w.num
}
