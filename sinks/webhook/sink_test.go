package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/sinktest"
)

// receiver is a far side that can be told what to answer.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	seen   map[string]int // ids, and how often
	order  []string
	last   *http.Request
	body   []byte
	answer func(id string, w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{seen: map[string]int{}}
	rc.Server = httptest.NewServer(http.HandlerFunc(rc.serve))
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var ce struct{ ID string }
	json.Unmarshal(body, &ce)
	rc.mu.Lock()
	answer := rc.answer
	rc.mu.Unlock()
	if answer != nil && answer(ce.ID, w, r) {
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.seen[ce.ID]++
	rc.order = append(rc.order, ce.ID)
	rc.last, rc.body = r, body
	w.WriteHeader(http.StatusAccepted)
}

func (rc *receiver) answers(f func(id string, w http.ResponseWriter, r *http.Request) bool) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.answer = f
}

func (rc *receiver) count() int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	return len(rc.seen)
}

func newSink(t *testing.T, url string, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Default()
	cfg.Name, cfg.URL = "ops", url
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		rc := newReceiver(t)
		return &sinktest.Target{
			Sink: newSink(t, rc.URL+"/hook"), Alerts: true, Name: "ops", Effects: rc.count,
			Outage: func(down bool) {
				if !down {
					rc.answers(nil)
					return
				}
				rc.answers(func(_ string, w http.ResponseWriter, _ *http.Request) bool {
					panic(http.ErrAbortHandler) // cuts the connection
				})
			},
			Hang: func() {
				rc.answers(func(_ string, _ http.ResponseWriter, r *http.Request) bool {
					<-r.Context().Done()
					return true
				})
			},
		}
	})
}

