package configs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/configs/strict"
)

func errorsOf(t *testing.T, err error) strict.Errors {
	t.Helper()
	var list strict.Errors
	if !errors.As(err, &list) {
		t.Fatalf("got %v, want strict.Errors", err)
	}
	return list
}

func noEnv(string) string { return "" }

func TestAnEmptyFileIsTheDefaults(t *testing.T) {
	c, err := Parse("weir.yaml", nil, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	d := Default()
	if c.Log.Ring != d.Log.Ring || c.MQTT.Listen.Value != ":1883" || c.HTTP.Listen.Value != "127.0.0.1:8080" || c.Log.PartitionCount() < 1 {
		t.Errorf("got %+v", c)
	}
}

// good is a file to which the tables below add what they test.
const good = "mqtt: {listen: \"127.0.0.1:0\", anonymous: true}\nsources: [{name: a, topic: \"a/{device}\"}]\n"

func TestProblemsAreReportedWithPlaceAndRemedy(t *testing.T) {
	sink := func(s string) string { return good + "sinks:\n  - " + s + "\n" }
	tests := []struct{ name, src, want, hint string }{
		{"a misspelt key", "lgo: {}\n", `1:1: unknown key "lgo"`, `did you mean "log"?`},
		{"an empty data_dir", good + "data_dir: \"\"\n", "3:1: data_dir is empty", "e.g. ./data"},
		{"linger out of range", good + "log:\n  linger: 6ms\n", "4:3: log.linger: 6ms is out of range", "from 0s to 5ms"},
		{"too many partitions", good + "log: {partitions: 1000}\n", "3:7: log.partitions: 1000 is out of range", "from 0 to 256"},
		{"replicas of an embedded log", good + "log: {replicas: 3}\n", "3:7: log.replicas: the embedded log has 1 replica, not 3", ""},
		{"an even number of replicas", good + "log: {url: \"nats://h:4222\", replicas: 2}\n", "3:29: log.replicas: 2 is not a number of replicas that can hold a majority", "1, 3 or 5"},
		{"a log url of another kind", good + "log: {url: \"http://h\"}\n", "3:13: log.url is neither embedded nor a list of NATS servers", ""},
		{"a ring smaller than two packets", good + "log: {ring: 1MiB}\n", "3:7: log.ring (1MiB) must be at least 2688KiB: twice mqtt.limits.max_packet (1MiB) and 320KiB, and twice log.batch (256KiB)", "raise log.ring"},
		{"a packet larger than the ring", "mqtt:\n  anonymous: true\n  listen: 127.0.0.1:0\n  limits:\n    max_packet: 8MiB\n    write_buffer: 64MiB\nsources: [{name: a, topic: a}]\n", "5:5: log.ring (8MiB) must be", ""},
		{"a rule file that is not there", good + "rules: [nosuch.yaml]\n", `3:9: rules: there is no file "nosuch.yaml"`, "names are relative to the folder ."},
		{"too little retention", good + "log: {retention: {max_bytes: 1MB}}\n", "3:19: log.retention.max_bytes: 1000000 is too little to hold a backlog", ""},
		{"an address that is none", "mqtt: {listen: 1883, anonymous: true}\n", `1:8: mqtt.listen: "1883" is not an address to listen on`, ""},
		{"a port out of range", "http: {listen: \":99999\"}\n", `1:8: http.listen: ":99999" is not an address to listen on`, ""},
		{"two listeners on one address", "mqtt: {listen: \":8080\"}\nhttp: {listen: \"127.0.0.1:8080\"}\n", `2:8: http.listen: "127.0.0.1:8080" is the address of mqtt.listen too`, "give each listener its own port"},
		{"no listener", "mqtt: {listen: \"\"}\n", "1:7: mqtt has no listener", ""},
		{"a certificate without a key", "mqtt:\n  tls: {cert: a.pem}\n", "2:9: mqtt.tls.cert is set and mqtt.tls.key is not", "set both, or neither"},
		{"client certificates without a CA", "mqtt:\n  tls: {cert: a, key: b, client_cert: required}\n", "2:26: mqtt.tls.client_cert is required and mqtt.tls.client_ca is not set", ""},
		{"a TLS address without a certificate", "mqtt:\n  tls: {listen: \":8883\"}\n", "2:9: mqtt.tls has an address to listen on and no certificate", ""},
		{"users from certificates that clients don't have", "mqtt:\n  tls: {cert: a, key: b, cert_user: true}\n", "2:26: mqtt.tls.cert_user is set and clients have no certificates", ""},
		{"a WebSocket with TLS and no certificate", "mqtt: {websocket: {tls: true}}\n", "1:20: mqtt.websocket.tls is set and there is no certificate", ""},
		{"an unknown word", "mqtt:\n  tls: {client_cert: requird}\n", `2:9: mqtt.tls.client_cert: unknown value "requird"`, `did you mean "required"?`},
		{"an origin with a path", "mqtt: {websocket: {origins: [\"https://h/x\"]}}\n", `1:31: mqtt.websocket.origins: "https://h/x" is not an origin`, ""},
		{"a rate below zero", "mqtt: {limits: {publish_rate: -1}}\n", "1:17: mqtt.limits.publish_rate: -1 is out of range", ""},
		{"a rate that is no number", "mqtt: {limits: {accept_rate: .nan}}\n", "1:30: want a whole number, got .nan", ""},
		{"a write buffer below a packet", "mqtt: {limits: {write_buffer: 1KiB}}\n", "1:17: mqtt.limits.write_buffer: 1KiB is out of range", "from 4MiB to 1GiB"},
		{"a bad pattern", good + "rules: [\"[a\"]\n", `3:10: rules: "[a" is not a pattern of file names: syntax error in pattern`, ""},
		{"a source without a topic", "sources:\n  - name: a\n", `2:5: source "a" has no topic`, ""},
		{"a format to come", "sources:\n  - {name: a, topic: a, format: cbor}\n", `2:33: source "a": format cbor is not built yet`, "there are json, value, auto, line-protocol"},
		{"a misspelt format", "sources:\n  - {name: a, topic: a, format: jsn}\n", `2:25: source "a": format: unknown value "jsn"`, `did you mean "json"?`},
		{"a precision for JSON", "sources:\n  - {name: a, topic: a, precision: ms}\n", `2:25: source "a": precision is for line-protocol`, ""},
		{"an unknown zone", "sources:\n  - {name: a, topic: a, time: {field: t, zone: Mars}}\n", `2:48: source "a": time.zone: unknown zone "Mars"`, ""},
		{"a time unit without a field", "sources:\n  - {name: a, topic: a, time: {unit: ms}}\n", `2:31: source "a": time has a unit or zone and no field`, ""},
		{"a device that is neither", "sources:\n  - {name: a, topic: a, device: {format: \"%x\"}}\n", "2:33: want either a text or a field", `write "{device}" or {field: id}`},
		{"a sink without a type", sink("{name: x}"), `4:5: sink "x" has no type`, "set one of influxdb, webhook, mqtt, alertmanager, email"},
		{"a sink with two types", sink("{name: x, webhook: {url: \"http://h\"}, mqtt: {url: \"mqtt://h\"}}"), `4:43: sink "x" has more than one type: webhook, mqtt`, "make them two sinks"},
		{"a sink with the name of a consumer", sink("{name: rules, webhook: {url: \"http://h\"}}"), `4:12: sink "rules": this is the name of a consumer of weir's own`, ""},
		{"a sink with a name that is none", sink("{name: a b, webhook: {url: \"http://h\"}}"), `4:12: sink "a b": the name has other characters`, ""},
		{"a sink without an address", sink("{name: x, webhook: {timeout: 1s}}"), `4:24: sink "x": webhook.url is missing or empty`, "e.g. https://example.com/hook"},
		{"an address of the wrong kind", sink("{name: x, webhook: {url: example.com}}"), `4:30: sink "x": webhook.url is not an address with a host that begins with http://, https://`, ""},
		{"an InfluxDB without a bucket", sink("{name: x, influxdb: {url: \"http://h\"}}"), `4:25: sink "x": influxdb.bucket is missing`, ""},
		{"a token for InfluxDB 1.8 beside a user", sink("{name: x, influxdb: {url: \"http://h\", database: d, token: t, username: u}}"), `4:66: sink "x": influxdb.token and sink "x": influxdb.username are both set`, ""},
		{"a place to start that is none", sink("{name: x, start: yesterday, webhook: {url: \"http://h\"}}"), "4:22: want the place in the log to start at", ""},
		{"a filter to publish to", sink("{name: x, mqtt: {url: \"mqtt://h\", alert_topic: a/#}}"), `4:52: sink "x": mqtt.alert_topic: "a/#" is a filter`, ""},
		{"a qos that is none", sink("{name: x, mqtt: {url: \"mqtt://h\", qos: 3}}"), `4:39: sink "x": mqtt.qos: 3 is out of range`, "from 0 to 2"},
		{"a transition that is none", sink("{name: x, webhook: {url: \"http://h\", on: [pending]}}"), `4:47: sink "x": webhook.on: unknown value "pending"`, ""},
		{"an Alertmanager's address with a path of its API", sink("{name: x, alertmanager: {url: \"http://h/api/v2/alerts\"}}"), `4:36: sink "x": alertmanager.url is not the address of Alertmanager only`, "weir adds /api/v2/alerts itself"},
		{"an Alertmanager without an address", sink("{name: x, alertmanager: {resend: 1m}}"), `4:29: sink "x": alertmanager.url is missing or empty`, "e.g. http://127.0.0.1:9093"},
		{"one Alertmanager of two with a wrong address", sink("{name: x, alertmanager: {url: \"http://h,h2:9093\"}}"), `4:36: sink "x": alertmanager.url is not a list of addresses`, ""},
		{"a token beside a user", sink("{name: x, alertmanager: {url: \"http://h\", token: t, username: u}}"), `4:47: sink "x": alertmanager.token and sink "x": alertmanager.username are both set`, ""},
		{"alerts that are repeated too often", sink("{name: x, alertmanager: {url: \"http://h\", resend: 1ms}}"), `4:47: sink "x": alertmanager.resend: 1ms is out of range`, ""},
		{"a link that is none", sink("{name: x, alertmanager: {url: \"http://h\", generator_url: weir}}"), `4:62: sink "x": alertmanager.generator_url is not an address`, ""},
		{"mail from nobody", sink("{name: x, email: {url: \"smtp://h\", to: [a@x]}}"), `4:22: sink "x": email.from is missing`, ""},
		{"mail to nobody", sink("{name: x, email: {url: \"smtp://h\", from: a@x}}"), `4:22: sink "x": email.to is missing`, "e.g. [oncall@example.com]"},
		{"an address that is none of mail", sink("{name: x, email: {url: \"smtp://h\", from: a@x, to: [a@x, b]}}"), `4:61: sink "x": email.to: "b" is not a mail address`, ""},
		{"a mail server by another protocol", sink("{name: x, email: {url: \"http://h\", from: a@x, to: [a@x]}}"), `4:29: sink "x": email.url is not an address with a host that begins with smtp://, smtps://`, ""},
		{"a mail server with a path", sink("{name: x, email: {url: \"smtp://h/x\", from: a@x, to: [a@x]}}"), `4:29: sink "x": email.url has a path or a query`, ""},
		{"a word for STARTTLS that there is not", sink("{name: x, email: {url: \"smtp://h\", from: a@x, to: [a@x], starttls: yes}}"), `4:62: sink "x": email.starttls: unknown value "yes"`, ""},
		{"a password that all can read", sink("{name: x, email: {url: \"smtp://h\", from: a@x, to: [a@x], starttls: off, username: u, password: p}}"), `4:62: sink "x": email.starttls is off, so username and password would go over the network as they are`, ""},
		{"a variable that is not set", good + "data_dir: \"${HOEM}\"\n", "3:12: environment variable HOEM is not set, or empty", "set it, or give a default: ${HOEM:-default} (an empty one too: ${HOEM:-})"},
		{"a file that is not there", good + "data_dir: ${file:nothing}\n", "3:11: read ${file:nothing}: no such file or directory", "names are relative to the configuration file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("weir.yaml", []byte(tt.src), noEnv)
			list := errorsOf(t, err)
			if got := list[0].Error(); !strings.HasPrefix(got, "weir.yaml:"+tt.want) {
				t.Errorf("got  %s\nwant weir.yaml:%s", got, tt.want)
			}
			if tt.hint != "" && list[0].Hint != tt.hint {
				t.Errorf("hint %q, want %q", list[0].Hint, tt.hint)
			}
			if len(list) != 1 {
				t.Errorf("want one problem, got\n%v", err)
			}
		})
	}
}

