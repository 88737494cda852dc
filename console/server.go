package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"weir/devices"
	"weir/ingest/consume"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// Deps is what the API serves. Nil functions mean "not running": the same API
// then answers from a data directory that no process has open.
type Deps struct {
	Log     *eventlog.Log
	Devices *devices.Registry

	Runners func() []*consume.Runner // the consumers that run
	Alerts  func() []rules.Status    // the pending and the firing ones
	Decide  Decide                   // on alerts
	Rules   func() []Rule            // those in force
	Refused func() *Refused          // why the rule files are not; nil, or returns nil, if they are
	Ready   func() error             // why weir takes no messages, or nil
	Healthy func() error             // what has stopped for good, or nil

	Sources func() []string // names of those in force

	Silences func() []event.Decision // those that have not ended

	Backtest Backtest // not nil: works without a running weir too
	Explain  Explain  // the same
	Shadow   Shadow   // the same

	// Decode adds events and rejects to a batch, by the sources in force.
	Decode func(*event.Batch)
	// Reinsert appends a message to the log again and returns when it is durable.
	Reinsert func(context.Context, *event.Message) error
	// Seek makes a consumer read again from a place; ErrUnknownConsumer if there is none.
	Seek func(ctx context.Context, name string, from From) error

	Gatherer prometheus.Gatherer // of /metrics; nil: there is no such page
	Logger   *slog.Logger        // nil: none
	Pprof    bool                // serve Go's profiles under /debug/pprof/
}

// Server is the HTTP API.
type Server struct {
	deps Deps
	mux  *http.ServeMux

	testing    sync.Mutex // held by the one backtest that runs
	explaining sync.Mutex // held by the one explanation that is made

	acks struct { // of these last minutes, by alert: that one is durable is known before Deps.Alerts shows it
		sync.Mutex
		at map[string]time.Time
	}
}

// New returns a server for the dependencies given.
func New(deps Deps) *Server {
	if deps.Logger == nil {
		deps.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{deps: deps, mux: http.NewServeMux()}
	mux := &routes{mux: s.mux, methods: map[string][]string{}}
	mux.HandleFunc("GET /healthz", s.probe(deps.Healthy))
	mux.HandleFunc("GET /readyz", s.probe(deps.Ready))
	if deps.Gatherer != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(deps.Gatherer, promhttp.HandlerOpts{}))
	}
	if deps.Pprof {
		s.mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		s.mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		s.mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		s.mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /api/v1/devices", s.listDevices)
	mux.HandleFunc("GET /api/v1/devices/{id...}", s.showDevice)
	mux.HandleFunc("GET /api/v1/alerts", s.listAlerts)
	mux.HandleFunc("GET /api/v1/alerts/history", s.alertHistory)
	mux.HandleFunc("POST /api/v1/alerts/{id}/ack", s.ackAlert)
	mux.HandleFunc("DELETE /api/v1/alerts/{id}/ack", s.unackAlert)
	mux.HandleFunc("GET /api/v1/silences", s.listSilences)
	mux.HandleFunc("POST /api/v1/silences", s.addSilence)
	mux.HandleFunc("DELETE /api/v1/silences/{id}", s.expireSilence)
	mux.HandleFunc("GET /api/v1/rules", s.listRules)
	mux.HandleFunc("POST /api/v1/rules/backtest", s.backtest)
	mux.HandleFunc("GET /api/v1/rules/explain", s.explain)
	mux.HandleFunc("GET /api/v1/rules/shadow", s.shadow)
	mux.HandleFunc("GET /api/v1/consumers", s.listConsumers)
	mux.HandleFunc("GET /api/v1/audit", s.audit)
	mux.HandleFunc("GET /api/v1/events", s.events)
	mux.HandleFunc("POST /api/v1/consumers/{name}/replay", s.replayConsumer)
	mux.HandleFunc("GET /api/v1/dead-letters", s.listDead)
	mux.HandleFunc("POST /api/v1/dead-letters", s.replayManyDead)
	mux.HandleFunc("DELETE /api/v1/dead-letters", s.dropManyDead)
	mux.HandleFunc("GET /api/v1/dead-letters/{id...}", s.showDead)
	mux.HandleFunc("POST /api/v1/dead-letters/{id...}", s.replayDead)
	mux.HandleFunc("DELETE /api/v1/dead-letters/{id...}", s.dropDead)
	for path, methods := range mux.methods {
		s.mux.HandleFunc(path, s.otherMethod(methods))
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, http.StatusNotFound, fmt.Errorf("%s %s is not part of the API", r.Method, r.URL.Path))
	})
	return s
}

