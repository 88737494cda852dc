package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/console"
	"weir/rules/backtest"
)

const manyKinds = `
groups:
  - name: plant
    match: {source: plant}
    rules:
      - {alert: Warm, expr: temperature > 30}
      - {alert: Held, expr: temperature > 20, for: 3s}
      - {alert: Kept, expr: temperature > 35, clear: temperature < 25, keep_firing_for: 2s}
      - {alert: Mean, expr: 'avg_over_time(temperature, "5s") > 25'}
      - {alert: Silent, expr: 'absent("2s")'}
      - {alert: Opened, expr: 'sequence("4s", door == "open", temperature > 30)'}
  - name: derived
    rules:
      - {record: fahrenheit, match: {source: plant}, expr: temperature * 1.8 + 32}
      - {alert: Boiling, expr: fahrenheit > 95}
`

// post sends a backtest to a handler and returns the report.
func post(t *testing.T, h http.Handler, req backtest.Request) *backtest.Report {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/v1/rules/backtest", bytes.NewReader(body))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return reportOf(t, w.Code, w.Body.String())
}

func reportOf(t *testing.T, status int, body string) *backtest.Report {
	t.Helper()
	if status != http.StatusOK {
		t.Fatalf("the backtest is answered %d %s", status, body)
	}
	lines := strings.Split(strings.TrimSpace(body), "\n")
	var l console.BacktestLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &l); err != nil || l.Report == nil {
		t.Fatalf("the answer ends with %s: %v", lines[len(lines)-1], err)
	}
	return l.Report
}

// unchanged complains about every difference.
func unchanged(t *testing.T, r *backtest.Report, least int) {
	t.Helper()
	if r.Changed() {
		var text strings.Builder
		if err := backtest.WriteText(&text, r); err != nil {
			t.Fatal(err)
		}
		t.Errorf("the same rules over the same log differ:\n%s", text.String())
	}
	if r.Total.Unchanged < least {
		t.Errorf("%d incidents are compared, want at least %d: the test tests nothing", r.Total.Unchanged, least)
	}
	for _, x := range r.Rules {
		if x.Kind == "alert" && (x.New == nil || x.New.Incidents == 0) {
			t.Errorf("rule %s had no incident: the test does not test it", x.Rule)
		}
	}
}

// TestABacktestOfTheRulesInForceGivesWhatWasDecidedLive sends readings with
// times of their own, in order, late and early, and compares.
func TestABacktestOfTheRulesInForceGivesWhatWasDecidedLive(t *testing.T) {
	dir := t.TempDir()
	w := start(t, dir, map[string]string{"rules/a.yaml": manyKinds, "weir.yaml": `
log: {partitions: 2}
mqtt: {listen: "127.0.0.1:0", anonymous: true}
http: {listen: "127.0.0.1:0"}
rules: ["rules/*.yaml"]
` + sources})
	rnd := rand.New(rand.NewPCG(1, 2))
	c := connect(t, w.mqtt(), "fleet", nil)
	begin := time.Now()
	var silent time.Time // since when one of them is, for a while
	for round := 0; round < 100 || time.Since(begin) < 8*time.Second || time.Since(silent) < 7*time.Second; round++ {
		if round == 10 {
			silent = time.Now()
		}
		for d := range 6 {
			if d == 5 && round >= 10 && time.Since(silent) < 5*time.Second {
				continue
			}
			ts := time.Now().Add(-time.Duration(d) * 50 * time.Millisecond) // clocks differ
			if rnd.IntN(20) == 0 {
				ts = ts.Add(-time.Second) // late
			}
			door := []string{"open", "closed"}[rnd.IntN(2)]
			topic := fmt.Sprintf("plant/%s/f%d/telemetry", []string{"oslo", "bergen"}[d%2], d)
			c.say(topic, fmt.Sprintf(`{"ts":%d,"temperature":%.1f,"door":%q}`, ts.UnixMilli(), 10+30*rnd.Float64(), door))
			if d == 3 && round%10 == 0 { // what it could not send yesterday
				c.say(topic, fmt.Sprintf(`{"ts":%d,"temperature":40,"door":"closed"}`, ts.Add(-24*time.Hour).UnixMilli()))
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	same := backtest.Request{Rules: []backtest.Text{{Name: "a.yaml", Text: manyKinds}}}
	body, err := json.Marshal(same)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(w.url("/api/v1/rules/backtest"), "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	r := reportOf(t, resp.StatusCode, answer.String())
	unchanged(t, r, 100)
	if r.Against != backtest.AgainstInForce || r.OldRuleSet == "" {
		t.Errorf("it was compared with %s %s, want the rules in force", r.Against, r.OldRuleSet)
	}

	w.stop()
	cfg, err := configs.Load(filepath.Join(dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.DataDir.Value = filepath.Join(dir, "data")
	off, err := app.OpenOffline(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	unchanged(t, post(t, off.Handler, same), 100)
	same.Against = backtest.AgainstLog
	r = post(t, off.Handler, same)
	unchanged(t, r, 100)
	t.Logf("%d events, %d incidents are the same", r.Events, r.Total.Unchanged)

	other := backtest.Request{Rules: []backtest.Text{{Name: "a.yaml", Text: strings.ReplaceAll(manyKinds, "> 30}", "> 39}")}}, Against: backtest.AgainstLog}
	if r := post(t, off.Handler, other); r.Total.Removed+r.Total.Moved < 10 || r.Total.Old.Incidents <= r.Total.New.Incidents {
		t.Errorf("with another threshold %d incidents are removed and %d moved, %d instead of %d", r.Total.Removed, r.Total.Moved, r.Total.New.Incidents, r.Total.Old.Incidents)
	}
}
