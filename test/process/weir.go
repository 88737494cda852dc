package process

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/test/child"
)

// Setup is what a test gives weir to run with. The fields are fragments of
// weir.yaml; what is left out has the defaults below.
type Setup struct {
	Dir     string            // data directory; "": a temporary one
	Log     string            // content of log, e.g. "min_free: 1MiB"
	Sources string            // list items of sources; "": the simulator's bench
	Sinks   string            // list items of sinks; "": none
	Rules   map[string]string // rule files by name
	More    string            // further top-level keys
}

// BenchSource takes what simulator bench publishes.
const BenchSource = `
  - name: bench
    topic: "sensors/{device}/telemetry"
    format: json
    time: {field: ts, unit: ms, max_ahead: 8760h}
    measurement: telemetry
    exclude: [device]
`

// Weir is one installation: a config, a data directory and, while it runs, a process.
type Weir struct {
	Dir    string // of the config
	Data   string // data directory
	Config string // name of the config file
	MQTT   string // address
	HTTP   string // address

	bin  binaries
	proc *child.Proc
	logs []*child.Output // of all runs
	outs []*child.Output
}

// New writes the config of an installation.
func New(t testing.TB, s Setup) *Weir {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes for seconds")
	}
	bin, err := built()
	if err != nil {
		t.Fatal(err)
	}
	w := &Weir{Dir: t.TempDir(), bin: bin, MQTT: child.FreeAddr(t), HTTP: child.FreeAddr(t), Data: s.Dir}
	if w.Data == "" {
		w.Data = filepath.Join(w.Dir, "data")
	}
	w.Config = filepath.Join(w.Dir, "weir.yaml")
	w.Configure(t, s)
	t.Cleanup(func() {
		if w.proc != nil {
			w.proc.Kill()
		}
		if t.Failed() {
			for i, l := range w.logs {
				t.Logf("weir's log of run %d of %d ended with:\n%s", i+1, len(w.logs), l.Tail(40))
			}
		}
	})
	return w
}

// Configure writes the config anew; it takes effect at the next start.
func (w *Weir) Configure(t testing.TB, s Setup) {
	t.Helper()
	if s.Sources == "" {
		s.Sources = BenchSource
	}
	var b strings.Builder
	fmt.Fprintf(&b, "data_dir: %q\nlog: {%s}\nmqtt: {listen: %q, anonymous: true}\nhttp: {listen: %q}\nlogging: {level: info}\nsources:%s", w.Data, s.Log, w.MQTT, w.HTTP, s.Sources)
	if len(s.Rules) > 0 {
		b.WriteString("\nrules: [\"rules/*.yaml\"]\n")
	}
	if s.Sinks != "" {
		b.WriteString("\nsinks:" + s.Sinks)
	}
	b.WriteString("\n" + s.More)
	w.write(t, "weir.yaml", b.String())
	for name, text := range s.Rules {
		w.WriteRules(t, name, text)
	}
}

// WriteRules writes a rule file as an editor does: a new file takes the place of the old.
func (w *Weir) WriteRules(t testing.TB, name, text string) {
	t.Helper()
	w.write(t, filepath.Join("rules", name), text)
}

