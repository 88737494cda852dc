package eventlog

import "github.com/prometheus/client_golang/prometheus"

// Metrics of the log. Register them with Collectors.
type Metrics struct {
	records  *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	batches  *prometheus.CounterVec
	append   *prometheus.HistogramVec
	failures *prometheus.CounterVec
	held     *prometheus.GaugeVec
	damaged  *prometheus.CounterVec
	reads    *prometheus.CounterVec
	head     *prometheus.GaugeVec
}

// NewMetrics returns metrics that are not registered yet.
func NewMetrics() *Metrics {
	p := []string{"partition"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "weir_log_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "weir_log_" + name, Help: help}, p)
	}
	return &Metrics{
		records: counter("appended_records_total", "Records made durable.", p...),
		bytes:   counter("appended_bytes_total", "Bytes of batches made durable.", p...),
		batches: counter("appended_batches_total", "Appends, each one fsync.", p...),
		append: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_log_append_duration_seconds", Help: "Time from sending a batch to its durable acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}, p),
		failures: counter("append_failures_total", "Appends that failed and were tried again.", p...),
		held:     gauge("held", "1 while appends wait, because the disk is nearly full or the log does not answer."),
		damaged:  counter("damaged_batches_total", "Batches found missing, malformed or with a wrong checksum.", p...),
		reads:    counter("read_batches_total", "Batches read by consumers, from memory or from the log.", "partition", "from"),
		head:     gauge("head_records", "Records in the partition since it was made."),
	}
}

// start makes the series of a partition that say that something is wrong: an
// alert on one that is not there yet would miss its first step.
func (m *Metrics) start(partition string) {
	m.failures.WithLabelValues(partition)
	m.held.WithLabelValues(partition)
	m.damaged.WithLabelValues(partition)
}

// Collectors returns all metrics, to be registered.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.records, m.bytes, m.batches, m.append, m.failures, m.held, m.damaged, m.reads, m.head}
}