// routes registers handlers and keeps which methods each path has.
type routes struct {
	mux     *http.ServeMux
	methods map[string][]string // by path
}

func (r *routes) Handle(pattern string, h http.Handler) {
	method, path, _ := strings.Cut(pattern, " ")
	r.methods[path] = append(r.methods[path], method)
	if method == http.MethodGet {
		r.methods[path] = append(r.methods[path], http.MethodHead)
	}
	r.mux.Handle(pattern, h)
}

func (r *routes) HandleFunc(pattern string, h http.HandlerFunc) { r.Handle(pattern, h) }

// otherMethod answers requests for a path with a method that it does not have.
func (s *Server) otherMethod(methods []string) http.HandlerFunc {
	allow := strings.Join(methods, ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		s.fail(w, http.StatusMethodNotAllowed, fmt.Errorf("%s %s is not part of the API: the path takes %s", r.Method, r.URL.Path, allow))
	}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff") // answers hold what devices sent
	err := rebound(r)
	if err == nil {
		err = sameOrigin(r)
	}
	if err != nil {
		s.fail(w, http.StatusForbidden, err)
		return
	}
	s.mux.ServeHTTP(w, r)
}

// Serve serves on l until ctx ends, and closes it. Answers under way get two
// seconds to end; followers of the log, which never do, are cut off.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.deps.Logger.Handler(), slog.LevelWarn),
	}
	stop := context.AfterFunc(ctx, func() {
		sctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if srv.Shutdown(sctx) != nil {
			srv.Close() // a follower of the log never ends by itself
		}
	})
	defer stop()
	if err := srv.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

func (s *Server) probe(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if check != nil {
			if err := check(); err != nil {
				s.fail(w, http.StatusServiceUnavailable, err)
				return
			}
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, "ok")
	}
}

// fail answers with an error. The client went away if writing fails, so that is not looked at.
func (s *Server) fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]string{"error": err.Error()})
}

// answer replies with v or, if there is an error, with that. asked says that the
// error lies in what was asked.
func (s *Server) answer(w http.ResponseWriter, v any, err error, asked bool) {
	switch {
	case asked:
		s.fail(w, http.StatusBadRequest, err)
	case err != nil:
		s.fail(w, http.StatusInternalServerError, err)
	default:
		s.reply(w, v)
	}
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.fail(w, http.StatusInternalServerError, fmt.Errorf("encode the answer: %w", err))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(append(b, '\n'))
}

// queryInt reads a non-negative number from the query.
func queryInt(r *http.Request, name string, def int) (int, error) {
	t := r.URL.Query().Get(name)
	if t == "" {
		return def, nil
	}
	n, err := strconv.Atoi(t)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s=%q is not a number from 0", name, t)
	}
	return n, nil
}

