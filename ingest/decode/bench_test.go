package decode

import (
	"encoding/json"
	"testing"

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
	return benchBatch(batchSize, func(i int) string { return "sensors/dev" + itoa(i%50) + "/telemetry" },
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

func BenchmarkDecode(b *testing.B) {
	b.Run("format=json/shape=flat", func(b *testing.B) { benchDecode(b, compile(b, flatSource()), flatBatch()) })
	b.Run("format=json/shape=flat/impl=encoding-json", func(b *testing.B) {
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
}
