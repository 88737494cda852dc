package app

import (
	"log/slog"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"weir/console"
	"weir/rules"
)

func discardLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// counts are the app's own counters.
type counts struct {
	reloads, reloadErrors atomic.Uint64
	refused               atomic.Pointer[console.Refused] // why the rule files are wrong as they were read last; nil: they are right
}

// reloaded is 1 unless the rule files are wrong.
func (c *counts) reloaded() float64 {
	if c.refused.Load() != nil {
		return 0
	}
	return 1
}

// collector turns the snapshots that the parts give of themselves into metrics
// when they are asked for, so that counting costs the hot paths nothing.
type collector struct {
	app   *App
	descs map[string]*prometheus.Desc
}

func newCollector(a *App) *collector {
	c := &collector{app: a, descs: map[string]*prometheus.Desc{}}
	add := func(name, help string, labels ...string) {
		c.descs[name] = prometheus.NewDesc("weir_"+name, help, labels, nil)
	}
	add("build_info", "1; the version is a label.", "version")
	add("ring_used_bytes", "Bytes received and not durable yet.", "partition")
	add("ring_capacity_bytes", "Bytes that the ring holds.", "partition")
	add("ring_stalls_total", "Times that publishers had to wait for space.", "partition")
	add("broker_connections", "Connections that are open.")
	add("broker_clients", "Clients that are connected.")
	add("broker_sessions", "Sessions of clients that are connected or may come back.")
	add("broker_subscriptions", "Subscriptions.")
	add("broker_retained_messages", "Retained messages.")
	add("broker_connections_total", "Connections accepted.")
	add("broker_messages_received_total", "Publishes received, by who read them: the connection itself (fast) or the MQTT library (library).", "path")
	add("broker_messages_logged_total", "Messages taken for the log.")
	add("broker_acks_sent_total", "PUBACK and PUBREC sent.")
	add("broker_messages_sent_total", "Messages sent to subscribers.")
	add("broker_received_bytes_total", "Bytes received.")
	add("broker_sent_bytes_total", "Bytes sent.")
	add("broker_refused_total", "Connections and packets refused, by cause.", "cause")
	add("broker_disconnected_total", "Connections that the broker ended, by cause.", "cause")
	add("broker_dropped_total", "Messages not delivered to a subscriber or not kept, by cause.", "cause")
	add("broker_window_waits_total", "Times that a client was not read because its acknowledgements were owed.")
	add("rules_loaded", "Rules in force.")
	add("rules_reloads_total", "Reloads of the rule files.", "result")
	add("rules_last_reload_successful", "1 while the rule files are right as they were read last, 0 while the old set keeps running.")
	add("rules_evaluations_total", "Evaluations of a rule's expressions.", "rule")
	add("rules_state_keys", "Keys of which a rule's windows or alerts know anything.", "rule")
	add("rules_state_bytes", "Memory that these take, estimated.", "rule")
	add("rules_stopped", "1 for a rule that has passed a bound and evaluates no more.", "rule")
	add("rules_timed_evaluations_total", "Evaluations that were timed, one in 64.", "rule")
	add("rules_timed_seconds_total", "Time that the timed evaluations took.", "rule")
	add("rules_errors_total", "Evaluations that failed.", "rule")
	add("rules_recordings_total", "Recordings of a rule.", "rule")
	add("rules_late_events_total", "Events that came too late for rules: behind others of their device or group.", "consumer")
	add("rules_future_events_total", "Events whose own time is so far ahead that they count as of when they were received.", "consumer")
	add("rules_devices_forgotten_total", "Devices whose clocks were forgotten, as there were too many.", "consumer")
	add("rules_backfill_events_total", "Events that are history which a device uploads.", "consumer")
	add("rules_events_ahead_seconds", "The furthest that an event's own time was ahead of when it was received.", "consumer")
	add("alerts", "Alerts by state.", "rule", "state")
	add("devices_known", "Devices that have been heard of.")
	add("devices_online", "Devices that are online.")
	add("sink_lines_total", "Lines that InfluxDB took.", "sink")
	add("sink_delivered_total", "Alerts that the far side took; of sinks of the kind mqtt, messages.", "sink")
	add("sink_requests_total", "Requests over HTTP; connections to a mail server or broker.", "sink")
	add("sink_outages_total", "Calls that failed because the far side was away.", "sink")
	add("sink_rejected_total", "Messages dead-lettered.", "sink")
	add("sink_coerced_total", "Values written in another type than they came in.", "sink")
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(kind prometheus.ValueType, name string, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(c.descs[name], kind, v, labels...)
	}
	gauge := func(name string, v float64, labels ...string) { send(prometheus.GaugeValue, name, v, labels...) }
	sum := func(name string, v float64, labels ...string) { send(prometheus.CounterValue, name, v, labels...) }
	count := func(name string, v uint64, labels ...string) {
		send(prometheus.CounterValue, name, float64(v), labels...)
	}
	a := c.app
	gauge("build_info", 1, a.opts.Version)
	for i, r := range a.rings {
		p := strconv.Itoa(i)
		gauge("ring_used_bytes", float64(r.Used()), p)
		gauge("ring_capacity_bytes", float64(r.Size()), p)
		count("ring_stalls_total", r.Stalls(), p)
	}
	c.broker(gauge, count)
	c.rules(gauge, sum, count)
	known, online := a.registry.Counts()
	gauge("devices_known", float64(known))
	gauge("devices_online", float64(online))
	for _, s := range a.sinks {
		s.tell(func(what string, n *atomic.Uint64) { count("sink_"+what+"_total", n.Load(), s.cfg.Name.Value) })
	}
}

