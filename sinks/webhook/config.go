package webhook

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"weir/sinks/choice"
	"weir/sinks/exchange"
)

// Config says where to deliver, and what.
type Config struct {
	Name        string            `yaml:"-"` // of the sink: what a rule's "send" names
	URL         string            `yaml:"url"`
	Method      string            `yaml:"method"`
	Headers     map[string]string `yaml:"headers"`
	Secret      string            `yaml:"secret"`       // key of the signature; "" for none
	Timeout     time.Duration     `yaml:"timeout"`      // of one request
	On          []string          `yaml:"on"`           // states that are delivered: firing, resolved
	All         bool              `yaml:"all"`          // deliver every alert, not only those sent here by a rule
	MaxAttempts int               `yaml:"max_attempts"` // in an outage, after which an alert is a dead letter; 0: for ever
	Concurrency int               `yaml:"concurrency"`  // requests at a time, for different keys
	Source      string            `yaml:"source"`       // start of the CloudEvents source
	TLS         *tls.Config       `yaml:"-"`            // for https; nil is the system's
}

// Default returns a Config with all but Name and URL set.
func Default() Config {
	return Config{
		Method:      http.MethodPost,
		Timeout:     10 * time.Second,
		On:          choice.Default(),
		Concurrency: 4,
		Source:      "weir",
	}
}

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.URL); {
	case c.URL == "":
		bad("url: missing, e.g. https://example.com/hook")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("url: not an http or https URL with a host, e.g. https://example.com/hook")
	}
	if err := c.choice().Validate(); err != nil {
		errs = append(errs, err)
	}
	switch c.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
	default:
		bad("method: %q is not one of POST, PUT, PATCH", c.Method)
	}
	errs = append(errs, exchange.CheckHeaders(c.Headers)...)
	if c.Timeout <= 0 {
		bad("timeout: must be more than 0")
	}
	if c.MaxAttempts < 0 {
		bad("max_attempts: must not be negative; 0 is for ever")
	}
	if c.Concurrency <= 0 {
		bad("concurrency: must be more than 0")
	}
	if c.Source == "" {
		bad("source: missing, e.g. weir")
	}
	return errors.Join(errs...)
}

func (c Config) choice() choice.Choice { return choice.Choice{Name: c.Name, All: c.All, On: c.On} }
