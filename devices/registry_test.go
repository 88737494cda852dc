package devices_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/devices"
	"weir/ingest/event"
)

func TestDeviceIsLearntFromItsEvents(t *testing.T) {
	r := devices.NewRegistry(devices.Config{})
	p := r.Partition(0)
	handle(t, p, newBuilder().
		publish(0, reading("f1", "temperature", -18.5, "door", "closed")).
		publish(10*time.Second, atTime(reading("f1", "temperature", -18.0, "seq", 7, "ok", true), 9*time.Second)).b)
	got, ok := r.Get("f1")
	if !ok {
		t.Fatal("f1 is not there")
	}
	at := func(after time.Duration) time.Time { return start.Add(after) }
	want := devices.Device{
		ID: "f1", Source: "plant", Measurement: "telemetry",
		FirstSeen: at(0), LastSeen: at(10 * time.Second), LastEventTime: at(9 * time.Second),
		Online: true, Events: 2, Tags: map[string]string{"site": "north"},
		Last: map[string]any{"temperature": -18.0, "seq": int64(7), "ok": true},
		Reported: map[string]devices.Reported{
			"temperature": {Value: -18.0, Time: at(9 * time.Second)},
			"seq":         {Value: int64(7), Time: at(9 * time.Second)},
			"ok":          {Value: true, Time: at(9 * time.Second)},
			"door":        {Value: "closed", Time: at(0)},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("f1:\n got %+v\nwant %+v", got, want)
	}
	if _, ok := r.Get("f2"); ok {
		t.Error("f2 is there, and never sent anything")
	}
}

func TestFilteredCountsMessagesWithoutAnEventOfADevice(t *testing.T) {
	derived := reading("f1", "value", 1.0)
	derived.Rule = "cold/avg"
	m := newBuilder().
		publish(0, reading("f1", "a", 1.0)).
		publish(0, reading("f1", "a", 1.0), reading("f2", "a", 1.0)). // several devices in one message
		publish(0).                                                   // it could not be decoded
		publish(0, derived).
		publish(0, reading("", "a", 1.0)).
		publish(0, derived, reading("f3", "a", 1.0)).
		tick(time.Second)
	r := devices.NewRegistry(devices.Config{})
	if out := handle(t, r.Partition(0), m.b); out.Filtered != 4 || len(out.Dead) != 0 {
		t.Errorf("outcome %+v, want 4 filtered and none dead", out)
	}
	if d, _ := r.Get("f1"); d.Events != 2 {
		t.Errorf("f1 has %d events, want 2: a recording is not its traffic", d.Events)
	}
	if known, _ := r.Counts(); known != 3 {
		t.Errorf("%d devices known, want f1, f2 and f3", known)
	}
}

func TestOnlineIsDecidedByLogTime(t *testing.T) {
	r := devices.NewRegistry(devices.Config{OfflineAfter: time.Minute})
	p := r.Partition(0)
	handle(t, p, newBuilder().publish(0, reading("f1", "a", 1.0)).publish(time.Second, reading("f2", "a", 1.0)).b)
	for _, step := range []struct {
		name           string
		tick           time.Duration
		f1, f2         bool
		wantOfflineFor time.Time
	}{
		{"at the limit it is online", time.Minute, true, true, time.Time{}},
		{"after the limit it is offline since the limit", time.Minute + time.Millisecond, false, true, start.Add(time.Minute)},
		{"log time does not go back", 0, false, true, start.Add(time.Minute)},
	} {
		handle(t, p, newBuilder().tick(step.tick).b)
		f1, _ := r.Get("f1")
		f2, _ := r.Get("f2")
		if f1.Online != step.f1 || f2.Online != step.f2 || !f1.OfflineSince.Equal(step.wantOfflineFor) {
			t.Errorf("%s: f1 online %v since %v, f2 %v", step.name, f1.Online, f1.OfflineSince, f2.Online)
		}
	}
	if known, online := r.Counts(); known != 2 || online != 1 {
		t.Errorf("counts %d, %d online; want 2, 1", known, online)
	}
	handle(t, p, newBuilder().publish(2*time.Minute, reading("f1", "a", 1.0)).b)
	if f1, _ := r.Get("f1"); !f1.Online || !f1.OfflineSince.IsZero() {
		t.Errorf("f1 was heard again: online %v since %v", f1.Online, f1.OfflineSince)
	}
}

func TestReportedStateFollowsEventTime(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		name   string
		events []event.Event // received a minute apart
		last   any
		want   any
	}{
		{"in order the newest wins", []event.Event{atTime(reading("f", "a", 1.0), 0), atTime(reading("f", "a", 2.0), time.Second)}, 2.0, 2.0},
		{"stored history does not set it back", []event.Event{atTime(reading("f", "a", 1.0), 0), atTime(reading("f", "a", 2.0), -time.Hour)}, 2.0, 1.0},
		{"history with other fields in between does not either",
			[]event.Event{atTime(reading("f", "a", 1.0), 0), atTime(reading("f", "b", 5.0), -time.Minute), atTime(reading("f", "a", 2.0), -time.Hour)}, 2.0, 1.0},
		{"after history the next live event counts",
			[]event.Event{atTime(reading("f", "a", 1.0), 0), atTime(reading("f", "a", 2.0), -time.Hour), atTime(reading("f", "a", 3.0), 2*time.Minute)}, 3.0, 3.0},
		{"a fast clock does not freeze it", []event.Event{atTime(reading("f", "a", 1.0), 365*day), reading("f", "a", 2.0)}, 2.0, 2.0},
		{"a clock never set counts as now", []event.Event{reading("f", "a", 1.0), {Device: "f", Time: 1, Fields: reading("f", "a", 2.0).Fields}}, 2.0, 2.0},
		{"of a name twice in one event the later counts", []event.Event{reading("f", "a", 1.0, "a", 2.0), reading("f", "b", 1.0)}, nil, 2.0},
	} {
		for _, together := range []bool{true, false} {
			r := devices.NewRegistry(devices.Config{})
			m := newBuilder()
			for i, e := range c.events {
				m.publish(time.Duration(i)*time.Minute, e)
				if !together {
					handle(t, r.Partition(0), m.b)
					m = newBuilder()
				}
			}
			handle(t, r.Partition(0), m.b)
			d, _ := r.Get("f")
			if got := d.Reported["a"].Value; got != c.want {
				t.Errorf("%s (one batch: %v): reported a = %v, want %v", c.name, together, got, c.want)
			}
			if got := d.Last["a"]; got != c.last {
				t.Errorf("%s (one batch: %v): last a = %v, want %v", c.name, together, got, c.last)
			}
		}
	}
}