// queryBool reads a flag from the query; it is false if it is not there.
func queryBool(r *http.Request, name string) (bool, error) {
	t := r.URL.Query().Get(name)
	if t == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(t)
	if err != nil {
		return false, fmt.Errorf("%s=%q is neither true nor false", name, t)
	}
	return on, nil
}

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) {
	q := devices.Query{Prefix: r.URL.Query().Get("prefix"), Source: r.URL.Query().Get("source"), After: r.URL.Query().Get("after")}
	var err error
	if q.Limit, err = queryInt(r, "limit", 0); err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	if r.URL.Query().Get("online") != "" {
		on, err := queryBool(r, "online")
		if err != nil {
			s.fail(w, http.StatusBadRequest, err)
			return
		}
		q.Online = &on
	}
	page := s.deps.Devices.Page(q)
	if len(page.Devices) == 0 && q.Source != "" && s.deps.Sources != nil {
		// A source that is not there any more may have devices, so it is asked for first.
		if names := s.deps.Sources(); !slices.Contains(names, q.Source) {
			s.fail(w, http.StatusBadRequest, unknown("source", q.Source, names))
			return
		}
	}
	s.reply(w, page)
}

func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) {
	d, ok := s.deps.Devices.Get(r.PathValue("id"))
	if !ok {
		s.fail(w, http.StatusNotFound, fmt.Errorf("no device %q has been heard of", r.PathValue("id")))
		return
	}
	s.reply(w, d)
}

func (s *Server) listAlerts(w http.ResponseWriter, r *http.Request) {
	if s.deps.Alerts == nil {
		s.notRunning(w)
		return
	}
	s.reply(w, map[string]any{"alerts": s.deps.Alerts()})
}

// Rule is a rule in force, what it did since weir started, and what it costs, in
// all partitions together.
type Rule struct {
	rules.Info
	Pending     int     `json:"pending"` // alerts now
	Firing      int     `json:"firing"`
	Evaluations uint64  `json:"evaluations"`
	Skipped     uint64  `json:"skipped"` // events that say nothing about it
	Recordings  uint64  `json:"recordings,omitempty"`
	Nanos       float64 `json:"evaluation_ns"`     // of an evaluation, the mean of one in 64
	Keys        int     `json:"keys"`              // devices or other keys of which anything is known
	StateBytes  int     `json:"state_bytes"`       // of memory, about
	Stopped     string  `json:"stopped,omitempty"` // why it evaluates no more

	Errors    uint64 `json:"errors"`
	LastError string `json:"last_error,omitempty"` // one of the failures, as an example
}

// RuleList is the answer of /api/v1/rules.
type RuleList struct {
	Rules   []Rule   `json:"rules"`
	Refused *Refused `json:"refused,omitempty"`
}

// Refused says why the rule files as they are now are not in force.
type Refused struct {
	Since  time.Time      `json:"since"` // a running weir first read files that were wrong
	Errors []RefusedError `json:"errors"`
}

// RefusedError is one thing that is wrong with the rule files.
type RefusedError struct {
	Error string `json:"error"` // file:line:column: what
	Hint  string `json:"hint,omitempty"`
}

func (s *Server) listRules(w http.ResponseWriter, r *http.Request) {
	if s.deps.Rules == nil {
		s.notRunning(w)
		return
	}
	list := RuleList{Rules: s.deps.Rules()}
	if s.deps.Refused != nil {
		list.Refused = s.deps.Refused()
	}
	s.reply(w, list)
}

// unknown says that there is nothing of a name, and what there is.
func unknown(what, name string, known []string) error {
	return fmt.Errorf("unknown %s %q: there are %s", what, name, strings.Join(slices.Sorted(slices.Values(known)), ", "))
}

// checkConsumer returns an error for a name that no consumer has that runs.
// Without any, nothing is known of their names.
func (s *Server) checkConsumer(name string) error {
	if name == "" || s.deps.Runners == nil {
		return nil
	}
	names := map[string]bool{}
	for _, r := range s.deps.Runners() {
		names[r.Name()] = true
	}
	if names[name] {
		return nil
	}
	return unknown("consumer", name, slices.Collect(maps.Keys(names)))
}

var errNotRunning = errors.New("weir is not running on this data directory")

func (s *Server) notRunning(w http.ResponseWriter) {
	s.fail(w, http.StatusServiceUnavailable, errNotRunning)
}
