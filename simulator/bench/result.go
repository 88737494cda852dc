package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"weir/simulator/hist"
	"weir/simulator/wire"
)

// Result is what a run measured. Its JSON is the output of --json.
type Result struct {
	Client      string  `json:"client"` // "raw" or "paho"
	MQTTVersion string  `json:"mqtt_version"`
	Connections int     `json:"connections"`
	Devices     int     `json:"devices"`
	QoS         byte    `json:"qos"`
	Window      int     `json:"window"` // the smallest that a broker left a connection
	Rate        float64 `json:"rate_limit_per_second,omitempty"`

	Sent       uint64 `json:"sent"`   // messages, each counted once
	Acked      uint64 `json:"acked"`  // by PUBACK or PUBREC; QoS 0: read, as a PINGRESP shows
	Resent     uint64 `json:"resent"` // with DUP, after reconnects
	Refused    uint64 `json:"refused"`
	OutOfOrder uint64 `json:"out_of_order_acks"` // acks that came after one of a later message
	Unexpected uint64 `json:"unexpected_acks"`   // acks of nothing in flight
	Reconnects uint64 `json:"reconnects"`

	Seconds        float64  `json:"seconds"` // from the first publish to the last ack
	PerSecond      float64  `json:"acked_per_second"`
	Latency        *Latency `json:"ack_latency_ms,omitempty"`
	CPUSeconds     float64  `json:"generator_cpu_seconds"`
	CPUPerMillion  float64  `json:"generator_cpu_seconds_per_million"`
	OrderUnchecked bool     `json:"order_unchecked,omitempty"` // paho does not show it
}

// Latency is the time from when a message was due to its acknowledgement, in
// milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
	Mean float64 `json:"mean"`
}

func newLatency(h *hist.Histogram) *Latency {
	if h.Count() == 0 {
		return nil
	}
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return &Latency{P50: ms(h.Quantile(0.5)), P99: ms(h.Quantile(0.99)), P999: ms(h.Quantile(0.999)), Max: ms(h.Max()), Mean: ms(h.Mean())}
}

func newResult(cfg Config, elapsed, cpu time.Duration) Result {
	out := Result{
		Client: "raw", MQTTVersion: "3.1.1", Connections: cfg.Client.Connections, Devices: cfg.devices(), QoS: cfg.Load.QoS,
		Window: cfg.Schedule.Window, Rate: cfg.Schedule.Rate, Seconds: elapsed.Seconds(), CPUSeconds: cpu.Seconds(),
	}
	if cfg.Paho {
		out.Client, out.OrderUnchecked = "paho", true
	}
	if cfg.Client.Version == wire.V5 {
		out.MQTTVersion = "5.0"
	}
	return out
}

// finish derives rates once the counts are in.
func (r *Result) finish(latency *hist.Histogram) {
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Acked) / r.Seconds
	}
	if r.Acked > 0 {
		r.CPUPerMillion = r.CPUSeconds / float64(r.Acked) * 1e6
	}
	r.Latency = newLatency(latency)
}

// verdict is why a finished run still counts as failed, or nil.
func (r *Result) verdict() error {
	switch {
	case r.Refused > 0:
		return fmt.Errorf("the broker refused %d messages", r.Refused)
	case r.Acked != r.Sent:
		return fmt.Errorf("%d of %d messages were not acknowledged", r.Sent-r.Acked, r.Sent)
	case r.OutOfOrder > 0:
		return fmt.Errorf("%d acknowledgements were out of order", r.OutOfOrder)
	case r.Unexpected > 0 && r.Reconnects == 0:
		return fmt.Errorf("%d acknowledgements were of nothing in flight", r.Unexpected)
	}
	return nil
}

// WriteText writes r for people.
func (r *Result) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("load", "%d connections, %d devices, QoS %d, window %d, MQTT %s, %s client", r.Connections, r.Devices, r.QoS, r.Window, r.MQTTVersion, r.Client)
	row("sent", "%d", r.Sent)
	row("acked", "%d", r.Acked)
	row("time", "%.3f s", r.Seconds)
	row("rate", "%.0f msgs/s", r.PerSecond)
	if l := r.Latency; l != nil {
		row("ack latency", "p50 %.3f ms  p99 %.3f ms  p99.9 %.3f ms  max %.3f ms", l.P50, l.P99, l.P999, l.Max)
	}
	if r.OrderUnchecked {
		row("out-of-order acks", "not checked (paho does not show the order)")
	} else {
		row("out-of-order acks", "%d", r.OutOfOrder)
	}
	row("refused", "%d", r.Refused)
	row("unexpected acks", "%d", r.Unexpected)
	row("reconnects", "%d (%d messages sent again)", r.Reconnects, r.Resent)
	row("generator CPU", "%.2f s (%.3f s per million)", r.CPUSeconds, r.CPUPerMillion)
	return t.Flush()
}
