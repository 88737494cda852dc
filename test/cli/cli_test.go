package cli

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/rogpeppe/go-internal/testscript"

	"weir/cmd/weir/command"
	"weir/test/port"
	"weir/test/process"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weir": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(command.Run(ctx, os.Args[1:], command.Env{Release: "1.2.3", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}))
	}})
}

// patience bounds every wait for something that is to happen.
const patience = 60 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("MQTT", port.Free(t))
			e.Setenv("GORACE", "atexit_sleep_ms=10") // the race detector's second of rest at each exit adds up
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status, "ready": ready, "settled": settled, "publish": publish, "await": await, "ackall": ackAll, "expireall": expireAll,
		},
	})
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%s: %v", strings.Join(args[1:], " "), err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: ready")
	}
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		addr, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), "data", "api"))
		if err != nil {
			continue
		}
		resp, err := http.Get("http://" + strings.TrimSpace(string(addr)) + "/readyz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	ts.Fatalf("weir was not ready within %v", patience)
}

// settled waits until every consumer is done with what the log holds, and with
// what the rules have derived from it.
func settled(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: settled")
	}
	addr, err := os.ReadFile(filepath.Join(ts.Getenv("WORK"), "data", "api"))
	ts.Check(err)
	(&process.Weir{HTTP: strings.TrimSpace(string(addr))}).Settled(script{ts: ts})
}

// script is a script as far as waiting needs a test.
type script struct {
	testing.TB
	ts *testscript.TestScript
}

func (s script) Helper()                           {}
func (s script) Fatalf(format string, args ...any) { s.ts.Fatalf(format, args...) }

func publish(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: publish TOPIC PAYLOAD...")
	}
	o := paho.NewClientOptions().AddBroker("tcp://" + ts.Getenv("MQTT")).SetClientID("script").SetConnectTimeout(patience)
	c := paho.NewClient(o)
	done := func(what string, token paho.Token) {
		if !token.WaitTimeout(patience) {
			ts.Fatalf("%s: nothing happened within %v", what, patience)
		}
		if err := token.Error(); err != nil {
			ts.Fatalf("%s: %v", what, err)
		}
	}
	done("connect", c.Connect())
	defer c.Disconnect(100)
	for _, payload := range args[1:] {
		done("publish", c.Publish(args[0], 1, false, payload))
	}
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: await PATTERN COMMAND...")
	}
	want, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if err == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: no output like %s within %v; last:\n%s%s", strings.Join(args[1:], " "), args[0], patience, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
		}
	}
}

// ackAll acknowledges the alerts about a key, as otto, by the ids that weir lists.
func ackAll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ackall CONFIG KEY")
	}
	each(ts, []string{"alerts", "list", "-c", args[0]}, " "+args[1]+" ", -1, []string{"alerts", "ack", "-c", args[0], "--by", "otto", "--comment", "on it"})
}

// expireAll ends all silences, as otto.
func expireAll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expireall CONFIG")
	}
	each(ts, []string{"silences", "list", "-c", args[0]}, "active", 0, []string{"silences", "expire", "-c", args[0], "--by", "otto"})
}

// each runs a command with one column of every line of a list that has a text
// in it; column -1 is the last.
func each(ts *testscript.TestScript, list []string, text string, column int, do []string) {
	ts.Check(ts.Exec("weir", list...))
	found := false
	for _, line := range strings.Split(ts.ReadFile("stdout"), "\n") {
		if !strings.Contains(line, text) {
			continue
		}
		words := strings.Fields(line)
		found = true
		ts.Check(ts.Exec("weir", append(append([]string(nil), do...), words[(column+len(words))%len(words)])...))
	}
	if !found {
		ts.Fatalf("weir %s: no line has %q", strings.Join(list, " "), text)
	}
}
