package console

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
)

// endpoint is a request, and what it is answered with.
type endpoint struct {
	h              http.Handler
	method, target string
	status         int
	want           string // is in the answer
}

// endpoints are requests to a running weir, and to data that none runs on.
func endpoints(on, off http.Handler) []endpoint {
	return []endpoint{
		{on, "GET", "/healthz", 200, "ok\n"},
		{on, "GET", "/readyz", 503, `{"error":"weir is starting"}`},
		{off, "GET", "/readyz", 200, "ok\n"},
		{on, "GET", "/metrics", 200, ""},
		{off, "GET", "/metrics", 404, `{"error":"GET /metrics is not part of the API"}`},
		{on, "GET", "/api/v2/devices", 404, "is not part of the API"},
		{on, "PUT", "/api/v1/devices", 405, `{"error":"PUT /api/v1/devices is not part of the API: the path takes GET, HEAD"}`},
		{on, "PATCH", "/api/v1/dead-letters/sink/0/1/0", 405, "the path takes GET, HEAD, POST, DELETE"},
		{on, "HEAD", "/healthz", 200, ""},

		{on, "GET", "/api/v1/devices", 200, `"id":"f1"`},
		{on, "GET", "/api/v1/devices?prefix=f2", 200, `{"devices":[{"id":"f2"`},
		{on, "GET", "/api/v1/devices?source=nosuch", 400, `unknown source \"nosuch\": there are none, plant`},
		{on, "GET", "/api/v1/devices?source=none", 200, `{"devices":[]`},
		{off, "GET", "/api/v1/devices?source=nosuch", 200, `{"devices":[]`},
		{on, "GET", "/api/v1/devices?online=true&limit=1", 200, `"next":"f1"`},
		{on, "GET", "/api/v1/devices?online=perhaps", 400, `online=\"perhaps\" is neither true nor false`},
		{on, "GET", "/api/v1/devices?limit=-1", 400, `limit=\"-1\" is not a number from 0`},
		{on, "GET", "/api/v1/devices/f1", 200, `"id":"f1"`},
		{on, "GET", "/api/v1/devices/f9", 404, `no device \"f9\" has been heard of`},

		{on, "GET", "/api/v1/alerts", 200, `{"alerts":[]}`},
		{off, "GET", "/api/v1/alerts", 503, "weir is not running"},
		{on, "GET", "/api/v1/rules", 200, `"errors":3,"last_error":"no field t"`},
		{off, "GET", "/api/v1/rules", 503, "weir is not running"},
		{on, "GET", "/api/v1/consumers", 200, `"consumer":"sink","partition":1,"state":"running"`},

		{on, "GET", "/api/v1/events?from=yesterday", 400, `from=\"yesterday\" is none of: all, new`},
		{on, "GET", "/api/v1/events?from=2/1", 400, `from=\"2/1\": the log has partitions 0 to 1`},
		{on, "GET", "/api/v1/events?limit=x", 400, `limit=\"x\"`},
		{on, "GET", "/api/v1/events?partition=2", 400, `partition=\"2\": the log has partitions 0 to 1`},
		{on, "GET", "/api/v1/events?follow=maybe", 400, `follow=\"maybe\" is neither true nor false`},
		{off, "GET", "/api/v1/events?follow=true", 503, "nothing will arrive"},
		{off, "GET", "/api/v1/events?from=all&device=f1", 200, `"device":"f1"`},

		{on, "POST", "/api/v1/consumers/sink/replay?from=all", 200, `{"consumer":"sink","from":"all"}`},
		{on, "POST", "/api/v1/consumers/sink/replay?from=0/9", 500, "disk on fire"},
		{on, "POST", "/api/v1/consumers/sink/replay?from=then", 400, `from=\"then\"`},
		{on, "POST", "/api/v1/consumers/snik/replay?from=all", 404, `unknown consumer \"snik\": there are `},
		{off, "POST", "/api/v1/consumers/sink/replay?from=all", 503, "weir is not running"},

		{on, "GET", "/api/v1/dead-letters", 200, `"cause":"type conflict"`},
		{on, "GET", "/api/v1/dead-letters?limit=x", 400, "limit"},
		{on, "GET", "/api/v1/dead-letters?consumer=other", 400, `unknown consumer \"other\": there are `},
		{off, "GET", "/api/v1/dead-letters?consumer=other", 200, ""},
		{on, "DELETE", "/api/v1/dead-letters?all=true&consumer=other", 400, `unknown consumer \"other\"`},
		{off, "GET", "/api/v1/events?from=2d&device=f1", 200, `"device":"f1"`},
		{on, "GET", "/api/v1/dead-letters/sink/1/9/9", 404, "no such dead letter"},
		{on, "GET", "/api/v1/dead-letters/nonsense", 404, "want consumer/partition/seq/message"},
		{on, "POST", "/api/v1/dead-letters/sink/1/9/9", 404, "no such dead letter"},
		{off, "POST", "/api/v1/dead-letters/sink/1/9/9", 503, "weir is not running"},
		{on, "DELETE", "/api/v1/dead-letters/sink/1/9/9", 404, "no such dead letter"},
		{on, "POST", "/api/v1/dead-letters", 400, "say which dead letters"},
		{on, "POST", "/api/v1/dead-letters?all=true&id=x", 400, "say which dead letters"},
		{on, "DELETE", "/api/v1/dead-letters?all=yes", 400, `all=\"yes\"`},
		{off, "POST", "/api/v1/dead-letters?all=true", 503, "weir is not running"},
	}
}

