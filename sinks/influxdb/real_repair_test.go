package influxdb_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/sinks/influxdb"
	"weir/sinks/sinktest"
	"weir/test/influxd"
)

func TestOnlyTheLinesThatTheServerRefusesAreDead(t *testing.T) {
	srv, s := real(t)
	// Another writer has made these fields before weir came.
	direct(t, srv, "telemetry,device=old level=1,mode=\"auto\",open=true,count=3i")
	start := sinktest.Start()
	b := sinktest.NewBatch(1, start)
	for i := range 1000 {
		dev := fmt.Sprintf("d%d", i)
		switch i {
		case 100:
			b.Reading(dev, "level", event.StringValue("high")) // dead: text in a float field
		case 101:
			b.Reading(dev, "level", event.StringValue("7.5")) // a number after all
		case 200:
			b.Reading(dev, "mode", event.FloatValue(3)) // a number in a text field
		case 300:
			b.Reading(dev, "count", event.FloatValue(4.5)) // dead: no integer
		case 301:
			b.Reading(dev, "count", event.FloatValue(4))
		case 400:
			b.Reading(dev, "open", event.FloatValue(1))
		case 500:
			b.Reading(dev, strings.Repeat("k", 70_000), event.FloatValue(1)) // dead: longer than a key can be
		default:
			b.Reading(dev, "level", event.FloatValue(float64(i)))
		}
	}
	for range 2 { // what comes twice counts once
		out := handle(t, s, b.Batch())
		var dead []uint32
		for _, d := range out.Dead {
			dead = append(dead, d.Message)
		}
		slices.Sort(dead)
		if !reflect.DeepEqual(dead, []uint32{100, 300, 500}) || out.Filtered != 0 {
			t.Fatalf("dead = %v (%v), filtered = %d; want 100, 300, 500 and 0", dead, out.Dead, out.Filtered)
		}
	}
	if n := srv.Count(t, db, "telemetry", "level"); n != 995 {
		t.Errorf("points with a level = %d, want 995", n)
	}
	for _, f := range []string{"mode", "open", "count"} {
		if n := srv.Count(t, db, "telemetry", f); n != 2 {
			t.Errorf("points with %s = %d, want 2", f, n)
		}
	}
	out := handle(t, s, sinktest.NewBatch(2, start).Reading("x", "level", event.StringValue("high")).Batch())
	var te *influxdb.TypeError
	if len(out.Dead) != 1 || !errors.As(out.Dead[0].Err, &te) {
		t.Fatalf("a value that is known not to fit: %+v, want a *TypeError", out)
	}
	for _, part := range []string{`"telemetry"`, `"level"`, "float", "string", "high"} {
		if !strings.Contains(te.Error(), part) {
			t.Errorf("cause %q does not say %s", te, part)
		}
	}
}

func TestAServerOfVersionOneGetsNoUnsignedIntegers(t *testing.T) {
	srv := influxd.Start(t)
	srv.CreateDatabase(t, db)
	// Addressed as a 2.x, the sink can't know before the server refuses.
	s := sinkTo(t, srv.URL(), influxdb.Deps{}, func(c *influxdb.Config) { c.Database, c.Bucket = "", db+"/autogen" })
	b := sinktest.NewBatch(1, sinktest.Start())
	for i := range 10 {
		b.Reading("d", "u", event.UintValue(uint64(i)))
	}
	if out := handle(t, s, b.Batch()); len(out.Dead) != 0 {
		t.Fatalf("dead: %v", out.Dead)
	}
	before := s.Metrics().Requests.Load()
	handle(t, s, b.Batch())
	if n := s.Metrics().Requests.Load() - before; n != 1 {
		t.Errorf("requests once it is known = %d, want 1", n)
	}
	if n := srv.Count(t, db, "telemetry", "u"); n != 10 {
		t.Errorf("points = %d, want 10", n)
	}
}

