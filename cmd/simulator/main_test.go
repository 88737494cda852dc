package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weir/simulator"
	"weir/simulator/bench"
	"weir/simulator/brokertest"
	"weir/simulator/sink"
	"weir/test/child"
)

// simulate runs the command and returns its status and output.
func simulate(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(ctx, args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestWrongInputIsRefusedWithStatus2(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", []string{"usage: simulator COMMAND"}},
		{"bensh", []string{`unknown command "bensh"`, `hint: did you mean "bench"?`}},
		{"bench --conections 5", []string{"bench: unknown flag --conections", `hint: did you mean "--connections"?`}},
		{"bench --xyzzy", []string{"unknown flag --xyzzy", "hint: simulator bench --help"}},
		{"bench --count many", []string{`invalid value "many" for --count`}},
		{"bench --count", []string{"a value is missing after --count"}},
		{"bench 5", []string{`unexpected argument "5"`}},
		{"bench --qos 3", []string{"--qos 3"}},
		{"bench --mqtt-version 4.1", []string{"--mqtt-version"}},
		{"bench --client mosquitto", []string{"--client"}},
		{"bench --connections 0 --window 0", []string{"connections: 0", "window: 0"}},
		{"bench --broker http://x", []string{`scheme "http"`}},
		{"bench --password x", []string{"--password without --username"}},
		{"bench --payload /does/not/exist", []string{"--payload"}},
		{"bench --time fortnight", []string{`time unit "fortnight"`}},
		{"bench --source-ips localhost", []string{`"localhost" is not an IP address`}},
		{"bench --idle-connections 5 --client paho", []string{"--idle-connections"}},
		{"bench --idle-connections 5 --time fortnight", []string{`time unit "fortnight"`}},
		{"run --profile fridge", []string{`profile "fridge"`, "freezer"}},
		{"run --anomalies spyke", []string{`anomaly "spyke"`}},
		{"run --rate 5 --interval 1s", []string{"--rate and --interval"}},
		{"run --rate 0", []string{"--rate 0"}},
		{"run --devices 0", []string{"devices: 0"}},
		{"run --tls-ca /does/not/exist", []string{"TLS authorities"}},
		{"sink --status 99", []string{"--status 99"}},
		{"sink --max-body 0", []string{"--max-body"}},
	} {
		status, stdout, stderr := simulate(t.Context(), strings.Fields(tt.args)...)
		if status != exitUsage || stdout != "" {
			t.Errorf("simulator %s: status %d, stdout %q; want %d and nothing", tt.args, status, stdout, exitUsage)
		}
		for _, want := range tt.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("simulator %s: stderr %q, want %q", tt.args, stderr, want)
			}
		}
	}
}

func TestHelpGoesToStdoutAndEndsWithAnExample(t *testing.T) {
	for _, c := range commands() {
		status, stdout, stderr := simulate(t.Context(), c.name, "--help")
		if status != exitDone || stderr != "" || !strings.Contains(stdout, "\nexample:\n  simulator "+c.name) {
			t.Errorf("simulator %s --help: status %d, stderr %q, stdout\n%s", c.name, status, stderr, stdout)
		}
	}
	if status, stdout, _ := simulate(t.Context(), "--help"); status != exitDone || !strings.Contains(stdout, "commands:") {
		t.Errorf("simulator --help: status %d\n%s", status, stdout)
	}
}

func TestTheManualShowsTheHelpAsItIs(t *testing.T) {
	manual, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands() {
		_, help, _ := simulate(t.Context(), c.name, "--help")
		if !strings.Contains(string(manual), help) {
			t.Errorf("docs/simulator.md does not hold the output of simulator %s --help, which is\n%s", c.name, help)
		}
	}
}

