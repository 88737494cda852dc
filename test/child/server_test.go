package child

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestMain is a server too: `child.test serve ADDR`.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		http.HandleFunc("/pid", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getpid(), os.Getenv("USER")) })
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[2], nil))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func program(t *testing.T) Program {
	return Program{Name: "server", Binary: os.Args[0], Dir: t.TempDir(), Ready: "/pid",
		Args: func(addr string) ([]string, error) { return []string{"serve", addr}, nil }}
}

func answers(s *Server) bool {
	resp, err := http.Get(s.URL() + "/pid")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func TestAServerComesBackWhereItWas(t *testing.T) {
	s := program(t).Serve(t)
	url := s.URL()
	for name, end := range map[string]func(testing.TB){"stopped": s.Stop, "killed": s.Kill} {
		end(t)
		end(t) // does nothing
		if answers(s) {
			t.Fatalf("the server answers once it is %s", name)
		}
		s.Restart(t)
		if !answers(s) || s.URL() != url {
			t.Fatalf("%s and restarted, the server does not answer at %s", name, url)
		}
	}
}

func TestAServerWhoseAddressIsTakenHasAnother(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := program(t)
	tries := 0
	p.Args = func(addr string) ([]string, error) {
		if tries++; tries == 1 {
			addr = l.Addr().String()
		}
		return []string{"serve", addr}, nil
	}
	if s := p.Serve(t); !answers(s) || tries != 2 {
		t.Errorf("the server does not answer after %d tries", tries)
	}
}

func TestAServerThatEndsSaysWhy(t *testing.T) {
	p := program(t)
	p.Args = func(string) ([]string, error) { return []string{"serve", "nowhere"}, nil }
	s := &Server{p: p, addr: FreeAddr(t)}
	if err := s.start(); err == nil || !strings.Contains(err.Error(), "ended while starting") || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("start: %v", err)
	}
	cause := errors.New("no room for the config")
	s.p.Args = func(string) ([]string, error) { return nil, cause }
	if err := s.start(); !errors.Is(err, cause) {
		t.Errorf("start without a config: %v", err)
	}
}
