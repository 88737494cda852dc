package email

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"weir/sinks/choice"
)

// Whether an smtp server must offer STARTTLS.
const (
	Required = "required"
	Optional = "optional" // it is used if it is offered
	Off      = "off"
)

// Config says where mails go, and which.
type Config struct {
	Name        string // of the sink: what a rule's "send" names
	URL         string // smtp://host:587, or smtps://host:465 for TLS from the start
	StartTLS    string // for smtp: Required, Optional or Off
	TLS         *tls.Config
	Username    string // "" for no authentication
	Password    string
	From        string
	To          []string
	Subject     string        // template; "" is the default
	Body        string        // template; "" is the default
	Hello       string        // the name that weir gives itself; "" is the host's
	On          []string      // states that are mailed: firing, resolved
	All         bool          // every alert, not only those sent here by a rule
	Timeout     time.Duration // for connecting, and for each answer
	MaxAttempts int           // at a mail that the server puts off, after which it is a dead letter; 0: for ever
}

// Default returns a Config with all but Name, URL, From and To set.
func Default() Config {
	return Config{StartTLS: Required, On: choice.Default(), Timeout: 30 * time.Second, MaxAttempts: 100}
}

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := parseServer(c.URL); err != nil {
		errs = append(errs, err)
	}
	switch c.StartTLS {
	case Required, Optional, Off:
	default:
		bad("starttls: %q is not one of required, optional, off", c.StartTLS)
	}
	if err := c.choice().Validate(); err != nil {
		errs = append(errs, err)
	}
	if c.Password != "" && c.Username == "" {
		bad("password: is set, but username is not")
	}
	if err := checkAddress(c.From); err != nil {
		bad("from: %w", err)
	}
	if len(c.To) == 0 {
		bad("to: missing, e.g. [oncall@example.com]")
	}
	for _, to := range c.To {
		if err := checkAddress(to); err != nil {
			bad("to: %w", err)
		}
	}
	if strings.ContainsFunc(c.Hello, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		bad("hello: %q is not the name of a host", c.Hello)
	}
	if _, err := parseTemplates(c.Subject, c.Body); err != nil {
		errs = append(errs, err)
	}
	if c.Timeout <= 0 {
		bad("timeout: must be more than 0")
	}
	if c.MaxAttempts < 0 {
		bad("max_attempts: must not be negative; 0 is for ever")
	}
	return errors.Join(errs...)
}

func (c Config) choice() choice.Choice { return choice.Choice{Name: c.Name, All: c.All, On: c.On} }

func checkAddress(s string) error {
	if s == "" {
		return errors.New("missing, e.g. weir@example.com")
	}
	if _, err := mail.ParseAddress(s); err != nil {
		return fmt.Errorf("%q is not a mail address, e.g. weir@example.com", s)
	}
	return nil
}

// server is where mails are handed over.
type server struct {
	host, addr string
	tls        bool // from the start
}

func (s server) String() string {
	if s.tls {
		return "smtps://" + s.addr
	}
	return "smtp://" + s.addr
}

func parseServer(s string) (server, error) {
	if s == "" {
		return server{}, errors.New("url: missing, e.g. smtp://mail.example.com:587")
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" {
		return server{}, errors.New("url: not a URL with a host, e.g. smtp://mail.example.com:587")
	}
	port := u.Port()
	switch {
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return server{}, fmt.Errorf("url: scheme %q is not one of smtp, smtps", u.Scheme)
	case u.User != nil:
		return server{}, errors.New("url: holds a user name; use username and password")
	case port == "" && u.Scheme == "smtps":
		port = "465"
	case port == "":
		port = "587"
	}
	return server{u.Hostname(), net.JoinHostPort(u.Hostname(), port), u.Scheme == "smtps"}, nil
}
