package docs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"weir/ingest/consume"
	"weir/ingest/eventlog"
)

const smallConfig = `
mqtt: {listen: "127.0.0.1:0", anonymous: true}
http: {listen: "127.0.0.1:0"}
sources: [{name: plant, topic: "plant/{site}/{device}/telemetry", tags: [site]}]
rules: [rules.yaml]
sinks: [{name: influx, influxdb: {url: "http://127.0.0.1:9", database: telemetry}}, {name: ops, webhook: {url: "http://127.0.0.1:9"}}]
`

const smallRules = `
groups:
  - name: g
    rules:
      - {alert: Hot, expr: temperature > 30}
      - {record: fahrenheit, expr: temperature * 9 / 5 + 32}
`

var ready = regexp.MustCompile(`msg="weir is ready".* http=(\S+)`)

// scrape starts weir and returns what its /metrics says.
func scrape(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("runs weir")
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"weir.yaml": smallConfig, "rules.yaml": smallRules} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, filepath.Join(binDir, "weir"), "run", "-c", "weir.yaml")
	cmd.Dir = dir
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 20 * time.Second
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	lines := bufio.NewScanner(log)
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		m := ready.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		go io.Copy(io.Discard, log) // until weir ends
		for ctx.Err() == nil {
			// Rules are in force once their record has come through the log.
			if body := get(t, "http://"+m[1]+"/metrics"); strings.Contains(body, "\nweir_rules_loaded 2\n") {
				return body
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the rules are not in force after a minute")
	}
	t.Fatalf("weir ended before it was ready:\n%s", strings.Join(seen, "\n"))
	return ""
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var (
	helpLine   = regexp.MustCompile(`(?m)^# HELP (weir_\w+) `)
	sampleLine = regexp.MustCompile(`(?m)^(weir_\w+)\{([^}]*)\} `)
	labelPair  = regexp.MustCompile(`(\w+)="([^"]*)"`)
	descName   = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
)

// described returns the names of metrics that appear only once something has happened.
func described(collectors ...prometheus.Collector) map[string]string {
	names := map[string]string{}
	for _, c := range collectors {
		ch := make(chan *prometheus.Desc, 16)
		c.Describe(ch)
		close(ch)
		for d := range ch {
			if m := descName.FindStringSubmatch(d.String()); m != nil {
				names[m[1]] = m[2]
			}
		}
	}
	return names
}

func TestMetricNamesFollowPrometheus(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "weir_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestOperationsNamesEveryMetricAndNoOther(t *testing.T) {
	body := scrape(t)
	real := described(append(eventlog.NewMetrics().Collectors(), consume.NewMetrics().Collectors()...)...)
	for _, m := range helpLine.FindAllStringSubmatch(body, -1) {
		if _, ok := real[m[1]]; !ok {
			real[m[1]] = ""
		}
	}
	causes := map[string]map[string]bool{} // by metric
	for _, m := range sampleLine.FindAllStringSubmatch(body, -1) {
		name := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")
		if _, ok := real[name]; !ok {
			name = m[1]
		}
		var labels []string
		for _, l := range labelPair.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				labels = append(labels, l[1])
			}
			if l[1] == "cause" {
				if causes[name] == nil {
					causes[name] = map[string]bool{}
				}
				causes[name][l[2]] = true
			}
		}
		slices.Sort(labels)
		real[name] = strings.Join(labels, ",")
	}
	page := readPage(t, "docs/operations.md")
	listed := map[string]bool{}
	for _, row := range page.table(t, "metric", "labels", "what") {
		for _, name := range spans(row[0]) {
			listed[name] = true
			labels, ok := real[name]
			if !ok {
				t.Errorf("%s lists %s, which weir does not have", page.name, name)
				continue
			}
			want := strings.FieldsFunc(row[1], func(r rune) bool { return r == ',' || r == ' ' })
			got := strings.FieldsFunc(labels, func(r rune) bool { return r == ',' })
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(want, got) {
				t.Errorf("%s: labels %v, weir has %v", name, want, got)
			}
			for c := range causes[name] {
				if !slices.Contains(spans(row[2]), c) {
					t.Errorf("%s: the cause %s is not listed", name, c)
				}
			}
		}
	}
	for name := range real {
		if !listed[name] {
			t.Errorf("%s does not list %s", page.name, name)
		}
	}
	checkMentions(t, real)
}

// measurements are names of InfluxDB that look like those of metrics.
func measurements() []string { return []string{"weir_alerts", "weir_metrics"} }

func checkMentions(t *testing.T, real map[string]string) {
	t.Helper()
	name := regexp.MustCompile(`\bweir_[a-z0-9_]*[a-z0-9]\b`)
	for _, p := range pages(t) {
		for i, l := range p.lines {
			for _, n := range name.FindAllString(l, -1) {
				if _, ok := real[n]; !ok && !slices.Contains(measurements(), n) && !isFamily(real, n) {
					t.Errorf("%s names %s, which weir does not have", fmt.Sprintf("%s:%d", p.name, i+1), n)
				}
			}
		}
	}
}

// isFamily reports whether a name with the ending of a histogram's series is a metric.
func isFamily(real map[string]string, n string) bool {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(n, end); ok {
			_, is := real[base]
			return is
		}
	}
	return false
}
