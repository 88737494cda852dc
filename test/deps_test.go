package test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport says which of weir's packages each package may import. Imports
// point one way: event is a leaf, sinks and rules know nothing of the log or of
// one another, and only cmd knows all. Relax it in a reviewed commit only.
var mayImport = map[string][]string{
	"configs/strict":        {},
	"configs":               {"configs/strict"},
	"ingest/event":          {},
	"ingest/ring":           {},
	"ingest/eventlog":       {"ingest/event", "ingest/ring"}, // the committer drains the ring: docs/adr/0001
	"ingest/broker":         {"ingest/event", "ingest/ring", "ingest/eventlog", "configs/strict", "ingest/broker/access"},
	"ingest/broker/access":  {"configs/strict"},
	"ingest/decode":         {"ingest/event"},
	"ingest/consume":        {"ingest/event", "ingest/eventlog", "ingest/ring"},
	"rules":                 {"ingest/event", "configs/strict", "rules/expression", "rules/attributes", "rules/window"},
	"rules/attributes":      {"ingest/event", "configs/strict"},
	"rules/expression":      {"ingest/event", "configs/strict", "rules/attributes"},
	"rules/window":          {"ingest/event"},
	"rules/backtest":        {"rules", "rules/replay", "ingest/decode", "ingest/event", "ingest/eventlog", "configs/strict"},
	"rules/explain":         {"rules", "rules/backtest", "rules/expression", "ingest/event", "ingest/eventlog"},
	"rules/replay":          {"rules", "ingest/event", "ingest/decode"},
	"rules/ruletest":        {"rules", "rules/replay", "ingest/event", "ingest/decode", "configs", "configs/strict"},
	"devices":               {"ingest/event"},
	"sinks/lineprotocol":    {"ingest/event"},
	"sinks/choice":          {"ingest/event"},
	"sinks/exchange":        {},
	"sinks/progress":        {"ingest/event"},
	"sinks/influxdb":        {"ingest/event", "sinks/exchange", "sinks/lineprotocol"},
	"sinks/webhook":         {"ingest/event", "sinks/choice", "sinks/exchange", "sinks/progress"},
	"sinks/alertmanager":    {"ingest/event", "sinks/choice", "sinks/exchange"},
	"sinks/email":           {"ingest/event", "sinks/choice", "sinks/progress"},
	"sinks/mqtt":            {"ingest/event", "sinks/choice"},
	"sinks/sinktest":        {"ingest/event"},
	"console":               {"devices", "rules/backtest", "rules/explain", "ingest/consume", "ingest/decode", "ingest/event", "ingest/eventlog", "ingest/ring", "rules", "rules/expression", "configs/strict"},
	"firmware-sim":          {"firmware-sim/"},
	"firmware-sim/firmware": {"firmware-sim/"},
	"simulator":             {"simulator/", "configs/strict"},
	"simulator/brokertest":  {"test/port"},
	"cmd/simulator":         {"simulator", "simulator/", "configs/strict"},
}

// free are packages that may import anything of weir's.
var free = []string{"cmd/weir", "test"}

func TestImportsPointOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}} {{range .Imports}}{{.}} {{end}}", "weir/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		f := strings.Fields(line)
		pkg, ours := strings.CutPrefix(f[0], "weir/")
		if !ours || isFree(pkg) {
			continue
		}
		allowed, known := rule(pkg)
		if !known {
			t.Errorf("package %s is not in the table of imports: add it there", pkg)
			continue
		}
		for _, imp := range f[1:] {
			imp, ours := strings.CutPrefix(imp, "weir/")
			if ours && !permitted(allowed, imp) {
				t.Errorf("%s imports %s, which the table of imports does not allow", pkg, imp)
			}
		}
	}
}

func isFree(pkg string) bool {
	return slices.ContainsFunc(free, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
}

// rule returns the entry of a package, or of the nearest folder above it.
func rule(pkg string) ([]string, bool) {
	for {
		if a, ok := mayImport[pkg]; ok {
			return a, true
		}
		i := strings.LastIndexByte(pkg, '/')
		if i < 0 {
			return nil, false
		}
		pkg = pkg[:i]
	}
}

// permitted reports whether an import is named, or lies in a folder that is.
func permitted(allowed []string, imp string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool {
		return a == imp || strings.HasSuffix(a, "/") && strings.HasPrefix(imp, a)
	})
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "weir/...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		pkg, doc, _ := strings.Cut(line, "\t")
		if strings.TrimSpace(doc) == "" {
			t.Errorf("package %s has no package comment", pkg)
		}
	}
}
