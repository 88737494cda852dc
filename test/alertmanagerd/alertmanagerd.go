package alertmanagerd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"weir/test/child"
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
	*child.Server
	dir      string
	receiver *httptest.Server

	mu   sync.Mutex
	told []Notification
}

// Start starts a server that is stopped when the test ends. Over a restart it
// keeps what it told, not its alerts.
func Start(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("runs an Alertmanager")
	}
	binary := child.Tool(t, "WEIR_ALERTMANAGER", "alertmanager")
	s := &Server{dir: t.TempDir()}
	s.receiver = httptest.NewServer(http.HandlerFunc(s.receive))
	t.Cleanup(s.receiver.Close)
	s.Server = child.Program{Name: "alertmanager", Binary: binary, Dir: s.dir, Args: s.configure, Ready: "/-/ready"}.Serve(t)
	return s
}

// configure writes the config, and returns the arguments of a server at an address.
func (s *Server) configure(addr string) ([]string, error) {
	conf := filepath.Join(s.dir, "alertmanager.yml")
	text := fmt.Sprintf(`route: {receiver: test, group_by: ["..."], group_wait: 10ms, group_interval: 100ms, repeat_interval: 24h}
receivers: [{name: test, webhook_configs: [{url: %q, send_resolved: true}]}]
`, s.receiver.URL)
	return []string{"--config.file=" + conf, "--storage.path=" + filepath.Join(s.dir, "data"),
		"--web.listen-address=" + addr, "--cluster.listen-address="}, os.WriteFile(conf, []byte(text), 0o600)
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

// lookups matches the metric of how often the server has looked at its notes of
// whom it told what.
var lookups = regexp.MustCompile(`(?m)^alertmanager_nflog_queries_total (\d+)$`)

// Remembered waits until the server has noted what its receiver was told, which
// it does after the answer of that: a server that is stopped before does not
// know it after a restart. It looks at the notes of an alert before it tells it
// anew, so where all have been looked at often since, they were written.
func (s *Server) Remembered(t testing.TB) {
	t.Helper()
	count := func() int {
		resp, err := http.Get(s.URL() + "/metrics")
		if err != nil {
			t.Fatalf("alertmanagerd: %v", err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		m := lookups.FindSubmatch(b)
		if err != nil || m == nil {
			t.Fatalf("alertmanagerd: no number of look-ups in its metrics (%s, %v)", resp.Status, err)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatalf("alertmanagerd: %v", err)
		}
		return n
	}
	want := count() + 10*len(s.Alerts(t))
	for deadline := time.Now().Add(time.Minute); count() < want; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("alertmanagerd: %d look-ups after a minute, want %d", count(), want)
		}
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
