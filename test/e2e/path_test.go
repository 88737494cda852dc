package e2e

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"weir/test/influxd"
)

const sources = `
sources:
  - {name: plant, topic: "plant/{site}/{device}/telemetry", format: json, time: {field: ts, unit: ms}, measurement: telemetry, tags: [site]}
`

const warm = `
groups:
  - name: cold-room
    match: {source: plant}
    labels: {team: plant}
    rules:
      - alert: FreezerWarm
        expr: temperature > -15
        clear: temperature < -17
        labels: {severity: page}
        annotations: {summary: "{{ device }} in {{ site }} is at {{ temperature }} °C"}
        actions:
          - mqtt: {topic: "plant/{{ site }}/siren", payload: "ON {{ device }}", on: [firing]}
          - mqtt: {topic: "plant/{{ site }}/siren", payload: "OFF {{ device }}", on: [resolved]}
          - send: ops
      - record: excess
        expr: temperature + 18
`

// TestFromAPublishToEverythingThatItCauses follows one freezer through weir.
func TestFromAPublishToEverythingThatItCauses(t *testing.T) {
	srv := influxd.Start(t)
	srv.CreateDatabase(t, "telemetry")
	var ops hook
	web := httptest.NewServer(&ops)
	defer web.Close()
	w := start(t, t.TempDir(), map[string]string{"rules/a.yaml": warm, "weir.yaml": fmt.Sprintf(`
log: {partitions: 2}
mqtt: {listen: "127.0.0.1:0", anonymous: true}
http: {listen: "127.0.0.1:0"}
rules: ["rules/*.yaml"]
sinks:
  - {name: influx, start: all, influxdb: {url: %q, database: telemetry, metrics: true}}
  - {name: ops, webhook: {url: %q}}
`, srv.URL(), web.URL) + sources})

	listener := connect(t, w.mqtt(), "listener", nil)
	listener.hear("plant/+/siren")
	freezer := connect(t, w.mqtt(), "freezer-1", nil)
	const topic = "plant/oslo/f1/telemetry"
	freezer.say(topic, reading(-18.5))
	freezer.say(topic, reading(-11))
	freezer.say(topic, `{"ts": broken`)

	w.hasLogged(t, topic)
	w.hasAlerted(t, listener, &ops)
	w.knowsTheDevice(t)
	t.Run("rows are in InfluxDB", func(t *testing.T) {
		until(t, "they are written", func() bool {
			return srv.Count(t, "telemetry", "telemetry", "temperature") == 2 && srv.Count(t, "telemetry", "excess", "value") == 2 &&
				srv.Count(t, "telemetry", "weir_alerts", "value") == 1
		})
		rows := srv.Query(t, "telemetry", `SELECT temperature, door, device, site FROM telemetry`)
		if r := rows[1]; fmt.Sprintf("%v %v %v %v", r["temperature"], r["device"], r["site"], r["door"]) != "-11 f1 oslo closed" {
			t.Errorf("rows %v", rows)
		}
	})
	t.Run("the alert is resolved everywhere", func(t *testing.T) {
		freezer.say(topic, reading(-19))
		listener.heard("plant/oslo/siren", func(p string) bool { return p == "OFF f1" })
		until(t, "the line is printed", func() bool { return strings.Contains(w.out.String(), "alert resolved cold-room/FreezerWarm device=f1") })
		until(t, "the hook is called again", func() bool { return len(ops.all()) == 2 })
		first, second := ops.all()[0].body["data"].(map[string]any), ops.all()[1].body["data"].(map[string]any)
		if second["state"] != "resolved" || second["id"] != first["id"] || second["ends_at"] == nil {
			t.Errorf("resolved as %v, fired as %v", second, first)
		}
	})
	t.Run("the books balance", func(t *testing.T) { w.balanced(t) })
	t.Run("metrics are good and say what happened", func(t *testing.T) { w.goodMetrics(t) })
	t.Run("weir's own metrics are in InfluxDB", func(t *testing.T) {
		until(t, "they are written", func() bool {
			rows, err := srv.TryQuery("telemetry", `SELECT broker_messages_logged_total, host FROM weir_metrics WHERE broker_messages_logged_total >= 4`)
			return err == nil && len(rows) > 0 && rows[0]["host"] != ""
		})
	})
	t.Run("it is healthy until it is stopped, and then closed", func(t *testing.T) {
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, body := w.get(path); status != 200 || body != "ok\n" {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		w.stop()
		if err := w.app.Ready(); err == nil {
			t.Error("ready after the stop")
		}
		if !strings.Contains(w.log.String(), "weir has stopped") {
			t.Error("the end is not in the log")
		}
		c := paho.NewClient(paho.NewClientOptions().AddBroker(w.mqtt()).SetConnectTimeout(time.Second))
		if token := c.Connect(); token.WaitTimeout(patience) && token.Error() == nil {
			t.Error("a client could connect after the stop")
		}
	})
}

func (w *weir) hasLogged(t *testing.T, topic string) {
	t.Run("the events are in the log, with what could not be decoded", func(t *testing.T) {
		all := w.lines("topic=" + topic)
		if len(all) != 3 || all[0].Kind != "event" || all[0].Device != "f1" || all[0].Client != "" || all[0].Tags["site"] != "oslo" ||
			all[0].Fields["temperature"] != -18.5 || all[0].Fields["door"] != "closed" || all[0].Time.IsZero() {
			t.Fatalf("log: %+v", all)
		}
		if l := all[2]; l.Kind != "message" || l.Client != "freezer-1" || l.Error == "" || string(l.Payload) != `"{\"ts\": broken"` {
			t.Errorf("what is broken: %+v", l)
		}
	})
}

// hasAlerted checks every way in which an alert gets out.
func (w *weir) hasAlerted(t *testing.T, listener *client, ops *hook) {
	t.Run("the alert is printed", func(t *testing.T) {
		const want = `alert firing cold-room/FreezerWarm device=f1 severity=page team=plant value=-11 "f1 in oslo is at -11 °C"` + "\n"
		until(t, "the line is printed", func() bool { return strings.Contains(w.out.String(), want) })
	})
	t.Run("the alert is retained on MQTT", func(t *testing.T) {
		until(t, "the sirens sound", func() bool { return len(ops.all()) > 0 })
		late := connect(t, w.mqtt(), "late", nil)
		late.hear("weir/alerts/#")
		m := late.heard("weir/alerts/cold-room/FreezerWarm/f1", func(string) bool { return true })
		var a map[string]any
		if err := json.Unmarshal(m.Payload(), &a); err != nil {
			t.Fatal(err)
		}
		if !m.Retained() || a["state"] != "firing" || a["rule"] != "cold-room/FreezerWarm" || a["device"] != "f1" || a["id"] == "" {
			t.Errorf("retained %v: %s", m.Retained(), m.Payload())
		}
	})
	t.Run("the action is published", func(t *testing.T) {
		listener.heard("plant/oslo/siren", func(p string) bool { return p == "ON f1" })
	})
	t.Run("the webhook gets a CloudEvent", func(t *testing.T) {
		until(t, "the hook is called", func() bool { return len(ops.all()) > 0 })
		r := ops.all()[0]
		data, _ := r.body["data"].(map[string]any)
		cause, _ := data["event"].(map[string]any)
		if r.body["specversion"] != "1.0" || data["state"] != "firing" || data["device"] != "f1" || cause["position"] == nil ||
			!strings.HasPrefix(r.header.Get("Content-Type"), "application/cloudevents+json") {
			t.Errorf("request %v %v", r.header, r.body)
		}
	})
}

func (w *weir) knowsTheDevice(t *testing.T) {
	t.Run("the device is in the registry", func(t *testing.T) {
		type device struct {
			ID, Source string
			Online     bool
			Events     int
			Last       map[string]any
		}
		until(t, "it has two events", func() bool {
			_, body := w.get("/api/v1/devices/f1")
			return strings.Contains(body, `"events":2`)
		})
		page := ask[struct{ Devices []device }](w, "/api/v1/devices")
		if d := page.Devices; len(d) != 1 || d[0].ID != "f1" || !d[0].Online || d[0].Source != "plant" || d[0].Last["temperature"] != -11.0 {
			t.Errorf("devices %+v", d)
		}
	})
}
