package influxdb

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"weir/ingest/event"
)

// BenchmarkHandle gives the time of a call with 20,000 messages of one event,
// with a server in the same process that reads and throws away.
func BenchmarkHandle(b *testing.B) {
	for _, zip := range []bool{false, true} {
		name := "gzip=off"
		if zip {
			name = "gzip=on"
		}
		b.Run(name, func(b *testing.B) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusNoContent)
			}))
			defer srv.Close()
			cfg := Default()
			cfg.URL, cfg.Database, cfg.Gzip = srv.URL, "plant", zip
			s, err := New(cfg, Deps{})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			const n = 20_000
			batch := event.NewBatch(nil)
			evs := benchmarkEvents(true)
			for i := range n {
				batch.Messages = append(batch.Messages, event.Message{Payload: []byte("{}")})
				batch.AddEvent(i, evs[i%len(evs)])
			}
			batches := []*event.Batch{batch}
			b.ReportAllocs()
			for b.Loop() {
				if out, err := s.Handle(b.Context(), batches); err != nil || len(out.Dead) > 0 {
					b.Fatal(out, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/event")
		})
	}
}
