package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Where a Sink publishes if Config does not say.
const (
	defaultEventTopic = "weir/events/{measurement}/{device}"
	defaultAlertTopic = "weir/alerts/{group}/{rule}/{key}"
)

// Config says where a Sink publishes, and what.
type Config struct {
	Name     string `yaml:"-"` // of the sink: what a rule's "send" names
	URL      string `yaml:"url"`
	Username string `yaml:"username"`
	Password string `yaml:"password"`
	ClientID string `yaml:"client_id"` // "": weir- and Name. Two clients with one id throw each other out

	Events    bool `yaml:"events"`     // publish events and recordings
	Alerts    bool `yaml:"alerts"`     // publish the alerts that a rule sends to Name
	AllAlerts bool `yaml:"all_alerts"` // publish every alert

	// EventTopic and AlertTopic may name, in braces: {device}, {measurement},
	// {source} and tags of an event; {group}, {rule}, {key}, {device}, {state},
	// {id} and labels of an alert. A "/", "+", "#" or "%" in a value is
	// percent-encoded. What lacks a value that is named is dead-lettered.
	EventTopic string `yaml:"event_topic"`
	AlertTopic string `yaml:"alert_topic"`

	QoS     byte          `yaml:"qos"` // with 0 nothing is acknowledged: what is on its way when the connection breaks is lost
	Retain  bool          `yaml:"retain"`
	Timeout time.Duration `yaml:"timeout"` // for connecting, and without any acknowledgement
	Window  int           `yaml:"window"`  // publishes on their way at a time
	TLS     *tls.Config   `yaml:"-"`       // for mqtts and wss; nil is the system's
}

// Default returns a Config with all but Name, URL and what to publish set.
func Default() Config {
	return Config{
		EventTopic: defaultEventTopic, AlertTopic: defaultAlertTopic,
		QoS: 1, Timeout: 10 * time.Second, Window: 256,
	}
}

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := address(c.URL); err != nil {
		errs = append(errs, err)
	}
	if !c.Events && !c.Alerts && !c.AllAlerts {
		bad("events and alerts: neither is set, so nothing would ever be published")
	}
	if c.Alerts && !c.AllAlerts && c.Name == "" {
		bad("name: missing; without it only all_alerts: true can choose alerts")
	}
	if c.Events {
		if _, err := parseTemplate(c.EventTopic); err != nil {
			bad("event_%w", err)
		}
	}
	if c.Alerts || c.AllAlerts {
		if _, err := parseTemplate(c.AlertTopic); err != nil {
			bad("alert_%w", err)
		}
	}
	if c.QoS > 2 {
		bad("qos: %d is not one of 0, 1, 2", c.QoS)
	}
	if c.Password != "" && c.Username == "" {
		bad("password: is set, but username is not")
	}
	if c.Timeout <= 0 {
		bad("timeout: must be more than 0")
	}
	if c.Window < 1 || c.Window > 10_000 {
		bad("window: %d is not from 1 to 10000", c.Window)
	}
	return errors.Join(errs...)
}

// address returns the broker's URL with a port.
func address(s string) (*url.URL, error) {
	ports := map[string]string{"mqtt": "1883", "tcp": "1883", "mqtts": "8883", "ssl": "8883", "tls": "8883", "ws": "", "wss": ""}
	if s == "" {
		return nil, errors.New("url: missing, e.g. mqtt://broker.example:1883")
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("url: not a URL with a host, e.g. mqtt://broker.example:1883")
	}
	port, known := ports[u.Scheme]
	if !known {
		return nil, fmt.Errorf("url: scheme %q is not one of mqtt, mqtts, ws, wss", u.Scheme)
	}
	if u.User != nil {
		return nil, errors.New("url: holds a user name; use username and password")
	}
	if u.Port() == "" && port != "" {
		u.Host += ":" + port
	}
	return u, nil
}
