package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/rules"
)

// post returns status and body of the answer to a request with a body.
func post(t testing.TB, h http.Handler, method, target, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestDecisionsGoIntoTheLogOrAreRefused(t *testing.T) {
	b := newBench(t)
	var decided []event.Decision
	b.deps.Alerts = func() []rules.Status {
		return []rules.Status{{ID: "a1", State: event.Firing}, {ID: "a3", State: event.Firing, Acked: &rules.Acknowledgement{}}, {State: event.Pending}}
	}
	b.deps.Silences = func() []event.Decision {
		until := time.Now().Add(time.Hour)
		return []event.Decision{{Kind: event.Silence, ID: "s1", Starts: &until, Until: &until}}
	}
	b.deps.Decide = func(_ context.Context, d event.Decision) error { decided = append(decided, d); return nil }
	api := b.online()
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string // in the answer
	}{
		{"POST", "/api/v1/alerts/a1/ack", "", 200, `"kind":"ack"`},
		{"POST", "/api/v1/alerts/a1/ack", `{"by": "eva", "comment": "on it"}`, 200, `"by":"eva"`},
		{"DELETE", "/api/v1/alerts/a1/ack", "", 200, `"kind":"unack"`},
		{"DELETE", "/api/v1/alerts/a1/ack", "", 409, "is not acknowledged"},
		{"DELETE", "/api/v1/alerts/a3/ack", "", 200, `"kind":"unack"`},
		{"POST", "/api/v1/alerts/a2/ack", "", 404, "no alert with the id"},
		{"POST", "/api/v1/alerts/a1/ack", `{"who": "eva"}`, 400, "unknown field"},
		{"POST", "/api/v1/alerts/a1/ack", `{} {}`, 400, "something follows"},
		{"POST", "/api/v1/alerts/a1/ack", `{"comment": "` + strings.Repeat("x", 5000) + `"}`, 400, "comment has 5000 bytes"},
		{"POST", "/api/v1/alerts/a1/ack", strings.Repeat(" ", 70_000), 413, "larger than"},
		{"POST", "/api/v1/silences", `{"matchers": ["device=~f[0-9]+"], "for": "2h"}`, 200, `"op":"=~"`},
		{"POST", "/api/v1/silences", `{"matchers": ["device=f1"], "ends_at": "2020-01-01T00:00:00Z"}`, 400, "would have ended"},
		{"POST", "/api/v1/silences", `{"matchers": ["device=f1"]}`, 400, "has no end"},
		{"POST", "/api/v1/silences", `{"matchers": ["device=f1"], "for": "2 hours"}`, 400, "for: "},
		{"POST", "/api/v1/silences", `{"matchers": ["device=f1"], "for": "9000d"}`, 400, "366 days"},
		{"POST", "/api/v1/silences", `{"matchers": [], "for": "2h"}`, 400, "has no matcher"},
		{"POST", "/api/v1/silences", `{"matchers": ["device=~.*"], "for": "2h"}`, 400, "match every alert"},
		{"GET", "/api/v1/silences", "", 200, `"state":"pending"`},
		{"DELETE", "/api/v1/silences/s1?by=eva", "", 200, `"kind":"expire","id":"s1","by":"eva"`},
		{"DELETE", "/api/v1/silences/s2", "", 404, "there is no silence"},
		{"GET", "/api/v1/alerts/history?limit=0", "", 400, "limit=0"},
		{"GET", "/api/v1/alerts/history?since=soon", "", 400, "since: "},
		{"GET", "/api/v1/alerts/history?since=7/1", "", 400, "partitions 0 to 1"},
	} {
		before := len(decided)
		status, answer := post(t, api, tt.method, tt.path, tt.body)
		if status != tt.status || !strings.Contains(answer, tt.want) {
			t.Errorf("%s %s %.60s: %d %s, want %d %s", tt.method, tt.path, tt.body, status, answer, tt.status, tt.want)
		}
		if is := len(decided) > before; is != (tt.status == 200 && tt.method != "GET") {
			t.Errorf("%s %s %.60s: decided is %v", tt.method, tt.path, tt.body, is)
		}
	}
	for _, d := range decided {
		if err := d.Validate(); err != nil || d.At.IsZero() {
			t.Errorf("decided was %+v: %v", d, err)
		}
	}
	if status, _ := post(t, b.offline(), "POST", "/api/v1/silences", `{"matchers": ["a=b"], "for": "2h"}`); status != 503 {
		t.Errorf("without a running weir the answer is %d", status)
	}
}

