package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/test/port"
)

// Proc is a process of a test.
type Proc struct {
	Name   string
	Out    *Output // its standard output
	Err    *Output // its standard error
	cmd    *exec.Cmd
	done   chan struct{} // closed when it has ended
	status error         // valid after done
}

// Spawn starts a program that is killed when the test ends.
func Spawn(t testing.TB, name, binary string, args ...string) *Proc {
	t.Helper()
	p, err := Start(name, exec.Command(binary, args...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

// Start starts a command, whose output it keeps. It is for the caller to end it.
func Start(name string, cmd *exec.Cmd) (*Proc, error) {
	p := &Proc{Name: name, Out: &Output{}, Err: &Output{}, cmd: cmd, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.Out, p.Err
	p.cmd.SysProcAttr = dieWithParent()
	p.cmd.WaitDelay = 5 * time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { // ends with the process
		p.status = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// PID returns the id of the process.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Proc) Signal(s os.Signal) { p.cmd.Process.Signal(s) }

// Kill ends the process at once, as kill -9 does, and waits for its end.
func (p *Proc) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Ended returns a channel that is closed when the process has ended.
func (p *Proc) Ended() <-chan struct{} { return p.done }

// Alive reports whether the process runs.
func (p *Proc) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end and returns the exit status, -1 for a signal.
func (p *Proc) Wait(t testing.TB, patience time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.Signal(syscall.SIGQUIT) // for its goroutines
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
		p.Kill()
		t.Fatalf("%s has not ended after %v:\n%s", p.Name, patience, p.Err.Tail(200))
	}
	var exit *exec.ExitError
	if errors.As(p.status, &exit) {
		return exit.ExitCode()
	}
	if p.status != nil {
		t.Fatalf("%s: %v", p.Name, p.status)
	}
	return 0
}

// Output keeps what a process prints.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*Output)(nil)

// Write appends to the output. What goes beyond 1 GiB is dropped.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() < 1<<30 {
		o.b.Write(p)
	}
	return len(p), nil
}

// String returns all of it.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Lines returns the complete lines that hold a text.
func (o *Output) Lines(text string) []string {
	var out []string
	for line := range strings.Lines(o.String()) {
		if strings.HasSuffix(line, "\n") && strings.Contains(line, text) {
			out = append(out, strings.TrimSuffix(line, "\n"))
		}
	}
	return out
}

// Tail returns the last n lines.
func (o *Output) Tail(n int) string {
	lines := strings.Split(strings.TrimRight(o.String(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// FreeAddr returns a loopback address that nothing listens on. It is below the
// ports that the kernel gives out by itself, so that it is still free when a
// server comes back from an outage.
func FreeAddr(t testing.TB) string {
	t.Helper()
	return port.Free(t)
}
