package child

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 60 * time.Second // until a server answers; a loaded machine is slow
	stopTimeout  = 60 * time.Second // until it has written its data and ended
)

// Program is a server that a test can run: one that speaks HTTP.
type Program struct {
	Name   string
	Binary string
	Dir    string // its HOME: it has nothing of the developer's environment
	Args   func(addr string) ([]string, error)
	Ready  string // the path that answers 2xx once it serves
}

// Server is a running Program, or one that was stopped. Its methods fail the
// test they are given when it does not do what it should.
type Server struct {
	p    Program
	addr string

	mu   sync.Mutex
	proc *Proc // nil while stopped
}

// Serve starts the program at a free address. It is stopped when the test ends.
func (p Program) Serve(t testing.TB) *Server {
	t.Helper()
	s := &Server{p: p}
	t.Cleanup(func() { s.Stop(t) })
	for try := 0; ; try++ {
		s.addr = FreeAddr(t)
		err := s.start()
		if err == nil {
			return s
		}
		if try == 3 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("%s: %v", p.Name, err)
		}
	}
}

// URL returns the address, e.g. http://127.0.0.1:23456. It never changes.
func (s *Server) URL() string { return "http://" + s.addr }

// Stop ends the server in an orderly way. It does nothing if it is stopped.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.end(t, syscall.SIGTERM)
}

// Kill ends the server at once, as a power cut would.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	s.end(t, syscall.SIGKILL)
}

// Restart starts a stopped server again, at the same address.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("%s: restart: %v", s.p.Name, err)
	}
}

// start runs the server and returns when it answers.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return errors.New("is running already")
	}
	args, err := s.p.Args(s.addr)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.p.Binary, args...)
	cmd.Env = []string{"HOME=" + s.p.Dir, "PATH=" + os.Getenv("PATH")}
	proc, err := Start(s.p.Name, cmd)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(startTimeout); proc.Alive(); time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get(s.URL() + s.p.Ready); err == nil {
			resp.Body.Close()
			if resp.StatusCode/100 == 2 {
				s.proc = proc
				return nil
			}
		}
		if time.Now().After(deadline) {
			proc.Kill()
			return fmt.Errorf("did not answer within %v:\n%s", startTimeout, proc.printed())
		}
	}
	return fmt.Errorf("ended while starting:\n%s", proc.printed())
}

func (s *Server) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	s.proc.Signal(sig)
	select {
	case <-s.proc.Ended():
	case <-time.After(stopTimeout):
		s.proc.Kill()
		t.Errorf("%s: did not stop within %v:\n%s", s.p.Name, stopTimeout, s.proc.printed())
	}
	s.proc = nil
}

// printed is what a process has printed, for when something goes wrong.
func (p *Proc) printed() string { return p.Out.Tail(200) + p.Err.Tail(200) }
