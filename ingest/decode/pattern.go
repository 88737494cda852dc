package decode

import "strings"

// matchAny reports whether one of the patterns stands for a field or for
// something that it is a part of. rel is its name below a root, path its path
// in the document.
func matchAny(patterns []string, rel, path string) bool {
	for _, p := range patterns {
		if matchPattern(p, rel) || path != rel && matchPattern(p, path) {
			return true
		}
	}
	return false
}

// matchPattern reports whether p stands for name, or for what name is below.
func matchPattern(p, name string) bool {
	if matchStars(p, name) {
		return true
	}
	for i := 0; i < len(name); i++ {
		if name[i] == '.' && matchStars(p, name[:i]) {
			return true
		}
	}
	return false
}

// matchStars matches a text against a pattern in which * is any run of bytes.
func matchStars(p, s string) bool {
	head, rest, star := strings.Cut(p, "*")
	if !star {
		return s == p
	}
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for {
		mid, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, rest)
		}
		at := strings.Index(s, mid)
		if at < 0 {
			return false
		}
		s, rest = s[at+len(mid):], next
	}
}
