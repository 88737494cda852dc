package sink

import (
	"bytes"
	"math"
	"strconv"
)

// countLines counts the lines of body that hold a point: not the empty ones
// and not comments.
func countLines(body []byte) uint64 {
	if len(body) == 0 {
		return 0
	}
	// The common case has one line end a point and nothing else to see to.
	if body[0] != '\n' && body[0] != '\r' && body[0] != '#' && !bytes.Contains(body, []byte("\n\n")) &&
		!bytes.Contains(body, []byte("\n\r")) && !bytes.Contains(body, []byte("\n#")) {
		n := uint64(bytes.Count(body, []byte{'\n'}))
		if body[len(body)-1] != '\n' {
			n++
		}
		return n
	}
	n := uint64(0)
	eachLine(body, func([]byte) { n++ })
	return n
}

// eachLine calls f with every line of body that holds a point, without its
// line end.
func eachLine(body []byte, f func(line []byte)) {
	for len(body) > 0 {
		line := body
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			line, body = body[:i], body[i+1:]
		} else {
			body = nil
		}
		line = bytes.TrimRight(line, " \r")
		if len(line) > 0 && line[0] != '#' {
			f(line)
		}
	}
}

// point is what a line says, cut but not decoded.
type point struct {
	series []byte // measurement and tags, as written
	fields []byte
	time   []byte // empty: none was given
}

// split cuts a line of line protocol; ok is false for what is none. A space
// ends the series unless a backslash precedes it, and the fields unless it is
// in a quoted string.
func split(line []byte) (p point, ok bool) {
	i := 0
	for ; i < len(line) && line[i] != ' '; i++ {
		if line[i] == '\\' {
			i++
		}
	}
	if i == 0 || i >= len(line) {
		return point{}, false
	}
	p.series = line[:i]
	rest := bytes.TrimLeft(line[i:], " ")
	quoted := false
	for i = 0; i < len(rest) && (quoted || rest[i] != ' '); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			quoted = !quoted
		}
	}
	i = min(i, len(rest))
	p.fields = rest[:i]
	p.time = bytes.TrimSpace(rest[i:])
	if quoted || bytes.IndexByte(p.fields, '=') < 1 {
		return point{}, false
	}
	return p, true
}

// nanoseconds is a line's time, given in units of unit nanoseconds.
func nanoseconds(text []byte, unit int64) (int64, bool) {
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, false
	}
	return n * unit, true
}

// unitOf is the length in nanoseconds of the precision that a write names; 0
// for one that there is not.
func unitOf(precision string) int64 {
	switch precision {
	case "", "ns", "n":
		return 1
	case "us", "u", "µ":
		return 1e3
	case "ms":
		return 1e6
	case "s":
		return 1e9
	case "m":
		return 60e9
	case "h":
		return 3600e9
	}
	return 0
}
