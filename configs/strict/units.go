package strict

import (
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// String is a text with where it stands in the file.
type String struct {
	Value string
	Pos   Pos        // where the text begins: behind a quote, at a block's first line
	Node  *yaml.Node // nil if the file does not say it

	src *source
}

// At returns where byte offset of Value stands in the file, as well as it can
// be told: exactly, unless the value was expanded.
func (s String) At(offset int) Pos {
	if s.src == nil || s.Node == nil {
		if s.Pos == (Pos{}) {
			return Pos{}
		}
		return Pos{s.Pos.Line, s.Pos.Col + len([]rune(s.Value[:min(max(offset, 0), len(s.Value))]))}
	}
	return s.src.locate(s.Node, offset)
}

// String returns the text.
func (s String) String() string { return s.Value }

// Format writes the text, in quotes for %q and %#v, and never the node or file
// behind it.
func (s String) Format(f fmt.State, verb rune) {
	text := s.Value
	if verb == 'q' || verb == 'v' && f.Flag('#') {
		text = strconv.Quote(text)
	}
	_, _ = io.WriteString(f, text) // fmt.State keeps no error
}

// MarshalYAML returns the text.
func (s String) MarshalYAML() (any, error) { return s.Value, nil }

// MarshalText returns the text.
func (s String) MarshalText() ([]byte, error) { return []byte(s.Value), nil }

// UnmarshalStrict takes a scalar's text as it is.
func (s *String) UnmarshalStrict(d *Decoder, n *yaml.Node) {
	var text string
	if d.Decode(n, &text) {
		*s = String{Value: text, Pos: d.src.locate(n, 0), Node: n, src: d.src}
	}
}

// Size is a number of bytes. It is written "20GiB", "64KiB", "1MB" or as a plain number.
type Size int64

// The binary units.
const (
	KiB Size = 1 << (10 * (iota + 1))
	MiB
	GiB
	TiB
)

// String returns the size in the largest unit that divides it, e.g. "20GiB".
func (s Size) String() string {
	for _, u := range []struct {
		unit Size
		name string
	}{{TiB, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}} {
		if s != 0 && s%u.unit == 0 {
			return strconv.FormatInt(int64(s/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns the same as String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalStrict decodes "64KiB" and plain numbers.
func (s *Size) UnmarshalStrict(d *Decoder, n *yaml.Node) {
	const hint = `write a number of bytes with a unit: B, KiB, MiB, GiB, TiB, or kB, MB, GB, TB, e.g. "64KiB"`
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, hint, "want a size, got %s", d.describe(n))
		return
	}
	v, err := ParseSize(n.Value)
	if err != nil {
		d.Errorf(n, hint, "want a size, got %s", d.describe(n))
		return
	}
	*s = v
}

// ParseSize parses "20GiB", "1.5MB" or "4096". Case does not count.
func ParseSize(text string) (Size, error) {
	number, unit := splitUnit(strings.TrimSpace(text))
	factor, ok := map[string]int64{
		"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
		"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	}[strings.ToLower(strings.TrimSpace(unit))]
	if !ok {
		return 0, fmt.Errorf("size %q: unknown unit %q", text, unit)
	}
	v, ok := new(big.Rat).SetString(number)
	if !ok {
		return 0, fmt.Errorf("size %q: want a number with a unit, e.g. 64KiB", text)
	}
	v.Mul(v, new(big.Rat).SetInt64(factor))
	if !v.IsInt() || !v.Num().IsInt64() {
		return 0, fmt.Errorf("size %q is not a whole number of bytes below 8 EiB", text)
	}
	return Size(v.Num().Int64()), nil
}

// durationUnit reports whether time.ParseDuration knows a unit: a number with
// one is a duration, however long.
func durationUnit(unit string) bool {
	switch unit {
	case "ns", "us", "µs", "μs", "ms", "s", "m", "h":
		return true
	}
	return false
}

// splitUnit splits "1.5MB" into the number, which holds digits and one point
// at most, and what follows it.
func splitUnit(s string) (number, unit string) {
	i := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(s)
	}
	if i > 32 || strings.Count(s[:i], ".") > 1 {
		return "", s
	}
	return s[:i], s[i:]
}

// ErrTooLong is in the error of a duration that time.Duration can't hold.
var ErrTooLong = errors.New("longer than 292 years")

// UnitsHint says how a duration of several units is written.
const UnitsHint = "write each unit once, the largest first, e.g. 1h30m"

// UnitsFall reports whether the units of a duration stand in their order, each
// once: 1h30m, and neither 30m1h nor 5m5m, which are slips.
func UnitsFall(text string) bool {
	last := 0
	for rest := strings.TrimPrefix(text, "-"); rest != ""; {
		_, tail := splitUnit(rest)
		end := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		if end < 0 {
			end = len(tail)
		}
		rank := map[string]int{"w": 1, "d": 2, "h": 3, "m": 4, "s": 5, "ms": 6, "us": 7, "µs": 7, "μs": 7, "ns": 8}[tail[:end]]
		if rank == 0 { // no duration at all
			return true
		}
		if rank <= last {
			return false
		}
		last, rest = rank, tail[end:]
	}
	return true
}

// ParseDuration parses what time.ParseDuration parses, and days and weeks
// ("7d", "1d12h", "2w"): a day is 24 hours. A number without a unit is an
// error, except 0.
func ParseDuration(text string) (time.Duration, error) {
	rest, sign := text, time.Duration(1)
	if cut, ok := strings.CutPrefix(rest, "-"); ok {
		rest, sign = cut, -1
	}
	if rest == "0" {
		return 0, nil
	}
	var sum time.Duration
	for first := true; first || rest != ""; first = false {
		number, tail := splitUnit(rest)
		end := strings.IndexFunc(tail, func(r rune) bool { return r >= '0' && r <= '9' || r == '.' })
		if end < 0 {
			end = len(tail)
		}
		unit := tail[:end]
		rest = tail[end:]
		factor := time.Duration(1)
		switch unit {
		case "d":
			unit, factor = "h", 24
		case "w":
			unit, factor = "h", 7*24
		}
		v, err := time.ParseDuration(number + unit)
		if err != nil && number != "" && durationUnit(unit) {
			return 0, fmt.Errorf("duration %q is %w", text, ErrTooLong)
		}
		if err != nil || number == "" || unit == "" {
			return 0, fmt.Errorf("duration %q: want numbers with units (ms, s, m, h, d, w), e.g. 10m or 1h30m", text)
		}
		if v > math.MaxInt64/factor || sum > math.MaxInt64-v*factor {
			return 0, fmt.Errorf("duration %q is %w", text, ErrTooLong)
		}
		sum += v * factor
	}
	return sign * sum, nil
}
