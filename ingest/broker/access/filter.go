package access

import "strings"

// Match reports whether a topic name matches a filter.
func Match(filter, topic string) bool {
	if dollar(topic) && wild(filter) {
		return false
	}
	for {
		f, frest, fmore := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, trest, tmore := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !fmore && !tmore:
			return true
		case fmore && !tmore:
			return frest == "#" // a/# matches a
		case !fmore:
			return false
		}
		filter, topic = frest, trest
	}
}

// Covers reports whether every topic that filter matches is matched by wide.
func Covers(wide, filter string) bool {
	if dollar(filter) && wild(wide) {
		return false
	}
	for {
		w, wrest, wmore := strings.Cut(wide, "/")
		if w == "#" {
			return true
		}
		f, frest, fmore := strings.Cut(filter, "/")
		switch {
		case f == "#":
			return false
		case w == "+", w == f && f != "+":
		default:
			return false
		}
		switch {
		case !wmore && !fmore:
			return true
		case wmore && !fmore:
			return wrest == "#"
		case !wmore:
			return false
		}
		wide, filter = wrest, frest
	}
}

func dollar(s string) bool { return s != "" && s[0] == '$' }
func wild(s string) bool   { return s != "" && (s[0] == '+' || s[0] == '#') }

// validFilter reports whether s is a well-formed filter.
func validFilter(s string) bool {
	if s == "" || len(s) > 65535 || strings.IndexByte(s, 0) >= 0 {
		return false
	}
	levels := strings.Split(s, "/")
	for i, l := range levels {
		if strings.ContainsAny(l, "+#") && len(l) > 1 || l == "#" && i < len(levels)-1 {
			return false
		}
	}
	return true
}

// unshare strips "$share/<group>/" from a subscription's filter.
func unshare(filter string) string {
	if len(filter) < 7 || !strings.EqualFold(filter[:7], "$share/") {
		return filter
	}
	_, rest, _ := strings.Cut(filter[7:], "/")
	return rest
}

// glob reports whether text matches a pattern in which * stands for any text.
func glob(pattern, text string) bool {
	first, rest, more := strings.Cut(pattern, "*")
	if !more {
		return pattern == text
	}
	if !strings.HasPrefix(text, first) {
		return false
	}
	text = text[len(first):]
	for {
		part, tail, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text, rest = text[i+len(part):], tail
	}
}
