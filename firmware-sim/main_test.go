package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/simulator/brokertest"
)

// TestMain lets the test's binary be the program itself, for tests that kill it.
func TestMain(m *testing.M) {
	if os.Getenv("FIRMWARE_SIM_TEST_MAIN") == "1" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// device runs the program until it ends.
func device(t *testing.T, args ...string) (*os.ProcessState, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "FIRMWARE_SIM_TEST_MAIN=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState, stderr.String()
}

func TestAProcessThatIsKilledOverAndOverLosesAndReordersNothing(t *testing.T) {
	broker := brokertest.Start(t)
	args := []string{"--broker", broker.URL(), "--device", "d1", "--data-dir", t.TempDir(), "--interval", "10ms", "--backoff", "20ms", "--backoff-max", "100ms", "--clock-delay", "0s"}
	const kills = 4
	for range kills {
		state, stderr := device(t, append(args, "--crash-after", "500ms")...)
		if status := state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGKILL {
			t.Fatalf("the device ended with %v, want SIGKILL\n%s", state, stderr)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; { // until it could send all that it had stored
		if state, stderr := device(t, append(args, "--duration", "3s")...); !state.Success() {
			t.Fatalf("the device ended with %v\n%s", state, stderr)
		}
		boots := crashes(t, broker.Messages())
		if boots == kills {
			break
		}
		if boots > kills || time.Now().After(deadline) {
			t.Fatalf("%d boots say that they follow a crash, want %d", boots, kills)
		}
	}
}

// crashes checks that no message is missing and returns how many boots follow a crash.
func crashes(t *testing.T, messages []brokertest.Message) int {
	t.Helper()
	next, boots := uint64(1), 0
	for _, m := range messages {
		var got struct {
			Seq    uint64
			Boot   int
			Reason string
		}
		if strings.HasSuffix(m.Topic, "/status") {
			continue
		}
		if err := json.Unmarshal([]byte(m.Payload), &got); err != nil {
			t.Fatalf("payload %q: %v", m.Payload, err)
		}
		if got.Seq > next {
			t.Fatalf("message %d came where %d was due", got.Seq, next)
		}
		if got.Seq == next {
			next++
			if got.Reason == "crash" {
				boots++
			}
		}
	}
	return boots
}

func TestWrongInputIsRefusedWithStatus2AndAHint(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--intervall", "1s"}, "unknown flag --intervall"},
		{[]string{"--interval", "soon"}, `invalid value "soon" for --interval`},
		{[]string{"--interval"}, "a value is missing after --interval"},
		{[]string{"--device", "a/b"}, `device: "a/b"`},
		{[]string{"run"}, `unexpected argument "run"`},
		{[]string{"--tls-ca", "/does/not/exist"}, "--tls-ca"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(context.Background(), tt.args, &stdout, &stderr); status != exitUsage {
			t.Errorf("%v: status %d, want %d", tt.args, status, exitUsage)
		}
		if !strings.Contains(stderr.String(), tt.want) || !strings.Contains(stderr.String(), "hint:") || stdout.Len() > 0 {
			t.Errorf("%v: stdout %q, stderr %q; want %q and a hint", tt.args, &stdout, &stderr, tt.want)
		}
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if status := run(context.Background(), []string{"--help"}, &stdout, &stderr); status != exitDone || stderr.Len() > 0 {
		t.Fatalf("--help: status %d, stderr %q", status, &stderr)
	}
	for _, want := range []string{"--broker URL", "--data-dir DIRECTORY", "--crash-after", "example:"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("help does not mention %s:\n%s", want, &stdout)
		}
	}
}

func TestADeviceWithoutABrokerStopsInGoodOrder(t *testing.T) {
	var stdout, stderr bytes.Buffer
	begun := time.Now()
	status := run(context.Background(), []string{"--broker", "tcp://127.0.0.1:1", "--data-dir", t.TempDir(), "--duration", "100ms"}, &stdout, &stderr)
	if status != exitDone || time.Since(begun) > time.Minute {
		t.Errorf("status %d after %v\n%s", status, time.Since(begun), &stderr)
	}
}
