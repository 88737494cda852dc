package command

import (
	"bytes"
	"path/filepath"
	"testing"
)

// TestTheRulesOfTheSamplesPassTheirTests runs configs/rules/tests.
func TestTheRulesOfTheSamplesPassTheirTests(t *testing.T) {
	files, err := filepath.Glob("../../../configs/rules/tests/*.test.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("find tests: %v, %v", files, err)
	}
	var out, errs bytes.Buffer
	if status := Run(t.Context(), append([]string{"rules", "test"}, files...), Env{Stdout: &out, Stderr: &errs}); status != done {
		t.Errorf("exit status %d\n%s%s", status, &out, &errs)
	}
}
