package alertmanager

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"weir/sinks/exchange"
)

// Config says which Alertmanagers are told, and of what.
type Config struct {
	Name         string            // of the sink: what a rule's "send" names
	URLs         []string          // of the members of one cluster; each is told everything
	Headers      map[string]string // of each request
	Username     string            // for basic authentication; "" for none
	Password     string
	Token        string        // for bearer authentication; "" for none
	Timeout      time.Duration // of one request
	All          bool          // every alert, not only those sent here by a rule
	Resend       time.Duration // between two deliveries of an alert that fires
	GeneratorURL string        // what alerts say as their generatorURL; "" for none
	TLS          *tls.Config   // for https; nil is the system's
}

// Default returns a Config with all but Name and URLs set.
func Default() Config {
	return Config{Timeout: 10 * time.Second, Resend: time.Minute}
}

// Deps are what a Sink uses. Zero values take the defaults said.
type Deps struct {
	Log *slog.Logger     // default: nowhere
	Now func() time.Time // default: time.Now
}

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.URLs) == 0 {
		bad("url: missing, e.g. http://127.0.0.1:9093")
	}
	for _, s := range c.URLs {
		switch u, err := url.Parse(s); {
		case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
			bad("url: not an http or https URL with a host, e.g. http://127.0.0.1:9093")
		case u.User != nil:
			bad("url: holds a user name; use username and password")
		case u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path+"/", "/api/"):
			bad("url: give the address of Alertmanager only, without /api/v2/alerts and without a query")
		}
	}
	if c.Name == "" && !c.All {
		bad("name: missing; without it only all: true can choose alerts")
	}
	errs = append(errs, exchange.CheckHeaders(c.Headers)...)
	if c.Username != "" && c.Token != "" {
		bad("token: is set, and username too; use one of them")
	}
	if c.Password != "" && c.Username == "" {
		bad("password: is set, but username is not")
	}
	if strings.Contains(c.Username, ":") {
		bad("username: has a colon, which basic authentication can't say")
	}
	if strings.ContainsAny(c.Token, " \t\r\n\x00") {
		bad("token: has a blank or a line break")
	}
	if c.Timeout <= 0 {
		bad("timeout: must be more than 0")
	}
	if c.Resend < time.Second {
		bad("resend: must be 1s or more; half of Alertmanager's resolve_timeout is a good value")
	}
	if u, err := url.Parse(c.GeneratorURL); c.GeneratorURL != "" && (err != nil || !u.IsAbs()) {
		bad("generator_url: not a URL with a scheme, e.g. https://weir.example.com/")
	}
	return errors.Join(errs...)
}
