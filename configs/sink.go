package configs

import (
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
)

// Sink is a place where events and alerts are delivered. Exactly one of its
// types is set: InfluxDB, Webhook, MQTT, Alertmanager, Email.
type Sink struct {
	Section      `yaml:",inline"`
	Name         strict.String `yaml:"name"`
	Optional     bool          `yaml:"optional"` // the sink is off while its url is empty
	Start        Start         `yaml:"start"`
	Retry        Retry         `yaml:"retry"`
	InfluxDB     *InfluxDB     `yaml:"influxdb"`
	Webhook      *Webhook      `yaml:"webhook"`
	MQTT         *MQTTSink     `yaml:"mqtt"`
	Alertmanager *Alertmanager `yaml:"alertmanager"`
	Email        *Email        `yaml:"email"`
}

// UnmarshalStrict fills in the defaults.
func (s *Sink) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain Sink
	*s = Sink{
		Start: Start{Mode: StartNew},
		Retry: Retry{Min: 500 * time.Millisecond, Max: 30 * time.Second, MaxAttempts: 10},
	}
	d.Decode(n, (*plain)(s))
}

// url returns the address of the sink's one type.
func (s *Sink) url() (u URL, section Section, kind string) {
	switch {
	case s.InfluxDB != nil:
		return s.InfluxDB.URL, s.InfluxDB.Section, "influxdb"
	case s.Webhook != nil:
		return s.Webhook.URL, s.Webhook.Section, "webhook"
	case s.MQTT != nil:
		return s.MQTT.URL, s.MQTT.Section, "mqtt"
	case s.Alertmanager != nil:
		return s.Alertmanager.URL, s.Alertmanager.Section, "alertmanager"
	case s.Email != nil:
		return s.Email.URL, s.Email.Section, "email"
	}
	return URL{}, s.Section, ""
}

// The ways of Start.
const (
	StartNew  = "new"  // with what arrives after the sink was added
	StartAll  = "all"  // with the oldest that the log has
	StartTime = "time" // with what was received at Time or later
)

// Start says where a sink that has no cursor yet begins. In a file it is new,
// all, or a time.
type Start struct {
	Mode string
	Time time.Time // for StartTime
	Pos  strict.Pos
}

// MarshalText returns what a file would say.
func (s Start) MarshalText() ([]byte, error) {
	if s.Mode == StartTime {
		return []byte(s.Time.Format(time.RFC3339Nano)), nil
	}
	return []byte(s.Mode), nil
}

// UnmarshalStrict takes new, all, or a time.
func (s *Start) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	var t strict.String
	if !d.Decode(n, &t) {
		return
	}
	switch at, ok := parseMoment(t.Value); {
	case t.Value == StartNew || t.Value == StartAll:
		*s = Start{Mode: t.Value, Pos: t.Pos}
	case ok:
		*s = Start{Mode: StartTime, Time: at, Pos: t.Pos}
	default:
		d.Errorf(n, `write new, all, or a time such as 2020-01-31T12:00:00Z`, "want the place in the log to start at")
	}
}

// Retry says how deliveries are tried again: an outage for ever, with waits
// between Min and Max, and one message's own fault MaxAttempts times.
type Retry struct {
	Section     `yaml:",inline"`
	Min         time.Duration `yaml:"min"`
	Max         time.Duration `yaml:"max"`
	MaxAttempts int           `yaml:"max_attempts"` // after that the message is a dead letter
}

// InfluxDB is a sink of events and alerts. Bucket is for InfluxDB 2, with Org
// and Token; Database is for 1.8, with Username and Password.
type InfluxDB struct {
	Section         `yaml:",inline"`
	URL             URL           `yaml:"url"`
	Org             strict.String `yaml:"org"`
	Bucket          strict.String `yaml:"bucket"`
	Token           Secret        `yaml:"token"`
	Database        strict.String `yaml:"database"`
	RetentionPolicy strict.String `yaml:"retention_policy"`
	Username        strict.String `yaml:"username"`
	Password        Secret        `yaml:"password"`
	Precision       strict.String `yaml:"precision"` // ns, us, ms, s
	Gzip            bool          `yaml:"gzip"`
	Batch           int           `yaml:"batch"`      // lines in one request
	MaxBytes        strict.Size   `yaml:"max_bytes"`  // of one request, before compression
	MaxFields       int           `yaml:"max_fields"` // (measurement, field) pairs whose type is learnt
	Timeout         time.Duration `yaml:"timeout"`    // of one request
	Measurements    Filter        `yaml:"measurements"`
	Alerts          bool          `yaml:"alerts"`  // write alerts too, as weir_alerts
	Metrics         bool          `yaml:"metrics"` // write weir's own metrics too, as weir_metrics
}

// Filter chooses by name; names may hold * for any run of characters.
type Filter struct {
	Section `yaml:",inline"`
	Include Texts `yaml:"include"` // all if empty
	Exclude Texts `yaml:"exclude"`
}

// UnmarshalStrict fills in the defaults.
func (c *InfluxDB) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain InfluxDB
	*c = InfluxDB{
		Precision: text("ns"), Batch: 20_000, MaxBytes: 8 * strict.MiB, MaxFields: 20_000,
		Timeout: 30 * time.Second, Alerts: true,
	}
	d.Decode(n, (*plain)(c))
}

