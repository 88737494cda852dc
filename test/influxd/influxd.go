package influxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 60 * time.Second // until the server answers; a loaded machine is slow
	stopTimeout  = 20 * time.Second // until it has written its data and ended
)

// Server is a running InfluxDB. Its methods fail the test they are given when
// the server does not do what it should.
type Server struct {
	binary, dir, addr string
	auth              bool

	mu   sync.Mutex
	cmd  *exec.Cmd     // nil while stopped
	done chan struct{} // closed when cmd has ended
	logs *logBuffer
}

// Admin is the user that WithAuth creates, with all rights.
const (
	Admin         = "admin"
	AdminPassword = "correct-horse"
)

// An Option changes how the server is started.
type Option func(*Server)

// WithAuth makes the server ask for user and password: Admin and AdminPassword
// until CreateUser adds others.
func WithAuth() Option { return func(s *Server) { s.auth = true } }

// Start starts a server that is stopped when the test ends.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	binary, err := find()
	if err != nil {
		if os.Getenv("CI") != "" || os.Getenv("WEIR_REQUIRE_SERVERS") != "" {
			t.Fatalf("influxd: %v", err)
		}
		t.Skipf("influxd: %v", err)
	}
	s := &Server{binary: binary, dir: t.TempDir()}
	for _, o := range opts {
		o(s)
	}
	t.Cleanup(func() { s.Stop(t) })
	for try := 0; ; try++ {
		s.addr = freeAddr(t)
		if err = s.start(); err == nil {
			break
		}
		if try == 3 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatalf("influxd: %v", err)
		}
	}
	if s.auth {
		s.Query(t, "", fmt.Sprintf("CREATE USER %s WITH PASSWORD '%s' WITH ALL PRIVILEGES", Admin, AdminPassword))
	}
	return s
}

// find returns the path of the binary.
func find() (string, error) {
	if p := os.Getenv("WEIR_INFLUXD"); p != "" {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("WEIR_INFLUXD: %w", err)
		}
		return p, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			p := filepath.Join(dir, ".tools", "bin", "influxd")
			if _, err := os.Stat(p); err != nil {
				return "", errors.New("no .tools/bin/influxd: run make tools, or set WEIR_INFLUXD to the path of InfluxDB 1.8's influxd")
			}
			return p, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory, and WEIR_INFLUXD is not set")
		}
		dir = up
	}
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
	t.Fatal("influxd: found no free port in 100 tries")
	return ""
}

func (s *Server) config() string {
	return fmt.Sprintf(`reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
  dir = %q
  logging-enabled = false
[data]
  dir = %q
  wal-dir = %q
  query-log-enabled = false
[monitor]
  store-enabled = false
[http]
  bind-address = %q
  auth-enabled = %v
  log-enabled = false
  max-body-size = 25000000
[logging]
  level = "warn"
[shard-precreation]
  enabled = false
[continuous_queries]
  enabled = false
[subscriber]
  enabled = false
[[graphite]]
  enabled = false
[[collectd]]
  enabled = false
[[opentsdb]]
  enabled = false
[[udp]]
  enabled = false
`, s.path("meta"), s.path("data"), s.path("wal"), s.addr, s.auth)
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

// start runs the server and returns when it answers.
func (s *Server) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("is running already")
	}
	conf := s.path("influxdb.conf")
	if err := os.WriteFile(conf, []byte(s.config()), 0o600); err != nil {
		return err
	}
	cmd := exec.Command(s.binary, "run", "-config", conf)
	cmd.Env = []string{"HOME=" + s.dir, "PATH=" + os.Getenv("PATH")} // no INFLUXDB_ variable of the developer's
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
	deadline := time.Now().Add(startTimeout)
	for {
		select {
		case <-done:
			s.cmd = nil
			return fmt.Errorf("ended while starting:\n%s", logs)
		default:
		}
		resp, err := http.Get(s.URL() + "/ping")
		if err == nil {
			resp.Body.Close()
			return nil
		}
		if time.Now().After(deadline) {
			cmd.Process.Kill()
			<-done
			s.cmd = nil
			return fmt.Errorf("did not answer within %v:\n%s", startTimeout, logs)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// URL returns the address, e.g. http://127.0.0.1:23456. It never changes.
func (s *Server) URL() string { return "http://" + s.addr }

// Stop ends the server in an orderly way. It does nothing if it is stopped.
func (s *Server) Stop(t testing.TB) { s.end(t, syscall.SIGTERM) }

// Kill ends the server at once, as a power cut would.
func (s *Server) Kill(t testing.TB) { s.end(t, syscall.SIGKILL) }

func (s *Server) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		s.cmd.Process.Kill()
		<-s.done
		t.Errorf("influxd: did not stop within %v:\n%s", stopTimeout, s.logs)
	}
	s.cmd = nil
}

// Restart starts a stopped server again, at the same address with the same data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(); err != nil {
		t.Fatalf("influxd: restart: %v", err)
	}
}

// CreateDatabase creates a database.
func (s *Server) CreateDatabase(t testing.TB, name string) {
	t.Helper()
	s.Query(t, "", fmt.Sprintf("CREATE DATABASE %q", name))
}

// CreateUser creates a user who may write to, and read from, one database.
func (s *Server) CreateUser(t testing.TB, name, password, database string) {
	t.Helper()
	s.Query(t, "", fmt.Sprintf("CREATE USER %q WITH PASSWORD '%s'", name, password))
	s.Query(t, "", fmt.Sprintf("GRANT ALL ON %q TO %q", database, name))
}

// Row is one row of a result. A missing value is nil; numbers are json.Number,
// with the type lost that the field has; "time" is a json.Number in ns.
type Row map[string]any

// Query runs InfluxQL and returns the rows of all series of all statements, with
// the tags of GROUP BY and the series' name as "name".
func (s *Server) Query(t testing.TB, database, q string) []Row {
	t.Helper()
	rows, err := s.TryQuery(database, q)
	if err != nil {
		t.Fatalf("influxd: %s: %v", q, err)
	}
	return rows
}

// TryQuery is Query for when the server may be down or refuse.
func (s *Server) TryQuery(database, q string) ([]Row, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	form := url.Values{"db": {database}, "q": {q}, "epoch": {"ns"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if s.auth {
		req.SetBasicAuth(Admin, AdminPassword)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return readRows(resp)
}

func readRows(resp *http.Response) ([]Row, error) {
	var answer struct {
		Error   string
		Results []struct {
			Error  string
			Series []struct {
				Name    string
				Tags    map[string]string
				Columns []string
				Values  [][]any
			}
		}
	}
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	if err := dec.Decode(&answer); err != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	if answer.Error != "" {
		return nil, fmt.Errorf("%s: %s", resp.Status, answer.Error)
	}
	var rows []Row
	for _, r := range answer.Results {
		if r.Error != "" {
			return nil, errors.New(r.Error)
		}
		for _, series := range r.Series {
			for _, v := range series.Values {
				row := Row{"name": series.Name}
				for k, tag := range series.Tags {
					row[k] = tag
				}
				for i, c := range series.Columns {
					row[c] = v[i]
				}
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// Count returns how many points a measurement has by one of its fields, 0 if
// there is no such measurement.
func (s *Server) Count(t testing.TB, database, measurement, field string) int {
	t.Helper()
	rows := s.Query(t, database, fmt.Sprintf("SELECT count(%q) AS n FROM %q", field, measurement))
	if len(rows) == 0 {
		return 0
	}
	n, err := rows[0]["n"].(json.Number).Int64()
	if err != nil {
		t.Fatalf("influxd: count: %v", err)
	}
	return int(n)
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