func TestAllProblemsAreReportedAtOnceInOrder(t *testing.T) {
	src := "sinks: [{name: a}, {name: a, webhook: {url: x}}]\nlog: {linger: 1h, ringg: 1}\nmqtt: {listen: nowhere}\nsources:\n  - {name: s, topic: a}\n  - {name: s, topic: \"${T}\"}\n"
	_, err := Parse("weir.yaml", []byte(src), noEnv)
	var got []string
	for _, e := range errorsOf(t, err) {
		got = append(got, strings.TrimPrefix(e.Error(), "weir.yaml:"))
	}
	want := []string{
		`1:27: sink "a": the name is taken by the sink on line 1`,
		`1:45: sink "a": webhook.url is not an address with a host that begins with http://, https://`,
		`2:7: log.linger: 1h0m0s is out of range`,
		`2:19: unknown key "ringg"`,
		`3:8: mqtt.listen: "nowhere" is not an address to listen on`,
		`6:12: source "s": the name is taken by the source on line 5`,
		`6:23: environment variable T is not set, or empty`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAClientCAAloneAsksForCertificates(t *testing.T) {
	for keys, want := range map[string]string{
		"": ClientCertNone, "client_ca: c": ClientCertRequired, "client_ca: c, client_cert: optional": ClientCertOptional,
	} {
		c, err := Parse("weir.yaml", []byte("mqtt: {users_file: u, tls: {cert: a, key: b, "+keys+"}}\n"), noEnv)
		if err != nil || c.MQTT.TLS.ClientCert.Value != want || !c.MQTT.TLS.On() {
			t.Errorf("%q: %v, %+v, want %s", keys, err, c.MQTT.TLS, want)
		}
	}
}

func TestARuleFileThatIsGoneIsAnErrorAndNotAnEmptySet(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.yaml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "weir.yaml"), []byte(good+"rules: [r.yaml, 'none-*.yaml']\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if files, err := c.RuleFiles(); err != nil || !slices.Equal(files, []string{file}) {
		t.Errorf("rule files %v, %v", files, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if files, err := c.RuleFiles(); err == nil || !strings.Contains(err.Error(), `weir.yaml:3:9: rules: there is no file "r.yaml"`) {
		t.Errorf("after it was removed: rule files %v, %v", files, err)
	}
}

func TestAPipeIsRefusedAndNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.yaml")
	if err := syscall.Mkfifo(file, 0o600); err != nil {
		t.Skip(err)
	}
	c, err := Parse(filepath.Join(dir, "weir.yaml"), []byte(good+"rules: ['*.yaml']\n"), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.ReadFile(file)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "it is no file, but a pipe") {
			t.Errorf("read a pipe: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("a pipe in the folder of rules is waited for")
	}
}

func TestWarnings(t *testing.T) {
	for _, tt := range []struct{ name, src, want string }{
		{"a glob that matches nothing", good + "rules: [\"nothing-*.yaml\"]\n", `3:10: rules: no file matches "nothing-*.yaml"`},
		{"no sources", "mqtt: {listen: \"127.0.0.1:0\", anonymous: true}\n", "1:1: there are no sources"},
		{"topics of many devices and no device", "mqtt: {listen: \"127.0.0.1:0\", anonymous: true}\nsources: [{name: a, topic: 'a/{dev}'}, {name: b, topic: b/+, device: {field: id}}, {name: c, topic: 'c/{device...}'}, {name: d, topic: d/#, format: line-protocol}]\n",
			`2:29: source "a": topic "a/{dev}" has no {device} and device is not set: the device is the whole topic`},
		{"no users", "sources: [{name: a, topic: a}]\n", "1:1: no client can connect"},
		{"everyone on every interface", "mqtt: {anonymous: true}\nsources: [{name: a, topic: a}]\n", "1:8: anyone who reaches :1883"},
		{"a log without an end", good + "log: {retention: {max_age: 0s, max_bytes: 0}}\n", "3:18: the log is never cut"},
		{"a client CA without effect", "sources: [{name: a, topic: a}]\nmqtt:\n  users_file: u\n  tls: {cert: a, key: b, client_ca: c, client_cert: none}\n", "4:26: mqtt.tls.client_ca has no effect"},
	} {
		c, err := Parse("weir.yaml", []byte(tt.src), noEnv)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if len(c.Warnings) != 1 || !strings.HasPrefix(c.Warnings[0].Error(), "weir.yaml:"+tt.want) {
			t.Errorf("%s: warnings %v, want %s", tt.name, c.Warnings, tt.want)
		}
	}
	if c, err := Parse("weir.yaml", []byte(good), noEnv); err != nil || len(c.Warnings) > 0 || len(c.Notes) > 0 {
		t.Errorf("a good file: %v, %v, %v", err, c.Warnings, c.Notes)
	}
}

func TestSourcesKeepTheirPlaces(t *testing.T) {
	src := `sources:
  - name: a
    topic: "x/{device}"
    device: ["{device}", {field: from, format: "%08x"}]
    time: {field: [a, b.c], unit: auto, earliest: 2020-01-31, max_ahead: 1d}
    tags: site
    words: {open: true, n: 3}
    no_value: {"*": "n/a"}
`
	c, err := Parse("weir.yaml", []byte(src), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Sources[0]
	if len(s.Device) != 2 || s.Device[0].Text.Value != "{device}" || s.Device[1].Field.Value != "from" {
		t.Errorf("device: %+v", s.Device)
	}
	if !slices.Equal(s.Time.Field.Values(), []string{"a", "b.c"}) || s.Time.MaxAhead != 24*time.Hour || s.Time.Earliest.Format(time.DateOnly) != "2020-01-31" {
		t.Errorf("time: %+v", s.Time)
	}
	if !slices.Equal(s.Tags.Values(), []string{"site"}) || s.Words["open"] != true || s.Words["n"] != 3.0 || s.NoValue["*"][0].Value != "n/a" {
		t.Errorf("tags %v, words %v, no_value %v", s.Tags, s.Words, s.NoValue)
	}
	for key, want := range map[string]strict.Pos{
		"topic": {Line: 3, Col: 5}, "time.unit": {Line: 5, Col: 29}, "time.zone": {Line: 5, Col: 11},
		"device.format": {Line: 4, Col: 40}, "rename": {Line: 2, Col: 5}, "words": {Line: 7, Col: 5},
	} {
		if got := s.At(key); got != want {
			t.Errorf("At(%q) = %v, want %v", key, got, want)
		}
	}
	if want := (strict.Pos{Line: 3, Col: 13}); s.Topic.Pos != want {
		t.Errorf("the topic begins at %v, want %v", s.Topic.Pos, want)
	}
}

func TestSinkDefaultsAndStart(t *testing.T) {
	src := good + `sinks:
  - {name: a, start: 2026-01-31T12:00:00Z, retry: {max: 1m}, influxdb: {url: "http://h", bucket: b, gzip: true}}
  - {name: b, start: all, webhook: {url: "http://h"}}
  - {name: c, mqtt: {url: "mqtt://h"}}
`
	c, err := Parse("weir.yaml", []byte(src), noEnv)
	if err != nil {
		t.Fatal(err)
	}
	a, b, m := c.Sinks[0], c.Sinks[1], c.Sinks[2]
	if a.Start.Mode != StartTime || a.Start.Time.Hour() != 12 || b.Start.Mode != StartAll || m.Start.Mode != StartNew {
		t.Errorf("starts: %v %v %v", a.Start, b.Start, m.Start)
	}
	if a.Retry.Min != 500*time.Millisecond || a.Retry.Max != time.Minute || a.InfluxDB.Batch != 20_000 || !a.InfluxDB.Gzip || !a.InfluxDB.Alerts {
		t.Errorf("influxdb: %+v %+v", a.Retry, a.InfluxDB)
	}
	if b.Webhook.Method.Value != "POST" || !slices.Equal(b.Webhook.On.Values(), []string{"firing", "resolved"}) || m.MQTT.QoS != 1 {
		t.Errorf("webhook %+v, mqtt %+v", b.Webhook, m.MQTT)
	}
}

func TestFilesAreFoundBesideTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("weir.yaml", good+"rules: [\"rules/*.yaml\", \"rules/b.yaml\", extra.yaml]\nsinks: [{name: w, webhook: {url: \"http://h\", secret: \"${file:secrets/hook}\"}}]\n")
	write("rules/a.yaml", "")
	write("rules/b.yaml", "")
	write("extra.yaml", "groups: []\n")
	write("secrets/hook", "s3cret\n")
	c, err := Load(filepath.Join(dir, "weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Sinks[0].Webhook.Secret.Reveal(); got != "s3cret" {
		t.Errorf("the secret is %q", got)
	}
	files, err := c.RuleFiles()
	want := []string{filepath.Join(dir, "extra.yaml"), filepath.Join(dir, "rules/a.yaml"), filepath.Join(dir, "rules/b.yaml")}
	if err != nil || !slices.Equal(files, want) {
		t.Errorf("rule files %v, %v, want %v", files, err, want)
	}
	if b, err := c.ReadFile(files[0]); err != nil || string(b) != "groups: []\n" {
		t.Errorf("read %q, %v", b, err)
	}
	if got, want := c.RuleDirs(), []string{dir, filepath.Join(dir, "rules")}; !slices.Equal(got, want) {
		t.Errorf("rule folders %v, want %v", got, want)
	}
	if got, want := c.Path("users.yaml"), filepath.Join(dir, "users.yaml"); got != want {
		t.Errorf("Path = %s, want %s", got, want)
	}
	if _, err := Load(filepath.Join(dir, "nothing.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestACoarsePrecisionIsWarnedOf(t *testing.T) {
	c, err := Parse("weir.yaml", []byte(`
sources: [{name: s, topic: "a/{device}"}]
sinks: [{name: x, influxdb: {url: "http://h", database: d, precision: ms}}]
`), os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		if strings.Contains(w.Msg, "two events of a device in one ms are one point") && w.Line == 3 {
			return
		}
	}
	t.Errorf("warnings: %v", c.Warnings)
}