func TestAnAlertIsACloudEvent(t *testing.T) {
	rc := newReceiver(t)
	s := newSink(t, rc.URL, func(c *Config) {
		c.Secret, c.Headers = "s3cret", map[string]string{"Authorization": "Bearer x"}
	})
	a := sinktest.Resolved(sinktest.Alert(3, "ops"))
	a.Rule = "cold room/Freezer<Warm>"
	b := sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Batch()
	payload := append([]byte(nil), b.Messages[0].Payload...)
	if _, err := s.Handle(t.Context(), []*event.Batch{b}); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(rc.body, &got); err != nil {
		t.Fatalf("%v in %s", err, rc.body)
	}
	delete(got, "data")
	want := map[string]any{"specversion": "1.0", "id": "alert-3/resolved", "source": "weir/rules/cold%20room/Freezer%3CWarm%3E", "type": "weir.alert.resolved",
		"subject": "f3", "time": a.EndsAt.Format(time.RFC3339Nano), "datacontenttype": "application/json"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
	if !bytes.Contains(rc.body, append([]byte(`"data":`), payload...)) {
		t.Errorf("the data is not the alert as published:\n%s\n%s", rc.body, payload)
	}
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write(rc.body)
	for h, want := range map[string]string{
		"Content-Type": "application/cloudevents+json; charset=utf-8", "Idempotency-Key": "alert-3/resolved",
		"Authorization": "Bearer x", "X-Weir-Signature-256": "sha256=" + hex.EncodeToString(mac.Sum(nil)),
	} {
		if got := rc.last.Header.Get(h); got != want {
			t.Errorf("header %s = %q, want %q", h, got, want)
		}
	}
}

func TestWhatTheReceiverSaysDecides(t *testing.T) {
	type result struct {
		kind  string // delivered, retry, message, dead
		after time.Duration
	}
	for _, tt := range []struct {
		status int
		header string
		want   result
	}{
		{200, "", result{kind: "delivered"}}, {204, "", result{kind: "delivered"}},
		{429, "", result{"retry", 0}}, {429, "17", result{"retry", 17 * time.Second}}, {503, "999999", result{"retry", time.Hour}}, {503, "soon", result{"retry", 0}},
		{500, "", result{kind: "message"}}, {502, "", result{kind: "message"}}, {504, "", result{kind: "message"}}, {408, "", result{kind: "message"}},
		{400, "", result{kind: "dead"}}, {401, "", result{kind: "dead"}}, {404, "", result{kind: "dead"}}, {410, "", result{kind: "dead"}}, {304, "", result{kind: "dead"}},
	} {
		t.Run(fmt.Sprintf("status %d Retry-After %q", tt.status, tt.header), func(t *testing.T) {
			rc := newReceiver(t)
			rc.answers(func(id string, w http.ResponseWriter, _ *http.Request) bool {
				if id != "alert-2/firing" {
					return false
				}
				w.Header().Set("Retry-After", tt.header)
				w.WriteHeader(tt.status)
				if tt.status != 204 && tt.status != 304 {
					io.WriteString(w, "because"+strings.Repeat("x", 1<<20))
				}
				return true
			})
			s := newSink(t, rc.URL)
			b := sinktest.NewBatch(1, sinktest.Start())
			for i := range 5 {
				b.Alert(t, sinktest.Alert(i, "ops"))
			}
			out, err := s.Handle(t.Context(), []*event.Batch{b.Batch()})
			var got result
			var re *event.RetryError
			var me *event.MessageError
			switch {
			case errors.As(err, &re):
				got = result{"retry", re.After}
			case errors.As(err, &me) && me.Message == 2 && me.Batch == 0:
				got = result{kind: "message"}
			case err == nil && len(out.Dead) == 1 && out.Dead[0].Message == 2:
				got = result{kind: "dead"}
				if c := out.Dead[0].Err.Error(); !strings.Contains(c, fmt.Sprint(tt.status)) || len(c) > 600 {
					t.Errorf("cause %q", c)
				}
			case err == nil && len(out.Dead) == 0:
				got = result{kind: "delivered"}
			}
			if got != tt.want {
				t.Errorf("%+v (%+v, %v), want %+v", got, out, err, tt.want)
			}
		})
	}
}

func TestARetryRepeatsOnlyWhatWasNotDelivered(t *testing.T) {
	rc := newReceiver(t)
	fail := true
	rc.answers(func(id string, w http.ResponseWriter, _ *http.Request) bool {
		if id == "alert-7/firing" && fail {
			w.WriteHeader(500)
			return true
		}
		return false
	})
	s := newSink(t, rc.URL, func(c *Config) { c.Concurrency = 3 })
	b := sinktest.NewBatch(1, sinktest.Start())
	for i := range 20 {
		a := sinktest.Alert(i, "ops")
		b.Alert(t, a).Alert(t, sinktest.Resolved(a))
	}
	for range 3 {
		if _, err := s.Handle(t.Context(), []*event.Batch{b.Batch()}); err == nil {
			t.Fatal("no error")
		}
	}
	fail = false
	if _, err := s.Handle(t.Context(), []*event.Batch{b.Batch()}); err != nil {
		t.Fatal(err)
	}
	if len(rc.seen) != 40 || s.notes.Len() != 0 {
		t.Errorf("delivered %d alerts, want 40; %d remembered, want 0", len(rc.seen), s.notes.Len())
	}
	for id, n := range rc.seen {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
	at := map[string]int{}
	for i, id := range rc.order {
		at[id] = i
	}
	for i := range 20 {
		if at[fmt.Sprintf("alert-%d/firing", i)] > at[fmt.Sprintf("alert-%d/resolved", i)] {
			t.Errorf("alert %d was resolved before it fired", i)
		}
	}
}

func TestRedirectsStayWithTheHost(t *testing.T) {
	other := newReceiver(t)
	rc := newReceiver(t)
	for _, tt := range []struct {
		name     string
		status   int
		location string
		want     bool // delivered
	}{
		{"to another path, keeping the method", 307, "/moved", true},
		{"to another path, as a GET", 302, "/moved", false},
		{"to another host", 307, other.URL + "/hook", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rc.answers(func(_ string, w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/moved" {
					return false
				}
				w.Header().Set("Location", tt.location)
				w.WriteHeader(tt.status)
				return true
			})
			s := newSink(t, rc.URL+"/hook", func(c *Config) { c.Secret = "s" })
			out, err := s.Handle(t.Context(), []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Alert(t, sinktest.Alert(1, "ops")).Batch()})
			if err != nil || (len(out.Dead) == 0) != tt.want {
				t.Errorf("%+v, %v; want delivered: %v", out, err, tt.want)
			}
		})
	}
	if other.count() != 0 {
		t.Error("an alert went to another host")
	}
}