func TestBenchPrintsWhatItMeasuredForPeopleAndMachines(t *testing.T) {
	broker := brokertest.Start(t)
	file := filepath.Join(t.TempDir(), "acked")
	args := []string{"bench", "--broker", broker.URL(), "--count", "2000", "--connections", "3", "--quiet", "--acked-file", file}
	status, stdout, stderr := simulate(t.Context(), append(args, "--json")...)
	var result bench.Result
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("stdout %q: %v", stdout, err)
	}
	if status != exitDone || stderr != "" || result.Sent != 2000 || result.Acked != 2000 || result.Latency == nil {
		t.Errorf("status %d, stderr %q, result %+v", status, stderr, result)
	}
	status, stdout, _ = simulate(t.Context(), append(args, "--seq-start", "2000", "--mqtt-version", "5")...)
	for _, want := range []string{`acked +2000\n`, `rate +\d+ msgs/s`, `p50 \S+ ms  p99 \S+ ms  p99.9 \S+ ms  max`, `out-of-order acks +0\n`, `generator CPU`} {
		if status != exitDone || !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("status %d, output does not match %s:\n%s", status, want, stdout)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]bool)
	for line := range strings.Lines(string(text)) {
		lines[line] = true
	}
	if len(lines) != 4000 || !lines["0\n"] || !lines["3999\n"] {
		t.Errorf("the file has %d different lines, want 0 to 3999", len(lines))
	}
}

func TestBenchFailsWithStatus1WhenNobodyListens(t *testing.T) {
	status, _, stderr := simulate(t.Context(), "bench", "--broker", "tcp://127.0.0.1:1", "--count", "1", "--connections", "1")
	if status != exitFailed || !strings.Contains(stderr, "connect to tcp://127.0.0.1:1") {
		t.Errorf("status %d, stderr %q; want %d and the broker's name", status, stderr, exitFailed)
	}
}

func TestBenchHoldsQuietConnections(t *testing.T) {
	broker := brokertest.Start(t)
	status, stdout, stderr := simulate(t.Context(), "bench", "--broker", broker.URL(), "--idle-connections", "50", "--interval", "100ms", "--json", "--quiet")
	var result bench.IdleResult
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || status != exitDone || result.OpenAtEnd != 50 || result.Acked != 50 {
		t.Errorf("status %d, %v, result %+v, stderr %q", status, err, result, stderr)
	}
}

func TestRunPublishesAndSumsUp(t *testing.T) {
	broker := brokertest.Start(t)
	status, stdout, stderr := simulate(t.Context(), "run", "--broker", broker.URL(), "--devices", "4", "--rate", "100", "--duration", "300ms", "--json", "--quiet")
	var sum simulator.Status
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || status != exitDone || stderr != "" {
		t.Fatalf("status %d, %v, stdout %q, stderr %q", status, err, stdout, stderr)
	}
	if sum.Published == 0 || sum.Acked != sum.Published || int(sum.Published) != broker.Count() {
		t.Errorf("summary %+v, and the broker took %d", sum, broker.Count())
	}
}

func TestSinkCountsUntilItIsInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout bytes.Buffer
	var stderr child.Output
	done := make(chan int, 1)
	record := filepath.Join(t.TempDir(), "lines")
	go func() {
		done <- run(ctx, []string{"sink", "--listen", "127.0.0.1:0", "--distinct", "--record", record}, &stdout, &stderr)
	}()
	listening := regexp.MustCompile(`listening on (http://\S+)`)
	for deadline := time.Now().Add(time.Minute); !listening.MatchString(stderr.String()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say where it listens: %q", stderr.String())
		}
	}
	url := listening.FindStringSubmatch(stderr.String())[1]
	resp, err := http.Post(url+"/write", "text/plain", strings.NewReader("m t=1 1\nm t=2 1\n"))
	if err != nil || resp.StatusCode != 204 {
		t.Fatalf("POST: %v %v", resp, err)
	}
	resp.Body.Close()
	interrupt()
	if status := <-done; status != exitDone {
		t.Errorf("status %d, stderr %q", status, stderr.String())
	}
	var stats sink.Stats
	if err := json.Unmarshal(stdout.Bytes(), &stats); err != nil || stats.Lines != 2 || stats.Distinct != 1 {
		t.Errorf("stats %+v, %v; want 2 lines and 1 point", stats, err)
	}
	if text, err := os.ReadFile(record); err != nil || string(text) != "m t=1 1\nm t=2 1\n" {
		t.Errorf("recorded %q, %v", text, err)
	}
}
