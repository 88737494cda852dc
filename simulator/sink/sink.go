package sink

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config is what a Sink does beside counting.
type Config struct {
	Listen   string // host:port; port 0 picks a free one
	Distinct bool   // count distinct points too; see the package comment for what that costs
	Fault    Fault
	MaxBody  int64     // bytes of one write, unzipped; 0: 64 MiB
	Record   io.Writer // gets the body of every write that is taken; may be nil
}

// Fault is how a Sink misbehaves.
type Fault struct {
	Delay      time.Duration // before each answer
	Status     int           // to answer with instead of 204; 0: none
	For        time.Duration // answer with Status only this long from Open; 0: always
	RetryAfter time.Duration // in the header of answers with Status; 0: no header
}

// Stats is what a Sink has counted. Its JSON is the answer to GET /stats.
type Stats struct {
	Writes    uint64  `json:"writes"` // taken
	Lines     uint64  `json:"lines"`  // of those writes
	Bytes     uint64  `json:"bytes"`  // unzipped
	Distinct  uint64  `json:"distinct_points"`
	Malformed uint64  `json:"malformed_lines"` // not counted as points; needs Distinct
	Untimed   uint64  `json:"untimed_lines"`   // never equal to another; needs Distinct
	Rejected  uint64  `json:"rejected_writes"` // answered with Fault.Status, or wrong
	FirstUnix float64 `json:"first_write_unix"`
	LastUnix  float64 `json:"last_write_unix"`
}

// Sink is an HTTP server that counts line protocol.
type Sink struct {
	cfg      Config
	seed     maphash.Seed
	listener net.Listener
	server   *http.Server
	opened   time.Time
	bodies   sync.Pool // of *bytes.Buffer
	zips     sync.Pool // of *gzip.Reader

	mu     sync.Mutex // guards what follows
	stats  Stats
	points set
}

// New makes a Sink; Open starts it.
func New(cfg Config) *Sink {
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	s := &Sink{cfg: cfg, seed: maphash.MakeSeed()}
	s.bodies.New = func() any { return new(bytes.Buffer) }
	s.zips.New = func() any { return new(gzip.Reader) }
	mux := http.NewServeMux()
	mux.HandleFunc("POST /write", s.write)
	mux.HandleFunc("POST /api/v2/write", s.write)
	mux.HandleFunc("/ping", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Influxdb-Version", "simulator")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"name": "simulator", "status": "pass", "message": "counts what it is sent"})
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Stats()) })
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	})
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	return s
}

// Open listens.
func (s *Sink) Open() error {
	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for writes: %w", err)
	}
	s.listener, s.opened = listener, time.Now()
	return nil
}

// URL is where the sink listens once it is open.
func (s *Sink) URL() string { return "http://" + s.listener.Addr().String() }

// Run answers until ctx ends.
func (s *Sink) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.server.Close() })
	defer stop()
	if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve writes: %w", err)
	}
	return nil
}

// Close stops the sink. Closing twice, or before Open, is fine.
func (s *Sink) Close() error {
	err := s.server.Close()
	if s.listener != nil {
		if lerr := s.listener.Close(); lerr != nil && !errors.Is(lerr, net.ErrClosed) {
			err = errors.Join(err, lerr)
		}
	}
	return err
}

// Stats is what was counted since Open or the last Reset.
func (s *Sink) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	if s.cfg.Distinct {
		out.Distinct = s.points.len() + out.Untimed
	}
	return out
}

// Reset forgets what was counted, and the points.
func (s *Sink) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats, s.points = Stats{}, set{}
}

// write takes one write, or refuses it as Config.Fault says.
func (s *Sink) write(w http.ResponseWriter, r *http.Request) {
	body := s.bodies.Get().(*bytes.Buffer)
	defer s.bodies.Put(body)
	body.Reset()
	unit := unitOf(r.URL.Query().Get("precision"))
	err := s.readBody(r, body)
	if err == nil && unit == 0 {
		err = errors.New("the precision is not one of ns, us, ms, s, m, h")
	}
	if d := s.cfg.Fault.Delay; d > 0 {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			return
		}
	}
	if s.failing() {
		s.reject()
		if after := s.cfg.Fault.RetryAfter; after > 0 {
			w.Header().Set("Retry-After", fmt.Sprintf("%.0f", after.Seconds()))
		}
		http.Error(w, `{"code":"simulated","message":"a simulated fault"}`, s.cfg.Fault.Status)
		return
	}
	if err == nil {
		err = s.count(body.Bytes(), unit)
	}
	if err != nil {
		s.reject()
		http.Error(w, fmt.Sprintf(`{"code":"invalid","message":%q}`, err), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sink) failing() bool {
	f := s.cfg.Fault
	return f.Status != 0 && (f.For == 0 || time.Since(s.opened) < f.For)
}

func (s *Sink) reject() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Rejected++
}

// readBody reads the whole of a request's body, unzipped, into out.
func (s *Sink) readBody(r *http.Request, out *bytes.Buffer) error {
	var from io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		zip := s.zips.Get().(*gzip.Reader)
		defer s.zips.Put(zip)
		if err := zip.Reset(r.Body); err != nil {
			return fmt.Errorf("unzip the body: %w", err)
		}
		from = zip
	}
	if n := r.ContentLength; n > 0 && n <= s.cfg.MaxBody {
		out.Grow(int(n) + bytes.MinRead)
	}
	n, err := out.ReadFrom(io.LimitReader(from, s.cfg.MaxBody+1))
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	if n > s.cfg.MaxBody {
		return fmt.Errorf("the body is longer than %d bytes", s.cfg.MaxBody)
	}
	return nil
}

// count adds one body to the books.
func (s *Sink) count(body []byte, unit int64) error {
	var hashes []uint64
	var malformed, untimed uint64
	lines := countLines(body)
	if s.cfg.Distinct {
		hashes = make([]uint64, 0, lines)
		eachLine(body, func(line []byte) {
			switch h, kind := s.identity(line, unit); kind {
			case timed:
				hashes = append(hashes, h)
			case untimedPoint:
				untimed++
			case noPoint:
				malformed++
			}
		})
	}
	now := float64(time.Now().UnixMicro()) / 1e6
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Record != nil {
		if _, err := s.cfg.Record.Write(body); err != nil {
			return fmt.Errorf("record the write: %w", err)
		}
	}
	if s.stats.Writes == 0 {
		s.stats.FirstUnix = now
	}
	s.stats.LastUnix = now
	s.stats.Writes++
	s.stats.Lines += lines
	s.stats.Bytes += uint64(len(body))
	s.stats.Malformed += malformed
	s.stats.Untimed += untimed
	for _, h := range hashes {
		s.points.add(h)
	}
	return nil
}

// kind is what a line turned out to be.
type kind int

const (
	noPoint kind = iota
	untimedPoint
	timed
)

// identity hashes what tells a line's point from every other.
func (s *Sink) identity(line []byte, unit int64) (uint64, kind) {
	p, ok := split(line)
	if !ok {
		return 0, noPoint
	}
	if len(p.time) == 0 {
		return 0, untimedPoint
	}
	ns, ok := nanoseconds(p.time, unit)
	if !ok {
		return 0, noPoint
	}
	h := maphash.Bytes(s.seed, p.series)
	h ^= uint64(ns) * 0x9E3779B97F4A7C15
	h = (h ^ h>>32) * 0xD6E8FEB86659FD93
	return h ^ h>>32, timed
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // fails only if the client has gone
}
