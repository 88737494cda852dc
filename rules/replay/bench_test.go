package replay_test

import (
	"fmt"
	"testing"

	"weir/rules"
	"weir/rules/replay"
)

// BenchmarkReplay is the cost of an event of a log: of 100 devices, 1000 events
// a batch, with rules that hold, wait, and look back.
func BenchmarkReplay(b *testing.B) {
	for _, bc := range []struct{ name, rules string }{
		{"rules=threshold", "{alert: Hot, expr: celsius > 40, for: 5s}"},
		{"rules=window", `{alert: Hot, expr: 'avg_over_time(celsius, "1m") > 40'}`},
	} {
		b.Run(bc.name, func(b *testing.B) {
			r := replay.New(load(b, "groups:\n  - name: g\n    rules:\n      - "+bc.rules+"\n"), start, func(rules.Derived) {})
			batch := numbered(1)
			for i := range 1000 {
				reading(batch, 0, fmt.Sprint("d", i%100), "celsius", float64(i%30))
			}
			events, at := 0, int64(0)
			b.ReportAllocs()
			for b.Loop() {
				at++
				for i := range batch.Messages {
					batch.Messages[i].Received = start + at*second
					batch.Events[i].Time, batch.Events[i].Received = start+at*second, start+at*second
				}
				batch.Seq++
				r.Process(batch)
				events += len(batch.Events)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}