func TestPointsBeyondRetentionAreFoundByTheirTime(t *testing.T) {
	srv, s := real(t)
	srv.Query(t, "", `ALTER RETENTION POLICY autogen ON plant DURATION 2h SHARD DURATION 1h`)
	start := sinktest.Start()
	b := sinktest.NewBatch(1, start)
	var want []uint32
	for i := range 2000 {
		at := int64(0)
		if i%3 == 0 { // a clock that was never set
			at = int64(i+1) * 1e9
			want = append(want, uint32(i))
		}
		b.Event(event.Event{Measurement: "telemetry", Device: fmt.Sprintf("d%d", i), Time: at, Fields: fields("v", float64(i))})
	}
	out := handle(t, s, b.Batch())
	var dead []uint32
	for _, d := range out.Dead {
		dead = append(dead, d.Message)
	}
	slices.Sort(dead)
	if !slices.Equal(dead, want) || !strings.Contains(out.Dead[0].Err.Error(), "retention policy") {
		t.Errorf("%d dead, want the %d that are too old; cause %v", len(dead), len(want), out.Dead[0].Err)
	}
	if n := srv.Count(t, db, "telemetry", "v"); n != 2000-len(want) {
		t.Errorf("points = %d, want %d", n, 2000-len(want))
	}
	if n := s.Metrics().Requests.Load(); n > 20 {
		t.Errorf("%d requests, want at most 20", n)
	}
}

func TestAFieldMayHaveAnotherTypeInAnotherShard(t *testing.T) {
	srv, s := real(t)
	srv.Query(t, "", `ALTER RETENTION POLICY autogen ON plant SHARD DURATION 1h`)
	old, now := sinktest.Start().Add(-100*time.Hour), sinktest.Start()
	direct(t, srv, fmt.Sprintf("telemetry,device=x v=1 %d", old.UnixNano()))
	direct(t, srv, fmt.Sprintf("telemetry,device=x v=\"text\" %d", now.UnixNano()))
	text := func(seq uint64, from int) *sinktest.Builder {
		b := sinktest.NewBatch(seq, now)
		for i := from; i < from+10; i++ {
			b.Event(event.Event{Measurement: "telemetry", Device: fmt.Sprintf("d%d", i), Fields: fields("v", "warm")})
		}
		return b
	}
	late := func(b *sinktest.Builder, from int) *sinktest.Builder {
		for i := from; i < from+10; i++ {
			b.Event(event.Event{Measurement: "telemetry", Device: fmt.Sprintf("d%d", i), Time: old.UnixNano(), Fields: fields("v", float64(i))})
		}
		return b
	}
	for i, b := range []*sinktest.Builder{
		text(1, 0), late(text(2, 10), 20), late(sinktest.NewBatch(3, now), 30), text(4, 40),
	} {
		if out := handle(t, s, b.Batch()); len(out.Dead) != 0 {
			t.Errorf("batch %d: %d dead, want none: %v", i+1, len(out.Dead), out.Dead[0].Err)
		}
	}
	// A query that covers both shards shows the values of one type only.
	for side, want := range map[string]int{"<": 20, ">": 30} {
		rows := srv.Query(t, db, fmt.Sprintf("SELECT v, device FROM telemetry WHERE device != 'x' AND time %s %d", side, old.Add(time.Hour).UnixNano()))
		if len(rows) != want {
			t.Errorf("points at one side of the shards' border = %d, want %d", len(rows), want)
		}
	}
}

func TestExtremeValuesDoNotStopTheStream(t *testing.T) {
	srv, s := real(t)
	b := sinktest.NewBatch(1, sinktest.Start())
	times := []int64{math.MinInt64, math.MinInt64 + 1, math.MinInt64 + 2, math.MinInt64 + 1e15, -1, 1, math.MaxInt64 - 1e15, math.MaxInt64 - 1, math.MaxInt64}
	for i, at := range times {
		b.Event(event.Event{Measurement: "telemetry", Device: fmt.Sprintf("t%d", i), Time: at, Fields: fields("v", 1.0)})
	}
	for i, v := range []float64{math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1)} {
		b.Reading(fmt.Sprintf("f%d", i), "v", event.FloatValue(v))
	}
	for i, literal := range []string{"1E5", "-0", "0e0", "1e-400", "0.00000000000000000000000000001", "123456789012345678901234567890", "-1.5e+300", "0E+1"} {
		f, err := strconv.ParseFloat(literal, 64)
		if err != nil {
			t.Fatal(err)
		}
		b.Reading(fmt.Sprintf("l%d", i), "v", event.FloatLiteral(f, literal))
	}
	b.Reading("big", "text", event.StringValue(strings.Repeat("x", 100_000)))
	b.Reading("good", "v", event.FloatValue(1))
	out := handle(t, s, b.Batch())
	for _, d := range out.Dead {
		t.Logf("dead: %s: %v", b.Batch().EventsOf(int(d.Message))[0].Device, d.Err)
	}
	if len(out.Dead) > 4 {
		t.Errorf("%d dead: more than the times at the ends of the range", len(out.Dead))
	}
	if n := len(srv.Query(t, db, "SELECT v FROM telemetry WHERE device = 'good'")); n != 1 {
		t.Errorf("the good point is there %d times", n)
	}
}
