package docs

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	decisionName  = regexp.MustCompile(`^docs/adr/(\d{4})-[a-z0-9-]+\.md$`)
	decisionStamp = regexp.MustCompile(`^\d{4}-\d{2}-\d{2} · (Accepted|Rejected|Replaced)`)
)

// TestEveryDecisionIsDatedAndSaysWhy holds the pages of docs/adr to their form.
func TestEveryDecisionIsDatedAndSaysWhy(t *testing.T) {
	var numbers []string
	for _, p := range pages(t) {
		if !strings.HasPrefix(p.name, "docs/adr/") {
			continue
		}
		m := decisionName.FindStringSubmatch(p.name)
		if m == nil {
			t.Errorf("%s: want NNNN-title.md", p.name)
			continue
		}
		if slices.Contains(numbers, m[1]) {
			t.Errorf("%s: there are two decisions %s", p.name, m[1])
		}
		numbers = append(numbers, m[1])
		if !strings.HasPrefix(p.lines[0], "# "+m[1]+" ") {
			t.Errorf("%s: begins with %q, want a title with the number", p.name, p.lines[0])
		}
		if len(p.lines) < 3 || !decisionStamp.MatchString(p.lines[2]) {
			t.Errorf("%s: the third line is not a date and a state", p.name)
		}
		text := strings.Join(p.lines, "\n")
		for _, part := range []string{"**Context.**", "**Decision.**", "**Consequences.**"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: there is no %s", p.name, part)
			}
		}
	}
	if len(numbers) < 7 {
		t.Errorf("only %d decisions were found", len(numbers))
	}
}
