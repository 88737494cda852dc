package influxdb

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/test/influxd"
)

// TestAnyTextReachesARealServer writes random texts made of the characters that
// make trouble, and reads them back: the server's parser is not the library's.
func TestAnyTextReachesARealServer(t *testing.T) {
	srv := influxd.Start(t)
	srv.CreateDatabase(t, "plant")
	cfg := Default()
	cfg.URL, cfg.Database = srv.URL(), "plant"
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	parts := []string{`\`, `\`, " ", ",", "=", `"`, "#", "\n", "\r", "\t", "\x00", "\x7f", "\xff", "'", "n", "a", "é", "i", "1", "-", "{"}
	text := func() string {
		out := ""
		for range 1 + rnd.IntN(8) {
			out += parts[rnd.IntN(len(parts))]
		}
		return out
	}
	const n = 1000
	start := time.Now().Add(-time.Hour).UnixNano()
	b := event.NewBatch(nil)
	for i := range n {
		b.Messages = append(b.Messages, event.Message{Payload: []byte("{}")})
		b.AddEvent(i, event.Event{Measurement: "nasty", Device: text(), Time: start + int64(i),
			Tags:   []event.Tag{{Key: "site", Value: text()}, {Key: "z" + text(), Value: text()}},
			Fields: []event.Field{{Name: "f" + text(), Value: event.StringValue("x")}, {Name: "text", Value: event.StringValue(text())}, {Name: "v", Value: event.FloatValue(float64(i))}}})
	}
	for i := range 50 { // and as measurements
		b.Messages = append(b.Messages, event.Message{Payload: []byte("{}")})
		b.AddEvent(n+i, event.Event{Measurement: text(), Device: "d", Time: start + int64(i), Fields: []event.Field{{Name: "v", Value: event.FloatValue(1)}}})
	}
	out, err := s.Handle(t.Context(), []*event.Batch{b})
	if err != nil || out.Filtered != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, d := range out.Dead {
		t.Errorf("dead: %v: %+v", d.Err, b.EventsOf(int(d.Message))[0])
	}
	seen := map[string]bool{}
	for _, r := range srv.Query(t, "plant", `SELECT "device", "site", "text", "v" FROM "nasty"`) {
		var i int
		if _, err := fmt.Sscan(r["v"].(json.Number).String(), &i); err != nil {
			t.Fatal(err)
		}
		e := b.EventsOf(i)[0]
		want := influxd.Row{"name": "nasty", "device": written(e.Device, " ,=", false), "site": written(e.Tags[0].Value, " ,=", false),
			"text": validText(e.Fields[1].Value.Text()), "v": r["v"], "time": json.Number(fmt.Sprint(e.Time))}
		if fmt.Sprintf("%q", r) != fmt.Sprintf("%q", want) {
			t.Errorf("event %d:\n got %q\nwant %q", i, r, want)
		}
		seen[r["v"].(json.Number).String()] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d events came back", len(seen), n)
	}
}