func TestEveryEndpointAnswersAndSaysWhatIsWrong(t *testing.T) {
	b := newBench(t)
	b.answer(errors.New("type conflict"))
	b.publish(0, "plant/f1", `{"temperature":-18}`)
	b.publish(1, "plant/f2", `{"temperature":-19,"note":"bad"}`)
	b.settled()
	var sought string
	b.deps.Seek = func(_ context.Context, name string, from From) error {
		if name != "sink" {
			return fmt.Errorf("consumer %q: %w", name, ErrUnknownConsumer)
		}
		sought = from.String()
		if sought == "0/9/0/0" {
			return errors.New("disk on fire")
		}
		return nil
	}
	ready := errors.New("weir is starting")
	b.deps.Ready = func() error { return ready }
	on, off := b.online(), b.offline()
	for _, tt := range endpoints(on, off) {
		status, body := do(t, tt.h, tt.method, tt.target)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %d %s; want %d with %s", tt.method, tt.target, status, body, tt.status, tt.want)
		}
		if status >= 400 {
			var e struct{ Error string }
			if json.Unmarshal([]byte(body), &e) != nil || e.Error == "" {
				t.Errorf("%s %s: the error is not JSON: %s", tt.method, tt.target, body)
			}
		}
	}
	if sought != "0/9/0/0" {
		t.Errorf("sought %s", sought)
	}
	for _, h := range []*Server{on, off} {
		a, err := h.Audit(t.Context())
		if err != nil || !a.Balanced || a.DeadLetters != 1 || len(a.Partitions) != 2 {
			t.Errorf("audit: %+v, %v", a, err)
		}
		for _, e := range a.Entries {
			if e.Received != e.Delivered+e.Filtered+e.Dead+e.Lost+e.Pending || !e.Balanced {
				t.Errorf("entry %+v", e)
			}
		}
	}
}

