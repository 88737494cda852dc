package influxdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/influxdb"
	"weir/sinks/sinktest"
)

func TestConformanceAgainstAServerThatHangs(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		var mu sync.Mutex
		down, hang := false, false
		f := newFake(t, func(w http.ResponseWriter, r *http.Request, _ []string) bool {
			mu.Lock()
			d, h := down, hang
			mu.Unlock()
			if h {
				<-r.Context().Done()
				return true
			}
			if d {
				panic(http.ErrAbortHandler) // the body was read; the answer is a reset
			}
			return false
		})
		return &sinktest.Target{
			Sink: sinkTo(t, f.URL, influxdb.Deps{}, v2), Events: true, Alerts: true,
			Effects: func() int { n, _ := f.taken(); return n },
			Outage:  func(d bool) { mu.Lock(); down = d; mu.Unlock() },
			Hang:    func() { mu.Lock(); hang = true; mu.Unlock() },
		}
	})
}

func TestWritesGoToTheAPIOfTheServersVersion(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*influxdb.Config)
		want   request
	}{
		{"2.x by token", v2, request{"/api/v2/write", "bucket=tele%2Fmetry&org=my+org&precision=ns", "Token t0ken", "", 1}},
		{"1.8 by user", func(c *influxdb.Config) {
			c.Username, c.Password, c.RetentionPolicy, c.Precision = "u", "p w:x", "year", "ms"
		},
			request{"/api/v2/write", "bucket=plant%2Fyear&precision=ms", "Basic dTpwIHc6eA==", "", 1}},
		{"with gzip", func(c *influxdb.Config) { c.Gzip = true }, request{"/api/v2/write", "bucket=plant%2F&precision=ns", "", "gzip", 1}},
		{"behind a path", func(c *influxdb.Config) { c.URL += "/influx" }, request{"/influx/api/v2/write", "bucket=plant%2F&precision=ns", "", "", 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, nil)
			handle(t, sinkTo(t, f.URL, influxdb.Deps{}, tt.change), readings(1))
			if len(f.requests) != 1 || f.requests[0] != tt.want {
				t.Errorf("requests %+v, want %+v", f.requests, tt.want)
			}
		})
	}
}

func TestAnOutageAndAnOperatorsFaultAreRetriedForEver(t *testing.T) {
	influx := func(status int, form map[string]any) func(http.ResponseWriter, *http.Request, []string) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			jsonError(w, status, form)
			return true
		}
	}
	for _, tt := range []struct {
		name   string
		refuse func(http.ResponseWriter, *http.Request, []string) bool
		after  time.Duration
		says   string
	}{
		{"an internal error", influx(500, map[string]any{"code": "internal error", "message": "engine: cache-max-memory-size exceeded"}), 0, "cache-max-memory-size"},
		{"too many requests, for some seconds", func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.Header().Set("Retry-After", "23")
			w.WriteHeader(429)
			return true
		}, 23 * time.Second, "429"},
		{"unavailable, until next year", func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.Header().Set("Retry-After", time.Now().Add(365*24*time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(503)
			return true
		}, time.Hour, "503"},
		{"a wrong token", influx(401, map[string]any{"code": "unauthorized", "message": "unauthorized access"}), 0, "check token"},
		{"a user without rights", influx(403, map[string]any{"error": `"u" user is not authorized to write to database "plant"`}), 0, "right to write"},
		{"no such bucket", influx(404, map[string]any{"code": "not found", "message": `bucket "x" not found`}), 0, "create the bucket"},
		{"another server's 400", func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			http.Error(w, "Client sent an HTTP request to an HTTPS server.", 400)
			return true
		}, 0, "check url"},
		{"a login page", func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>please log in</html>")
			return true
		}, 0, "web page"},
		{"a redirect, which would make the write a GET", func(w http.ResponseWriter, r *http.Request, _ []string) bool {
			if r.Method == http.MethodGet {
				return false
			}
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return true
		}, 0, "redirects"},
		{"a reset in the middle of the answer", func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
			w.Header().Set("Content-Length", "1000")
			w.Header().Set("X-Influxdb-Version", "1.8.10")
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"unable to parse`)
			return true
		}, 0, "read the answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, tt.refuse)
			s := sinkTo(t, f.URL, influxdb.Deps{}, v2)
			_, err := s.Handle(t.Context(), []*event.Batch{readings(20)})
			var re *event.RetryError
			if !errors.As(err, &re) || re.After != tt.after || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "t0ken") {
				t.Fatalf("error %v; want a *event.RetryError after %v that says %q", err, tt.after, tt.says)
			}
			if _, n := f.taken(); n != 1 {
				t.Errorf("%d requests for one refusal, want 1", n)
			}
			if s.Metrics().Outages.Load() != 1 || s.Metrics().Rejected.Load() != 0 {
				t.Error("the counters say otherwise")
			}
		})
	}
}

