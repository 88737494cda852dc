package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/test/process"
)

// lines counts line protocol that it takes, unless told otherwise.
type lines struct {
	*httptest.Server
	refuse atomic.Pointer[string] // answer 400 to what holds this text
	status atomic.Int64           // answer everything with it

	mu  sync.Mutex
	got map[string]int // by line
}

func startLines(t *testing.T) *lines {
	l := &lines{got: map[string]int{}}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if word := l.refuse.Load(); err != nil || word != nil && bytes.Contains(body, []byte(*word)) {
			http.Error(w, `{"code":"invalid","message":"a line is not to our taste"}`, http.StatusBadRequest)
			return
		}
		if s := l.status.Load(); s != 0 {
			http.Error(w, `{"code":"internal error","message":"broken"}`, int(s))
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		for line := range bytes.Lines(body) {
			l.got[string(bytes.TrimSpace(line))]++
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(l.Close)
	return l
}

// with returns how many different lines were taken that hold a text.
func (l *lines) with(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for line := range l.got {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func influxSink(name, url string) string {
	return fmt.Sprintf("\n  - name: %s\n    start: all\n    retry: {min: 20ms, max: 200ms, max_attempts: 3}\n    influxdb: {url: %q, database: weir}\n", name, url)
}

func webhookSink(name, url, timeout string) string {
	return fmt.Sprintf("\n  - name: %s\n    start: all\n    retry: {min: 20ms, max: 200ms, max_attempts: 3}\n    webhook: {url: %q, all: true, timeout: %s}\n", name, url, timeout)
}

func deadLetters(t *testing.T, w *process.Weir, args ...string) []eventlog.DeadLetter {
	t.Helper()
	var out []eventlog.DeadLetter
	for line := range strings.Lines(w.MustCLI(t, append([]string{"dead-letters", "list", "--json"}, args...)...)) {
		var d eventlog.DeadLetter
		if err := json.Unmarshal([]byte(line), &d); err != nil {
			t.Fatalf("dead letter %s: %v", line, err)
		}
		out = append(out, d)
	}
	return out
}

func TestReceiversThatHangOrFailDelayNobody(t *testing.T) {
	hung := make(chan struct{})
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hung:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(hang.Close)
	t.Cleanup(func() { close(hung) })
	broken, good := startLines(t), startLines(t)
	broken.status.Store(http.StatusInternalServerError)
	w := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB", Rules: map[string]string{"cold.yaml": warmRules},
		Sinks: webhookSink("hangs", hang.URL, "10m") + influxSink("fails", broken.URL) + influxSink("good", good.URL)})
	w.Start(t)
	const count = 30_000
	process.Loaded(t, w.Load(t, "--count", fmt.Sprint(count), "--connections", "10", "--window", "200"), process.Patience)
	w.Settled(t, "good", "rules", "decode", "devices", "actions", "terminal")
	w.Audit(t)
	if n := good.with("telemetry,"); n != count {
		t.Errorf("the sink that works has %d points, want %d", n, count)
	}
	for _, name := range []string{"hangs", "fails"} {
		if lag, err := w.Metric("weir_consumer_lag_records", fmt.Sprintf("consumer=%q", name)); err != nil || lag == 0 {
			t.Errorf("the sink that %s has a lag of %v (%v): the test tests nothing", name, lag, err)
		}
	}
	if d := deadLetters(t, w); len(d) != 0 {
		t.Errorf("there are %d dead letters, want none: an outage is no fault of a message; the first: %s", len(d), d[0].Cause)
	}
	if n := len(process.AlertFacts(t, w.Events(t))); n == 0 {
		t.Error("there is no alert: the sink that hangs has nothing to do")
	}
	// It stops in time although one receiver hangs, and both are served after a repair.
	took := w.StopWith(t, syscall.SIGTERM) // fails long before the hour that the receiver is given
	t.Logf("stopping took %v with a receiver that hangs", took.Round(time.Millisecond))
	broken.status.Store(0)
	w.Start(t)
	w.Settled(t, "fails")
	w.Audit(t)
	if n := broken.with("telemetry,"); n != count {
		t.Errorf("the sink that failed has %d points after its repair, want %d", n, count)
	}
}

func TestAMessageThatASinkBlamesIsADeadLetterAndTheRestGoesOn(t *testing.T) {
	picky := startLines(t)
	word := "device=d3 "
	picky.refuse.Store(&word)
	w := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB", Sinks: influxSink("picky", picky.URL)})
	w.Start(t)
	const count, devices = 2000, 20
	process.Loaded(t, w.Load(t, "--count", fmt.Sprint(count), "--connections", "5", "--devices", fmt.Sprint(devices)), process.Patience)
	w.Settled(t)
	audit := w.Audit(t)
	if got, want := picky.with("telemetry,"), count-count/devices; got != want {
		t.Errorf("the sink has %d points, want %d", got, want)
	}
	dead := deadLetters(t, w, "--consumer", "picky")
	if len(dead) != count/devices || audit.DeadLetters != count/devices {
		t.Fatalf("there are %d dead letters (the audit says %d), want %d", len(dead), audit.DeadLetters, count/devices)
	}
	for _, d := range dead {
		if d.Topic != "sensors/d3/telemetry" || !strings.Contains(d.Cause, "not to our taste") || !json.Valid(d.Payload) {
			t.Fatalf("dead letter %s of %s: cause %q, payload %s", d.ID, d.Topic, d.Cause, d.Payload)
		}
	}
	if out := w.MustCLI(t, "dead-letters", "show", dead[0].ID); !strings.Contains(out, "sensors/d3/telemetry") || !strings.Contains(out, "not to our taste") {
		t.Errorf("weir dead-letters show prints\n%s", out)
	}
	// Before the cause is gone a replay fails, says so, and changes nothing.
	if _, talk, status := w.CLI(t, "dead-letters", "replay", dead[0].ID); status != 1 || !strings.Contains(talk, "not to our taste") {
		t.Errorf("a replay into the same fault: status %d\n%s", status, talk)
	}
	w.MustCLI(t, "dead-letters", "drop", dead[1].ID)
	if n := len(deadLetters(t, w)); n != count/devices-1 {
		t.Errorf("there are %d dead letters after one was dropped, want %d", n, count/devices-1)
	}
	picky.refuse.Store(nil)
	w.MustCLI(t, "dead-letters", "replay", dead[0].ID)
	w.MustCLI(t, "dead-letters", "replay", "--all", "--consumer", "picky")
	if n := len(deadLetters(t, w)); n != 0 {
		t.Errorf("there are %d dead letters after all were replayed", n)
	}
	if got, want := picky.with("telemetry,"), count-1; got != want {
		t.Errorf("the sink has %d points after the replay, want %d: all but the one that was dropped", got, want)
	}
	w.Audit(t)
}

func TestAReceiverThatFailsAtSomeAlertsGetsTheOthers(t *testing.T) {
	var mu sync.Mutex
	got := map[string]bool{}
	bad := []string{`"d1"`, `"d4"`, `"d7"`}
	hook := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var ce struct{ Data event.Alert }
		if err := json.NewDecoder(r.Body).Decode(&ce); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, d := range bad {
			if `"`+ce.Data.Device+`"` == d {
				http.Error(w, "this one breaks me", http.StatusInternalServerError)
				return
			}
		}
		mu.Lock()
		got[ce.Data.Device] = true
		mu.Unlock()
	}))
	t.Cleanup(hook.Close)
	const devices = 20
	w := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB", Sinks: webhookSink("hook", hook.URL, "5s"),
		Rules: map[string]string{"cold.yaml": "groups: [{name: all, rules: [{alert: Any, expr: temperature > -100}]}]\n"}})
	w.Start(t)
	process.Loaded(t, w.Load(t, "--count", "200", "--connections", "5", "--devices", fmt.Sprint(devices)), process.Patience)
	w.Settled(t)
	w.Audit(t)
	mu.Lock()
	defer mu.Unlock()
	if want := devices - len(bad); len(got) != want {
		t.Errorf("the receiver has alerts of %d devices, want %d", len(got), want)
	}
	dead := deadLetters(t, w, "--consumer", "hook")
	if len(dead) != len(bad) {
		t.Errorf("there are %d dead letters, want %d", len(dead), len(bad))
	}
	for _, d := range dead {
		if !strings.Contains(d.Cause, "this one breaks me") && !strings.Contains(d.Cause, "500") {
			t.Errorf("dead letter %s: cause %q", d.ID, d.Cause)
		}
	}
}

