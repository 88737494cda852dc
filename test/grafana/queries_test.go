package grafana

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/influxdb"
	"weir/sinks/sinktest"
	"weir/test/influxd"
)

const database = "telemetry"

// window is the range that the tests ask for. The fleet's data lies in it.
const window = time.Hour

// TestEveryQueryOfEveryPanelFindsWhatWeirWrites runs all queries with all
// values of the variables, and with two widths of interval.
func TestEveryQueryOfEveryPanelFindsWhatWeirWrites(t *testing.T) {
	srv, now := fleet(t)
	for _, b := range boards(t) {
		for _, p := range b.Panels {
			least := 10 * time.Second
			if p.Interval != "" {
				least, _ = time.ParseDuration(p.Interval)
			}
			for _, interval := range []time.Duration{max(least, 10*time.Second), 5 * time.Minute} {
				c := choice{from: now.Add(-window), to: now, interval: interval}
				for _, q := range p.Targets {
					name := fmt.Sprintf("%s/%s/%s/%v", b.UID, p.Title, q.RefID, interval)
					rows, err := srv.TryQuery(database, b.fill(c, q.Query))
					switch {
					case err != nil:
						t.Errorf("%s: %v\n%s", name, err, b.fill(c, q.Query))
					case len(rows) == 0:
						t.Errorf("%s: no rows for\n%s", name, b.fill(c, q.Query))
					case !hasValue(rows):
						t.Errorf("%s: %d rows, all of them empty, for\n%s", name, len(rows), b.fill(c, q.Query))
					}
					for _, tag := range regexp.MustCompile(`\$tag_(\w+)`).FindAllStringSubmatch(q.Alias, -1) {
						if len(rows) > 0 && rows[0][tag[1]] == nil {
							t.Errorf("%s: the legend names the tag %s, which the series don't have: %v", name, tag[1], rows[0])
						}
					}
				}
			}
		}
		for _, v := range b.Templating.List {
			q := b.fill(choice{}, v.Query)
			if rows := srv.Query(t, database, q); len(rows) == 0 || rows[0]["value"] == nil {
				t.Errorf("%s: variable %s: no values from %s: %v", b.UID, v.Name, q, rows)
			}
		}
		for _, a := range b.Annotations.List {
			q := b.fill(choice{from: now.Add(-window), to: now}, a.Target.Query)
			rows := srv.Query(t, database, q)
			if len(rows) == 0 {
				t.Errorf("%s: annotation %s: no rows for %s", b.UID, a.Name, q)
				continue
			}
			for _, column := range append(strings.Split(a.Target.TagsColumn, ","), a.Target.TextColumn) {
				if _, ok := rows[0][column]; !ok {
					t.Errorf("%s: annotation %s: no column %q in %v", b.UID, a.Name, column, rows[0])
				}
			}
		}
	}
}