func TestWhatIsKeptOfADeviceIsBounded(t *testing.T) {
	r := devices.NewRegistry(devices.Config{})
	p := r.Partition(0)
	wide := func(from, n int) event.Event {
		e := reading("wide")
		for i := range n {
			e.Fields = append(e.Fields, event.Field{Name: fmt.Sprint("f", from+i), Value: event.FloatValue(1)})
		}
		return e
	}
	handle(t, p, newBuilder().publish(0, wide(0, 40)).publish(1, wide(100, 40)).publish(2, wide(200, 3)).b)
	d, _ := r.Get("wide")
	if len(d.Reported) != devices.MaxFields || !d.Truncated || len(d.Last) != 3 {
		t.Errorf("%d fields reported, truncated %v, %d last; want %d, true, 3", len(d.Reported), d.Truncated, len(d.Last), devices.MaxFields)
	}
	if _, ok := d.Reported["f100"]; !ok {
		t.Error("f100 gave way, and f0 to f39 are older")
	}

	long := strings.Repeat("ä", devices.MaxText)
	e := reading("long", "text", long, strings.Repeat("n", devices.MaxName+1), 1.0)
	e.Tags = append(e.Tags, event.Tag{Key: "zone", Value: long})
	handle(t, p, newBuilder().publish(0, e).b)
	d, _ = r.Get("long")
	if want := long[:devices.MaxText]; d.Last["text"] != want || d.Tags["zone"] != want || len(d.Last) != 1 || !d.Truncated {
		t.Errorf("long: last %v, tags %v, truncated %v", d.Last, d.Tags, d.Truncated)
	}

	handle(t, p, newBuilder().publish(0, reading(strings.Repeat("i", devices.MaxID+1), "a", 1.0)).b)
	if known, _ := r.Counts(); known != 2 || r.Refused() != 1 {
		t.Errorf("%d devices, %d events refused; want 2, and 1 for its long id", known, r.Refused())
	}
}

