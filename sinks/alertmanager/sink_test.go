package alertmanager

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/sinktest"
)

// receiver is a far side that keeps what it is sent.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	posts  [][]wire
	last   *http.Request
	answer func(alerts []wire, w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func newReceiver(t *testing.T) *receiver {
	rc := &receiver{}
	rc.Server = httptest.NewServer(http.HandlerFunc(rc.serve))
	t.Cleanup(rc.Close)
	return rc
}

func (rc *receiver) serve(w http.ResponseWriter, r *http.Request) {
	var alerts []wire
	if err := json.NewDecoder(r.Body).Decode(&alerts); err != nil || r.URL.Path != "/am/api/v2/alerts" {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	rc.mu.Lock()
	answer := rc.answer
	rc.mu.Unlock()
	if answer != nil && answer(alerts, w, r) {
		return
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.posts = append(rc.posts, alerts)
	rc.last = r
}

func (rc *receiver) answers(f func([]wire, http.ResponseWriter, *http.Request) bool) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.answer = f
}

// take returns the posts since the last call.
func (rc *receiver) take() [][]wire {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	p := rc.posts
	rc.posts = nil
	return p
}

// distinct counts the label sets that came.
func (rc *receiver) distinct() int {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	seen := map[string]bool{}
	for _, p := range rc.posts {
		for _, a := range p {
			seen[print(a.Labels)] = true
		}
	}
	return len(seen)
}

// clock is a wall clock that the test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newSink(t *testing.T, c *clock, urls []string, change ...func(*Config)) *Sink {
	t.Helper()
	cfg := Default()
	cfg.Name, cfg.URLs = "am", urls
	for _, f := range change {
		f(&cfg)
	}
	var deps Deps
	if c != nil {
		deps.Now = c.now
	}
	s, err := New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func down(_ []wire, _ http.ResponseWriter, _ *http.Request) bool {
	panic(http.ErrAbortHandler) // cuts the connection
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		rc := newReceiver(t)
		return &sinktest.Target{
			Sink: newSink(t, nil, []string{rc.URL + "/am"}), Alerts: true, Name: "am", Effects: rc.distinct,
			Outage: func(is bool) {
				if is {
					rc.answers(down)
				} else {
					rc.answers(nil)
				}
			},
			Hang: func() {
				rc.answers(func(_ []wire, _ http.ResponseWriter, r *http.Request) bool {
					<-r.Context().Done()
					return true
				})
			},
		}
	})
}

// log makes consecutive batches.
type log struct {
	t   *testing.T
	seq uint64
}

func (l *log) batch(alerts ...event.Alert) []*event.Batch {
	l.t.Helper()
	l.seq++
	b := sinktest.NewBatch(l.seq, sinktest.Start())
	for _, a := range alerts {
		b.Alert(l.t, a)
	}
	return []*event.Batch{b.Tick().Batch()}
}

// handle expects a call to go well, and returns its outcome.
func handle(t *testing.T, h sinktest.Sink, b []*event.Batch) event.Outcome {
	t.Helper()
	out, err := h.Handle(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAnAlertAsAlertmanagerHasIt(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{rc.URL + "/am"}, func(c *Config) { c.GeneratorURL = "https://weir.example/" }).Partition(0)
	a := sinktest.Alert(3, "am")
	a.Labels["team"] = "plant"
	handle(t, p, l.batch(a))
	labels := map[string]string{"alertname": "FreezerWarm", "group": "cold-room", "device": "f3", "severity": "page", "team": "plant"}
	want := wire{Labels: labels, Annotations: map[string]string{"summary": "f3 is warm"}, StartsAt: a.StartsAt,
		EndsAt: c.at.Add(4 * time.Minute).UTC(), GeneratorURL: "https://weir.example/"}
	got := rc.take()[0][0]
	want.EndsAt = want.EndsAt.Round(0)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	end := sinktest.Resolved(a)
	end.Labels = map[string]string{"severity": "none"} // whatever it says now: this is how Alertmanager knows it
	end.Actions = nil
	handle(t, p, l.batch(end))
	if got := rc.take()[0][0]; !reflect.DeepEqual(got.Labels, labels) || !got.EndsAt.Equal(*end.EndsAt) {
		t.Errorf("the end: %+v", got)
	}
}

func TestLabels(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alert event.Alert
		want  map[string]string
	}{
		{"of a site and a room", event.Alert{Rule: "g/r", Key: "oslo/cold", By: map[string]string{"site": "oslo", "meta.room": "cold"}},
			map[string]string{"alertname": "r", "group": "g", "site": "oslo", "meta_room": "cold"}},
		{"of a key", event.Alert{Rule: "g/r", Key: "k"}, map[string]string{"alertname": "r", "group": "g", "key": "k"}},
		{"that are taken", event.Alert{Rule: "g/r", Device: "d", Labels: map[string]string{"device": "x", "alertname": "y", "a-b": "1", "a_b": "2"}},
			map[string]string{"alertname": "r", "group": "g", "device": "d", "device_": "x", "alertname_": "y", "a_b": "1", "a_b_": "2"}},
		{"that are not allowed", event.Alert{Rule: "g/r", Device: "d\xff", Labels: map[string]string{"9": "n", "ø": "o", "": "e", "none": ""}},
			map[string]string{"alertname": "r", "group": "g", "device": "d\uFFFD", "_9": "n", "_": "e", "__": "o"}},
	} {
		if got := labelsOf(&tt.alert); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s:\n got %v\nwant %v", tt.name, got, tt.want)
		}
	}
}

