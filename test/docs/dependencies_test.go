package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDependenciesAreListedWhereTheyAreUsed holds docs/dependencies.md against
// go.mod, and its two tables against what the programs import.
func TestDependenciesAreListedWhereTheyAreUsed(t *testing.T) {
	direct := directModules(t)
	shipped := shippedModules(t)
	p := readPage(t, "docs/dependencies.md")
	section, listed := "", map[string]bool{}
	for _, l := range p.lines {
		if title, ok := strings.CutPrefix(l, "## "); ok {
			section = title
		}
		cells := cellsOf(l)
		if len(cells) == 0 || len(spans(cells[0])) != 1 {
			continue
		}
		m := spans(cells[0])[0]
		listed[m] = true
		switch inBinary := section == "In the binary"; {
		case !slices.Contains(direct, m):
			t.Errorf("%s lists %s, which go.mod does not need directly", p.name, m)
		case inBinary && !shipped[m]:
			t.Errorf("%s says that %s is in the binary, but only tests use it", p.name, m)
		case !inBinary && shipped[m]:
			t.Errorf("%s says that only tests use %s, but it is in the binary", p.name, m)
		}
	}
	for _, m := range direct {
		if !listed[m] {
			t.Errorf("%s does not list %s", p.name, m)
		}
	}
}

// directModules returns the modules that go.mod requires directly.
func directModules(t *testing.T) []string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, l := range strings.Split(string(src), "\n") {
		if f := strings.Fields(l); strings.HasPrefix(l, "\t") && len(f) == 2 {
			all = append(all, f[0])
		}
	}
	return all
}

// shippedModules returns the modules that our packages in the programs import.
func shippedModules(t *testing.T) map[string]bool {
	t.Helper()
	list := func(args ...string) []string {
		cmd := exec.Command("go", append([]string{"list"}, args...)...)
		cmd.Dir = root
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list %q: %v", args, err)
		}
		return strings.Fields(string(out))
	}
	ours := slices.DeleteFunc(list("-deps", "./cmd/...", "./firmware-sim"), func(p string) bool { return !strings.HasPrefix(p, "weir/") })
	imports := list(append([]string{"-f", `{{join .Imports "\n"}}`}, ours...)...)
	slices.Sort(imports)
	imports = slices.DeleteFunc(slices.Compact(imports), func(p string) bool {
		first, _, _ := strings.Cut(p, "/")
		return !strings.Contains(first, ".")
	})
	all := map[string]bool{}
	for _, m := range list(append([]string{"-f", "{{with .Module}}{{.Path}}{{end}}"}, imports...)...) {
		all[m] = true
	}
	return all
}