func TestOnlyChosenAlertsAreDelivered(t *testing.T) {
	a := sinktest.Alert(1, "ops")
	none, hidden := sinktest.Alert(2), sinktest.Alert(3)
	hidden.Suppressed = event.SuppressedBackfill
	b := sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Alert(t, sinktest.Resolved(a)).Alert(t, none).Alert(t, hidden).Batch()
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   int
	}{
		{"those sent here", func(*Config) {}, 2},
		{"those sent here, when they fire", func(c *Config) { c.On = []string{"firing"} }, 1},
		{"all that somebody is to be told of", func(c *Config) { c.All = true }, 3},
		{"none of another sink", func(c *Config) { c.Name = "other" }, 0},
	} {
		rc := newReceiver(t)
		s := newSink(t, rc.URL, tt.change)
		out, err := s.Handle(t.Context(), []*event.Batch{b})
		if err != nil || rc.count() != tt.want || out.Filtered != 4-tt.want {
			t.Errorf("%s: delivered %d, want %d (%+v, %v)", tt.name, rc.count(), tt.want, out, err)
		}
	}
}

func TestWhatIsToldAgainHasAnIDOfItsOwn(t *testing.T) {
	rc := newReceiver(t)
	s := newSink(t, rc.URL)
	a := sinktest.Alert(1, "ops")
	repeat := a
	repeat.Notice = event.NoticeRepeat
	b := sinktest.NewBatch(7, sinktest.Start()).Alert(t, a).Alert(t, repeat).Alert(t, repeat).Batch()
	b.Messages[1].ID = "alert-1/firing/repeat/1"
	for range 2 {
		if _, err := s.Handle(t.Context(), []*event.Batch{b}); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]int{"alert-1/firing": 2, "alert-1/firing/repeat/1": 2, "alert-1/firing/repeat/0/7/2": 2}
	if !reflect.DeepEqual(rc.seen, want) {
		t.Errorf("ids %v, want %v", rc.seen, want)
	}
}

func TestAnOutageCanBeGivenUp(t *testing.T) {
	rc := newReceiver(t)
	rc.Close()
	s := newSink(t, rc.URL+"/token-in-path", func(c *Config) { c.MaxAttempts = 3 })
	batches := []*event.Batch{sinktest.NewBatch(1, sinktest.Start()).Alert(t, sinktest.Alert(1, "ops")).Batch()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Handle(ctx, batches); err == nil {
		t.Error("no error from a context that has ended")
	}
	for range 2 {
		_, err := s.Handle(t.Context(), batches)
		if err == nil || strings.Contains(err.Error(), "token-in-path") {
			t.Errorf("error %v; want one that does not show the path", err)
		}
	}
	out, err := s.Handle(t.Context(), batches)
	if err != nil || len(out.Dead) != 1 || !strings.Contains(out.Dead[0].Err.Error(), "given up after 3 attempts") {
		t.Errorf("third attempt: %+v, %v", out, err)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"url: missing": func(c *Config) { c.URL = "" }, "url: not an http": func(c *Config) { c.URL = "ftp://x" },
		"method: \"GET\"": func(c *Config) { c.Method = "GET" }, "headers: \"a b\"": func(c *Config) { c.Headers = map[string]string{"a b": "x"} },
		"line break": func(c *Config) { c.Headers = map[string]string{"a": "x\r\nEvil: 1"} }, "on: empty": func(c *Config) { c.On = nil },
		"on: \"pending\"": func(c *Config) { c.On = []string{"pending"} }, "timeout": func(c *Config) { c.Timeout = 0 },
		"max_attempts": func(c *Config) { c.MaxAttempts = -1 }, "concurrency": func(c *Config) { c.Concurrency = 0 }, "name: missing": func(c *Config) { c.Name = "" },
	} {
		c := Default()
		c.Name, c.URL = "ops", "http://127.0.0.1:1/"
		change(&c)
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