func TestWhatFiresIsRepeatedAndWhatEndedForAWhile(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{rc.URL + "/am"}).Partition(0)
	a, b := sinktest.Alert(1, "am"), sinktest.Alert(2, "am")
	handle(t, p, l.batch(a, b))
	rc.take()
	handle(t, p, l.batch(sinktest.Resolved(b)))
	rc.take()
	for minute := 1; minute <= 20; minute++ {
		c.add(59 * time.Second)
		handle(t, p, l.batch())
		if posts := rc.take(); len(posts) != 0 {
			t.Fatalf("minute %d: sent %v before it was time", minute, posts)
		}
		c.add(time.Second)
		handle(t, p, l.batch())
		posts := rc.take()
		if len(posts) != 1 {
			t.Fatalf("minute %d: %d requests, want 1", minute, len(posts))
		}
		want := []string{"f1", "f2"}
		if minute >= 15 {
			want = want[:1]
		}
		var got []string
		for _, w := range posts[0] {
			got = append(got, w.Labels["device"])
			if fires := w.EndsAt.After(c.at); fires != (w.Labels["device"] == "f1") {
				t.Errorf("minute %d: %s ends at %v, now is %v", minute, w.Labels["device"], w.EndsAt, c.at)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("minute %d: repeated %v, want %v", minute, got, want)
		}
	}
}

func TestAfterARestartWhatFiresIsSentAtOnce(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	urls := []string{rc.URL + "/am"}
	p := newSink(t, c, urls).Partition(0)
	a, b := sinktest.Alert(1, "am"), sinktest.Alert(2, "am")
	handle(t, p, l.batch(a, b))
	handle(t, p, l.batch(sinktest.Resolved(b)))
	saved, err := p.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	rc.take()
	again := newSink(t, c, urls).Partition(0)
	if err := again.Restore(saved); err != nil {
		t.Fatal(err)
	}
	again.Resume(l.seq)
	handle(t, again, l.batch())
	posts := rc.take()
	if len(posts) != 1 || len(posts[0]) != 2 || !posts[0][0].EndsAt.After(c.at) || posts[0][1].EndsAt.After(c.at) {
		t.Errorf("sent %+v, want the one that fires and the end of the other", posts)
	}
	for _, bad := range []string{"x", `{"version":2}`, `{"version":1,"alerts":[null]}`, `{"version":1,"alerts":[{"id":"a"}]}`} {
		if err := again.Restore([]byte(bad)); err == nil {
			t.Errorf("restored %s", bad)
		}
	}
}

func TestWhatNobodyIsToBeToldOf(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{rc.URL + "/am"}, func(c *Config) { c.All = true }).Partition(0)
	hidden := func(a event.Alert, why string) event.Alert {
		a.Suppressed, a.Actions = why, nil
		return a
	}
	a, b := sinktest.Alert(1), sinktest.Alert(2)
	out := handle(t, p, l.batch(hidden(a, event.SuppressedSilence), hidden(b, event.SuppressedShadow), hidden(sinktest.Resolved(b), event.SuppressedShadow)))
	if n := len(rc.take()); n != 0 || out.Filtered != 4 {
		t.Errorf("%d requests, %+v; want nothing sent", n, out)
	}
	resumed := a
	resumed.Notice = event.NoticeResumed
	handle(t, p, l.batch(resumed))
	if n := len(rc.take()); n != 1 {
		t.Errorf("%d requests when it was over, want 1", n)
	}
	next := a // it flaps: Alertmanager is told of nothing until it has come to rest
	next.ID = "later"
	handle(t, p, l.batch(hidden(sinktest.Resolved(a), event.SuppressedFlapping), hidden(next, event.SuppressedFlapping), hidden(sinktest.Resolved(next), event.SuppressedFlapping)))
	if posts := rc.take(); len(posts) != 0 {
		t.Errorf("sent %+v while it flapped", posts)
	}
	c.add(time.Minute)
	handle(t, p, l.batch())
	if posts := rc.take(); len(posts) != 1 || !posts[0][0].EndsAt.After(c.at) {
		t.Errorf("repeated %+v, want that it fires", posts)
	}
	handle(t, p, l.batch(hidden(sinktest.Resolved(a), event.SuppressedSilence)))
	if posts := rc.take(); len(posts) != 1 || posts[0][0].EndsAt.After(c.at) {
		t.Errorf("sent %+v; want that what Alertmanager knows has ended", posts)
	}
}

