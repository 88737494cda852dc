package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

var route = regexp.MustCompile(`mux\.Handle(?:Func)?\("([A-Z]+ /[^"]*)"`)

// TestOperationsListsEveryRequestOfTheAPI holds the table of requests against
// the routes in the source.
func TestOperationsListsEveryRequestOfTheAPI(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(root, "console", "server.go"))
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]bool{}
	for _, m := range route.FindAllStringSubmatch(string(src), -1) {
		routes[m[1]] = true
	}
	if len(routes) < 10 {
		t.Fatalf("only %d routes were found in the source: does the test still read it?", len(routes))
	}
	listed := map[string]bool{}
	for _, row := range readPage(t, "docs/operations.md").table(t, "request", "parameters") {
		for _, r := range spans(row[0]) {
			listed[r] = true
			if !routes[r] {
				t.Errorf("docs/operations.md lists %q, which the API does not have", r)
			}
		}
	}
	for r := range routes {
		if !listed[r] {
			t.Errorf("docs/operations.md does not list %q", r)
		}
	}
}
