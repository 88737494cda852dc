package ruletest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"weir/ingest/event"
)

// maxSamples bounds the samples of a file, "_" counted too.
const maxSamples = 1_000_000

// sample is one place in a series.
type sample struct {
	there bool        // false for "_": nothing was sent
	value event.Value // Null for "stale": it was sent, and is null
}

// notationError is a problem with a series or its values, at a byte offset.
type notationError struct {
	offset    int
	msg, hint string
}

func (e *notationError) Error() string { return e.msg }

func wrong(offset int, hint, format string, args ...any) *notationError {
	return &notationError{offset, fmt.Sprintf(format, args...), hint}
}

const number = `[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?`

var (
	numbers = regexp.MustCompile(`^(` + number + `)(?:([-+]` + strings.TrimPrefix(number, `[-+]?`) + `))?(x[0-9]+)?$`)
	words   = regexp.MustCompile(`^(_|stale|true|false)(x[0-9]+)?$`)
	signs   = regexp.MustCompile(`[-+]{2}`)
	times   = regexp.MustCompile(`^x[0-9]+$`)
)

const valuesHint = `write numbers, 1+2x5, 1-2x5, 7x5, "text", true, false, stale, or _ for nothing, with spaces between`

// parseValues expands the notation of promtool, and quoted texts and booleans:
//
//	a        one sample
//	a+bxN    a, a+b, a+2b, ... a+Nb: N+1 samples; a-bxN goes down
//	axN      a, N+1 times; "text"xN, truexN and falsexN too
//	_  _xN   nothing is sent, once or N times
//	stale    sent, and null
//
// It gives at most limit samples.
func parseValues(text string, limit int) ([]sample, *notationError) {
	var out []sample
	for i := 0; ; {
		for i < len(text) && isSpace(text[i]) {
			i++
		}
		if i == len(text) {
			return out, nil
		}
		from := i
		one, step, n := sample{there: true}, 0.0, 1
		if quote := text[i]; quote == '"' || quote == '\'' || quote == '`' {
			s, end, err := quoted(text, i)
			if err != nil {
				return nil, err
			}
			one.value, i = event.StringValue(s), wordEnd(text, end)
			if end < i {
				if !times.MatchString(text[end:i]) {
					return nil, wrong(end, `write "text"x5 to repeat it, or a space behind it`, "unexpected %q behind the text", text[end:i])
				}
				if n = repeat(text[end:i], limit); n >= 0 {
					n++
				}
			}
		} else {
			i = wordEnd(text, i)
			var err *notationError
			if one, step, n, err = parseWord(text[from:i], limit); err != nil {
				err.offset += from
				return nil, err
			}
		}
		if n < 0 || len(out)+n > limit {
			return nil, wrong(from, "a longer interval gives the same time with fewer samples", "more than %d samples in the file", maxSamples)
		}
		for k := range n {
			s := one
			if step != 0 {
				a, _ := one.value.Float()
				s.value = event.FloatValue(a + float64(k)*step)
			}
			out = append(out, s)
		}
	}
}

// parseWord parses what stands between two spaces and is no text. n is
// negative if it is more than limit.
func parseWord(w string, limit int) (one sample, step float64, n int, err *notationError) {
	one.there, n = true, 1
	if m := words.FindStringSubmatch(w); m != nil {
		if m[2] != "" {
			if n = repeat(m[2], limit); n >= 0 && m[1] != "_" {
				n++
			}
		}
		switch m[1] {
		case "_":
			one.there = false
		case "true", "false":
			one.value = event.BoolValue(m[1] == "true")
		}
		return one, 0, n, nil
	}
	m := numbers.FindStringSubmatch(w)
	if m == nil {
		hint := valuesHint
		if signs.MatchString(w) {
			hint = "a step has one sign: 1+2x5 goes up, 1-2x5 down"
		}
		return one, 0, 0, wrong(0, hint, "%q is no value", w)
	}
	a, bad := strconv.ParseFloat(m[1], 64)
	if bad == nil && m[2] != "" {
		step, bad = strconv.ParseFloat(m[2], 64)
	}
	if m[2] != "" && m[3] == "" {
		return one, 0, 0, wrong(0, fmt.Sprintf("write %sx5 for five steps, or a space between two numbers", w), "%q does not say how many steps to make", w)
	}
	if m[3] != "" {
		if n = repeat(m[3], limit); n >= 0 {
			n++
		}
	}
	if bad != nil || math.IsInf(a+float64(max(n, 0))*step, 0) {
		return one, 0, 0, wrong(0, "", "%q is beyond what a number can be", w)
	}
	one.value = event.FloatValue(a)
	return one, step, n, nil
}

// repeat returns the N of xN, or a negative number if it is more than limit.
func repeat(x string, limit int) int {
	n, err := strconv.Atoi(x[1:])
	if err != nil || n >= limit {
		return -1
	}
	return n
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func wordEnd(s string, i int) int {
	for i < len(s) && !isSpace(s[i]) {
		i++
	}
	return i
}

// quoted parses the text in quotes ("", ” or “) at offset i, with the
// escapes that Go and Prometheus have, and returns where it ends.
func quoted(s string, i int) (text string, end int, err *notationError) {
	from, quote := i, s[i]
	if i++; quote == '`' {
		n := strings.IndexByte(s[i:], '`')
		if n < 0 {
			return "", 0, wrong(from, "", "the text has no end: ` is missing")
		}
		return s[i : i+n], i + n + 1, nil
	}
	var b strings.Builder
	for i < len(s) {
		if s[i] == quote {
			return b.String(), i + 1, nil
		}
		r, multibyte, tail, bad := strconv.UnquoteChar(s[i:], quote)
		if bad != nil {
			return "", 0, wrong(i, `a backslash is written \\`, "this escape is not known")
		}
		if r < utf8.RuneSelf || !multibyte {
			b.WriteByte(byte(r))
		} else {
			b.WriteRune(r)
		}
		i = len(s) - len(tail)
	}
	return "", 0, wrong(from, "", "the text has no end: %c is missing", quote)
}