func TestTransitionsOfOneAlertKeepTheirOrder(t *testing.T) {
	rc, l := newReceiver(t), &log{t: t}
	p := newSink(t, &clock{at: time.Now()}, []string{rc.URL + "/am"}).Partition(0)
	a := sinktest.Alert(1, "am")
	next := a
	next.ID, next.StartsAt = "later", a.StartsAt.Add(2*time.Minute)
	handle(t, p, l.batch(a, sinktest.Alert(2, "am"), sinktest.Resolved(a), next, sinktest.Resolved(a)))
	posts := rc.take()
	var got []string
	for _, post := range posts {
		var devices []string
		for _, w := range post {
			devices = append(devices, w.Labels["device"])
		}
		got = append(got, strings.Join(devices, " "))
	}
	// The last is the repetition: the first after a start comes at once.
	if want := []string{"f1 f2", "f1", "f1", "f1 f2"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	if last := posts[len(posts)-1][0]; !last.StartsAt.Equal(next.StartsAt) || last.EndsAt.Before(time.Now()) {
		t.Errorf("the later incident was ended by the end of the earlier: %+v", last)
	}
}

func TestOneAlertThatIsRefusedHarmsOnlyItself(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{rc.URL + "/am"}).Partition(0)
	refuse := func(alerts []wire, w http.ResponseWriter, _ *http.Request) bool {
		for _, a := range alerts {
			if a.Labels["device"] == "f2" {
				http.Error(w, "f2: bad", http.StatusBadRequest)
				return true
			}
		}
		return false
	}
	rc.answers(refuse)
	var alerts []event.Alert
	for i := range 5 {
		alerts = append(alerts, sinktest.Alert(i, "am"))
	}
	b := l.batch(alerts...)
	out := handle(t, p, b)
	if len(out.Dead) != 1 || out.Dead[0].Message != 2 || !strings.Contains(out.Dead[0].Err.Error(), "400 Bad Request: f2: bad") {
		t.Fatalf("%+v", out)
	}
	rc.take()
	c.add(time.Minute)
	handle(t, p, l.batch())
	if posts := rc.take(); len(posts) != 1 || len(posts[0]) != 4 {
		t.Errorf("repeated %+v, want the other four", posts)
	}
	rc.answers(nil)
	letter := sinktest.NewBatch(1, sinktest.Start()).Alert(t, alerts[2]).Batch() // its dead letter, tried again
	handle(t, p, []*event.Batch{letter})
	c.add(time.Minute)
	rc.take()
	handle(t, p, l.batch())
	if posts := rc.take(); len(posts) != 1 || len(posts[0]) != 5 {
		t.Errorf("repeated %+v, want all five", posts)
	}
	handle(t, p, l.batch(sinktest.Resolved(alerts[3])))
	rc.take()
	old := sinktest.NewBatch(1, sinktest.Start()).Alert(t, alerts[3]).Batch()
	if out := handle(t, p, []*event.Batch{old}); out.Filtered != 1 || len(rc.take()) != 0 {
		t.Errorf("a dead letter of what has ended since was sent: %+v", out)
	}
}

func TestAnOutageChangesNothing(t *testing.T) {
	rc, c, l := newReceiver(t), &clock{at: time.Now()}, &log{t: t}
	p := newSink(t, c, []string{rc.URL + "/am"}).Partition(0)
	a := sinktest.Alert(1, "am")
	b := l.batch(a)
	for _, status := range []int{0, 401, 403, 404, 429, 500, 502, 503, 301} {
		rc.answers(func(_ []wire, w http.ResponseWriter, r *http.Request) bool {
			if status == 0 {
				down(nil, nil, nil)
			}
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(status)
			return true
		})
		_, err := p.Handle(t.Context(), b)
		var re *event.RetryError
		if !errors.As(err, &re) || status != 0 && re.After != 7*time.Second {
			t.Errorf("status %d: %v, want a *event.RetryError", status, err)
		}
		if state, _ := p.Snapshot(); !strings.Contains(string(state), `"alerts":[]`) {
			t.Errorf("status %d: the state is %s", status, state)
		}
	}
	rc.answers(nil)
	handle(t, p, b)
	if len(rc.take()) == 0 {
		t.Error("nothing was sent when it was over")
	}
}

