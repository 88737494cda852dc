package configs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

const secretConfig = `
log: {url: "nats://user:hunter2@n1:4222,nats://hunter2@n2:4222"}
mqtt: {anonymous: true, listen: "127.0.0.1:1883"}
sources: [{name: a, topic: "a/{device}"}]
sinks:
  - {name: i2, influxdb: {url: "http://127.0.0.1:8086", bucket: b, token: hunter2}}
  - {name: i1, influxdb: {url: "http://127.0.0.1:8086", database: b, username: u, password: "${PASSWORD}"}}
  - {name: w, webhook: {url: "https://u:hunter2@example.com/services/hunter2?k=hunter2", secret: hunter2, headers: {Authorization: "Bearer hunter2"}}}
  - {name: m, mqtt: {url: "mqtt://u:hunter2@127.0.0.1", username: u, password: hunter2}}
`

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	c, err := Parse("weir.yaml", []byte(secretConfig), func(string) string { return "hunter2" })
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sinks[1].InfluxDB.Password.Reveal(); got != "hunter2" {
		t.Fatalf("Reveal() = %q", got)
	}
	printed := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10v", "%o"} {
		for name, x := range map[string]any{
			"pointer": c, "value": *c, "log": c.Log, "sinks": c.Sinks, "sink": c.Sinks[2], "influx": c.Sinks[0].InfluxDB,
			"webhook": c.Sinks[2].Webhook, "webhook value": *c.Sinks[2].Webhook, "mqtt": *c.Sinks[3].MQTT,
			"headers": c.Sinks[2].Webhook.Headers, "secret": c.Sinks[2].Webhook.Secret, "url": c.Sinks[2].Webhook.URL, "secret pointer": &c.Sinks[2].Webhook.Secret,
		} {
			printed[verb+" of "+name] = fmt.Sprintf(verb, x)
		}
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed["json"] = string(j)
	y, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed["yaml"] = string(y)
	var logged bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&logged, nil), slog.NewJSONHandler(&logged, nil)} {
		slog.New(h).Info("loaded", "config", c, "sink", c.Sinks[2], "secret", c.Sinks[2].Webhook.Secret, "url", c.Sinks[2].Webhook.URL)
	}
	printed["slog"] = logged.String()
	printed["fmt.Sprint"] = fmt.Sprint(c.Sinks[2].Webhook.Secret, c.Sinks[2].Webhook.URL)
	for how, text := range printed {
		if strings.Contains(text, "hunter2") || strings.Contains(text, fmt.Sprintf("%x", "hunter2")) || strings.Contains(text, fmt.Sprintf("%X", "hunter2")) {
			t.Errorf("%s shows the secret: %.300s", how, text)
		}
	}
	for _, how := range []string{"json", "yaml", "slog", "%+v of influx"} {
		if !strings.Contains(printed[how], "[redacted]") {
			t.Errorf("%s does not say [redacted]: %s", how, printed[how])
		}
	}
}

func TestErrorsDoNotShowSecrets(t *testing.T) {
	src := `
log: {url: "x://hunter2@n1", linger: "${S}", partitions: "${S}"}
sinks:
  - {name: i, influxdb: {url: "ftp://u:hunter2@h", bucket: b, batch: "${S}", token: [hunter2]}}
  - {name: w, webhook: {url: "https://u:hunter2@h:port/%zz", headers: {"a b": hunter2}}}
  - {name: m, mqtt: {url: "hunter2", password: hunter2}}
`
	_, err := Parse("weir.yaml", []byte(src), func(string) string { return "hunter2" })
	if err == nil {
		t.Fatal("no error")
	}
	for _, e := range errorsOf(t, err) {
		if strings.Contains(e.Error()+e.Hint, "hunter2") {
			t.Errorf("%v (hint %s)", e, e.Hint)
		}
	}
}

func TestURLShowsWhereItLeadsOnly(t *testing.T) {
	for text, want := range map[string]string{
		"embedded": "embedded", "http://h:8086": "http://h:8086", "http://h:8086/": "http://h:8086",
		"https://h/services/T0/x": "https://h/[redacted]", "nats://a:b@n1:4222,nats://n2": "nats://[redacted]@n1:4222,nats://n2",
		"u:p@host": "[redacted]", "https://h?token=x": "https://h/[redacted]",
	} {
		if got := NewURL(text).String(); got != want {
			t.Errorf("NewURL(%q).String() = %q, want %q", text, got, want)
		}
	}
}
