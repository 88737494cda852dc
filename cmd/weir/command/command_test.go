package command

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/console"
	"weir/ingest/event"
)

// watched cancels once what was written is what ok waits for.
type watched struct {
	bytes.Buffer
	ok     func(text string) bool
	cancel context.CancelFunc
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if w.ok(w.String()) {
		w.cancel()
	}
	return n, err
}

func TestFollowingEndsWithAnInterruptAndIsASuccess(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "weir.yaml")
	text := "data_dir: " + filepath.Join(dir, "data") + "\nmqtt: {listen: '127.0.0.1:0', anonymous: true}\nhttp: {listen: '127.0.0.1:0'}\n" +
		"sources: [{name: p, topic: 'p/{device}', format: value}]\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	weir := make(chan int, 1)
	go func() {
		weir <- Run(ctx, []string{"run", "-c", config}, Env{Stdout: io.Discard, Stderr: io.Discard})
	}()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if addr, err := os.ReadFile(filepath.Join(dir, "data", "api")); err == nil {
			if c, err := net.Dial("tcp", strings.TrimSpace(string(addr))); err == nil {
				c.Close()
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("weir did not start")
		}
	}
	tailCtx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{cancel: cancel, ok: func(s string) bool { return strings.Contains(s, "tick") }}
	var errs bytes.Buffer
	if status := Run(tailCtx, []string{"events", "tail", "-c", config, "--raw", "--ticks"}, Env{Stdout: out, Stderr: &errs}); status != done || errs.Len() > 0 {
		t.Errorf("tail: exit status %d, %s", status, errs.String())
	}
	// Any other command that is interrupted says so by its status, and nothing more.
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if status := Run(gone, []string{"audit", "-c", config}, Env{Stdout: io.Discard, Stderr: &errs}); status != interrupted || errs.Len() > 0 {
		t.Errorf("audit: exit status %d, %s", status, errs.String())
	}
	stop()
	if status := <-weir; status != done {
		t.Errorf("run: exit status %d", status)
	}
}

func TestLinesOfTheLogAreColumnsAndSafeForATerminal(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 5e6, time.UTC)
	later := at.Add(time.Hour)
	payload := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var b strings.Builder
	p := &linePrinter{w: &b}
	for _, l := range []console.Line{
		{Position: event.Position{Seq: 7}, Kind: "event", Received: at, Time: &at, Device: "f1", Measurement: "telemetry",
			Tags: map[string]string{"site": "a b"}, Fields: map[string]any{"n": json.Number("12345678"), "s": "x\x1b[31m"}},
		{Position: event.Position{Seq: 123456789}, Kind: "event", Received: at, Time: &later, Device: "a-device-of-a-long-name", Measurement: "m", Fields: map[string]any{"v": true}},
		{Position: event.Position{Seq: 8}, Kind: "message", Received: at, Topic: "t/\x1b]0;title\a", Payload: payload(strings.Repeat("é", 400)), Error: "no\nJSON"},
		{Position: event.Position{Seq: 9}, Kind: "alert", Received: at, Device: "f1", Payload: payload(map[string]any{"state": "firing", "rule": "g/r", "device": "f1"})},
		{Position: event.Position{Seq: 9}, Kind: "alert", Received: at, Payload: payload(map[string]any{"state": "resolved", "rule": "g/r", "key": "oslo"})},
		{Position: event.Position{Seq: 10}, Kind: "rules", Received: at, Payload: payload("groups")},
		{Position: event.Position{Seq: 11}, Kind: "tick", Received: at},
		{Position: event.Position{Seq: 12}, Kind: "damage", Error: "batches 12 to 13 are damaged"},
	} {
		if err := p.print(&l); err != nil {
			t.Fatal(err)
		}
	}
	want := `RECEIVED                  POSITION    KIND       DEVICE      WHAT
2026-01-31T12:00:00.005Z  0/7/0/0     event      f1          telemetry site="a b" n=12345678 s="x\x1b[31m"
2026-01-31T12:00:00.005Z  0/123456789/0/0  event      a-device-of-a-long-name  m v=true (at 2026-01-31T13:00:00.005Z)
2026-01-31T12:00:00.005Z  0/8/0/0          message    -                        t/�]0;title� ` + strings.Repeat("é", 300) + `... (800 bytes) error: no�JSON
2026-01-31T12:00:00.005Z  0/9/0/0          alert      f1                       firing g/r
2026-01-31T12:00:00.005Z  0/9/0/0          alert      -                        resolved g/r key=oslo
2026-01-31T12:00:00.005Z  0/10/0/0         rules      -                        a rule set of 8 bytes came into force
2026-01-31T12:00:00.005Z  0/11/0/0         tick       -
                          0/12/0/0         damage     -                        error: batches 12 to 13 are damaged
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
