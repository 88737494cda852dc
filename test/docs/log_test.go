package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var logCall = regexp.MustCompile(`(?:[lL]og(?:ger)?|With\([^)]*\))\.(Info|Warn|Error)\("([^"]*)"`)

// logged returns the messages that the source logs, each with its file.
func logged(t *testing.T) map[string]string {
	t.Helper()
	said := map[string]string{}
	for _, top := range []string{"cmd/weir", "ingest", "console", "devices", "rules", "sinks"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			src, err := os.ReadFile(path)
			for _, m := range logCall.FindAllStringSubmatch(string(src), -1) {
				said[m[2]] = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(said) < 15 {
		t.Fatalf("only %d lines were found in the source: does the test still read it?", len(said))
	}
	return said
}

// TestOperationsExplainsEveryLineOfTheLog holds the table of weir's log against
// the calls in the source.
func TestOperationsExplainsEveryLineOfTheLog(t *testing.T) {
	said := logged(t)
	explained := map[string]bool{}
	for _, row := range readPage(t, "docs/operations.md").table(t, "message", "what to do") {
		m := strings.Trim(row[0], "`")
		explained[m] = true
		if _, ok := said[m]; !ok {
			t.Errorf("docs/operations.md explains %q, which weir does not log", m)
		}
	}
	for m, path := range said {
		if !explained[m] {
			t.Errorf("docs/operations.md does not explain %q of %s", m, path)
		}
	}
}
