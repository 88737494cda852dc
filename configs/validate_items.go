package configs

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"weir/configs/strict"
)

// formats that sources have, and those that have a name already and come later.
var (
	formats  = []string{"json", "value", "auto", "line-protocol"}
	reserved = []string{"senml", "cbor", "msgpack", "sparkplug-b"}
)

func (v *validator) sources() {
	seen := map[string]strict.Pos{}
	for i := range v.c.Sources {
		s := &v.c.Sources[i]
		if s.Name.Value == "" {
			v.missing(s.At("name"), "rules and metrics refer to a source by its name", "sources[%d] has no name", i)
		}
		v.unique(seen, "source", s.Name)
		if s.Topic.Value == "" {
			v.missing(s.At("topic"), `e.g. "sensors/{device}/telemetry"`, "source %q has no topic", s.Name.Value)
		}
		switch f := s.Format; {
		case f.Value == "" || slices.Contains(formats, f.Value):
		case slices.Contains(reserved, f.Value):
			v.bad(f.Pos, "there are "+strings.Join(formats, ", "), "source %q: format %s is not built yet", s.Name.Value, f.Value)
		default:
			v.oneOf(s.Section, "format", fmt.Sprintf("source %q: format", s.Name.Value), f, formats...)
		}
		if len(s.Device) == 0 && s.Format.Value != "line-protocol" && strings.ContainsAny(s.Topic.Value, "{+#") &&
			!strings.Contains(s.Topic.Value, "{device}") && !strings.Contains(s.Topic.Value, "{device...}") {
			v.warn(s.Topic.Pos, `write {device} in the topic, or set device, e.g. device: {field: id}`,
				"source %q: topic %q has no {device} and device is not set: the device is the whole topic", s.Name.Value, s.Topic.Value)
		}
		v.sourceTime(s)
		for _, word := range slices.Sorted(maps.Keys(s.Words)) {
			switch s.Words[word].(type) {
			case bool, float64, string:
			default:
				v.bad(s.At("words"), "for a word that means no reading use no_value", "source %q: words: %q stands for neither a boolean, a number nor a text", s.Name.Value, word)
			}
		}
	}
	if len(v.c.Sources) == 0 && !v.broken {
		v.warn(v.c.At("sources"), `add one, e.g. {name: plant, topic: "sensors/{device}/telemetry"}`, "there are no sources: weir is a broker only and logs nothing")
	}
}

func (v *validator) sourceTime(s *Source) {
	name := fmt.Sprintf("source %q: ", s.Name.Value)
	if s.Precision.Value != "" {
		v.oneOf(s.Section, "precision", name+"precision", s.Precision, "ns", "us", "ms", "s")
		switch {
		case s.Format.Value != "line-protocol":
			v.missing(s.At("precision"), "for other formats set time.unit", "%sprecision is for line-protocol", name)
		case s.Time.Unit.Value != "":
			v.bad(s.At("precision"), "remove one of the two", "%sprecision and time.unit are both set", name)
		}
	}
	if z := s.Time.Zone; z.Value != "" {
		if _, err := time.LoadLocation(z.Value); err != nil || z.Value == "Local" {
			v.bad(z.Pos, "an IANA name such as Europe/Berlin, or UTC", "%stime.zone: unknown zone %q", name, z.Value)
		}
	}
	v.duration(s.Time.Section, "max_ahead", name+"time.max_ahead", s.Time.MaxAhead, 0, 0)
	if len(s.Time.Field) == 0 && (s.Time.Unit.Value != "" || s.Time.Zone.Value != "") && s.Format.Value != "line-protocol" {
		v.missing(s.Time.Pos, "set time.field to the field of the payload that holds the time", "%stime has a unit or zone and no field", name)
	}
}

// ownConsumers are weir's consumers of the log; a sink is a consumer under its name too.
var ownConsumers = []string{"actions", "decode", "devices", "rules", "terminal"}

