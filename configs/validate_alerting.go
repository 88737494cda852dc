package configs

import (
	"net/mail"
	"net/url"
	"strings"
	"time"
)

// alertmanager checks the addresses one by one: they are a list with commas.
func (v *validator) alertmanager(name string, c *Alertmanager) {
	if c.URL.IsEmpty() {
		v.url(c.Section, name, c.URL, "http://127.0.0.1:9093")
	}
	for _, one := range c.URLs() {
		u, err := url.Parse(one)
		switch {
		case err != nil || !validURL(one, "http", "https"):
			v.bad(c.URL.Pos, "e.g. http://127.0.0.1:9093, several separated by commas", "%surl is not a list of addresses with a host that begin with http:// or https://", name)
		case u.User != nil:
			v.bad(c.URL.Pos, "use username and password", "%surl holds a user name", name)
		case u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path+"/", "/api/"):
			v.bad(c.URL.Pos, "weir adds /api/v2/alerts itself", "%surl is not the address of Alertmanager only", name)
		}
	}
	v.headers(c.Section, name, c.Headers)
	if !c.Token.IsEmpty() && c.Username.Value != "" {
		v.bad(c.At("token"), "remove one of the two", "%stoken and %susername are both set", name, name)
	}
	if strings.ContainsAny(c.Token.Reveal(), " \t\r\n\x00") {
		v.bad(c.At("token"), "", "%stoken has a blank or a line break", name)
	}
	if !c.Password.IsEmpty() && c.Username.Value == "" {
		v.missing(c.At("password"), "set username too", "%spassword is set and username is not", name)
	}
	if strings.Contains(c.Username.Value, ":") {
		v.bad(c.At("username"), "", "%susername must not contain a colon", name)
	}
	v.duration(c.Section, "timeout", name+"timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
	v.duration(c.Section, "resend", name+"resend", c.Resend, time.Second, time.Hour)
	if g := c.GeneratorURL; g.Value != "" && !validURL(g.Value, "http", "https") {
		v.bad(g.Pos, "e.g. https://weir.example.com/", "%sgenerator_url is not an address with a host that begins with http:// or https://", name)
	}
}

func (v *validator) email(name string, c *Email) {
	v.url(c.Section, name, c.URL, "smtp://mail.example.com:587", "smtp", "smtps")
	if u, err := url.Parse(c.URL.Reveal()); err == nil && u.User != nil {
		v.bad(c.URL.Pos, "use username and password", "%surl holds a user name", name)
	} else if err == nil && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "") {
		v.bad(c.URL.Pos, "give the address of the server only", "%surl has a path or a query", name)
	}
	v.oneOf(c.Section, "starttls", name+"starttls", c.StartTLS, StartTLSRequired, StartTLSOptional, StartTLSOff)
	if c.From.Value == "" {
		v.missing(c.At("from"), `e.g. "weir <weir@example.com>"`, "%sfrom is missing", name)
	} else if _, err := mail.ParseAddress(c.From.Value); err != nil {
		v.bad(c.From.Pos, `e.g. weir@example.com, or "weir <weir@example.com>"`, "%sfrom: %q is not a mail address", name, c.From.Value)
	}
	if len(c.To) == 0 {
		v.missing(c.At("to"), "e.g. [oncall@example.com]", "%sto is missing", name)
	}
	for _, to := range c.To {
		if _, err := mail.ParseAddress(to.Value); err != nil {
			v.bad(to.Pos, "e.g. oncall@example.com", "%sto: %q is not a mail address", name, to.Value)
		}
	}
	if !c.Password.IsEmpty() && c.Username.Value == "" {
		v.missing(c.At("password"), "set username too", "%spassword is set and username is not", name)
	}
	if u, err := url.Parse(c.URL.Reveal()); err == nil && u.Scheme == "smtp" && c.StartTLS.Value == StartTLSOff && c.Username.Value != "" && !loopback(u.Hostname()+":0") {
		v.bad(c.At("starttls"), "leave it required, or use smtps://", "%sstarttls is off, so username and password would go over the network as they are", name)
	}
	v.transitions(c.Section, name, c.On)
	v.duration(c.Section, "timeout", name+"timeout", c.Timeout, 100*time.Millisecond, 10*time.Minute)
	v.number(c.Section, "max_attempts", name+"max_attempts", c.MaxAttempts, 0, 1_000_000)
}
