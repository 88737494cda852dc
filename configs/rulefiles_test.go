package configs_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"weir/configs"
)

func TestTestsOfRulesBesideTheRulesAreNoRuleFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"weir.yaml": "rules: [\"rules/*.yaml\"]\n", "rules/a.yaml": "groups: []\n", "rules/a.test.yaml": "tests: []\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := configs.Load(filepath.Join(dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := cfg.RuleFiles()
	if want := []string{filepath.Join(dir, "rules", "a.yaml")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("rule files are %v, %v, want %v", got, err, want)
	}
}