func (v *validator) sinks() {
	seen := map[string]strict.Pos{}
	for i := range v.c.Sinks {
		s := &v.c.Sinks[i]
		switch {
		case s.Name.Value == "":
			v.missing(s.At("name"), "its cursor in the log is kept under its name", "sinks[%d] has no name", i)
		case !plainName.MatchString(s.Name.Value):
			v.bad(s.Name.Pos, "letters, digits, - and _, 64 at most", "sink %q: the name has other characters", s.Name.Value)
		case slices.Contains(ownConsumers, s.Name.Value):
			v.bad(s.Name.Pos, "take another name", "sink %q: this is the name of a consumer of weir's own", s.Name.Value)
		}
		v.unique(seen, "sink", s.Name)
		var types []string
		if s.InfluxDB != nil {
			types = append(types, "influxdb")
		}
		if s.Webhook != nil {
			types = append(types, "webhook")
		}
		if s.MQTT != nil {
			types = append(types, "mqtt")
		}
		if s.Alertmanager != nil {
			types = append(types, "alertmanager")
		}
		if s.Email != nil {
			types = append(types, "email")
		}
		switch len(types) {
		case 1:
		case 0:
			v.missing(s.Pos, "set one of influxdb, webhook, mqtt, alertmanager, email", "sink %q has no type", s.Name.Value)
			continue
		default:
			v.bad(s.At(types[1]), "make them two sinks", "sink %q has more than one type: %s", s.Name.Value, strings.Join(types, ", "))
			continue
		}
		name := fmt.Sprintf("sink %q: ", s.Name.Value)
		v.duration(s.Retry.Section, "min", name+"retry.min", s.Retry.Min, time.Millisecond, time.Hour)
		v.duration(s.Retry.Section, "max", name+"retry.max", s.Retry.Max, s.Retry.Min, 24*time.Hour)
		v.number(s.Retry.Section, "max_attempts", name+"retry.max_attempts", s.Retry.MaxAttempts, 1, 1_000_000)
		switch {
		case s.InfluxDB != nil:
			v.influxdb(name+"influxdb.", s.InfluxDB)
		case s.Webhook != nil:
			v.webhook(name+"webhook.", s.Webhook)
		case s.Alertmanager != nil:
			v.alertmanager(name+"alertmanager.", s.Alertmanager)
		case s.Email != nil:
			v.email(name+"email.", s.Email)
		default:
			v.mqttSink(name+"mqtt.", s.MQTT)
		}
	}
}