// TestPanelsSayWhatIsTrue compares the answers that an operator acts on with
// what was written.
func TestPanelsSayWhatIsTrue(t *testing.T) {
	srv, now := fleet(t)
	north := map[string][]string{"site": {"north/1 (a)"}, "device": {"f0"}}
	for _, c := range []struct {
		board, panel string
		vars         map[string][]string
		column       string
		want         []string
	}{
		{"weir-fleet", "Devices reporting", nil, "count", []string{"6"}},
		{"weir-fleet", "Devices reporting", map[string][]string{"site": {"south"}}, "count", []string{"3"}},
		{"weir-fleet", "Devices reporting", map[string][]string{"device": {"f0", "f1"}}, "count", []string{"2"}},
		{"weir-fleet", "Devices reporting", north, "count", []string{"1"}},
		{"weir-fleet", "Devices online", nil, "sum", []string{"5"}},
		{"weir-fleet", "Devices offline", nil, "sum_sum", []string{"1"}},
		{"weir-fleet", "Readings", north, "count", []string{"60"}},
		{"weir-fleet", "Lowest battery", nil, "min", []string{"75"}},
		{"weir-fleet", "stat Alerts firing", nil, "count", []string{"2"}}, // f1 and the site, not f2, which is resolved
		{"weir-fleet", "table Alerts firing", nil, "key", []string{"f1", "south"}},
		{"weir-fleet", "table Alerts firing", nil, "summary", []string{"f1 is warm", "no power"}},
		{"weir-fleet", "table Alerts firing", map[string][]string{"device": {"f1", "f2"}}, "key", []string{"f1"}},
		{"weir-fleet", "Last seen", map[string][]string{"device": {"f3"}}, "door", []string{"open"}},
		{"weir-pipeline", "Connections", nil, "sum", []string{"50"}},
		{"weir-pipeline", "Ring fill", nil, "max", []string{"0.5"}}, // of the fuller one
		{"weir-pipeline", "Alerts by state", nil, "sum", []string{"4"}},
		{"weir-pipeline", "Dead letters", nil, "sum", []string{"2148"}}, // 359 steps but the restart, three consumers, two partitions
	} {
		b, p := find(t, c.board, c.panel)
		q := b.fill(choice{from: now.Add(-window), to: now, interval: time.Minute, vars: c.vars}, p.Targets[0].Query)
		var got []string
		for _, r := range srv.Query(t, database, q) {
			got = append(got, fmt.Sprint(r[c.column]))
		}
		got = slices.Compact(got) // the same in every interval
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s %v: %s = %v, want %v, from\n%s", c.panel, c.vars, c.column, got, c.want, q)
		}
	}
	b, p := find(t, "weir-pipeline", "In")
	for _, r := range srv.Query(t, database, b.fill(choice{from: now.Add(-window), to: now, interval: time.Minute}, p.Targets[0].Query)) {
		if fmt.Sprint(r["sum"]) != "100" { // also where the counter starts again, and in the last interval
			t.Errorf("throughput in %v, want the 100 a second that were written", r)
		}
	}
}

// find returns a panel by its title, with its type before it if two have it.
func find(t *testing.T, uid, title string) (board, panel) {
	t.Helper()
	for _, b := range boards(t) {
		for _, p := range b.Panels {
			if b.UID == uid && (p.Title == title || p.Type+" "+p.Title == title) && p.Type != "row" {
				return b, p
			}
		}
	}
	t.Fatalf("no panel %q in %s", title, uid)
	return board{}, panel{}
}

func hasValue(rows []influxd.Row) bool {
	for _, r := range rows {
		for column, v := range r {
			if column != "time" && column != "name" && v != nil {
				return true
			}
		}
	}
	return false
}

// fleet starts an InfluxDB that holds an hour of six devices at two sites, three
// alerts, and weir's metrics of that hour. It returns the end of the hour.
func fleet(t *testing.T) (*influxd.Server, time.Time) {
	t.Helper()
	srv := influxd.Start(t)
	srv.CreateDatabase(t, database)
	cfg := influxdb.Default()
	cfg.URL, cfg.Database = srv.URL(), database
	sink, err := influxdb.New(cfg, influxdb.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := sink.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sink.Close() })
	now := time.Now().Truncate(time.Second)
	begin := now.Add(-window)
	batch := sinktest.NewBatch(1, begin)
	for minute := range 60 {
		for d := range 6 {
			site, door := "north/1 (a)", "closed"
			if d >= 3 {
				site = "south"
			}
			if d == 3 && minute > 50 {
				door = "open"
			}
			batch.Event(event.Event{
				Source: "plant", Measurement: "telemetry", Device: fmt.Sprint("f", d),
				Time: begin.Add(time.Duration(minute)*time.Minute + time.Second).UnixNano(), Tags: []event.Tag{{Key: "site", Value: site}},
				Fields: []event.Field{
					{Name: "temperature", Value: event.FloatValue(-18 - rand.Float64())}, {Name: "humidity", Value: event.FloatValue(41)},
					{Name: "battery", Value: event.FloatValue(float64(80 - d))}, {Name: "door", Value: event.StringValue(door)},
					{Name: "seq", Value: event.FloatValue(float64(minute))},
				},
			})
		}
	}
	for i, a := range []event.Alert{sinktest.Alert(1), sinktest.Alert(2), sinktest.Alert(3)} {
		a.StartsAt = begin.Add(time.Duration(i+1) * 10 * time.Minute)
		if i == 2 { // an alert about a site, not a device
			a.Rule, a.Key, a.Device, a.Labels, a.Annotations = "site/Power", "south", "", nil, map[string]string{"summary": "no power"}
		}
		batch.Alert(t, a)
		if i == 1 {
			batch.Alert(t, sinktest.Resolved(a))
		}
	}
	out, err := sink.Handle(t.Context(), []*event.Batch{batch.Batch()})
	if err != nil || out.Filtered != 0 || len(out.Dead) != 0 {
		t.Fatalf("write the fleet: %+v, %v", out, err)
	}
	writeMetrics(t, srv, begin)
	return srv, now
}

