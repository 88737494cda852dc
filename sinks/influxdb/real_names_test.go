package influxdb_test

import (
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/sinktest"
)

// TestRowsAreFoundByTheirTagsWhateverTheFieldsAreNamed is about what a server
// does when a field has the name of a tag: a condition on the name means the
// field then, in all rows of the measurement.
func TestRowsAreFoundByTheirTagsWhateverTheFieldsAreNamed(t *testing.T) {
	srv, s := real(t)
	start := sinktest.Start()
	site := []event.Tag{{Key: "site", Value: "north"}}
	b := sinktest.NewBatch(1, start).
		Event(event.Event{Measurement: "m", Device: "d1", Time: start.UnixNano(), Tags: site, Fields: fields("temperature", 4.0)}).
		Event(event.Event{Measurement: "m", Device: "d1", Time: start.UnixNano() + 1, Tags: site, Fields: fields("device", "other", "site", "s9", "temperature", 5.0)}).
		Event(event.Event{Measurement: "m", Device: "d1", Time: start.UnixNano() + 2, Tags: site, Fields: fields("device", "d1", "site", "north", "temperature", 6.0)}).
		Batch()
	if out := handle(t, s, b); len(out.Dead)+out.Filtered != 0 {
		t.Fatalf("outcome = %+v", out)
	}
	for _, where := range []string{"device='d1'", "site='north'", "device='d1' AND site='north'", "device_='other' AND device='d1'", "site_='s9' AND site='north'"} {
		want := 3
		if where[len("device")] == '_' || where[len("site")] == '_' {
			want = 1
		}
		if rows := srv.Query(t, db, "SELECT * FROM m WHERE "+where); len(rows) != want {
			t.Errorf("where %s: rows = %v, want %d", where, rows, want)
		}
	}
	keys := srv.Query(t, db, "SHOW FIELD KEYS FROM m")
	names := map[any]bool{}
	for _, r := range keys {
		names[r["fieldKey"]] = true
	}
	if len(keys) != 3 || !names["device_"] || !names["site_"] || !names["temperature"] {
		t.Errorf("field keys = %v, want device_, site_ and temperature", keys)
	}
}

func TestAlertsAreFoundByTheirTagsWhateverTheirAnnotationsAreNamed(t *testing.T) {
	srv, s := real(t)
	a := sinktest.Alert(1)
	for _, name := range []string{"device", "key", "rule", "severity", "state", "time", "id", "id_", "value"} {
		a.Annotations[name] = "annotated"
	}
	if out := handle(t, s, sinktest.NewBatch(1, sinktest.Start()).Alert(t, a).Batch()); len(out.Dead)+out.Filtered != 0 {
		t.Fatalf("outcome = %+v", out)
	}
	rows := srv.Query(t, db, "SELECT * FROM weir_alerts WHERE device='f1' AND state='firing' AND severity='page' AND rule='cold-room/FreezerWarm'")
	if len(rows) != 1 {
		t.Fatalf("rows = %v, want 1", rows)
	}
	for _, name := range []string{"device_", "key_", "rule_", "severity_", "state_", "time_", "id_", "id__", "value_"} {
		if rows[0][name] != "annotated" {
			t.Errorf("%s = %v, want the annotation: %v", name, rows[0][name], rows[0])
		}
	}
	if rows[0]["id"] != a.ID {
		t.Errorf("id = %v, want %s", rows[0]["id"], a.ID)
	}
}

// TestEventsANanosecondApartArePoints holds the times of events that say none,
// which are receive times a nanosecond apart, to their last digit.
func TestEventsANanosecondApartArePoints(t *testing.T) {
	srv, s := real(t)
	at := time.Unix(1_760_000_000, 999_999_990)
	b := sinktest.NewBatch(1, at)
	const n = 20
	for i := range n {
		b.Event(event.Event{Measurement: "m", Device: "d1", Time: at.UnixNano() + int64(i), Fields: fields("v", float64(i))})
	}
	handle(t, s, b.Batch())
	if got := srv.Count(t, db, "m", "v"); got != n {
		t.Errorf("points = %d, want %d", got, n)
	}
}
