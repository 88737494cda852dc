package influxd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/test/child"
)

// answerTimeout is how long a query may take; a loaded machine is slow.
const answerTimeout = 60 * time.Second

// Server is a running InfluxDB. Its methods fail the test they are given when
// the server does not do what it should.
type Server struct {
	*child.Server
	dir  string
	auth bool
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
	binary := child.Tool(t, "WEIR_INFLUXD", "influxd")
	s := &Server{dir: t.TempDir()}
	for _, o := range opts {
		o(s)
	}
	s.Server = child.Program{Name: "influxd", Binary: binary, Dir: s.dir, Args: s.configure, Ready: "/ping"}.Serve(t)
	if s.auth {
		s.Query(t, "", fmt.Sprintf("CREATE USER %s WITH PASSWORD '%s' WITH ALL PRIVILEGES", Admin, AdminPassword))
	}
	return s
}

// configure writes the config for an address, and returns the arguments that name it.
func (s *Server) configure(addr string) ([]string, error) {
	conf := s.path("influxdb.conf")
	text := fmt.Sprintf(`reporting-disabled = true
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
`, s.path("meta"), s.path("data"), s.path("wal"), addr, s.auth)
	return []string{"run", "-config", conf}, os.WriteFile(conf, []byte(text), 0o600)
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

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
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
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
