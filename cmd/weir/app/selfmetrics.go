package app

import (
	"context"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"weir/ingest/event"
)

// metricsEvery is how often weir's own metrics are written to InfluxDB.
const metricsEvery = 10 * time.Second

// metricsMeasurement is what they are written as. A field is a metric's name
// without "weir_"; the tags are its labels and the host.
const metricsMeasurement = "weir_metrics"

// writeMetrics writes weir's own metrics to the InfluxDB sinks that take them.
// They are no events and do not pass the log: one that could not be written is
// old news ten seconds later.
func (a *App) writeMetrics(ctx context.Context) error {
	var to []sink
	for _, s := range a.sinks {
		if s.metrics {
			to = append(to, s)
		}
	}
	if len(to) == 0 {
		<-ctx.Done()
		return nil
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	last := map[string]*dto.Histogram{}
	t := time.NewTicker(metricsEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case at := <-t.C:
			families, err := a.metrics.Gather()
			if err != nil {
				a.log.Warn("gathering weir's own metrics failed in part", "err", err)
			}
			b := metricsBatch(families, host, at, last)
			for _, s := range to {
				wctx, cancel := context.WithTimeout(ctx, metricsEvery)
				if _, err := s.handler.Handle(wctx, []*event.Batch{b}); err != nil {
					a.log.Debug("weir's own metrics were not written", "sink", s.cfg.Name.Value, "err", err)
				}
				cancel()
			}
		}
	}
}

// metricsBatch turns metrics into events. last keeps the histograms of the
// call before: quantiles are of the time since then.
func metricsBatch(families []*dto.MetricFamily, host string, at time.Time, last map[string]*dto.Histogram) *event.Batch {
	b := event.NewBatch(nil)
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "weir_")
		if !ok {
			continue
		}
		for _, m := range f.GetMetric() {
			fields := metricFields(f.GetName(), name, m, last)
			if len(fields) == 0 {
				continue
			}
			tags := []event.Tag{{Key: "host", Value: host}}
			for _, l := range m.GetLabel() {
				tags = append(tags, event.Tag{Key: l.GetName(), Value: l.GetValue()})
			}
			slices.SortFunc(tags, func(x, y event.Tag) int { return strings.Compare(x.Key, y.Key) })
			b.Messages = append(b.Messages, event.Message{Record: event.Publish, Received: at.UnixNano()})
			b.AddEvent(len(b.Messages)-1, event.Event{Measurement: metricsMeasurement, Time: at.UnixNano(), Received: at.UnixNano(), Tags: tags, Fields: fields})
		}
	}
	return b
}

func metricFields(family, name string, m *dto.Metric, last map[string]*dto.Histogram) []event.Field {
	one := func(v float64) []event.Field {
		return []event.Field{{Name: name, Value: event.FloatValue(v)}}
	}
	switch {
	case m.Counter != nil:
		return one(m.GetCounter().GetValue())
	case m.Gauge != nil:
		return one(m.GetGauge().GetValue())
	case m.Histogram != nil:
		key := family
		for _, l := range m.GetLabel() {
			key += "\x00" + l.GetValue()
		}
		before := last[key]
		last[key] = m.Histogram
		var out []event.Field
		for _, q := range []struct {
			suffix string
			q      float64
		}{{"_p50", 0.5}, {"_p99", 0.99}} {
			if v := quantile(q.q, m.Histogram, before); !math.IsNaN(v) {
				out = append(out, event.Field{Name: name + q.suffix, Value: event.FloatValue(v)})
			}
		}
		return out
	}
	return nil
}

// quantile estimates a quantile of what a histogram has observed since before,
// by linear interpolation in its bucket, as Prometheus's histogram_quantile
// does. It is NaN if there was nothing.
func quantile(q float64, h, before *dto.Histogram) float64 {
	count := func(h *dto.Histogram, i int) float64 {
		if h == nil || i >= len(h.Bucket) {
			return 0
		}
		return float64(h.Bucket[i].GetCumulativeCount())
	}
	total := float64(h.GetSampleCount())
	if before != nil {
		total -= float64(before.GetSampleCount())
	}
	if total <= 0 {
		return math.NaN()
	}
	rank := q * total
	lower, below := 0.0, 0.0
	for i, b := range h.Bucket {
		n := count(h, i) - count(before, i)
		if n >= rank {
			if n == below || math.IsInf(b.GetUpperBound(), 1) {
				return lower
			}
			return lower + (b.GetUpperBound()-lower)*(rank-below)/(n-below)
		}
		lower, below = b.GetUpperBound(), n
	}
	return lower
}
