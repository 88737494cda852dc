package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"weir/test/child"
)

// binaries are the programs under test.
type binaries struct{ weir, simulator string }

// built compiles them at the first call and returns the same ones after that.
var built = sync.OnceValues(build)

func build() (binaries, error) {
	root, err := child.Root()
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