func TestAPayloadThatCouldNotBeDecodedArrivesOnceTheSourceIsRight(t *testing.T) {
	good := startLines(t)
	const wrong = "\n  - {name: meters, topic: \"sensors/{device}/telemetry\", format: json}\n"
	setup := process.Setup{Log: "partitions: 1, min_free: 64MiB", Sources: wrong, Sinks: influxSink("good", good.URL)}
	w := process.New(t, setup)
	w.Start(t)
	payload := filepath.Join(w.Dir, "payload")
	writeFile(t, payload, "meter temperature=21.5,seq={seq}i {ts}000000")
	const count = 50
	process.Loaded(t, w.Load(t, "--count", fmt.Sprint(count), "--connections", "5", "--payload", payload), process.Patience)
	w.Settled(t)
	w.Audit(t)
	dead := deadLetters(t, w, "--consumer", "decode")
	if len(dead) != count {
		t.Fatalf("there are %d dead letters of what could not be decoded, want %d", len(dead), count)
	}
	if !strings.HasPrefix(string(dead[0].Payload), "meter temperature=21.5") {
		t.Errorf("dead letter %s holds %q, want the original bytes", dead[0].ID, dead[0].Payload)
	}
	if _, talk, status := w.CLI(t, "dead-letters", "replay", "--all"); status != 1 || !strings.Contains(talk, "still can't be decoded") {
		t.Errorf("a replay with the same source: status %d\n%s", status, talk)
	}
	w.Stop(t)
	setup.Sources = strings.Replace(wrong, "json", "line-protocol", 1)
	w.Configure(t, setup)
	w.Start(t)
	w.MustCLI(t, "dead-letters", "replay", "--all", "--consumer", "decode")
	w.Settled(t)
	w.Audit(t)
	if n := len(deadLetters(t, w)); n != 0 {
		t.Errorf("there are %d dead letters after the replay", n)
	}
	if n := good.with("temperature=21.5"); n != count {
		t.Errorf("the sink has %d points after the replay, want %d", n, count)
	}
}