func TestHistoryTellsWhatTheLogHas(t *testing.T) {
	b := newBench(t)
	now := time.Now().UnixNano()
	fact := func(partition int, at int64, a event.Alert) {
		payload, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		b.append(partition, event.Message{Record: event.AlertFact, Received: now + at, ID: a.ID + a.State, Payload: payload})
	}
	operation := func(at int64, d event.Decision) {
		payload, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		for p := range 2 {
			b.append(p, event.Message{Record: event.Operation, Received: now + at, ID: d.ID, Payload: payload})
		}
	}
	fact(0, 1, event.Alert{ID: "i1", State: event.Firing, Rule: "cold/Warm", Key: "f1"})
	fact(1, 2, event.Alert{ID: "i2", State: event.Firing, Rule: "cold/Warm", Key: "f2", Suppressed: event.SuppressedSilence, Reason: "s1"})
	operation(3, event.Decision{Kind: event.Ack, ID: "o1", Alert: "i1"})
	fact(1, 4, event.Alert{ID: "i3", State: event.Firing, Rule: "hot/Oven", Key: "f2"})
	operation(5, event.Decision{Kind: event.Expire, ID: "s1"})
	b.append(0, event.Message{Record: event.Operation, Received: now + 6, Payload: []byte("no JSON")})
	fact(0, 7, event.Alert{ID: "i1", State: event.Resolved, Rule: "cold/Warm", Key: "f1"})
	for _, tt := range []struct{ query, want string }{
		{"", "i1 i2 o1 i3 s1 i1"},
		{"&limit=2", "s1 i1"},
		{"&rule=cold/*", "i1 i2 o1 s1 i1"},
		{"&rule=cold/W", ""},
		{"&key=f2", "i2 i3 s1"},
		{"&id=i1", "i1 o1 i1"},
		{"&rule=hot/Oven&key=f1", ""},
	} {
		status, answer := do(t, b.offline(), "GET", "/api/v1/alerts/history?since=all"+tt.query)
		var got []string
		for _, l := range lines(t, answer) {
			for _, k := range []string{"alert", "decision"} {
				if m, ok := l[k].(map[string]any); ok {
					got = append(got, m["id"].(string))
				}
			}
		}
		if status != 200 || strings.Join(got, " ") != tt.want {
			t.Errorf("%q: %d %q, want %q", tt.query, status, strings.Join(got, " "), tt.want)
		}
	}
}

func FuzzParseSilence(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	for _, s := range []string{
		`{"matchers": ["device=~f[0-9]+"], "for": "2h"}`, `{"matchers": ["a=b"], "starts_at": "2027-01-16T00:00:00Z", "ends_at": "2027-02-01T00:00:00Z"}`,
		`{"matchers": ["a"], "for": "2h"}`, `{"for": 1}`, `[]`, `{"matchers": ["a=b"], "for": "-1h"}`, `{"matchers": ["a=b"], "starts_at": "0001-01-01T00:00:00Z", "for": "1s"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := parseSilence(body, now)
		if err != nil {
			return
		}
		b, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if _, err := event.ParseDecision(b); err != nil {
			t.Fatalf("%q is taken, and its record %s is not: %v", body, b, err)
		}
		if !d.Until.After(now) || d.Until.Sub(*d.Starts) > event.MaxSilence {
			t.Fatalf("%q is a silence from %v to %v", body, d.Starts, d.Until)
		}
	})
}