func TestAFullRegistryRefusesNewDevicesAndCountsTheirEvents(t *testing.T) {
	r := devices.NewRegistry(devices.Config{MaxDevices: 3, Partitions: 2})
	m := newBuilder()
	for i := range 5 {
		m.publish(0, reading(fmt.Sprint("d", i), "a", 1.0))
	}
	out := handle(t, r.Partition(0), m.b, m.b)
	if known, _ := r.Counts(); known != 2 || r.Refused() != 6 || out.Filtered != 0 {
		t.Errorf("%d devices, %d events refused, %d filtered; want the share of 2, 6, 0", known, r.Refused(), out.Filtered)
	}
	if d, ok := r.Get("d1"); !ok || d.Events != 2 {
		t.Errorf("d1 was there before the registry was full, and has %d events, want 2", d.Events)
	}
}

func TestListPagesFiltersAndMergesPartitions(t *testing.T) {
	r := devices.NewRegistry(devices.Config{OfflineAfter: time.Minute, Partitions: 2})
	other := reading("b-shared", "humidity", 40.0)
	other.Source = "gateway"
	a, b := newBuilder(), newBuilder()
	for i := range 700 { // more than a list reads at once
		a.publish(0, reading(fmt.Sprintf("a%03d", (i*9)%700), "temperature", 1.0))
	}
	a.publish(0, reading("b-shared", "temperature", 1.0))
	b.publish(2*time.Minute, other).publish(2*time.Minute, reading("c", "temperature", 2.0))
	handle(t, r.Partition(0), a.tick(3*time.Minute).b)
	handle(t, r.Partition(1), b.b)

	yes, no := true, false
	for _, c := range []struct {
		name  string
		q     devices.Query
		n     int
		first string
		last  string
	}{
		{"no query gives the first page", devices.Query{}, devices.DefaultLimit, "a000", "a099"},
		{"a limit is kept", devices.Query{Limit: 3}, 3, "a000", "a002"},
		{"a page goes on after the cursor", devices.Query{After: "a698", Limit: 2}, 2, "a699", "b-shared"},
		{"a cursor need not exist", devices.Query{After: "a6980", Limit: 1}, 1, "a699", "a699"},
		{"a prefix selects", devices.Query{Prefix: "a12"}, 10, "a120", "a129"},
		{"a prefix and a cursor", devices.Query{Prefix: "a12", After: "a125"}, 4, "a126", "a129"},
		{"a cursor beyond the prefix finds nothing", devices.Query{Prefix: "a12", After: "b"}, 0, "", ""},
		{"a source selects by the last event", devices.Query{Source: "gateway"}, 1, "b-shared", "b-shared"},
		{"online in any partition is online", devices.Query{Online: &yes}, 2, "b-shared", "c"},
		{"offline ones", devices.Query{Online: &no, Limit: 5000}, 700, "a000", "a699"},
		{"all of them", devices.Query{Limit: 5000}, 702, "a000", "c"},
	} {
		got := r.List(c.q)
		if len(got) != c.n {
			t.Errorf("%s: %d devices, want %d", c.name, len(got), c.n)
			continue
		}
		if c.n > 0 && (got[0].ID != c.first || got[c.n-1].ID != c.last) {
			t.Errorf("%s: %s to %s, want %s to %s", c.name, got[0].ID, got[c.n-1].ID, c.first, c.last)
		}
	}

	var walked []string
	for q := (devices.Query{Limit: 101}); ; {
		page := r.Page(q)
		for _, d := range page.Devices {
			walked = append(walked, d.ID)
		}
		if page.Next == "" {
			break
		}
		q.After = page.Next
	}
	if len(walked) != 702 {
		t.Errorf("walking all pages gives %d devices, want 702", len(walked))
	}

	d, _ := r.Get("b-shared")
	if d.Events != 2 || len(d.Reported) != 2 || d.Source != "gateway" || !d.FirstSeen.Equal(start) || !d.Online {
		t.Errorf("b-shared is not merged from both partitions: %+v", d)
	}
}

func TestListSeesDevicesThatCameSinceTheLast(t *testing.T) {
	r := devices.NewRegistry(devices.Config{})
	for i, id := range []string{"m", "z", "a", "n", "b"} {
		handle(t, r.Partition(0), newBuilder().publish(0, reading(id, "a", 1.0)).b)
		got := r.List(devices.Query{})
		if len(got) != i+1 {
			t.Fatalf("%d devices after %s, want %d", len(got), id, i+1)
		}
		for j := range got[1:] {
			if got[j].ID >= got[j+1].ID {
				t.Errorf("after %s: %s stands before %s", id, got[j].ID, got[j+1].ID)
			}
		}
	}
}

