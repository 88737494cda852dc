package child

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Root returns the folder of the module's go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("there is no go.mod above the working directory")
		}
		dir = up
	}
}

// Tool returns the path of a server that make tools installs: from the
// environment variable, or from .tools/bin beside go.mod. Without it the test is
// skipped, or fails where servers are required.
func Tool(t testing.TB, env, name string) string {
	t.Helper()
	path := os.Getenv(env)
	if path == "" {
		root, err := Root()
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(root, ".tools", "bin", name)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("WEIR_REQUIRE_SERVERS") != "" {
			t.Fatalf("%s is required: %v; run make tools, or set %s", name, err, env)
		}
		t.Skipf("%s is not there: run make tools, or set %s", name, env)
	}
	return path
}
