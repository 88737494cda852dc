package decode

import (
	"fmt"
	"strings"
	"time"
)

// parse returns the time that a text says, in ns since the Unix epoch.
func (ts *timeSpec) parse(s string) (int64, error) {
	if ts.layout != "" {
		t, err := time.ParseInLocation(ts.layout, s, ts.zone)
		if err != nil {
			return 0, fmt.Errorf("%.64q is not in the layout %.64q", s, ts.layout)
		}
		return nanos(t, s)
	}
	at, ok := parseCivil(s)
	if !ok {
		return 0, fmt.Errorf("%.64q is no time in RFC 3339, e.g. %.64q", s, time.RFC3339)
	}
	switch {
	case at.zoned:
		return nanos(time.Date(at.year, at.month, at.day, at.hour, at.min, at.sec-at.offset, at.nsec, time.UTC), s)
	case ts.zone == nil:
		return 0, fmt.Errorf("%.64q says no offset; set time.zone, or unit auto, which takes it as UTC", s)
	}
	return nanos(time.Date(at.year, at.month, at.day, at.hour, at.min, at.sec, at.nsec, ts.zone), s)
}

// nanos returns t in ns, which 64 bits can say for the years 1678 to 2261.
func nanos(t time.Time, s string) (int64, error) {
	if y := t.Year(); y < 1678 || y > 2261 {
		return 0, fmt.Errorf("%.64q is out of the range that 64 bits of ns can say", s)
	}
	return t.UnixNano(), nil
}

// civil is a date and time as it is written.
type civil struct {
	year           int
	month          time.Month
	day            int
	hour, min, sec int
	nsec           int
	zoned          bool
	offset         int // s east of UTC
}

// parseCivil reads RFC 3339 and its usual variants: a blank for T, a comma for
// the point, no seconds' fraction or any number of digits, an offset with or
// without its colon, or none.
func parseCivil(s string) (civil, bool) {
	var at civil
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[13] != ':' || s[16] != ':' ||
		s[10] != 'T' && s[10] != 't' && s[10] != ' ' {
		return at, false
	}
	ok := true
	num := func(from, to int) int {
		n := 0
		for i := from; i < to; i++ {
			if s[i]-'0' > 9 {
				ok = false
			}
			n = n*10 + int(s[i]-'0')
		}
		return n
	}
	at.year, at.month, at.day = num(0, 4), time.Month(num(5, 7)), num(8, 10)
	at.hour, at.min, at.sec = num(11, 13), num(14, 16), num(17, 19)
	if !ok || at.month < 1 || at.month > 12 || at.day < 1 || at.day > daysIn(at.year, at.month) ||
		at.hour > 23 || at.min > 59 || at.sec > 59 {
		return at, false
	}
	s = s[19:]
	if s != "" && (s[0] == '.' || s[0] == ',') {
		unit, i := 100_000_000, 1
		for ; i < len(s) && s[i]-'0' <= 9; i++ {
			at.nsec += int(s[i]-'0') * unit
			unit /= 10
		}
		if i == 1 {
			return at, false
		}
		s = s[i:]
	}
	return at, at.readOffset(strings.TrimPrefix(s, " "))
}

// readOffset reads "", Z, +01, +0100 or +01:00.
func (at *civil) readOffset(s string) bool {
	if s == "" {
		return true
	}
	at.zoned = true
	if s == "Z" || s == "z" {
		return true
	}
	if s[0] != '+' && s[0] != '-' {
		return false
	}
	if len(s) == 6 && s[3] == ':' {
		return at.offsetOf(s[0], s[1:3], s[4:6])
	}
	switch len(s) {
	case 3:
		return at.offsetOf(s[0], s[1:3], "00")
	case 5:
		return at.offsetOf(s[0], s[1:3], s[3:5])
	}
	return false
}

func (at *civil) offsetOf(sign byte, hh, mm string) bool {
	for _, c := range [4]byte{hh[0], hh[1], mm[0], mm[1]} {
		if c-'0' > 9 {
			return false
		}
	}
	h, m := int(hh[0]-'0')*10+int(hh[1]-'0'), int(mm[0]-'0')*10+int(mm[1]-'0')
	at.offset = h*3600 + m*60
	if sign == '-' {
		at.offset = -at.offset
	}
	return h <= 23 && m <= 59
}

func daysIn(year int, m time.Month) int {
	switch m {
	case time.April, time.June, time.September, time.November:
		return 30
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}
