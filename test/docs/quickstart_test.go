package docs

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/test/port"
)

// TestTheQuickStartRaisesTheAlertsThatREADMEShows runs what `make run` runs, on
// ports of its own, until every kind of line that README.md shows of it has come.
func TestTheQuickStartRaisesTheAlertsThatREADMEShows(t *testing.T) {
	if testing.Short() {
		t.Skip("runs weir and a fleet")
	}
	want := map[string]bool{}
	for _, b := range readPage(t, "README.md").blocks(t) {
		if !strings.HasPrefix(b.text, "$ make run\n") {
			continue
		}
		for _, l := range strings.Split(b.text, "\n")[1:] {
			// Which doors open in the first minute is chance.
			if !strings.HasPrefix(l, "go build") && !strings.Contains(l, "DoorOpen") && l != "" {
				want[shape(l)] = true
			}
		}
	}
	if len(want) < 4 {
		t.Fatalf("README.md shows only %d kinds of lines", len(want))
	}
	dir, lines := demo(t)
	deadline := time.After(3 * time.Minute)
	var seen []string
	for len(want) > 0 {
		select {
		case l, ok := <-lines:
			if !ok {
				t.Fatalf("the demo ended; missing are %v; it said\n%s", want, strings.Join(seen, "\n"))
			}
			seen = append(seen, l)
			delete(want, shape(l))
		case <-deadline:
			t.Fatalf("after 3 minutes these lines are missing: %v; it said\n%s", want, strings.Join(seen, "\n"))
		}
	}
	go func() { // the demo must not wait for a reader; demo's cleanup closes the channel
		for range lines {
		}
	}()
	lookAround(t, dir)
}

// lookAround runs the commands that README.md shows beside the demo, and
// compares how their output is laid out.
func lookAround(t *testing.T, dir string) {
	t.Helper()
	ran := 0
	for _, b := range readPage(t, "README.md").blocks(t) {
		for _, c := range transcript(b.text) {
			if !strings.HasPrefix(c.line, "bin/weir ") {
				continue
			}
			ran++
			cmd := exec.Command("sh", "-c", c.line+" -c configs/demo.yaml")
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("$ %s: %v\n%s", c.line, err, out)
				continue
			}
			got, want := strings.Split(string(out), "\n"), strings.Split(c.output, "\n")
			if len(got) != len(want) || strings.Join(strings.Fields(got[0]), " ") != strings.Join(strings.Fields(want[0]), " ") {
				t.Errorf("$ %s\ngives\n%s\nthe page shows\n%s", c.line, out, c.output)
			}
		}
	}
	if ran < 3 {
		t.Errorf("README.md shows only %d commands beside the demo", ran)
	}
}

var (
	address = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	stamp   = regexp.MustCompile(`time=\S+`)
	version = regexp.MustCompile(`version=\S+`)
	cores   = regexp.MustCompile(`partitions=\d+`)
	reading = regexp.MustCompile(`-\d+(\.\d+)?`)
)

// shape is a line without what differs from run to run.
func shape(l string) string {
	l = address.ReplaceAllString(l, "ADDRESS")
	l = stamp.ReplaceAllString(l, "time=T")
	l = version.ReplaceAllString(l, "version=V")
	l = cores.ReplaceAllString(l, "partitions=N")
	if strings.HasPrefix(l, "alert ") {
		device, rest, _ := strings.Cut(l, " severity=")
		return device + " severity=" + reading.ReplaceAllString(rest, "-N")
	}
	return l
}

// demo starts test/demo.sh in a copy of what it needs and returns the folder
// and the lines that are printed.
func demo(t *testing.T) (dir string, out <-chan string) {
	t.Helper()
	dir = t.TempDir()
	mqtt, http := port.Free(t), port.Free(t)
	copyFile(t, filepath.Join(dir, "test", "demo.sh"), filepath.Join(root, "test", "demo.sh"), nil)
	copyFile(t, filepath.Join(dir, "configs", "rules", "demo.yaml"), filepath.Join(root, "configs", "rules", "demo.yaml"), nil)
	copyFile(t, filepath.Join(dir, "configs", "demo.yaml"), filepath.Join(root, "configs", "demo.yaml"),
		strings.NewReplacer("127.0.0.1:1883", mqtt, "127.0.0.1:8080", http))
	if err := os.Symlink(binDir, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "test", "demo.sh"))
	cmd.Env = append(os.Environ(), "BROKER=tcp://"+mqtt, "API=http://"+http, "INFLUX_URL=")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := make(chan string)
	go func() { // ends when the demo and what it started have closed the pipe
		defer close(lines)
		defer r.Close()
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case lines <- s.Text():
			case <-ctx.Done():
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
		for range lines { // weir and the fleet have ended when the pipe is closed
		}
	})
	return dir, lines
}

func copyFile(t *testing.T, to, from string, change *strings.Replacer) {
	t.Helper()
	src, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		src = []byte(change.Replace(string(src)))
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, src, 0o755); err != nil {
		t.Fatal(err)
	}
}