// metric is a row of the table of weir_metrics in README.md.
type metric struct {
	fields []string
	tags   []string
}

var quoted = regexp.MustCompile("`([a-z0-9_]+)`")

// documented reads the table.
func documented(t *testing.T) []metric {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(raw), "| field | tags beside `host` | unit |\n|---|---|---|\n")
	if !ok {
		t.Fatal("README.md has no table of the fields of weir_metrics")
	}
	var all []metric
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			break
		}
		var m metric
		for _, f := range quoted.FindAllStringSubmatch(cells[1], -1) {
			m.fields = append(m.fields, f[1])
		}
		for _, f := range quoted.FindAllStringSubmatch(cells[2], -1) {
			m.tags = append(m.tags, f[1])
		}
		all = append(all, m)
	}
	if len(all) < 10 {
		t.Fatalf("the table has %d rows", len(all))
	}
	return all
}

// values are what the tags take in the sample.
func values(tag string) []string {
	switch tag {
	case "partition":
		return []string{"0", "1"}
	case "consumer":
		return []string{"rules", "devices", "influx"}
	case "outcome":
		return []string{"delivered", "filtered", "dead"}
	case "rule":
		return []string{"cold-room/FreezerWarm", "cold-room/DoorOpen"}
	case "state":
		return []string{"pending", "firing"}
	}
	return nil
}

// writeMetrics writes an hour of weir_metrics, a point every 10 s a series.
// Counters grow by 1,000 a point, those of dead letters by 1, and all start
// again at 0 in the middle, as after a restart.
func writeMetrics(t *testing.T, srv *influxd.Server, begin time.Time) {
	t.Helper()
	var lines bytes.Buffer
	for _, m := range documented(t) {
		series := []string{",host=weir-1"}
		for _, tag := range m.tags {
			if values(tag) == nil {
				t.Fatalf("README.md names the tag %q, of which the sample has no values", tag)
			}
			var more []string
			for _, s := range series {
				for _, v := range values(tag) {
					more = append(more, s+","+tag+"="+v)
				}
			}
			series = more
		}
		for _, s := range series {
			for i := range 360 {
				lines.WriteString("weir_metrics" + s)
				for n, f := range m.fields {
					separator := " "
					if n > 0 {
						separator = ","
					}
					fmt.Fprintf(&lines, "%s%s=%v", separator, f, sample(f, s, i))
				}
				fmt.Fprintf(&lines, " %d\n", begin.Add(time.Duration(i)*10*time.Second).UnixNano())
			}
		}
	}
	resp, err := http.Post(srv.URL()+"/write?db="+database, "text/plain", &lines)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("write weir_metrics: %s", resp.Status)
	}
}

func sample(field, series string, i int) float64 {
	switch {
	case strings.HasSuffix(field, "_total") && strings.Contains(series, "outcome=dead"):
		return float64(i % 180)
	case strings.HasSuffix(field, "_total"):
		return float64(i % 180 * 1000)
	case field == "devices_online":
		return 5
	case field == "devices_known":
		return 6
	case field == "broker_connections":
		return 50
	case field == "ring_capacity_bytes":
		return 8 << 20
	case field == "ring_used_bytes" && strings.Contains(series, "partition=1"):
		return 4 << 20
	case field == "alerts":
		return 2
	}
	return 0.25
}
