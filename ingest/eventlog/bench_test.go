package eventlog

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"testing"

	"weir/ingest/event"
)

const payload90 = `{"device":"d17","ts":1795190400123,"temperature":21.53,"humidity":41.2,"seq":123456,"x":"y"}`

// encoded returns a batch of n records as one connection would write it.
func encoded(n int) []byte {
	var b []byte
	for i := range n {
		b = AppendPublish(b, 1795190400123456789, "sensors/d17/telemetry", []byte(payload90), fmt.Sprint("client-", i%50), 1, false)
	}
	return b
}

func BenchmarkAppendPublish(b *testing.B) {
	buf, p := make([]byte, 0, 1<<20), []byte(payload90)
	topic := []byte("sensors/d17/telemetry")
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if len(buf) > 900<<10 {
			buf = buf[:0]
		}
		buf = AppendPublish(buf, 1, topic, p, "client-17", 1, false)
	}
}

func BenchmarkRestamp(b *testing.B) {
	const n = 1000
	raw := encoded(n)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := restamp(raw, 1795190400123456789, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}

func BenchmarkParse(b *testing.B) {
	const n = 1000
	raw, batch := encoded(n), event.NewBatch(nil)
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		if err := Parse(raw, batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
}

func TestEncodingStampingAndParsingAllocateNothing(t *testing.T) {
	raw, batch := encoded(100), event.NewBatch(nil)
	buf, p, topic := make([]byte, 0, 1<<10), []byte(payload90), []byte("sensors/d17/telemetry")
	if err := Parse(raw, batch); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"append":  func() { buf = AppendPublish(buf[:0], 1, topic, p, "client", 1, false) },
		"restamp": func() { _, _, _ = restamp(raw, 0, 0) },
		"parse":   func() { batch.Reset(); _ = Parse(raw, batch) },
	} {
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("allocations of %s = %v, want 0", name, n)
		}
	}
}

// Whatever the bytes are, Parse either refuses them or understands them whole:
// what it understood, written again, reads the same.
func FuzzParse(f *testing.F) {
	f.Add(encoded(3))
	f.Add(AppendRecord(nil, &event.Message{Record: event.AlertFact, ID: "a/firing", Topic: "weir/alerts/g/r/k", Payload: []byte("{}"), Received: math.MaxInt64}))
	f.Add([]byte{tagChunk, 1, 0, 0, 0, tagPadding, 0x80, 0x00})
	f.Add([]byte{tagRecords, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := event.NewBatch(nil)
		if Parse(raw, b) != nil {
			return
		}
		var again []byte
		for i := range b.Messages {
			again = AppendRecord(again, &b.Messages[i])
		}
		c := event.NewBatch(nil)
		if err := Parse(again, c); err != nil {
			t.Fatalf("what was read does not read again: %v", err)
		}
		same := func(x, y *event.Message) bool {
			return x.Topic == y.Topic && bytes.Equal(x.Payload, y.Payload) && x.Client == y.Client && x.ID == y.ID &&
				x.Received == y.Received && x.Record == y.Record && x.QoS == y.QoS && x.Retain == y.Retain
		}
		for i := range b.Messages {
			if !same(&b.Messages[i], &c.Messages[i]) {
				t.Fatalf("message %d:\n%+v\n%+v", i, b.Messages[i], c.Messages[i])
			}
		}
		// Stamping changes times only, and never the shape.
		stamped := bytes.Clone(raw)
		if _, _, err := restamp(stamped, 1<<40, 0); err == nil {
			d := event.NewBatch(nil)
			if err := Parse(stamped, d); err != nil || len(d.Messages) != len(b.Messages) {
				t.Fatalf("stamped: %d messages, %v; want %d", len(d.Messages), err, len(b.Messages))
			}
			for i := range d.Messages {
				d.Messages[i].Received = b.Messages[i].Received
				if !reflect.DeepEqual(d.Messages[i].Topic, b.Messages[i].Topic) || !same(&d.Messages[i], &b.Messages[i]) {
					t.Fatalf("stamping changed message %d", i)
				}
			}
		}
	})
}
