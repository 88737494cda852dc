package decode

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"weir/ingest/event"
)

// timeSpec is a compiled TimeSpec.
type timeSpec struct {
	picks    []int // fields, the first that is there counts
	unit     string
	scale    int            // of a fixed unit: its decimal exponent in ns
	layout   string         // a Go layout, or ""
	zone     *time.Location // of times that say none; nil: that is an error
	earliest int64          // ns
	ahead    int64          // ns
}

// The bounds of a plausible time by default.
const (
	defaultEarliest = 946684800e9 // 2000-01-01T00:00:00Z
	defaultAhead    = 24 * time.Hour
)

// scaleOf returns the decimal exponent of a unit in ns.
func scaleOf(unit string) (int, bool) {
	switch unit {
	case UnitSecond:
		return 9, true
	case UnitMilli:
		return 6, true
	case UnitMicro:
		return 3, true
	case UnitNano:
		return 0, true
	}
	return 0, false
}

func (c *compiler) times() {
	in, out := c.in.Time, &c.out.time
	out.earliest, out.ahead = defaultEarliest, int64(defaultAhead)
	if !in.Earliest.IsZero() {
		if in.Earliest.Year() < 1678 || in.Earliest.Year() > 2261 {
			c.fail("time.earliest", fmt.Errorf("%v is out of range", in.Earliest), "1678 to 2261")
		}
		out.earliest = in.Earliest.UnixNano()
	}
	if in.MaxAhead < 0 {
		c.fail("time.max_ahead", fmt.Errorf("%v is negative", in.MaxAhead), "e.g. 24h")
	} else if in.MaxAhead > 0 {
		out.ahead = int64(in.MaxAhead)
	}
	for _, f := range in.Fields {
		if f == "" {
			c.fail("time.field", errors.New("is empty"), `e.g. "ts"`)
			continue
		}
		out.picks = append(out.picks, c.pick(f))
	}
	if len(in.Fields) == 0 && !c.out.lines && (in.Unit != "" || in.Zone != "") {
		c.fail("time.field", errors.New("is missing, so unit and zone have no effect"), "name the field that holds the time")
	}
	if out.unit = in.Unit; out.unit == "" {
		out.unit = UnitAuto
		if c.out.lines {
			out.unit = UnitNano
		}
	}
	var fixed bool
	out.scale, fixed = scaleOf(out.unit)
	switch {
	case fixed || out.unit == UnitAuto || out.unit == UnitRFC3339:
		if c.out.lines && !fixed {
			c.fail("time.unit", fmt.Errorf("%q has no meaning for line-protocol", out.unit), "s, ms, us or ns")
		}
	case isLayout(out.unit) && !c.out.lines:
		out.layout = out.unit
	default:
		c.fail("time.unit", fmt.Errorf("unknown unit %q", out.unit), "auto, s, ms, us, ns, rfc3339, or a Go layout with a date such as "+time.DateTime)
	}
	if in.Zone != "" {
		zone, err := time.LoadLocation(in.Zone)
		if err != nil {
			c.fail("time.zone", err, "an IANA name, e.g. Europe/Berlin")
		}
		out.zone = zone
	} else if out.unit != UnitRFC3339 {
		out.zone = time.UTC
	}
}

// isLayout reports whether s is a Go layout that tells the day of the year.
func isLayout(s string) bool {
	ref := time.Date(2031, 11, 23, 14, 45, 56, 789e6, time.UTC)
	t, err := time.Parse(s, ref.Format(s))
	return err == nil && t.Year() == 2031 && t.YearDay() == ref.YearDay()
}

// time returns the time of the event whose fields are picked.
func (d *Decoder) time(ts *timeSpec, received int64) (int64, error) {
	for _, p := range ts.picks {
		v := d.doc.picked[p]
		at, ok, err := ts.of(v)
		if err != nil {
			return 0, fmt.Errorf("time %q: %w", d.doc.sh.src.picks[p], err)
		}
		if ok {
			return d.plausible(ts, at, received), nil
		}
	}
	return received, nil
}

// plausible returns the time at, or the receive time if at is no plausible one.
func (d *Decoder) plausible(ts *timeSpec, at, received int64) int64 {
	if at < ts.earliest || at > received && at-received > ts.ahead {
		d.counts.TimeReplaced++
		return received
	}
	return at
}

