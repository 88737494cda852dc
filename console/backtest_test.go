package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"weir/rules/backtest"
)

func postBacktest(t *testing.T, h http.Handler, ctx context.Context, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/api/v1/rules/backtest", strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// hotRule is a request with one rule.
const hotRule = `{"rules":[{"name":"hot.yaml","text":"groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30}]}]"}],"against":"none"`

func TestABacktestIsAnsweredWithItsReport(t *testing.T) {
	b := newBench(t)
	b.publish(0, "plant/a", `{"temperature":20}`)
	b.publish(0, "plant/a", `{"temperature":40}`)
	b.publish(1, "plant/b", `{"temperature":50}`)
	b.deps.Backtest = func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		progress(backtest.Progress{Stage: "evaluating", Records: 1, Of: 3})
		return backtest.Run(ctx, backtest.Deps{Log: b.log, Consumer: "rules"}, r, nil)
	}
	status, body := postBacktest(t, b.online(), t.Context(), hotRule+"}")
	all := strings.Split(strings.TrimSpace(body), "\n")
	if status != http.StatusOK || len(all) != 2 || all[0] != `{"progress":{"stage":"evaluating","records":1,"of":3,"events":0}}` {
		t.Fatalf("%d %s", status, body)
	}
	var l BacktestLine
	if err := json.Unmarshal([]byte(all[1]), &l); err != nil {
		t.Fatal(err)
	}
	if l.Report.Total.Added != 2 || l.Report.Events != 3 || l.Report.Partitions != 2 {
		t.Errorf("report %s", all[1])
	}
}

// withTable is a request with a rule that reads a table of devices.
func withTable(name string, limit int) string {
	return fmt.Sprintf(`{"rules":[{"name":"hot.yaml","text":"attributes: dev.csv\ngroups: [{name: g, rules: [{alert: Hot, expr: temperature > limit}]}]"}],"against":"none",`+
		`"tables":[{"name":%q,"text":"device,limit\na,%d\nb,%[2]d\n"}]`, name, limit)
}

func TestABacktestReadsTheTablesOfItsRequest(t *testing.T) {
	b := newBench(t)
	b.publish(0, "plant/a", `{"temperature":40}`)
	b.publish(1, "plant/b", `{"temperature":50}`)
	b.deps.Backtest = func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		return backtest.Run(ctx, backtest.Deps{Log: b.log, Consumer: "rules"}, r, nil)
	}
	for limit, want := range map[int]int{30: 2, 45: 1, 60: 0} {
		status, body := postBacktest(t, b.online(), t.Context(), withTable("dev.csv", limit)+"}")
		var l BacktestLine
		if err := json.Unmarshal([]byte(body), &l); err != nil || status != http.StatusOK || l.Report == nil {
			t.Fatalf("limit %d: %d %s", limit, status, body)
		}
		if l.Report.Total.Added != want {
			t.Errorf("limit %d: %d incidents, want %d", limit, l.Report.Total.Added, want)
		}
	}
}

func TestAWrongBacktestIsRefused(t *testing.T) {
	b := newBench(t)
	if status, body := postBacktest(t, b.online(), t.Context(), hotRule+"}"); status != http.StatusServiceUnavailable {
		t.Errorf("without what runs it: %d %s", status, body)
	}
	b.deps.Backtest = func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		return backtest.Run(ctx, backtest.Deps{Log: b.log, Consumer: "rules"}, r, nil)
	}
	for _, tt := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"no JSON", "rules", http.StatusBadRequest, "the request is not as it should be"},
		{"an unknown key", hotRule + `,"form":"-1h"}`, http.StatusBadRequest, `unknown field \"form\"`},
		{"a wrong time", hotRule + `,"from":"soon"}`, http.StatusBadRequest, `from \"soon\" is none of`},
		{"broken rules", `{"rules":[{"name":"hot.yaml","text":"groups: [{name: g, rules: [{alert: Hot, expr: temperature >}]}]"}]}`, http.StatusBadRequest, "hot.yaml:1:"},
		{"an empty log", hotRule + "}", http.StatusBadRequest, "the log holds nothing yet"},
		{"far too much", `{"rules":[{"name":"x","text":"` + strings.Repeat("x", MaxBacktest) + `"}]}`, http.StatusRequestEntityTooLarge, "larger than 67108864 bytes"},
		{"a table that is not sent", withTable("other.csv", 30) + "}", http.StatusBadRequest, "hot.yaml:1:13: read the table of devices: dev.csv is not among the tables of the request"},
		{"a broken table", strings.Replace(withTable("dev.csv", 30), "device,", "devise,", 1) + "}", http.StatusBadRequest, "dev.csv:1:1: "},
		{"a table twice", strings.Replace(withTable("dev.csv", 30), `"tables":[`, `"tables":[{"name":"./dev.csv"},`, 1) + "}", http.StatusBadRequest, "tables has dev.csv twice"},
	} {
		if status, body := postBacktest(t, b.online(), t.Context(), tt.body); status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s: %d %.300s, want %d with %q", tt.name, status, body, tt.status, tt.want)
		}
	}
}

func TestOneBacktestRunsAtATimeAndEndsWithItsClient(t *testing.T) {
	b := newBench(t)
	started := make(chan struct{}, 1)
	b.deps.Backtest = func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	s := b.online()
	ctx, leave := context.WithCancel(t.Context())
	ended := make(chan string)
	go func() {
		_, body := postBacktest(t, s, ctx, hotRule+"}")
		ended <- body
	}()
	<-started
	if status, body := postBacktest(t, s, t.Context(), hotRule+"}"); status != http.StatusConflict || !strings.Contains(body, "another backtest is running") {
		t.Errorf("beside another: %d %s", status, body)
	}
	leave()
	if body := <-ended; !strings.Contains(body, "stopped") {
		t.Errorf("the one whose client left is answered %s", body)
	}
	b.deps.Backtest = nil
	ctx, leave = context.WithCancel(t.Context())
	leave()
	if status, _ := postBacktest(t, s, ctx, hotRule+"}"); status == http.StatusConflict {
		t.Error("the first still counts as running")
	}
}

func TestAnErrorHalfWayIsTheLastLine(t *testing.T) {
	b := newBench(t)
	b.deps.Backtest = func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		progress(backtest.Progress{Stage: "evaluating"})
		return nil, errors.New("the disk is gone")
	}
	_, body := postBacktest(t, b.online(), t.Context(), hotRule+"}")
	if !bytes.HasSuffix([]byte(body), []byte("\n{\"error\":\"the disk is gone\"}\n")) {
		t.Errorf("the answer is %s", body)
	}
}