func TestEventsAreChosenAsAskedFor(t *testing.T) {
	b := newBench(t)
	b.publish(0, "plant/f1", `{"n":1}`)
	time.Sleep(2 * time.Millisecond)
	between := time.Now().UTC().Format(time.RFC3339Nano)
	b.publish(0, "plant/f2", `{"n":2}`)
	b.publish(0, "plant/f2", `not json`)
	b.append(0, event.Message{Record: event.AlertFact, ID: "x", Payload: []byte(`{"state":"firing","rule":"g/r","device":"f1"}`), Received: time.Now().UnixNano()})
	b.publish(1, "plant/f3", `{"n":3}`)
	on := b.online()
	first := lines(t, second(do(t, on, "GET", "/api/v1/events?from=all&limit=1")))[0]["position"].(string)
	for _, tt := range []struct{ query, key, want string }{
		{"from=all&partition=0", "kind", "event event message alert"},
		{"from=all&partition=1", "device", "f3"},
		{"from=all&device=f1", "kind", "event alert"},
		{"from=all&device=f1&raw=true", "kind", "message alert"},
		{"from=all&topic=plant/f2", "kind", "event message"},
		{"from=all&topic=plant/%2B", "kind", "event event message event"},
		{"from=all&topic=plant/%23&device=f3", "topic", "plant/f3"},
		{"from=all&topic=plant", "kind", ""},
		{"from=all&topic=plant/f", "kind", ""},
		{"from=all&limit=2&partition=0", "device", "f1 f2"},
		{"from=" + between + "&partition=0", "kind", "event message alert"},
		{"from=1h&partition=1", "device", "f3"},
		{"from=new", "kind", ""},
		{"from=" + first + "&device=f2", "device", "f2"},
		{"from=1/1&device=f1", "device", ""},
	} {
		status, body := do(t, on, "GET", "/api/v1/events?"+tt.query)
		if got := column(lines(t, body), tt.key); status != 200 || got != tt.want {
			t.Errorf("%s: %d, %s %q, want %q", tt.query, status, tt.key, got, tt.want)
		}
	}
	all := lines(t, second(do(t, on, "GET", "/api/v1/events?from=all&partition=0")))
	if l := all[2]; l["payload"] != "not json" || l["error"] == nil || l["client"] != "c" {
		t.Errorf("what can't be decoded: %v", l)
	}
	b.marks[1].Quiet(false)
	until(t, "a tick is in the log", func() bool { return b.log.Partition(1).Head().Seq > 2 })
	if _, body := do(t, on, "GET", "/api/v1/events?from=all&ticks=true&partition=1"); !strings.Contains(body, `"kind":"tick"`) {
		t.Errorf("no ticks: %s", body)
	}
}

func second(_ int, body string) string { return body }

// goroutines counts those that run weir's code. Those of the NATS server in the
// log come and go by themselves.
func goroutines() int {
	stacks := make([]byte, 4<<20)
	n := 0
	for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(g, "\nweir/") || strings.Contains(g, "created by weir/") {
			n++
		}
	}
	return n
}

func TestFollowersGetWhatArrivesAndLeaveNothingBehind(t *testing.T) {
	b := newBench(t)
	srv := httptest.NewServer(b.online())
	defer srv.Close()
	b.publish(0, "plant/f1", `{"n":1}`)
	b.settled()
	client := &http.Client{Transport: &http.Transport{}}
	follow := func(ctx context.Context) *bufio.Reader {
		req, err := http.NewRequestWithContext(ctx, "GET", srv.URL+"/api/v1/events?from=all&follow=true", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { resp.Body.Close() })
		return bufio.NewReader(resp.Body)
	}
	before := goroutines()
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 5 {
		r := follow(ctx)
		for n, want := range []string{"f1", fmt.Sprint("p0-", i), fmt.Sprint("p1-", i)} {
			if n > 0 { // both partitions wake a follower that waits
				b.publish(n-1, "plant/"+want, `{"n":2}`)
			}
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					t.Fatalf("follower %d: %v", i, err)
				}
				if strings.Contains(line, `"device":"`+want+`"`) {
					break
				}
			}
		}
	}
	// Many wake-ups later a follower is still a handful of goroutines.
	for i := range 200 {
		b.publish(i%2, "plant/x", `{"n":3}`)
	}
	if n := goroutines(); n > before+5*8 {
		t.Errorf("%d goroutines with 5 followers, %d before", n, before)
	}
	cancel()
	client.CloseIdleConnections()
	until(t, "the followers' goroutines have ended", func() bool { return goroutines() <= before })
}

func TestServeEndsThoughAFollowerHangsOn(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.online().Serve(ctx, l) }()
	b.publish(0, "plant/f1", `{"n":1}`)
	resp, err := http.Get("http://" + l.Addr().String() + "/api/v1/events?from=all&follow=true")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("serve: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("serve did not end")
	}
	io.Copy(io.Discard, resp.Body)
}
