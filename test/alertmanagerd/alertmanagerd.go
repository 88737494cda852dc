package alertmanagerd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 60 * time.Second // until the server answers; a loaded machine is slow
	stopTimeout  = 20 * time.Second
)

// Alert is an alert as API v2 has it.
type Alert struct {
	Labels       map[string]string
	Annotations  map[string]string
	StartsAt     time.Time
	EndsAt       time.Time
	UpdatedAt    time.Time
	GeneratorURL string
}

// Notification is what the server tells its receiver of one alert.
type Notification struct {
	Status           string // firing or resolved
	Labels           map[string]string
	StartsAt, EndsAt time.Time
}

// Server is a running Alertmanager that groups nothing and waits for nothing.
type Server struct {
	binary, dir, addr string
	receiver          *httptest.Server

	mu   sync.Mutex
	told []Notification
	cmd  *exec.Cmd     // nil while stopped
	done chan struct{} // closed when cmd has ended
	logs *logBuffer
}

// Start starts a server that is stopped when the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("runs an Alertmanager")
	}
	s := &Server{binary: find(t), dir: t.TempDir()}
	s.receiver = httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(s.receiver.Close)
	t.Cleanup(func() { s.Stop(t) })
	for try := 0; ; try++ {
		s.addr = freeAddr(t)
		err := s.start()
		if err == nil {
			return s
		}
		if try == 3 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("alertmanagerd: %v", err)
		}
	}
}

// find returns the path of the binary. Without one the test is skipped, or fails
// where servers are required.
func find(t testing.TB) string {
	t.Helper()
	path := os.Getenv("WEIR_ALERTMANAGER")
	if path == "" {
		dir, err := os.Getwd()
		for err == nil {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil || dir == filepath.Dir(dir) {
				break
			}
			dir = filepath.Dir(dir)
		}
		path = filepath.Join(dir, ".tools", "bin", "alertmanager")
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("WEIR_REQUIRE_SERVERS") != "" {
			t.Fatalf("alertmanagerd: %v; run make tools, or set WEIR_ALERTMANAGER", err)
		}
		t.Skip("alertmanagerd: there is no .tools/bin/alertmanager: run make tools, or set WEIR_ALERTMANAGER to the path of an Alertmanager")
	}
	return path
}

// freeAddr returns a loopback address that nothing listens on. It is below the
// ports that the kernel gives out by itself, so that it is still free when the
// server comes back from an outage.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("alertmanagerd: found no free port in 100 tries")
	return ""
}

func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	var body struct{ Alerts []Notification }
	b, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(b, &body)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, body.Alerts...)
}

// Told returns what the server has told its receiver, each once or more.
func (s *Server) Told() []Notification {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// start runs the server and returns when it answers.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("is running already")
	}
	conf := filepath.Join(s.dir, "alertmanager.yml")
	text := fmt.Sprintf(`route: {receiver: test, group_by: ["..."], group_wait: 10ms, group_interval: 100ms, repeat_interval: 24h}
receivers: [{name: test, webhook_configs: [{url: %q, send_resolved: true}]}]
`, s.receiver.URL)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(s.binary, "--config.file="+conf, "--storage.path="+filepath.Join(s.dir, "data"),
		"--web.listen-address="+s.addr, "--cluster.listen-address=")
	cmd.Env = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = dieWithParent()
	logs := &logBuffer{}
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	done := make(chan struct{})
	go func() { // ends with the process
		cmd.Wait() // the exit status of a server that is killed says nothing
		close(done)
	}()
	s.cmd, s.done, s.logs = cmd, done, logs
	for deadline := time.Now().Add(startTimeout); ; time.Sleep(10 * time.Millisecond) {
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("ended while starting:\n%s", logs)
		default:
		}
		if resp, err := http.Get(s.URL() + "/-/ready"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			<-done
			s.cmd = nil
			return fmt.Errorf("did not answer within %v:\n%s", startTimeout, logs)
		}
	}
}

// URL returns the address, e.g. http://127.0.0.1:23456. It never changes.
func (s *Server) URL() string { return "http://" + s.addr }

// Stop ends the server. It does nothing if it is stopped.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.cmd = nil
	s.mu.Unlock()
	if cmd == nil {
		return
	}
	cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-done:
	case <-time.After(stopTimeout):
		cmd.Process.Kill()
		<-done
		t.Errorf("alertmanagerd: did not stop within %v:\n%s", stopTimeout, s.logs)
	}
}

// Restart starts a stopped server again, at the same address. Alertmanager keeps
// what it told, not its alerts.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("alertmanagerd: restart: %v", err)
	}
}

// Alerts returns the alerts that fire, as GET /api/v2/alerts has them.
func (s *Server) Alerts(t testing.TB) []Alert {
	t.Helper()
	resp, err := http.Get(s.URL() + "/api/v2/alerts")
	if err != nil {
		t.Fatalf("alertmanagerd: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("alertmanagerd: %s: %s, %v", resp.Status, b, err)
	}
	var out []Alert
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(&out); err != nil {
		t.Fatalf("alertmanagerd: %v in %s", err, b)
	}
	return out
}

// logBuffer keeps what the server prints, for when something goes wrong.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.b.Len() > 1<<20 {
		return len(p), nil
	}
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
