// Package grafana tests the Grafana dashboards and provisioning in
// configs/grafana. Its tests read the files as Grafana does, hold that they fit
// one another, and run every query of every panel, variable and annotation
// against a real InfluxDB that holds a small fleet:
//
//	sinks/influxdb ──▶ telemetry, weir_alerts ─┐
//	the table in configs/grafana/README.md ──▶ weir_metrics ─┴─▶ influxd ◀── queries of the dashboards
//
// Events and alerts are written by the real sink; weir_metrics has exactly the
// fields and tags that the table documents, so a query of anything else finds
// nothing and fails.
package grafana
