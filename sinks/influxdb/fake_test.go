package influxdb_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"weir/ingest/event"
	"weir/sinks/influxdb"
	"weir/sinks/sinktest"
)

// fake answers writes as no real server can be made to on demand.
type fake struct {
	*httptest.Server
	mu       sync.Mutex
	lines    map[string]bool // that were taken
	requests []request
	refuse   func(w http.ResponseWriter, r *http.Request, lines []string) bool // true: it has answered
}

type request struct {
	path, query, auth, encoding string
	lines                       int
}

func newFake(t *testing.T, refuse func(w http.ResponseWriter, r *http.Request, lines []string) bool) *fake {
	f := &fake{lines: map[string]bool{}, refuse: refuse}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err == nil {
			body, err = io.ReadAll(z)
		}
		if err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(body), "\n"), "\n")
	f.mu.Lock()
	f.requests = append(f.requests, request{r.URL.Path, r.URL.RawQuery, r.Header.Get("Authorization"), r.Header.Get("Content-Encoding"), len(lines)})
	f.mu.Unlock()
	if f.refuse != nil && f.refuse(w, r, lines) {
		return
	}
	f.mu.Lock()
	for _, l := range lines {
		f.lines[l] = true
	}
	f.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// taken returns how many distinct lines were taken, and how many requests came.
func (f *fake) taken() (lines, requests int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.lines), len(f.requests)
}

func v2(c *influxdb.Config) {
	c.Database, c.Org, c.Bucket, c.Token = "", "my org", "tele/metry", "t0ken"
}

func readings(n int) *event.Batch {
	b := sinktest.NewBatch(1, sinktest.Start())
	for i := range n {
		b.Reading(fmt.Sprintf("d%d", i), "v", event.FloatValue(float64(i)))
	}
	return b.Batch()
}

func jsonError(w http.ResponseWriter, status int, form map[string]any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(form)
}