func TestARequestThatIsTooLargeIsHalved(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
		if len(lines) <= 30 && !strings.Contains(strings.Join(lines, "\n"), "d77 ") {
			return false
		}
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return true
	})
	out := handle(t, sinkTo(t, f.URL, influxdb.Deps{}, v2), readings(200))
	// d77's line is too large by itself.
	if n, _ := f.taken(); n != 199 || len(out.Dead) != 1 || out.Dead[0].Message != 77 {
		t.Errorf("taken %d, dead %+v; want 199 and message 77", n, out.Dead)
	}
}

func TestAnEarlyAnswerDoesNotDisturbTheNextRequest(t *testing.T) {
	first := true
	var mu sync.Mutex
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		early := first
		first = false
		mu.Unlock()
		if early { // without reading the body
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		got = append(got, strings.Split(strings.TrimSpace(string(body)), "\n")...)
		mu.Unlock()
		w.WriteHeader(204)
	}))
	defer srv.Close()
	s := sinkTo(t, srv.URL, influxdb.Deps{}, v2)
	for {
		_, err := s.Handle(t.Context(), []*event.Batch{readings(20_000)})
		var re *event.RetryError
		if err == nil {
			break
		}
		if !errors.As(err, &re) { // the transport may see the closed connection first
			t.Fatal(err)
		}
	}
	distinct := map[string]bool{}
	for _, l := range got {
		if !strings.HasPrefix(l, "telemetry,device=d") {
			t.Fatalf("a damaged line %q", l)
		}
		distinct[l] = true
	}
	if len(distinct) != 20_000 {
		t.Errorf("distinct lines %d, want 20000", len(distinct))
	}
}

