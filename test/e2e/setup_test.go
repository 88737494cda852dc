package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/test/child"
)

// patience bounds every wait for something that is to happen.
const patience = 60 * time.Second

// until waits for something that is to happen.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// weir is an App at work.
type weir struct {
	t        *testing.T
	dir      string
	app      *app.App
	out, log child.Output // what the App prints
	stop     func()       // idempotent: what an interrupt does
}

// start writes the files into a directory and runs weir.yaml there, as main does.
func start(t *testing.T, dir string, files map[string]string) *weir {
	t.Helper()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	cfg, err := configs.Load(filepath.Join(dir, "weir.yaml"))
	if err != nil {
		t.Fatalf("load weir.yaml: %v", err)
	}
	cfg.DataDir.Value = filepath.Join(dir, "data")
	w := &weir{t: t, dir: dir}
	w.app, err = app.New(cfg, app.Options{Log: slog.New(slog.NewTextHandler(&w.log, nil)), Stdout: &w.out, Version: "e2e"})
	if err != nil {
		t.Fatalf("new: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := w.app.Open(ctx); err != nil {
		cancel()
		w.app.Close()
		t.Fatalf("open: %v", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.app.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		w.app.Close()
	})
	t.Cleanup(func() {
		w.stop()
		if t.Failed() {
			t.Logf("weir printed\n%s\nand logged\n%s", w.out.String(), w.log.String())
		}
	})
	until(t, "weir is ready", func() bool { return w.app.Ready() == nil })
	return w
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a file at once, as editors do.
func (w *weir) edit(name, text string) {
	w.t.Helper()
	tmp := filepath.Join(w.dir, name+".tmp")
	write(w.t, tmp, text)
	if err := os.Rename(tmp, filepath.Join(w.dir, name)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *weir) mqtt() string { return "tcp://" + w.app.Addr("tcp").String() }

func (w *weir) url(path string) string { return "http://" + w.app.Addr("http").String() + path }

// get returns status and body of an answer.
func (w *weir) get(path string) (int, string) {
	w.t.Helper()
	resp, err := http.Get(w.url(path))
	if err != nil {
		w.t.Fatalf("get %s: %v", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("get %s: %v", path, err)
	}
	return resp.StatusCode, string(b)
}

// ask decodes a JSON answer.
func ask[T any](w *weir, path string) (v T) {
	w.t.Helper()
	status, body := w.get(path)
	if status != http.StatusOK {
		w.t.Fatalf("get %s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		w.t.Fatalf("get %s: %v in %s", path, err, body)
	}
	return v
}

// line is what the tests read of a line of the log.
type line struct {
	Position, Kind, Topic, Client, Device, Error string
	Time                                         time.Time
	Tags                                         map[string]string
	Fields                                       map[string]any
	Payload                                      json.RawMessage
}

// lines returns what the log holds.
func (w *weir) lines(query string) (all []line) {
	w.t.Helper()
	_, body := w.get("/api/v1/events?from=all&" + query)
	for _, text := range strings.Split(strings.TrimSpace(body), "\n") {
		var l line
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			w.t.Fatalf("line of the log %q: %v", text, err)
		}
		all = append(all, l)
	}
	return all
}

// client is a paho 3.1.1 client that keeps what it is sent.
type client struct {
	paho.Client
	t   *testing.T
	mu  sync.Mutex
	got []paho.Message
}

func connect(t *testing.T, url, id string, change func(*paho.ClientOptions)) *client {
	t.Helper()
	c := &client{t: t}
	o := paho.NewClientOptions().AddBroker(url).SetClientID(id).SetAutoReconnect(false).SetConnectTimeout(patience)
	if change != nil {
		change(o)
	}
	c.Client = paho.NewClient(o)
	c.done("connect "+id, c.Connect())
	t.Cleanup(func() { c.Disconnect(0) })
	return c
}

func (c *client) done(what string, token paho.Token) {
	c.t.Helper()
	if !token.WaitTimeout(patience) {
		c.t.Fatalf("%s: nothing happened within %v", what, patience)
	}
	if err := token.Error(); err != nil {
		c.t.Fatalf("%s: %v", what, err)
	}
}

// say publishes at QoS 1 and returns when that is acknowledged.
func (c *client) say(topic, payload string) {
	c.t.Helper()
	c.done("publish to "+topic, c.Publish(topic, 1, false, payload))
}

func (c *client) hear(filter string) {
	c.t.Helper()
	c.done("subscribe to "+filter, c.Subscribe(filter, 1, func(_ paho.Client, m paho.Message) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, m)
	}))
}

// heard waits for a message on a topic that ok accepts.
func (c *client) heard(topic string, ok func(payload string) bool) (found paho.Message) {
	c.t.Helper()
	until(c.t, "a message comes on "+topic, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.got {
			if m.Topic() == topic && ok(string(m.Payload())) {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// hook is a web server that keeps the requests it gets.
type hook struct {
	mu  sync.Mutex
	got []request
}

type request struct {
	header http.Header
	body   map[string]any
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, request{r.Header, body})
}

func (h *hook) all() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]request(nil), h.got...)
}

func reading(temperature float64) string {
	return fmt.Sprintf(`{"ts":%d,"temperature":%v,"door":"closed"}`, time.Now().UnixMilli(), temperature)
}