func TestEveryMemberOfAClusterIsTold(t *testing.T) {
	one, two, l := newReceiver(t), newReceiver(t), &log{t: t}
	p := newSink(t, &clock{at: time.Now()}, []string{one.URL + "/am", two.URL + "/am/"}).Partition(0)
	handle(t, p, l.batch(sinktest.Alert(1, "am")))
	if len(one.take()) == 0 || len(two.take()) == 0 {
		t.Error("not both were told")
	}
	one.answers(down)
	handle(t, p, l.batch(sinktest.Alert(2, "am")))
	if len(two.take()) == 0 {
		t.Error("the other was not told when one was away")
	}
	two.answers(down)
	if _, err := p.Handle(t.Context(), l.batch(sinktest.Alert(3, "am"))); err == nil {
		t.Error("no error with both away")
	}
}

func TestTimesThatLieAheadAreNow(t *testing.T) {
	c := Default()
	now := time.Now().UTC()
	at := func(d time.Duration) *time.Time { x := now.Add(d); return &x }
	for _, tt := range []struct {
		name          string
		starts        time.Duration
		ends          *time.Time
		first, second time.Duration
	}{
		{"it fires", -time.Hour, nil, -time.Hour, 4 * time.Minute},
		{"it fires by a clock that is ahead", time.Hour, nil, 0, 4 * time.Minute},
		{"it has ended", -time.Hour, at(-time.Minute), -time.Hour, -time.Minute},
		{"it has ended by a clock that is ahead", -time.Hour, at(time.Hour), -time.Hour, 0},
		{"it has ended before it began", -time.Hour, at(-2 * time.Hour), -time.Hour, -time.Hour},
	} {
		w := (&entry{StartsAt: now.Add(tt.starts), EndsAt: tt.ends}).wire(&c, now)
		if w.StartsAt.Sub(now) != tt.first || w.EndsAt.Sub(now) != tt.second {
			t.Errorf("%s: from %v to %v", tt.name, w.StartsAt.Sub(now), w.EndsAt.Sub(now))
		}
	}
}

func TestRequestsAreAuthorised(t *testing.T) {
	for _, tt := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Username, c.Password = "weir", "secret" }, "Basic d2VpcjpzZWNyZXQ="},
		{func(c *Config) { c.Token = "t0ken" }, "Bearer t0ken"},
		{func(c *Config) { c.Headers = map[string]string{"Authorization": "Own x", "X-Scope-OrgID": "plant"} }, "Own x"},
	} {
		rc := newReceiver(t)
		handle(t, newSink(t, nil, []string{rc.URL + "/am"}, tt.change).Partition(0), (&log{t: t}).batch(sinktest.Alert(1, "am")))
		if got := rc.last.Header.Get("Authorization"); got != tt.want {
			t.Errorf("Authorization %q, want %q", got, tt.want)
		}
	}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	defer secure.Close()
	secure.Config.ErrorLog = nil
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}))
	b := (&log{t: t}).batch(sinktest.Alert(1, "am"))
	if _, err := newSink(t, nil, []string{secure.URL}).Handle(t.Context(), b); err == nil {
		t.Error("a certificate that nobody knows was trusted")
	}
	handle(t, newSink(t, nil, []string{secure.URL}, func(c *Config) { c.TLS = &tls.Config{RootCAs: pool} }), b)
}

func TestWrongSettingsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"url: missing": func(c *Config) { c.URLs = nil }, "url: not an http": func(c *Config) { c.URLs = []string{"ftp://x"} },
		"url: holds a user": func(c *Config) { c.URLs = []string{"http://a:b@x"} }, "url: give the address": func(c *Config) { c.URLs = []string{"http://x/api/v2/alerts"} },
		"name: missing": func(c *Config) { c.Name = "" }, "headers: \"a b\"": func(c *Config) { c.Headers = map[string]string{"a b": "x"} },
		"line break": func(c *Config) { c.Headers = map[string]string{"a": "x\r\nEvil: 1"} }, "use one of them": func(c *Config) { c.Token, c.Username = "t", "u" },
		"password: is set": func(c *Config) { c.Password = "x" }, "has a colon": func(c *Config) { c.Username = "a:b" }, "token: has": func(c *Config) { c.Token = "a b" },
		"timeout": func(c *Config) { c.Timeout = 0 }, "resend": func(c *Config) { c.Resend = 0 }, "generator_url": func(c *Config) { c.GeneratorURL = "weir" },
	} {
		c := Default()
		c.Name, c.URLs = "am", []string{"http://127.0.0.1:1"}
		change(&c)
		if _, err := New(c, Deps{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}
