package decode

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir/ingest/event"
)

// benchBatch returns a batch of n publishes over 50 topics.
func benchBatch(n int, topic func(i int) string, payload func(i int) string) *event.Batch {
	b := event.NewBatch(nil)
	for i := range n {
		b.Messages = append(b.Messages, event.Message{Topic: topic(i), Payload: []byte(payload(i)), Received: received})
	}
	return b
}

// again makes a decoded batch ready to be decoded again.
func again(b *event.Batch) {
	for m := range b.Messages {
		b.DropEvents(m)
	}
	b.Events, b.Rejects = b.Events[:0], b.Rejects[:0]
	b.FieldSlab, b.TagSlab, b.TextSlab = b.FieldSlab[:0], b.TagSlab[:0], b.TextSlab[:0]
}

const batchSize = 1000

func flatBatch() *event.Batch {
	return benchBatch(batchSize, deviceTopic,
		func(i int) string {
			return `{"ts":17723663991` + itoa(10+i%90) + `,"device":"dev` + itoa(10+i%40) + `","temperature":21.` + itoa(i%10) + `,"humidity":4` + itoa(i%10) + `.5,"seq":` + itoa(1000+i) + `}`
		})
}

func benchDecode(b *testing.B, set *Set, batch *event.Batch) {
	d := set.NewDecoder()
	d.Decode(batch)
	if len(batch.Rejects) > 0 {
		b.Fatal(batch.Rejects[0].Err)
	}
	events := len(batch.Events)
	b.ReportAllocs()
	for b.Loop() {
		again(batch)
		d.Decode(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(events), "ns/event")
}

func flatSource() Source {
	return Source{Topic: "sensors/{device}/telemetry", Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitMilli}}
}

// workload is messages of one shape and the source that decodes them.
type workload struct {
	name   string
	source Source
	batch  func() *event.Batch
}

func deviceTopic(i int) string { return "sensors/dev" + itoa(i%50) + "/telemetry" }

// workloads are the shapes that the hot path is measured on.
func workloads() []workload {
	nested := func(i int) string {
		return `{"Time":"2026-02-28T12:00:` + itoa(10+i%50) + `Z","ENERGY":{"Total":9098.2` + itoa(i%10) + `,"Power":1` + itoa(10+i%90) +
			`,"Voltage":23` + itoa(i%10) + `,"Current":0.784},"DS18B20":{"Id":"00000272DB64","Temperature":13.` + itoa(i%10) + `},"accel":[-691,12,130],"TempUnit":"C"}`
	}
	line := func(i int) string {
		return "cpu,device=dev" + itoa(i%50) + ",site=north temperature=21." + itoa(i%10) + ",humidity=4" + itoa(i%10) + ".5,seq=" + itoa(1000+i) + "i,ok=t 17723663991" + itoa(10+i%90) + "000000"
	}
	return []workload{
		{"format=json/shape=flat", flatSource(), flatBatch},
		{"format=json/shape=flat+tags", Source{Topic: "sensors/{device}/telemetry", Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitMilli}, Tags: []string{"device_model", "unit"}, Device: []DeviceRef{{Field: "device"}, {Text: "{device}"}}},
			func() *event.Batch {
				return benchBatch(batchSize, deviceTopic, func(i int) string {
					return `{"ts":17723663991` + itoa(10+i%90) + `,"device":"dev` + itoa(10+i%40) + `","unit":"m\u00b3","device_model":"T1000","temperature":21.` + itoa(i%10) + `}`
				})
			}},
		{"format=json/shape=nested", Source{Topic: "sensors/{device}/telemetry", Time: TimeSpec{Fields: []string{"Time"}}}, func() *event.Batch { return benchBatch(batchSize, deviceTopic, nested) }},
		{"format=json/shape=mostly-excluded", Source{Topic: "sensors/{device}/telemetry", Time: TimeSpec{Fields: []string{"Time"}}, Root: []string{"DS18B20"}}, func() *event.Batch { return benchBatch(batchSize, deviceTopic, nested) }},
		{"format=value", Source{Topic: "sensors/{device}/{metric}", Format: Value, Field: "{metric}"}, func() *event.Batch {
			return benchBatch(batchSize, deviceTopic, func(i int) string { return "21." + itoa(i%1000) })
		}},
		{"format=line-protocol", Source{Topic: "sensors/{gateway}/telemetry", Format: LineProtocol, Tags: []string{"gateway"}}, func() *event.Batch { return benchBatch(batchSize, deviceTopic, line) }},
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, w := range workloads() {
		b.Run(w.name, func(b *testing.B) { benchDecode(b, compile(b, w.source), w.batch()) })
	}
	b.Run("format=json/shape=flat/topics=200000", func(b *testing.B) { // more than the cache holds
		n := 200_000
		benchDecode(b, compile(b, flatSource()), benchBatch(n, func(i int) string { return "sensors/dev" + itoa(i) + "/telemetry" },
			func(i int) string { return `{"ts":1772366399110,"temperature":21.5}` }))
	})
	b.Run("impl=encoding-json/shape=flat", func(b *testing.B) { // the baseline: only parsed, not mapped
		batch := flatBatch()
		b.ReportAllocs()
		for b.Loop() {
			for m := range batch.Messages {
				var doc map[string]any
				if err := json.Unmarshal(batch.Messages[m].Payload, &doc); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/event")
	})
	b.Run("impl=influxdata/format=line-protocol", func(b *testing.B) { // the baseline: only parsed
		batch := workloads()[5].batch()
		b.ReportAllocs()
		for b.Loop() {
			for m := range batch.Messages {
				dec := lineprotocol.NewDecoderWithBytes(batch.Messages[m].Payload)
				for dec.Next() {
					if _, err := dec.Time(lineprotocol.Nanosecond, time.Time{}); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/event")
	})
}

func BenchmarkRoute(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run("sources="+itoa(n), func(b *testing.B) {
			var sources []Source
			for i := range n - 1 {
				sources = append(sources, Source{Topic: "other" + itoa(i) + "/{device}/#"})
			}
			set := compile(b, append(sources, flatSource())...)
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := set.Route("sensors/dev17/telemetry"); !ok {
					b.Fatal("no route")
				}
			}
		})
	}
}

func TestDecodingWhatIsKnownAllocatesNothing(t *testing.T) {
	for _, w := range append(workloads(), workload{"recordings", flatSource(), func() *event.Batch {
		b := benchBatch(batchSize, deviceTopic, func(i int) string {
			return `{"rule":"g/r","name":"room_temperature","device":"f3","tags":{"site":"north"},"time":"2026-03-01T11:59:59.5Z","value":21.5,"cause":"0/1/2/0"}`
		})
		for m := range b.Messages {
			b.Messages[m].Record = event.Recording
		}
		return b
	}}) {
		t.Run(w.name, func(t *testing.T) {
			d, batch := compile(t, w.source).NewDecoder(), w.batch()
			d.Decode(batch)
			if len(batch.Rejects) > 0 || len(batch.Events) != len(batch.Messages) {
				t.Fatalf("%d events of %d messages, rejects %v", len(batch.Events), len(batch.Messages), batch.Rejects)
			}
			if n := testing.AllocsPerRun(10, func() { again(batch); d.Decode(batch) }); n != 0 {
				t.Errorf("allocations per batch of %d = %v, want 0", batchSize, n)
			}
		})
	}
}
