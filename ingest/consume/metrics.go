package consume

import "github.com/prometheus/client_golang/prometheus"

// Metrics of all consumers. Register them with Collectors.
type Metrics struct {
	records  *prometheus.CounterVec
	retries  *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewMetrics returns metrics that are not registered yet.
func NewMetrics() *Metrics {
	return &Metrics{
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_records_total", Help: "Records that a consumer is done with, by what became of them: delivered, filtered, dead or lost.",
		}, []string{"consumer", "partition", "outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_consumer_retries_total", Help: "Failures after which a consumer tried again.",
		}, []string{"consumer", "partition"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_consumer_handle_duration_seconds", Help: "Time a consumer took for one call with some batches.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"consumer"}),
	}
}

// Collectors returns all metrics, to be registered.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.retries, m.duration}
}

// LagCollector reports the lag of runners when it is asked.
type LagCollector struct {
	Runners func() []*Runner
}

var (
	lagDesc      = prometheus.NewDesc("weir_consumer_lag_records", "Records in the log that a consumer has not taken yet.", []string{"consumer", "partition"}, nil)
	retryingDesc = prometheus.NewDesc("weir_consumer_retrying", "1 while a consumer waits to try again after a failure.", []string{"consumer", "partition"}, nil)
	imbalance    = prometheus.NewDesc("weir_audit_imbalance_records", "Records that the books of a consumer don't account for; anything but 0 is a defect.", []string{"consumer", "partition"}, nil)
)

// Describe implements prometheus.Collector.
func (l LagCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- lagDesc
	ch <- retryingDesc
	ch <- imbalance
}

// Collect implements prometheus.Collector.
func (l LagCollector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range l.Runners() {
		s := r.Status()
		retrying := 0.0
		if s.State == "retrying" {
			retrying = 1
		}
		ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(s.Lag), s.Consumer, r.part)
		ch <- prometheus.MustNewConstMetric(retryingDesc, prometheus.GaugeValue, retrying, s.Consumer, r.part)
		ch <- prometheus.MustNewConstMetric(imbalance, prometheus.GaugeValue, float64(s.Cursor.Imbalance()), s.Consumer, r.part)
	}
}