func (w *Weir) write(t testing.TB, name, text string) {
	t.Helper()
	path := filepath.Join(w.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// Launch starts the process and does not wait until it is ready.
func (w *Weir) Launch(t testing.TB) *child.Proc {
	t.Helper()
	return w.LaunchFrom(t, nil)
}

// LaunchFrom is Launch with a standard input, which is that of a service if it is nil.
func (w *Weir) LaunchFrom(t testing.TB, stdin *os.File) *child.Proc {
	t.Helper()
	if w.proc != nil && w.proc.Alive() {
		t.Fatal("weir runs already")
	}
	cmd := exec.Command(w.bin.weir, "run", "-c", w.Config)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	p, err := child.Start("weir", cmd)
	if err != nil {
		t.Fatal(err)
	}
	w.proc = p
	w.logs, w.outs = append(w.logs, p.Err), append(w.outs, p.Out)
	return p
}

// Start starts weir and waits until clients can publish.
func (w *Weir) Start(t testing.TB) {
	t.Helper()
	w.Launch(t)
	w.Ready(t)
}

// Ready waits until clients can publish.
func (w *Weir) Ready(t testing.TB) {
	t.Helper()
	Eventually(t, "weir is ready", func() error {
		if !w.proc.Alive() {
			t.Fatalf("weir has ended while it started:\n%s", w.proc.Err.Tail(60))
		}
		return w.readyz()
	})
}

func (w *Weir) readyz() error {
	resp, err := client.Get("http://" + w.HTTP + "/readyz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/readyz says %s", resp.Status)
	}
	return nil
}

// BecomesReady waits until clients can publish, or until the process has ended.
func (w *Weir) BecomesReady() bool {
	for w.proc.Alive() {
		if w.readyz() == nil {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// Proc returns the process that was started last.
func (w *Weir) Proc() *child.Proc { return w.proc }

// Kill is kill -9.
func (w *Weir) Kill() { w.proc.Kill() }

// StopWith stops weir with a signal and returns how long it took. It must end by
// itself with status 0.
func (w *Weir) StopWith(t testing.TB, s syscall.Signal) time.Duration {
	t.Helper()
	start := time.Now()
	w.proc.Signal(s)
	if got := w.proc.Wait(t, Patience); got != 0 {
		t.Errorf("weir, stopped by %v, ended with status %d, want 0:\n%s", s, got, w.proc.Err.Tail(30))
	}
	return time.Since(start)
}

// Stop stops weir as Ctrl-C does.
func (w *Weir) Stop(t testing.TB) time.Duration {
	t.Helper()
	return w.StopWith(t, syscall.SIGINT)
}

// Log returns the lines of weir's log, of all runs, that hold a text.
func (w *Weir) Log(text string) []string {
	var out []string
	for _, l := range w.logs {
		out = append(out, l.Lines(text)...)
	}
	return out
}

// WaitLog waits until a line of the log holds a text, and returns it.
func (w *Weir) WaitLog(t testing.TB, text string) string {
	t.Helper()
	var line string
	Eventually(t, fmt.Sprintf("the log says %q", text), func() error {
		lines := w.Log(text)
		if len(lines) == 0 {
			return fmt.Errorf("it does not")
		}
		line = lines[0]
		return nil
	})
	return line
}

// CLI runs a command of weir's, e.g. "audit", with this config, and returns what
// it prints and its exit status.
func (w *Weir) CLI(t testing.TB, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	n := 1 // the config goes behind the command's name
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && (args[0] == "events" || args[0] == "dead-letters" || args[0] == "devices" || args[0] == "rules" || args[0] == "alerts" || args[0] == "silences") {
		n = 2
	}
	full := append(append(append([]string{}, args[:n]...), "-c", w.Config), args[n:]...)
	p := child.Spawn(t, "weir "+strings.Join(args, " "), w.bin.weir, full...)
	status = p.Wait(t, Patience)
	return p.Out.String(), p.Err.String(), status
}

// MustCLI is CLI for a command that has to work.
func (w *Weir) MustCLI(t testing.TB, args ...string) string {
	t.Helper()
	out, talk, status := w.CLI(t, args...)
	if status != 0 {
		t.Fatalf("weir %s: status %d\n%s%s", strings.Join(args, " "), status, out, talk)
	}
	return out
}

var client = &http.Client{Timeout: Patience}

// Get decodes the API's answer to a GET.
func (w *Weir) Get(path string, v any) error {
	b, err := w.body(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}

// body returns the answer to a GET.
func (w *Weir) body(path string) ([]byte, error) {
	resp, err := client.Get("http://" + w.HTTP + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s: %s: %s", path, resp.Status, b)
	}
	return b, nil
}

// Metric returns the sum of a metric's series that hold all the label texts, e.g.
// Metric("weir_consumer_lag_records", `consumer="influx"`).
func (w *Weir) Metric(name string, labels ...string) (float64, error) {
	b, err := w.body("/metrics")
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
next:
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, name+"{") && !strings.HasPrefix(line, name+" ") {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(line, l) {
				continue next
			}
		}
		var v float64
		if _, err := fmt.Sscan(line[strings.LastIndexByte(strings.TrimSpace(line), ' ')+1:], &v); err != nil {
			return 0, fmt.Errorf("metric line %q: %w", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("there is no metric %s %v", name, labels)
	}
	return sum, nil
}
