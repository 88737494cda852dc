package influxdb_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/influxdb"
	"weir/sinks/sinktest"
	"weir/test/influxd"
)

const db = "plant"

// real returns a sink that writes to a real server.
func real(t *testing.T, change ...func(*influxdb.Config)) (*influxd.Server, *influxdb.Sink) {
	t.Helper()
	srv := influxd.Start(t)
	srv.CreateDatabase(t, db)
	return srv, sinkTo(t, srv.URL(), influxdb.Deps{}, change...)
}

func sinkTo(t testing.TB, url string, deps influxdb.Deps, change ...func(*influxdb.Config)) *influxdb.Sink {
	t.Helper()
	cfg := influxdb.Default()
	cfg.URL, cfg.Database = url, db
	for _, f := range change {
		f(&cfg)
	}
	s, err := influxdb.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func handle(t testing.TB, s *influxdb.Sink, batches ...*event.Batch) event.Outcome {
	t.Helper()
	out, err := s.Handle(t.Context(), batches)
	if err != nil {
		t.Fatalf("handle: %v", err)
	}
	return out
}

func fields(pairs ...any) (fs []event.Field) {
	for i := 0; i < len(pairs); i += 2 {
		fs = append(fs, event.Field{Name: pairs[i].(string), Value: value(pairs[i+1])})
	}
	return fs
}

func value(x any) event.Value {
	switch v := x.(type) {
	case float64:
		return event.FloatValue(v)
	case int:
		return event.IntValue(int64(v))
	case uint64:
		return event.UintValue(v)
	case bool:
		return event.BoolValue(v)
	case string:
		return event.StringValue(v)
	}
	return event.Value{}
}

func TestEventsRecordingsAndAlertsBecomePoints(t *testing.T) {
	srv, s := real(t)
	start := sinktest.Start()
	a := sinktest.Alert(1)
	b := sinktest.NewBatch(1, start).
		Event(event.Event{Measurement: "cold room", Device: `freezer 3,a=b\`, Time: 1_700_000_000_123_456_789,
			Tags: []event.Tag{{Key: "area", Value: ""}, {Key: "site", Value: "Østre, kai"}, {Key: "time", Value: "x"}},
			Fields: []event.Field{
				{Name: "temp erature", Value: event.FloatLiteral(-18.5, "-18.50")}, {Name: "n", Value: event.IntValue(7)},
				{Name: "u", Value: event.UintValue(8)}, {Name: "door", Value: event.BoolValue(true)},
				{Name: "text", Value: event.StringValue("a \"b\" \\ c,\nd=e")}, {Name: "gone", Value: event.Value{}}, {Name: "time", Value: event.FloatValue(5)},
			}}).
		Tick().RuleSet().Reject().Empty().
		Alert(t, a).Alert(t, sinktest.Resolved(a)).
		Batch()
	out := handle(t, s, b)
	if out.Filtered != 4 || len(out.Dead) != 0 {
		t.Errorf("outcome = %+v, want 4 filtered, none dead", out)
	}
	got := srv.Query(t, db, `SELECT * FROM "cold room"`)
	want := influxd.Row{"name": "cold room", "time": json.Number("1700000000123456789"), "device": `freezer 3,a=b/`, "site": "Østre, kai", "time_": "x",
		"temp erature": json.Number("-18.5"), "n": json.Number("7"), "u": json.Number("8"), "door": true, "text": "a \"b\" \\ c,\nd=e", "time__": json.Number("5")}
	if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
		t.Errorf("event:\n got %v\nwant %v", got, want)
	}
	alerts := srv.Query(t, db, `SELECT * FROM weir_alerts`)
	if len(alerts) != 2 {
		t.Fatalf("alerts = %v, want firing and resolved", alerts)
	}
	for i, state := range []string{"firing", "resolved"} {
		r := alerts[i]
		if r["state"] != state || r["id"] != "alert-1" || r["rule"] != "cold-room/FreezerWarm" || r["device"] != "f1" ||
			r["severity"] != "page" || r["summary"] != "f1 is warm" || fmt.Sprint(r["value"]) != "-11.5" {
			t.Errorf("alert %d = %v", i, r)
		}
	}
	if at := fmt.Sprint(alerts[1]["time"]); at != fmt.Sprint(a.StartsAt.Add(time.Minute).UnixNano()) {
		t.Errorf("time of resolved = %s, want ends_at", at)
	}
	if d := fmt.Sprint(alerts[1]["duration_seconds"]); d != "60" {
		t.Errorf("duration_seconds = %s, want 60", d)
	}
}

func TestNothingIsLostWhenTheServerGoesAwayMidStream(t *testing.T) {
	srv, s := real(t, func(c *influxdb.Config) { c.Gzip = true; c.MaxLines = 50 })
	start := sinktest.Start()
	const batches, each = 40, 100
	for i := range batches {
		b := sinktest.NewBatch(uint64(i+1), start.Add(time.Duration(i)*time.Second))
		for j := range each {
			b.Reading(fmt.Sprintf("d%d", j%7), "v", event.FloatValue(float64(j)))
		}
		if i == 10 || i == 30 {
			srv.Kill(t)
			_, err := s.Handle(t.Context(), []*event.Batch{b.Batch()})
			var re *event.RetryError
			if !errors.As(err, &re) {
				t.Fatalf("outage: error %v, want a *event.RetryError", err)
			}
			srv.Restart(t)
		}
		handle(t, s, b.Batch())
		if i%10 == 5 {
			handle(t, s, b.Batch())
		}
	}
	if n := srv.Count(t, db, "telemetry", "v"); n != batches*each {
		t.Errorf("points = %d, want %d", n, batches*each)
	}
}

// direct writes a line past the sink.
func direct(t *testing.T, srv *influxd.Server, line string) {
	t.Helper()
	if _, err := srv.TryQuery(db, "SHOW SERIES"); err != nil {
		t.Fatal(err)
	}
	post(t, srv.URL()+"/write?db="+db, line)
}

func post(t *testing.T, url, body string) {
	t.Helper()
	resp, err := http.Post(url, "text/plain", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("POST %s: %s", url, resp.Status)
	}
}

// memStore keeps the learnt types.
type memStore struct {
	mu    sync.Mutex
	b     []byte
	saves int
	err   error
}

func (m *memStore) Load(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b, m.err
}

func (m *memStore) Save(_ context.Context, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	m.b, m.saves = b, m.saves+1
	return nil
}

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) *sinktest.Target {
		srv, s := real(t)
		return &sinktest.Target{
			Sink: s, Events: true, Alerts: true,
			Effects: func() int {
				return srv.Count(t, db, "telemetry", "v") + srv.Count(t, db, "weir_alerts", "id")
			},
			Outage: func(down bool) {
				if down {
					srv.Kill(t)
				} else {
					srv.Restart(t)
				}
			},
		}
	})
}

func TestAuthOfOneEight(t *testing.T) {
	srv := influxd.Start(t, influxd.WithAuth())
	srv.CreateDatabase(t, db)
	srv.CreateUser(t, "writer", "pass word:é", db)
	b := sinktest.NewBatch(1, sinktest.Start()).Reading("d", "v", event.FloatValue(1)).Batch()
	for _, tt := range []struct {
		name   string
		change func(*influxdb.Config)
		says   string // "" if it is written
	}{
		{"by user and password", func(c *influxdb.Config) { c.Username, c.Password = "writer", "pass word:é" }, ""},
		{"by the token that stands for them", func(c *influxdb.Config) {
			c.Database, c.Bucket, c.Token = "", db+"/autogen", influxd.Admin+":"+influxd.AdminPassword
		}, ""},
		{"by nobody", func(*influxdb.Config) {}, "check token, or username"},
		{"by a wrong password", func(c *influxdb.Config) { c.Username, c.Password = "writer", "x" }, "check token, or username"},
		{"to a database that is not there", func(c *influxdb.Config) {
			c.Database, c.Username, c.Password = "other", influxd.Admin, influxd.AdminPassword
		}, "create the bucket or database"},
		{"to a database of others", func(c *influxdb.Config) {
			c.Database, c.Username, c.Password = "foreign", "writer", "pass word:é"
		}, "right to write"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv.CreateDatabase(t, "foreign")
			s := sinkTo(t, srv.URL(), influxdb.Deps{}, tt.change)
			_, err := s.Handle(t.Context(), []*event.Batch{b})
			var re *event.RetryError
			if tt.says == "" && err != nil || tt.says != "" && (!errors.As(err, &re) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
	if n := srv.Count(t, db, "telemetry", "v"); n != 1 {
		t.Errorf("points = %d, want 1", n)
	}
}

func TestLearntTypesSurviveARestart(t *testing.T) {
	srv := influxd.Start(t)
	srv.CreateDatabase(t, db)
	store := &memStore{}
	start := sinktest.Start()
	s := sinkTo(t, srv.URL(), influxdb.Deps{Store: store})
	handle(t, s, sinktest.NewBatch(1, start).Reading("d", "v", event.FloatValue(1)).Reading("d", "s", event.StringValue("x")).Batch())
	handle(t, s, sinktest.NewBatch(2, start).Reading("d", "v", event.FloatValue(2)).Batch())
	if store.saves != 1 {
		t.Errorf("saved %d times, want once: only the first batch taught something", store.saves)
	}
	s = sinkTo(t, srv.URL(), influxdb.Deps{Store: store})
	out := handle(t, s, sinktest.NewBatch(3, start).Reading("d", "s", event.FloatValue(3)).Reading("d", "v", event.StringValue("x")).Batch())
	var te *influxdb.TypeError
	if len(out.Dead) != 1 || out.Dead[0].Message != 1 || !errors.As(out.Dead[0].Err, &te) || s.Metrics().Refused.Load() != 0 {
		t.Errorf("after a restart: %+v with %d refusals; want message 1 dead without asking the server", out, s.Metrics().Refused.Load())
	}
	store.b = []byte("{damaged")
	s = sinkTo(t, srv.URL(), influxdb.Deps{Store: store})
	handle(t, s, sinktest.NewBatch(4, start).Reading("d", "s", event.FloatValue(4)).Batch())
	if s.Types().Lookup("telemetry", "s") != event.String {
		t.Errorf("a damaged store: s learnt as %v, want string as the server has it", s.Types().Lookup("telemetry", "s"))
	}
	if !s.Types().Forget("telemetry", "s") || s.Types().Lookup("telemetry", "s") != event.Null {
		t.Error("a forgotten type is still known")
	}
	store.err = errors.New("disk full")
	var re *event.RetryError
	if _, err := s.Handle(t.Context(), []*event.Batch{sinktest.NewBatch(5, start).Reading("d", "new", event.FloatValue(4)).Batch()}); !errors.As(err, &re) {
		t.Errorf("types that can't be saved: error %v, want a *event.RetryError", err)
	}
}

// BenchmarkRealServer gives the time of an event of four fields when a real
// server on the same machine takes it.
func BenchmarkRealServer(b *testing.B) {
	srv := influxd.Start(b)
	srv.CreateDatabase(b, db)
	s := sinkTo(b, srv.URL(), influxdb.Deps{})
	const n = 20_000
	at := time.Now().Add(-time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		bb := sinktest.NewBatch(1, at)
		at = at.Add(n * time.Millisecond)
		for i := range n {
			bb.Event(event.Event{Measurement: "telemetry", Device: fmt.Sprintf("device-%03d", i%500), Tags: []event.Tag{{Key: "site", Value: "north"}},
				Fields: fields("temperature", 21.5, "humidity", 48.2, "battery", 3.01, "open", true)})
		}
		batch := bb.Batch()
		b.StartTimer()
		if out, err := s.Handle(b.Context(), []*event.Batch{batch}); err != nil || len(out.Dead) > 0 {
			b.Fatal(out, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}