func TestNothingOfABatchIsKept(t *testing.T) {
	raw := []byte("f1 north temperature plant closed")
	text := func(from, to int) string { return asString(raw[from:to]) }
	e := event.Event{
		Device: text(0, 2), Source: text(21, 26), Tags: []event.Tag{{Key: text(3, 8), Value: text(3, 8)}},
		Fields: []event.Field{{Name: text(9, 20), Value: event.StringValue(text(27, 33))}},
	}
	r := devices.NewRegistry(devices.Config{})
	handle(t, r.Partition(0), newBuilder().publish(0, e).b)
	before, _ := json.Marshal(r.List(devices.Query{}))
	for i := range raw {
		raw[i] = '#'
	}
	if after, _ := json.Marshal(r.List(devices.Query{})); !bytes.Equal(before, after) || bytes.Contains(after, []byte("#")) {
		t.Errorf("the registry changed with the batch's memory:\n%s\n%s", before, after)
	}
}

func TestDevicesAreJSON(t *testing.T) {
	r := devices.NewRegistry(devices.Config{})
	handle(t, r.Partition(0), newBuilder().publish(1500*time.Microsecond,
		reading("f1", "t", -1.5, "n", nil, "nan", math.NaN(), "big", uint64(1<<63), "s", "x")).b)
	got, err := json.Marshal(r.Page(devices.Query{}))
	if err != nil {
		t.Fatal(err)
	}
	at := `"2026-03-01T12:00:00.0015Z"`
	want := `{"devices":[{"id":"f1","source":"plant","measurement":"telemetry","first_seen":` + at + `,"last_seen":` + at +
		`,"last_event_time":` + at + `,"online":true,"events":1,"tags":{"site":"north"},` +
		`"last":{"big":9223372036854775808,"n":null,"nan":null,"s":"x","t":-1.5},"reported":{` +
		`"big":{"value":9223372036854775808,"time":` + at + `},"n":{"value":null,"time":` + at + `},"nan":{"value":null,"time":` + at +
		`},"s":{"value":"x","time":` + at + `},"t":{"value":-1.5,"time":` + at + `}}}]}`
	if string(got) != want {
		t.Errorf("JSON:\n got %s\nwant %s", got, want)
	}
	if empty, _ := json.Marshal(devices.NewRegistry(devices.Config{}).Page(devices.Query{})); string(empty) != `{"devices":[]}` {
		t.Errorf("no devices are %s", empty)
	}
}

// The test is of use with -race: readers, a snapshot and Handle side by side.
func TestReadingBesideHandling(t *testing.T) {
	r := devices.NewRegistry(devices.Config{MaxDevices: 3000})
	p := r.Partition(0)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				for _, d := range r.List(devices.Query{Prefix: "d1", Limit: 1000}) {
					if len(d.Last) != 1 || d.Events == 0 {
						t.Errorf("%s has %d fields and %d events", d.ID, len(d.Last), d.Events)
						return
					}
				}
				r.Get("d7")
				r.Counts()
				r.Refused()
			}
		})
	}
	for i := range 300 {
		m := newBuilder()
		for j := range 20 {
			m.publish(time.Duration(i)*time.Second, reading(fmt.Sprint("d", i*10+j), "a", float64(i)))
		}
		handle(t, p, m.b)
		if i == 150 {
			if err := p.Restore(snapshot(t, p)); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	readers.Wait()
	if known, _ := r.Counts(); known != 3000 || r.Refused() == 0 {
		t.Errorf("%d devices known, %d refused", known, r.Refused())
	}
}

func TestHandlingKnownDevicesAllocatesNothing(t *testing.T) {
	for _, run := range []int{1, 10} {
		batches := fleetBatches(100, 1000, 500, run)
		p := devices.NewRegistry(devices.Config{}).Partition(0)
		handle(t, p, batches...)
		if n := testing.AllocsPerRun(100, func() { p.Handle(t.Context(), batches) }); n != 0 {
			t.Errorf("allocations per 1000 events, %d of a device in a row = %v, want 0", run, n)
		}
	}
}