func TestWhatTwoXSaysIsUnderstood(t *testing.T) {
	bad := func(lines []string, part string) int {
		return slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, part) })
	}
	for _, tt := range []struct {
		name     string
		refuse   func(w http.ResponseWriter, r *http.Request, lines []string) bool
		dead     []uint32
		cause    string
		requests int // at most
	}{
		{"a line that can't be parsed refuses all", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			i := bad(lines, "d50 ")
			if i < 0 {
				return false
			}
			jsonError(w, 400, map[string]any{"code": "invalid", "message": fmt.Sprintf("unable to parse '%s': no reason", lines[i])})
			return true
		}, []uint32{50}, "no reason", 2},
		{"a type conflict takes the others", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			for _, l := range lines {
				if !strings.Contains(l, "i 1") {
					jsonError(w, 422, map[string]any{"code": "unprocessable entity",
						"message": `failure writing points to database: partial write: field type conflict: input field "v" on measurement "telemetry" is type float, already exists as type integer dropped=1`})
					return true
				}
			}
			return false
		}, nil, "", 2},
		{"a cause without a line is found by halving", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			if bad(lines, "d3 ") < 0 && bad(lines, "d99 ") < 0 {
				return false
			}
			jsonError(w, 422, map[string]any{"code": "unprocessable entity", "message": "some other fault"})
			return true
		}, []uint32{3, 99}, "some other fault", 30},
		{"version 3 names lines", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			i := bad(lines, "d7 ")
			if i < 0 {
				return false
			}
			jsonError(w, 400, map[string]any{"error": "partial write of line protocol occurred",
				"data": []map[string]any{{"original_line": lines[i], "line_number": i + 1, "error_message": "invalid column type"}}})
			return true
		}, []uint32{7}, "invalid column type", 20},
		{"an early 2.x calls a partial write an internal error", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			if bad(lines, "d9 ") < 0 {
				return false
			}
			jsonError(w, 500, map[string]any{"code": "internal error", "message": "unexpected error writing points to database: partial write: some limit exceeded dropped=1"})
			return true
		}, []uint32{9}, "some limit exceeded", 20},
		{"points before and behind the window that it takes", func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			var bounds []string
			for _, l := range lines {
				switch { // by the value, which grows with the time
				case strings.Contains(l, "v=0 "), strings.Contains(l, "v=1 "):
					bounds = append(bounds, "Lower")
				case strings.Contains(l, "v=98 "), strings.Contains(l, "v=99 "):
					bounds = append(bounds, "Upper")
				}
			}
			if len(bounds) == 0 {
				return false
			}
			jsonError(w, 422, map[string]any{"code": "unprocessable entity", "message": fmt.Sprintf("failure writing points to database: partial write: "+
				"dropped %d points outside retention policy of duration 24h0m0s - oldest point m at T dropped because it violates a Retention Policy %s Bound at T, "+
				"newest point m at T dropped because it violates a Retention Policy %s Bound at T dropped=%[1]d for database: 9f28 for retention policy: autogen", len(bounds), bounds[0], bounds[len(bounds)-1])})
			return true
		}, []uint32{0, 1, 98, 99}, "Bound at T", 40},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, tt.refuse)
			s := sinkTo(t, f.URL, influxdb.Deps{}, v2)
			out := handle(t, s, readings(100))
			var dead []uint32
			for _, d := range out.Dead {
				dead = append(dead, d.Message)
				if !strings.Contains(d.Err.Error(), tt.cause) || strings.Contains(d.Err.Error(), "dropped=") {
					t.Errorf("cause %q, want %q in it", d.Err, tt.cause)
				}
			}
			slices.Sort(dead)
			lines, requests := f.taken()
			if !slices.Equal(dead, tt.dead) || lines != 100-len(dead) {
				t.Errorf("dead %v, taken %d; want %v and %d", dead, lines, tt.dead, 100-len(tt.dead))
			}
			if requests > tt.requests {
				t.Errorf("%d requests, want at most %d", requests, tt.requests)
			}
		})
	}
}

func TestAlertsCanBeLeftOut(t *testing.T) {
	f := newFake(t, nil)
	s := sinkTo(t, f.URL, influxdb.Deps{}, v2, func(c *influxdb.Config) { c.Alerts = false })
	out := handle(t, s, sinktest.NewBatch(1, sinktest.Start()).Alert(t, sinktest.Alert(1)).Reading("d", "v", event.FloatValue(1)).Batch())
	if n, _ := f.taken(); n != 1 || out.Filtered != 1 {
		t.Errorf("taken %d, %+v; want the reading alone", n, out)
	}
}

func TestWhatNobodyIsToldOfIsWrittenUnlessItIsAShadowsOrToldAgain(t *testing.T) {
	f := newFake(t, nil)
	silent, shadow, repeat := sinktest.Alert(1), sinktest.Alert(2), sinktest.Alert(3)
	silent.Suppressed, shadow.Suppressed, repeat.Notice = event.SuppressedSilence, event.SuppressedShadow, event.NoticeRepeat
	silent.Annotations["suppressed"] = "an annotation of that name"
	out := handle(t, sinkTo(t, f.URL, influxdb.Deps{}, v2), sinktest.NewBatch(1, sinktest.Start()).Alert(t, silent).Alert(t, shadow).Alert(t, repeat).Batch())
	if out.Filtered != 2 || len(f.lines) != 1 {
		t.Errorf("%d lines, %+v; want that of the silenced alert alone", len(f.lines), out)
	}
	for line := range f.lines {
		if !strings.Contains(line, `suppressed="silence"`) || !strings.Contains(line, `suppressed_="an annotation of that name"`) {
			t.Errorf("line %s", line)
		}
	}
}

