package container

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"weir/configs"
)

// instructions reads the Dockerfile: each line an instruction, continuations
// joined, comments left out.
func instructions(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), "\\\n", ""), "\n")
}

var from = regexp.MustCompile(`^FROM (?:--platform=\S+ )?(\S+) AS (\S+)$`)

// stages returns the names of the Dockerfile's stages, in order.
func stages(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, line := range instructions(t) {
		if m := from.FindStringSubmatch(line); m != nil {
			names = append(names, m[2])
		}
	}
	return names
}

func TestImagesAreBuiltFromPinnedOnes(t *testing.T) {
	var before []string
	for _, line := range instructions(t) {
		if !strings.HasPrefix(line, "FROM ") {
			continue
		}
		m := from.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%q has no name", line)
			continue
		}
		if m[1] != "scratch" && !slices.Contains(before, m[1]) && !pinned.MatchString(m[1]) {
			t.Errorf("%q is not pinned to a full version", line)
		}
		before = append(before, m[2])
	}
	if len(before) == 0 || before[len(before)-1] != "weir" {
		t.Errorf("the stages are %v; what docker build makes by default is not weir", before)
	}
}

func TestTheCompilerIsNotOlderThanTheModuleWants(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(raw)
	got := regexp.MustCompile(`golang:(\d+\.\d+)\.`).FindStringSubmatch(strings.Join(instructions(t), "\n"))
	if want == nil || got == nil || string(want[1]) != got[1] {
		t.Errorf("the image compiles with Go %q, go.mod says %q", got, want)
	}
}

func TestTheImageIsStaticHealthCheckedAndNotRoot(t *testing.T) {
	all := strings.Join(instructions(t), "\n")
	for _, want := range []string{
		"CGO_ENABLED=0 ", "FROM scratch AS base", "USER 65532:65532", "VOLUME /data", "HEALTHCHECK ", ":8080/healthz",
		"--chown=65532:65532 /out/data /data", `CMD ["run", "-c", "/etc/weir/weir.yaml"]`, "-X main.release=",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
	if i, j := strings.LastIndex(all, "USER "), strings.Index(all, "FROM scratch"); i < j || strings.Contains(all[i:], "USER root") || strings.Contains(all[i:], "USER 0") {
		t.Error("the last user is not the one without rights")
	}
	main, err := os.ReadFile(filepath.Join(root, "cmd/weir/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^var release = `).Match(main) {
		t.Error("main.release, which the build sets, is no variable of cmd/weir")
	}
}

// What the Dockerfile copies from the repository is there, and .dockerignore
// leaves it in.
func TestWhatIsCopiedIsInTheBuildContext(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	var ignored []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			ignored = append(ignored, line)
		}
	}
	needed := []string{"cmd/weir/main.go", "cmd/simulator/main.go", "configs/weir.yaml", "configs/demo.yaml"} // built in, or built
	for _, line := range instructions(t) {
		if args, ok := strings.CutPrefix(line, "COPY "); ok && !strings.HasPrefix(args, "--from") {
			words := strings.Fields(args)
			needed = append(needed, words[:len(words)-1]...)
		}
	}
	if len(needed) < 8 {
		t.Fatalf("the image needs %v: the test is broken", needed)
	}
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Error(err)
		}
		for _, pattern := range ignored {
			if leavesOut(t, pattern, name) {
				t.Errorf(".dockerignore leaves out %s, by %q", name, pattern)
			}
		}
	}
	for _, secret := range []string{".git/config", ".env", ".tools/bin/influxd", "data/log", "configs/users.yaml"} {
		if !slices.ContainsFunc(ignored, func(p string) bool { return leavesOut(t, p, secret) }) {
			t.Errorf(".dockerignore leaves in %s", secret)
		}
	}
}

// leavesOut reports whether a pattern of .dockerignore matches name or a folder
// that it is in.
func leavesOut(t *testing.T, pattern, name string) bool {
	t.Helper()
	parts := strings.Split(filepath.Clean(name), "/")
	for i := range parts {
		folder := strings.Join(parts[:i+1], "/")
		candidates := []string{folder}
		p, anywhere := strings.CutPrefix(pattern, "**/")
		if anywhere {
			candidates = []string{parts[i]}
		}
		for _, c := range candidates {
			ok, err := filepath.Match(p, c)
			if err != nil {
				t.Fatalf("%s: %v", pattern, err)
			}
			if ok && c != "." {
				return true
			}
		}
	}
	return false
}

func TestTheContainersConfigFitsTheImageAndTheDashboards(t *testing.T) {
	for name, value := range load(t).Services["weir"].Environment {
		t.Setenv(name, value)
	}
	c, err := configs.Load(filepath.Join(root, "configs/docker.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir.Value != "/data" || c.MQTT.Listen.Value != ":1883" || c.HTTP.Listen.Value != ":8080" {
		t.Errorf("data %q, MQTT %q, HTTP %q; the image has /data, :1883 and :8080", c.DataDir.Value, c.MQTT.Listen.Value, c.HTTP.Listen.Value)
	}
	if len(c.Sinks) != 1 || c.Sinks[0].InfluxDB == nil {
		t.Fatalf("%d sinks, want InfluxDB", len(c.Sinks))
	}
	db := c.Sinks[0].InfluxDB
	if db.URL.Reveal() != "http://influxdb:8086" || db.Database.Value != "telemetry" || db.Username.Value != "weir" || db.Password.IsEmpty() || !db.Alerts {
		t.Errorf("InfluxDB is %+v", db)
	}
	if len(c.Sources) != 1 || c.Sources[0].Measurement.Value != "telemetry" || !slices.Contains(c.Sources[0].Tags.Values(), "site") {
		t.Errorf("the dashboards read the measurement telemetry with the tag site, the sources are %+v", c.Sources)
	}
	if files, err := c.RuleFiles(); err != nil || len(files) == 0 {
		t.Errorf("rules %v, %v", files, err)
	}

	t.Setenv("INFLUXDB_URL", "")
	if c, err := configs.Load(filepath.Join(root, "configs/docker.yaml")); err != nil || len(c.Sinks) != 0 {
		t.Errorf("without InfluxDB: %v", err)
	}
}