// of returns the time that v says in ns, and whether it says one.
func (ts *timeSpec) of(v event.Value) (int64, bool, error) {
	var text string
	switch v.Kind() {
	case event.Null:
		return 0, false, nil
	case event.Bool:
		return 0, false, fmt.Errorf("%v is no time", v)
	case event.Int:
		return ts.ofInt(v.Int(), false)
	case event.Uint:
		return ts.ofInt(int64(v.Uint()), v.Uint() > math.MaxInt64)
	case event.Float:
		f, _ := v.Float()
		if i := int64(f); float64(i) == f && math.Abs(f) < 1<<53 {
			return ts.ofInt(i, false)
		}
		if text = v.Literal(); text == "" {
			text = v.String()
		}
	default:
		if text = v.Text(); text != "" && (text[0] <= ' ' || text[len(text)-1] <= ' ') {
			text = strings.Trim(text, " \t\r\n")
		}
		if isNoValueWord(text) {
			return 0, false, nil
		}
	}
	if ts.layout == "" && ts.unit != UnitRFC3339 {
		if ns, zero, ok := scaled(text, ts.scale, ts.unit == UnitAuto); ok {
			return ns, !zero, nil
		}
		if ts.unit != UnitAuto {
			return 0, false, fmt.Errorf("%.64q is no number of %s in range", text, ts.unit)
		}
	}
	ns, err := ts.parse(text)
	return ns, err == nil, err
}

func (ts *timeSpec) ofInt(i int64, wrapped bool) (int64, bool, error) {
	if ts.layout != "" || ts.unit == UnitRFC3339 {
		return 0, false, fmt.Errorf("a number, where a text such as %q is expected", ts.example())
	}
	if i == 0 && !wrapped {
		return 0, false, nil // a clock that is not set
	}
	scale := ts.scale
	if ts.unit == UnitAuto {
		scale = guessScale(i)
	}
	p := int64(pow10[scale])
	if wrapped || i > math.MaxInt64/p || i < math.MinInt64/p {
		return 0, false, fmt.Errorf("%d %s is out of range", i, ts.unit)
	}
	return i * p, true, nil
}

func (ts *timeSpec) example() string {
	if ts.layout != "" {
		return ts.layout
	}
	return time.RFC3339
}

// guessScale tells a number's unit by its magnitude: as seconds up to the year
// 5138, and the same time as ms, us and ns.
func guessScale(i int64) int {
	switch {
	case i < 0:
		i = -i
		fallthrough
	default:
		switch {
		case i < 1e11:
			return 9
		case i < 1e14:
			return 6
		case i < 1e17:
			return 3
		}
		return 0
	}
}

// scaled returns a decimal number as ns, exactly, rounding towards zero below
// 1 ns; ok says whether s is one and it fits.
func scaled(s string, scale int, guess bool) (ns int64, zero, ok bool) {
	i, neg := 0, false
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		neg = s[i] == '-'
		i++
	}
	var m uint64
	digits, exp, point := 0, 0, false
	for ; i < len(s); i++ {
		c := s[i]
		if c == '.' && !point {
			point = true
			continue
		}
		if c-'0' > 9 {
			break
		}
		digits++
		switch {
		case m < 1e18:
			m = m*10 + uint64(c-'0')
			if point {
				exp--
			}
		case !point:
			exp++
		}
	}
	if digits == 0 {
		return 0, false, false
	}
	if i < len(s) {
		e, ok := exponent(s[i:])
		if !ok {
			return 0, false, false
		}
		exp += e
	}
	if m == 0 {
		return 0, true, true
	}
	if guess {
		whole := int64(math.MaxInt64)
		if f := float64(m) * math.Pow10(exp); f < math.MaxInt64 {
			whole = int64(f)
		}
		scale = guessScale(whole)
	}
	for exp += scale; exp > 0; exp-- {
		if m > math.MaxInt64/10 {
			return 0, false, false
		}
		m *= 10
	}
	for ; exp < 0 && m > 0; exp++ {
		m /= 10
	}
	if m > math.MaxInt64 {
		return 0, false, false
	}
	if neg {
		return -int64(m), false, true
	}
	return int64(m), false, true
}

// exponent reads "e+12".
func exponent(s string) (int, bool) {
	if s[0]|0x20 != 'e' {
		return 0, false
	}
	s = s[1:]
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	if s == "" || len(s) > 4 {
		return 0, false
	}
	e := 0
	for i := 0; i < len(s); i++ {
		if s[i]-'0' > 9 {
			return 0, false
		}
		e = e*10 + int(s[i]-'0')
	}
	if neg {
		e = -e
	}
	return e, true
}