func TestRepairIsBounded(t *testing.T) {
	const n = 500
	f := newFake(t, func(w http.ResponseWriter, _ *http.Request, _ []string) bool {
		jsonError(w, 400, map[string]any{"code": "invalid", "message": `input field "v" on measurement "telemetry" is type float, already exists as type string`})
		return true
	})
	out := handle(t, sinkTo(t, f.URL, influxdb.Deps{}, v2), readings(n))
	if _, requests := f.taken(); len(out.Dead) != n || requests > 5*n {
		t.Errorf("dead %d in %d requests; want %d in at most %d", len(out.Dead), requests, n, 5*n)
	}
}

func TestAnOutageInTheMiddleOfRepairIsARetry(t *testing.T) {
	for fail := 2; ; fail++ { // fail each request of the repair once, until a run gets through
		count, first := 0, true
		f := newFake(t, func(w http.ResponseWriter, _ *http.Request, lines []string) bool {
			count++
			if first && count == fail {
				w.WriteHeader(503)
				return true
			}
			if !strings.Contains(strings.Join(lines, "\n"), "d33 ") {
				return false
			}
			jsonError(w, 400, map[string]any{"error": "partial write: max-values-per-tag limit exceeded dropped=1"})
			return true
		})
		s := sinkTo(t, f.URL, influxdb.Deps{}, v2)
		b := readings(64)
		_, err := s.Handle(t.Context(), []*event.Batch{b})
		through := err == nil
		first = false
		var re *event.RetryError
		if !through && !errors.As(err, &re) {
			t.Fatalf("request %d failed: %v, want a *event.RetryError", fail, err)
		}
		out := handle(t, s, b)
		if n, _ := f.taken(); n != 63 || len(out.Dead) != 1 || out.Dead[0].Message != 33 {
			t.Fatalf("after request %d failed: taken %d, dead %+v", fail, n, out.Dead)
		}
		if through {
			if fail < 5 {
				t.Fatalf("only %d requests: the test has tested nothing", fail)
			}
			return
		}
	}
}

func TestBatchesAreSentInRequestsOfTheSizeSet(t *testing.T) {
	for _, tt := range []struct {
		change func(*influxdb.Config)
		want   []int
	}{
		{func(c *influxdb.Config) { c.MaxLines = 40 }, []int{40, 40, 20}},
		{func(c *influxdb.Config) { c.MaxBytes = 2000 }, nil},
		{func(*influxdb.Config) {}, []int{100}},
	} {
		f := newFake(t, nil)
		handle(t, sinkTo(t, f.URL, influxdb.Deps{}, v2, tt.change), readings(100))
		var got []int
		for _, r := range f.requests {
			got = append(got, r.lines)
		}
		if n, _ := f.taken(); n != 100 || tt.want != nil && !slices.Equal(got, tt.want) || tt.want == nil && len(got) < 2 {
			t.Errorf("lines of the requests %v, want %v", got, tt.want)
		}
	}
}

func TestReadyAsksTheServer(t *testing.T) {
	f := newFake(t, nil)
	s := sinkTo(t, f.URL, influxdb.Deps{}, v2)
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("a server that answers: %v", err)
	}
	f.Close()
	if err := s.Ready(t.Context()); err == nil {
		t.Error("a server that is gone is ready")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Ready(ctx); err == nil {
		t.Error("a context that has ended is ready")
	}
}
