package decode

import "strings"

// isNoValueWord reports whether a bare text stands for "no reading".
func isNoValueWord(s string) bool {
	if len(s) > 11 {
		return false
	}
	for _, w := range [...]string{"", "nan", "-nan", "+nan", "null", "none", "n/a", "unavailable", "unknown", "undefined"} {
		if len(w) == len(s) && strings.EqualFold(w, s) {
			return true
		}
	}
	return false
}
