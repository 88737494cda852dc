package ruletest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"weir/rules/ruletest"
)

// load loads a test file whose rules need no config.
func load(t testing.TB, name string) *ruletest.File {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ruletest.Load(name, data, ruletest.Environment{Rules: ruletest.RuleFiles})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestScenarios runs the test files that users could have written.
func TestScenarios(t *testing.T) {
	var files []string
	for _, pattern := range []string{"testdata/*.test.yaml", "testdata/prometheus/*.test.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		files = append(files, found...)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			results := load(t, name).Run(nil)
			for _, r := range results {
				if !r.Passed {
					var b bytes.Buffer
					if err := ruletest.Report(&b, name, results); err != nil {
						t.Fatal(err)
					}
					t.Fatalf("\n%s", b.String())
				}
			}
		})
	}
}
