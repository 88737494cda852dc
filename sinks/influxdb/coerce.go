package influxdb

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"weir/ingest/event"
	"weir/sinks/exchange"
	"weir/sinks/lineprotocol"
)

// TypeError is a value that cannot be written in the type its field has.
type TypeError struct {
	Measurement, Field string
	Value              event.Value
	Want               event.Kind // what the field is in the database
}

func (e *TypeError) Error() string {
	return fmt.Sprintf("measurement %q: field %q is of type %s in the database, but the value %s is of type %s; "+
		"correct what the device sends, or rename the field in its source, and replay",
		e.Measurement, e.Field, e.Want, exchange.Clip(strconv.Quote(e.Value.String()), 80), e.Value.Kind())
}

// coerce returns v as a value of the kind want, if that is possible without
// changing what it says: 3 as 3.0, "52.6" as 52.6, 4.0 as 4, true as 1, but
// neither 4.5 as 4 nor "warm" as a number.
func coerce(v event.Value, want event.Kind) (event.Value, bool) {
	switch want {
	case event.String:
		if l := v.Literal(); l != "" {
			return event.StringValue(l), true
		}
		return event.StringValue(v.String()), true
	case event.Bool:
		return toBool(v)
	case event.Float:
		return toFloat(v)
	case event.Int:
		return toInt(v)
	case event.Uint:
		return toUint(v)
	}
	return v, false
}

func toBool(v event.Value) (event.Value, bool) {
	if v.Kind() == event.String {
		switch strings.ToLower(strings.TrimSpace(v.Text())) {
		case "true", "on", "1":
			return event.BoolValue(true), true
		case "false", "off", "0":
			return event.BoolValue(false), true
		}
		return v, false
	}
	if f, ok := v.Float(); ok && (f == 0 || f == 1) {
		return event.BoolValue(f == 1), true
	}
	return v, false
}

func toFloat(v event.Value) (event.Value, bool) {
	switch v.Kind() {
	case event.String:
		f, err := strconv.ParseFloat(number(v.Text()), 64)
		return event.FloatValue(f), err == nil && lineprotocol.Finite(f)
	case event.Bool:
		return event.FloatValue(bit(v)), true
	}
	f, ok := v.Float()
	return event.FloatValue(f), ok
}

func toInt(v event.Value) (event.Value, bool) {
	switch v.Kind() {
	case event.String:
		if i, err := strconv.ParseInt(number(v.Text()), 10, 64); err == nil {
			return event.IntValue(i), true
		}
		if f, ok := toFloat(v); ok {
			return toInt(f)
		}
		return v, false
	case event.Bool:
		return event.IntValue(int64(bit(v))), true
	case event.Uint:
		return event.IntValue(int64(v.Uint())), v.Uint() <= math.MaxInt64
	case event.Float:
		f, _ := v.Float()
		// 2^63 is the first float beyond the range; -2^63 is in it.
		return event.IntValue(int64(f)), f == math.Trunc(f) && f >= -(1<<63) && f < 1<<63
	}
	return v, v.Kind() == event.Int
}

func toUint(v event.Value) (event.Value, bool) {
	switch v.Kind() {
	case event.Uint:
		return v, true
	case event.String:
		if u, err := strconv.ParseUint(number(v.Text()), 10, 64); err == nil {
			return event.UintValue(u), true
		}
		if f, ok := toFloat(v); ok {
			return toUint(f)
		}
		return v, false
	case event.Float:
		f, _ := v.Float()
		return event.UintValue(uint64(f)), f == math.Trunc(f) && f >= 0 && f < 1<<64
	}
	i, ok := toInt(v)
	return event.UintValue(uint64(i.Int())), ok && i.Int() >= 0
}

// number returns a text that holds a number in decimal, and "" for what
// strconv takes but no device means as one: hex, underscores, infinity.
func number(s string) string {
	s = strings.TrimSpace(s)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return ""
		}
	}
	return s
}

func bit(v event.Value) float64 {
	if v.Bool() {
		return 1
	}
	return 0
}
