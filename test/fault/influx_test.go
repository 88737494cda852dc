package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/test/influxd"
	"weir/test/process"
)

// outage is how long InfluxDB is away, and the load that goes on meanwhile.
func outage() (time.Duration, int) {
	if os.Getenv("WEIR_LONG") != "" {
		return 60 * time.Second, 1_000_000
	}
	return 6 * time.Second, 100_000
}

func TestInfluxDBAwayUnderLoadDelaysNobodyAndMissesNothing(t *testing.T) {
	db := influxd.Start(t)
	db.CreateDatabase(t, "weir")
	length, count := outage()
	acked := filepath.Join(t.TempDir(), "acked")
	w := process.New(t, process.Setup{Log: "partitions: 1, min_free: 64MiB", Rules: map[string]string{"cold.yaml": warmRules},
		Sinks: fmt.Sprintf("\n  - name: influx\n    start: all\n    retry: {min: 100ms, max: 2s}\n    influxdb: {url: %q, database: weir}\n", db.URL())})
	w.Start(t)
	rate := float64(count) / (length.Seconds() + 2)
	load := w.Load(t, "--count", fmt.Sprint(count), "--rate", fmt.Sprint(rate), "--connections", "20", "--devices", "50", "--window", "200", "--acked-file", acked)

	received := func() float64 {
		v, err := w.Metric("weir_log_appended_records_total")
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	start, from := time.Now(), received()
	time.Sleep(time.Second) // to have something to compare with
	there := (received() - from) / time.Since(start).Seconds()
	db.Kill(t)
	start, from = time.Now(), received()
	var peak int64
	for time.Since(start) < length && load.Alive() {
		time.Sleep(100 * time.Millisecond) // the outage
		if _, high, err := w.Proc().Memory(); err == nil {
			peak = max(peak, high)
		}
	}
	away := (received() - from) / time.Since(start).Seconds()
	process.Eventually(t, "with InfluxDB away its consumer tries again, and no other", func() error {
		var st struct {
			Consumers []struct{ Consumer, State string }
		}
		err := w.Get("/api/v1/consumers", &st)
		for _, c := range st.Consumers {
			if want := map[bool]string{true: "retrying", false: "running"}[c.Consumer == "influx"]; c.State != want {
				return fmt.Errorf("%s is %s, want %s", c.Consumer, c.State, want)
			}
		}
		return err
	})
	// The load is not held back: its end does not wait for InfluxDB's return.
	b := process.Loaded(t, load, 2*length+process.Patience)
	if b.Acked != uint64(count) || b.Reconnects != 0 {
		t.Errorf("%d of %d messages were acknowledged with InfluxDB away, over %d reconnects", b.Acked, count, b.Reconnects)
	}
	w.Settled(t, "rules", "decode", "devices") // nor do the other consumers
	db.Restart(t)
	w.Settled(t, "influx")
	w.Audit(t)
	t.Logf("records a second into the log: %.0f with InfluxDB, %.0f without (%.2f of it); memory at most %d MiB", there, away, away/there, peak>>20)
	const bound = 600 << 20
	if peak > bound {
		t.Errorf("weir took %d MiB while InfluxDB was away, want at most %d", peak>>20, bound>>20)
	}
	lines := w.Events(t)
	inLog := process.CheckLog(t, lines, process.ReadAcked(t, acked))
	if n := db.Count(t, "weir", "telemetry", "seq"); n != len(inLog) {
		t.Errorf("InfluxDB has %d points, want %d", n, len(inLog))
	}
	rows := db.Query(t, "weir", `SELECT count(distinct("seq")) AS n FROM "telemetry"`)
	if n, _ := rows[0]["n"].(json.Number).Int64(); int(n) != len(inLog) {
		t.Errorf("InfluxDB has %d different numbers, want %d", n, len(inLog))
	}
}

func TestInfluxDBThatComesLateGetsEverything(t *testing.T) {
	db := influxd.Start(t)
	db.CreateDatabase(t, "weir")
	db.Stop(t)
	acked := filepath.Join(t.TempDir(), "acked")
	w := process.New(t, process.Setup{Log: "partitions: 2, min_free: 64MiB",
		Sinks: fmt.Sprintf("\n  - name: influx\n    start: all\n    retry: {min: 100ms, max: 2s}\n    influxdb: {url: %q, database: weir}\n", db.URL())})
	w.Start(t)
	process.Loaded(t, w.Load(t, "--count", "20000", "--connections", "10", "--acked-file", acked), process.Patience)
	w.Kill() // and what it had in memory is gone too
	w.Start(t)
	db.Restart(t)
	w.Settled(t)
	w.Audit(t)
	inLog := process.CheckLog(t, w.Events(t), process.ReadAcked(t, acked))
	if n := db.Count(t, "weir", "telemetry", "seq"); n != len(inLog) {
		t.Errorf("InfluxDB has %d points, want %d", n, len(inLog))
	}
}