func (c *collector) broker(gauge func(string, float64, ...string), count func(string, uint64, ...string)) {
	s := c.app.broker.Stats()
	gauge("broker_connections", float64(s.Connections))
	gauge("broker_clients", float64(s.Clients))
	gauge("broker_sessions", float64(s.Sessions))
	gauge("broker_subscriptions", float64(s.Subscriptions))
	gauge("broker_retained_messages", float64(s.Retained))
	count("broker_connections_total", s.Accepted)
	count("broker_messages_received_total", s.Fast, "fast")
	count("broker_messages_received_total", s.Slow, "library")
	count("broker_messages_logged_total", s.Logged)
	count("broker_acks_sent_total", s.Acked)
	count("broker_messages_sent_total", s.Sent)
	count("broker_received_bytes_total", s.BytesReceived)
	count("broker_sent_bytes_total", s.BytesSent)
	count("broker_window_waits_total", s.WindowWaits)
	for cause, n := range s.Refused {
		count("broker_refused_total", n, cause)
	}
	for cause, n := range s.Disconnected {
		count("broker_disconnected_total", n, cause)
	}
	for cause, n := range s.Dropped {
		count("broker_dropped_total", n, cause)
	}
}

// sum is what the rules of all partitions have done.
func (c *collector) rules(gauge, sum func(string, float64, ...string), count func(string, uint64, ...string)) {
	a := c.app
	count("rules_reloads_total", a.counts.reloads.Load(), "done")
	count("rules_reloads_total", a.counts.reloadErrors.Load(), "refused")
	gauge("rules_last_reload_successful", a.counts.reloaded())
	c.eventTime(gauge, count)
	sums := a.ruleTotals()
	gauge("rules_loaded", float64(len(sums)))
	for rule, t := range sums {
		count("rules_evaluations_total", t.Evaluations, rule)
		count("rules_errors_total", t.Errors, rule)
		if t.Stopped != "" {
			gauge("rules_stopped", 1, rule)
		} else {
			gauge("rules_stopped", 0, rule)
		}
		gauge("rules_state_keys", float64(t.StateKeys), rule)
		gauge("rules_state_bytes", float64(t.StateBytes), rule)
		count("rules_timed_evaluations_total", t.Timed, rule)
		sum("rules_timed_seconds_total", float64(t.Nanos)/1e9, rule)
		if t.Kind == rules.KindRecord {
			count("rules_recordings_total", t.Recordings, rule)
			continue
		}
		gauge("alerts", float64(t.Pending), rule, "pending")
		gauge("alerts", float64(t.Firing), rule, "firing")
	}
}

// eventTime tells how the times of events compare with those of their receipt.
// Rules by device and rules that group devices see the same events.
func (c *collector) eventTime(gauge func(string, float64, ...string), count func(string, uint64, ...string)) {
	tell := func(consumer string, stats []rules.Stats) {
		var sum rules.Stats
		for _, s := range stats {
			sum.Late += s.Late
			sum.Future += s.Future
			sum.Backfills += s.Backfills
			sum.Forgotten += s.Forgotten
			sum.Ahead = max(sum.Ahead, s.Ahead)
		}
		count("rules_late_events_total", sum.Late, consumer)
		count("rules_future_events_total", sum.Future, consumer)
		count("rules_backfill_events_total", sum.Backfills, consumer)
		count("rules_devices_forgotten_total", sum.Forgotten, consumer)
		gauge("rules_events_ahead_seconds", sum.Ahead.Seconds(), consumer)
	}
	all := c.app.ruleStats()
	n := len(c.app.rulers)
	tell(consumerRules, all[:n])
	if len(all) > n {
		tell(consumerGroups, all[n:])
	}
}
