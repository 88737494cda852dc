package e2e

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

type audit struct {
	Balanced bool
	Entries  []struct {
		Consumer                                     string
		Received, Delivered, Filtered, Lost, Pending uint64
		Dead                                         uint64 `json:"dead_lettered"`
	}
	DeadLetters uint64 `json:"dead_letters"`
}

// balanced checks the books as an operator would.
func (w *weir) balanced(t *testing.T) {
	t.Helper()
	a := ask[audit](w, "/api/v1/audit")
	if !a.Balanced || len(a.Entries) < 6 {
		t.Fatalf("audit %+v", a)
	}
	dead := uint64(0)
	for _, e := range a.Entries {
		if e.Received != e.Delivered+e.Filtered+e.Dead+e.Lost+e.Pending {
			t.Errorf("books of %s: %+v", e.Consumer, e)
		}
		dead += e.Dead
	}
	if dead != 1 || a.DeadLetters != 1 {
		t.Errorf("%d dead-lettered, %d stored, want 1 and 1: %+v", dead, a.DeadLetters, a.Entries)
	}
}

// goodMetrics checks the names and some values of /metrics.
func (w *weir) goodMetrics(t *testing.T) {
	t.Helper()
	_, body := w.get("/metrics")
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("metric %s: %s", p.Metric, p.Text)
	}
	for _, want := range []string{
		`weir_build_info{version="e2e"} 1`,
		`weir_broker_messages_logged_total 4`,
		`weir_devices_known 1`,
		`weir_alerts{rule="cold-room/FreezerWarm",state="firing"} 0`,
		`weir_rules_recordings_total{rule="cold-room/excess"} 3`,
		`weir_audit_imbalance_records{consumer="rules",partition="0"} 0`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("metrics lack %s", want)
		}
	}
	for _, name := range []string{"weir_ring_used_bytes", "weir_log_append_duration_seconds_bucket", "weir_consumer_lag_records", "weir_consumer_records_total", "go_goroutines", "process_open_fds"} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("metrics lack %s", name)
		}
	}
}
