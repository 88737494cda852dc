package app

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"weir/ingest/event"
)

// points writes the events of a batch as text, in the order of the metrics' names.
func points(b *event.Batch) string {
	var out []string
	for i := range b.Events {
		e := &b.Events[i]
		text := e.Measurement
		for _, tag := range e.Tags {
			text += "," + tag.Key + "=" + tag.Value
		}
		for _, f := range e.Fields {
			text += " " + f.Name + "=" + f.Value.String()
		}
		out = append(out, text)
	}
	return strings.Join(out, "\n")
}

func TestOwnMetricsBecomePointsAndHistogramsQuantilesSinceTheLast(t *testing.T) {
	reg := prometheus.NewRegistry()
	count := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_b_total", Help: "b"}, []string{"path", "cause"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "weir_a", Help: "a"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "weir_c_seconds", Help: "c", Buckets: []float64{1, 2, 4}})
	foreign := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_things", Help: "not weir's"})
	reg.MustRegister(count, gauge, took, foreign)
	count.WithLabelValues("fast", "x").Add(3)
	gauge.Set(0.5)
	for range 100 {
		took.Observe(1.5)
	}
	last := map[string]*dto.Histogram{}
	at := time.Unix(1_700_000_000, 5)
	gather := func() *event.Batch {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		return metricsBatch(families, "here", at, last)
	}
	b := gather()
	want := "weir_metrics,host=here a=0.5\nweir_metrics,cause=x,host=here,path=fast b_total=3\nweir_metrics,host=here c_seconds_p50=1.5 c_seconds_p99=1.99"
	if got := points(b); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if e := b.Events[0]; e.Time != at.UnixNano() {
		t.Errorf("time %d", e.Time)
	}
	// Nothing was observed since: no quantile. Then only what is new counts.
	if got := points(gather()); strings.Contains(got, "c_seconds") {
		t.Errorf("quantiles of nothing:\n%s", got)
	}
	took.Observe(3)
	if got := points(gather()); !strings.Contains(got, "c_seconds_p50=3 c_seconds_p99=3.98") {
		t.Errorf("quantiles of one slow call:\n%s", got)
	}
}

func TestQuantilesAreThoseOfPrometheus(t *testing.T) {
	h := func(counts ...uint64) *dto.Histogram {
		out := &dto.Histogram{SampleCount: &counts[len(counts)-1]}
		for i, bound := range []float64{0.1, 1, 10} {
			out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &counts[i]})
		}
		return out
	}
	for _, tt := range []struct {
		q         float64
		h, before *dto.Histogram
		want      float64
	}{
		{0.5, h(0, 0, 0, 0), nil, math.NaN()},
		{0.5, h(10, 10, 10, 10), nil, 0.05},
		{0.5, h(0, 10, 10, 10), nil, 0.55},
		{0.99, h(0, 0, 100, 100), nil, 9.91},
		{0.5, h(0, 0, 0, 10), nil, 10}, // above all bounds: the highest is all that is known
		{0.5, h(5, 10, 10, 10), h(5, 5, 5, 5), 0.55},
		{0.5, h(5, 5, 5, 5), h(5, 5, 5, 5), math.NaN()},
	} {
		if got := quantile(tt.q, tt.h, tt.before); fmt.Sprintf("%.9f", got) != fmt.Sprintf("%.9f", tt.want) {
			t.Errorf("quantile(%v, %v, %v) = %v, want %v", tt.q, tt.h, tt.before, got, tt.want)
		}
	}
}
