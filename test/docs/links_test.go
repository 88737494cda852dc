package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestEveryRelativeLinkResolves(t *testing.T) {
	all := pages(t)
	found := 0
	for _, p := range all {
		for n, l := range p.prose() {
			for _, m := range link.FindAllStringSubmatch(l, -1) {
				target := m[1]
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				found++
				file, anchor, _ := strings.Cut(target, "#")
				to := p.name
				if file != "" {
					to = filepath.ToSlash(filepath.Join(filepath.Dir(p.name), file))
				}
				if _, err := os.Stat(filepath.Join(root, to)); err != nil {
					t.Errorf("%s:%d: link to %s: there is no %s", p.name, n, target, to)
					continue
				}
				if anchor != "" && !hasHeading(all, to, anchor) {
					t.Errorf("%s:%d: link to %s: %s has no such heading", p.name, n, target, to)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d links were found: does the test still read the pages?", found)
	}
}

func hasHeading(all []*page, name, anchor string) bool {
	for _, p := range all {
		if p.name != name {
			continue
		}
		for _, l := range p.prose() {
			if title, ok := strings.CutPrefix(strings.TrimLeft(l, "#"), " "); ok && strings.HasPrefix(l, "#") && slug(title) == anchor {
				return true
			}
		}
	}
	return false
}

// slug is the anchor that Markdown viewers give a heading.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, title)
}