// Webhook is a sink of alerts, each an HTTP request with a CloudEvent.
type Webhook struct {
	Section     `yaml:",inline"`
	URL         URL               `yaml:"url"`
	Method      strict.String     `yaml:"method"`
	Headers     map[string]Secret `yaml:"headers"`
	Secret      Secret            `yaml:"secret"` // key of the HMAC-SHA256 signature
	Timeout     time.Duration     `yaml:"timeout"`
	On          Texts             `yaml:"on"`           // transitions: firing, resolved
	All         bool              `yaml:"all"`          // every alert, not only those that a rule sends here
	Concurrency int               `yaml:"concurrency"`  // requests at a time
	Source      strict.String     `yaml:"source"`       // start of the CloudEvents source
	MaxAttempts int               `yaml:"max_attempts"` // deliveries of one alert in an outage; 0: for ever
}

// UnmarshalStrict fills in the defaults.
func (c *Webhook) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain Webhook
	*c = Webhook{Method: text("POST"), Timeout: 10 * time.Second, On: Texts{text("firing"), text("resolved")}, Concurrency: 4, Source: text("weir")}
	d.Decode(n, (*plain)(c))
}

// What an MQTT sink publishes.
const (
	EventsAlerts    = "alerts"
	EventsTelemetry = "telemetry"
	EventsAll       = "all"
)

// MQTTSink publishes to another broker.
type MQTTSink struct {
	Section    `yaml:",inline"`
	URL        URL           `yaml:"url"`
	AlertTopic strict.String `yaml:"alert_topic"` // templates; "" is the sink's default
	EventTopic strict.String `yaml:"event_topic"`
	QoS        int           `yaml:"qos"`
	Retain     bool          `yaml:"retain"`
	Username   strict.String `yaml:"username"`
	Password   Secret        `yaml:"password"`
	ClientID   strict.String `yaml:"client_id"` // "" is weir- and the sink's name
	Events     strict.String `yaml:"events"`
	Timeout    time.Duration `yaml:"timeout"` // for connecting, and for an acknowledgement
}

// UnmarshalStrict fills in the defaults.
func (c *MQTTSink) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain MQTTSink
	*c = MQTTSink{QoS: 1, Events: text(EventsAlerts), Timeout: 10 * time.Second}
	d.Decode(n, (*plain)(c))
}

// Alertmanager is a sink of alerts: a Prometheus Alertmanager, or the members of
// a cluster of them.
type Alertmanager struct {
	Section      `yaml:",inline"`
	URL          URL               `yaml:"url"` // of each member, separated by commas
	Headers      map[string]Secret `yaml:"headers"`
	Username     strict.String     `yaml:"username"`
	Password     Secret            `yaml:"password"`
	Token        Secret            `yaml:"token"` // for bearer authentication
	CA           strict.String     `yaml:"ca"`    // file with the CA that signs the server's certificate; "" is the system's
	Timeout      time.Duration     `yaml:"timeout"`
	All          bool              `yaml:"all"`           // every alert, not only those that a rule sends here
	Resend       time.Duration     `yaml:"resend"`        // between two deliveries of an alert that fires
	GeneratorURL strict.String     `yaml:"generator_url"` // what alerts link to
}

// UnmarshalStrict fills in the defaults.
func (c *Alertmanager) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain Alertmanager
	*c = Alertmanager{Timeout: 10 * time.Second, Resend: time.Minute}
	d.Decode(n, (*plain)(c))
}

// URLs returns the address of each member.
func (c *Alertmanager) URLs() []string {
	var all []string
	for one := range strings.SplitSeq(c.URL.Reveal(), ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, one)
		}
	}
	return all
}

// Whether a mail server must offer STARTTLS.
const (
	StartTLSRequired = "required"
	StartTLSOptional = "optional" // it is used if it is offered
	StartTLSOff      = "off"
)

// Email is a sink of alerts: each is mailed through an SMTP server.
type Email struct {
	Section     `yaml:",inline"`
	URL         URL           `yaml:"url"`      // smtp://host:port, or smtps://host:port
	StartTLS    strict.String `yaml:"starttls"` // for smtp
	CA          strict.String `yaml:"ca"`       // file with the CA that signs the server's certificate; "" is the system's
	Username    strict.String `yaml:"username"`
	Password    Secret        `yaml:"password"`
	From        strict.String `yaml:"from"`
	To          Texts         `yaml:"to"`
	Subject     strict.String `yaml:"subject"` // templates; "" is the sink's default
	Body        strict.String `yaml:"body"`
	Hello       strict.String `yaml:"hello"` // the name weir gives itself; "" is the host's
	On          Texts         `yaml:"on"`    // transitions: firing, resolved
	All         bool          `yaml:"all"`   // every alert, not only those that a rule sends here
	Timeout     time.Duration `yaml:"timeout"`
	MaxAttempts int           `yaml:"max_attempts"` // at one mail that the server puts off
}

// UnmarshalStrict fills in the defaults.
func (c *Email) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	type plain Email
	*c = Email{StartTLS: text(StartTLSRequired), On: Texts{text("firing"), text("resolved")}, Timeout: 30 * time.Second, MaxAttempts: 100}
	d.Decode(n, (*plain)(c))
}