func (v *validator) influxdb(name string, c *InfluxDB) {
	v.url(c.Section, name, c.URL, "http://127.0.0.1:8086", "http", "https")
	if u, err := url.Parse(c.URL.Reveal()); err == nil && u.User != nil {
		v.bad(c.URL.Pos, "use token, or username and password", "%surl holds a user name", name)
	} else if err == nil && (u.RawQuery != "" || u.Fragment != "") {
		v.bad(c.URL.Pos, "give the address of the server only", "%surl has a query", name)
	}
	bucket, database := c.Bucket.Value != "", c.Database.Value != ""
	switch {
	case !bucket && !database:
		v.missing(c.Pos, "set bucket, org and token for InfluxDB 2, or database for 1.8", "%sbucket is missing", name)
	case bucket && database:
		v.bad(c.At("database"), "bucket is for InfluxDB 2, database for 1.8", "%sbucket and %sdatabase are both set", name, name)
	case bucket && c.Username.Value != "":
		v.bad(c.At("username"), "InfluxDB 2 takes a token", "%susername is for InfluxDB 1.8, with database", name)
	case database && strings.Contains(c.Database.Value+c.RetentionPolicy.Value, "/"):
		v.bad(c.At("database"), "", "%sdatabase and retention_policy must not contain a slash", name)
	}
	if !c.Token.IsEmpty() && c.Username.Value != "" && database {
		v.bad(c.At("username"), "remove one of the two", "%stoken and %susername are both set", name, name)
	}
	if strings.Contains(c.Username.Value, ":") {
		v.bad(c.At("username"), "", "%susername must not contain a colon", name)
	}
	v.oneOf(c.Section, "precision", name+"precision", c.Precision, "ns", "us", "ms", "s")
	if p := c.Precision.Value; p == "us" || p == "ms" || p == "s" {
		v.warn(c.At("precision"), "leave it at ns unless devices send less often than that", "%sprecision: two events of a device in one %s are one point, and the later replaces the earlier", name, p)
	}
	v.number(c.Section, "batch", name+"batch", c.Batch, 1, 1_000_000)
	v.number(c.Section, "max_fields", name+"max_fields", c.MaxFields, 1, 10_000_000)
	v.size(c.Section, "max_bytes", name+"max_bytes", c.MaxBytes, 1*strict.KiB, 256*strict.MiB)
	v.duration(c.Section, "timeout", name+"timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
}

func (v *validator) webhook(name string, c *Webhook) {
	v.url(c.Section, name, c.URL, "https://example.com/hook", "http", "https")
	v.oneOf(c.Section, "method", name+"method", c.Method, http.MethodPost, http.MethodPut, http.MethodPatch)
	v.headers(c.Section, name, c.Headers)
	v.transitions(c.Section, name, c.On)
	v.duration(c.Section, "timeout", name+"timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
	v.number(c.Section, "max_attempts", name+"max_attempts", c.MaxAttempts, 0, 1_000_000)
	v.number(c.Section, "concurrency", name+"concurrency", c.Concurrency, 1, 1000)
	if c.Source.Value == "" {
		v.bad(c.At("source"), "e.g. weir", "%ssource is empty", name)
	}
}

func (v *validator) headers(s Section, name string, headers map[string]Secret) {
	for _, key := range slices.Sorted(maps.Keys(headers)) {
		value := headers[key]
		if key == "" || strings.ContainsAny(key, " :\t\r\n") || strings.ContainsAny(value.Reveal(), "\r\n") {
			v.bad(s.At("headers"), "a name without blanks and colons, and a value on one line", "%sheaders: %q is not an HTTP header", name, key)
		}
	}
}

// transitions checks the list on of a sink of alerts.
func (v *validator) transitions(s Section, name string, list Texts) {
	if len(list) == 0 {
		v.bad(s.At("on"), "firing, resolved, or both", "%son is empty, so nothing is ever sent", name)
	}
	for _, on := range list {
		v.oneOf(Section{Pos: on.Pos}, "", name+"on", on, "firing", "resolved")
	}
}

func (v *validator) mqttSink(name string, c *MQTTSink) {
	v.url(c.Section, name, c.URL, "mqtt://127.0.0.1:1883", "mqtt", "mqtts", "tcp", "ssl", "ws", "wss")
	for key, t := range map[string]strict.String{"alert_topic": c.AlertTopic, "event_topic": c.EventTopic} {
		if strings.ContainsAny(t.Value, "+#\x00") {
			v.bad(t.Pos, "one can't publish to + or #", "%s%s: %q is a filter", name, key, t.Value)
		}
	}
	v.number(c.Section, "qos", name+"qos", c.QoS, 0, 2)
	v.oneOf(c.Section, "events", name+"events", c.Events, EventsAlerts, EventsTelemetry, EventsAll)
	v.duration(c.Section, "timeout", name+"timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
	if !c.Password.IsEmpty() && c.Username.Value == "" {
		v.missing(c.At("password"), "set username too", "%spassword is set and username is not", name)
	}
}

// url checks an address without showing it: it may hold a password.
func (v *validator) url(s Section, name string, u URL, example string, schemes ...string) {
	switch {
	case u.IsEmpty():
		v.missing(s.At("url"), "e.g. "+example, "%surl is missing or empty", name)
	case !validURL(u.Reveal(), schemes...):
		v.bad(u.Pos, "e.g. "+example, "%surl is not an address with a host that begins with %s", name, strings.Join(schemes, "://, ")+"://")
	}
}

func validURL(text string, schemes ...string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Hostname() != "" && u.Opaque == "" && slices.Contains(schemes, u.Scheme)
}

// unique reports a name that an earlier item of the list has.
func (v *validator) unique(seen map[string]strict.Pos, kind string, name strict.String) {
	if name.Value == "" {
		return
	}
	if first, ok := seen[name.Value]; ok {
		v.bad(name.Pos, "give each its own", "%s %q: the name is taken by the %s on line %d", kind, name.Value, kind, first.Line)
		return
	}
	seen[name.Value] = name.Pos
}
