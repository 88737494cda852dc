package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// isTests reports whether a yaml block is a file of tests of rules.
func (b *block) isTests() bool {
	m := topKey.FindStringSubmatch(b.text)
	return m != nil && strings.HasPrefix(b.info, "yaml") && m[1] == "rule_files"
}

var ruleFile = regexp.MustCompile(`(?m)^rule_files: \[([^],]+)\]`)

// TestRuleTestsGiveWhatThePagesShow runs the tests on the pages with the rules
// before them. They pass, or fail as the block after them shows.
func TestRuleTestsGiveWhatThePagesShow(t *testing.T) {
	ran := 0
	for _, p := range pages(t) {
		ruleText := ""
		all := p.blocks(t)
		for i, b := range all {
			if strings.HasPrefix(b.info, "yaml") && b.isRules() {
				ruleText = b.text
			}
			if !b.isTests() {
				continue
			}
			ran++
			m := ruleFile.FindStringSubmatch(b.text)
			if m == nil {
				t.Errorf("%v: want rule_files with one name", b)
				continue
			}
			dir := t.TempDir()
			for name, text := range map[string]string{m[1]: ruleText, "cold-room.test.yaml": b.text} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(filepath.Join(binDir, "weir"), "rules", "test", "cold-room.test.yaml")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if failing := b.info == "yaml failing"; failing == (err == nil) {
				t.Errorf("%v: weir rules test: %v\n%s", b, err, out)
			}
			if i+1 < len(all) && all[i+1].info == "console" {
				for _, c := range transcript(all[i+1].text) {
					if c.line == "weir rules test cold-room.test.yaml" && c.output != string(out) {
						t.Errorf("%v: it gives\n%s\nthe page shows\n%s", b, out, c.output)
					}
				}
			}
		}
	}
	if ran < 3 {
		t.Errorf("only %d files of tests were run: does the test still read the pages?", ran)
	}
}
