package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// binaries are the programs under test.
type binaries struct{ weir, simulator string }

// built compiles them at the first call and returns the same ones after that.
var built = sync.OnceValues(build)

func build() (binaries, error) {
	root, err := Root()
	if err != nil {
		return binaries{}, err
	}
	dir, err := os.MkdirTemp("", "bin-")
	if err != nil {
		return binaries{}, err
	}
	cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/weir", "./cmd/simulator")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return binaries{}, fmt.Errorf("build weir and the simulator: %w\n%s", err, out)
	}
	return binaries{filepath.Join(dir, "weir"), filepath.Join(dir, "simulator")}, nil
}

// Main runs the tests of a package and removes what was built for them:
//
//	func TestMain(m *testing.M) { os.Exit(process.Main(m)) }
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-process-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Setenv("TMPDIR", dir) // everything temporary is in there, the binaries too
	return m.Run()
}

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
