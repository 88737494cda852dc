package influxdb

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"
)

// Config says where and how to write. Either Bucket (2.x: Org, Bucket, Token)
// or Database (1.8: Database, RetentionPolicy, Username, Password) is set.
type Config struct {
	URL string `yaml:"url"` // e.g. http://127.0.0.1:8086; a path prefix is kept

	Org    string `yaml:"org"`
	Bucket string `yaml:"bucket"`
	Token  string `yaml:"token"`

	Database        string `yaml:"database"`
	RetentionPolicy string `yaml:"retention_policy"` // "" is the database's default
	Username        string `yaml:"username"`
	Password        string `yaml:"password"`

	Precision string        `yaml:"precision"`  // of timestamps: ns, us, ms or s. Coarser than ns, two events of a device in one unit are one point
	Gzip      bool          `yaml:"gzip"`       // compress requests: less network, more CPU
	Timeout   time.Duration `yaml:"timeout"`    // of one request, from connecting to the end of the answer
	MaxLines  int           `yaml:"max_lines"`  // messages in one request
	MaxBytes  int           `yaml:"max_bytes"`  // of one request before compression; one message may exceed it
	MaxFields int           `yaml:"max_fields"` // (measurement, field) pairs whose type is learnt
	Alerts    bool          `yaml:"alerts"`     // write alert transitions as measurement weir_alerts

	// Include and Exclude choose measurements of events by name; "*" stands for
	// any run of characters. Everything is included if Include is empty.
	Include []string `yaml:"include"`
	Exclude []string `yaml:"exclude"`
}

// Default returns a Config with all but the destination set.
func Default() Config {
	return Config{
		Precision: "ns",
		Timeout:   30 * time.Second,
		MaxLines:  20_000,
		MaxBytes:  8 << 20,
		MaxFields: 20_000,
		Alerts:    true,
	}
}

// Validate reports everything that is wrong with c, naming keys and remedies.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch u, err := url.Parse(c.URL); {
	case c.URL == "":
		bad("url: missing, e.g. http://127.0.0.1:8086")
	case err != nil:
		bad("url: not a URL, e.g. http://127.0.0.1:8086")
	case u.User != nil:
		bad("url: holds a user name; use username and password, or token")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		bad("url: %q is not an http or https URL with a host, e.g. http://127.0.0.1:8086", c.URL)
	case u.RawQuery != "" || u.Fragment != "":
		bad("url: %q has a query; give the server's address only", c.URL)
	}
	switch {
	case c.Bucket == "" && c.Database == "":
		bad("bucket: missing (InfluxDB 2: org, bucket, token), or database for InfluxDB 1.8")
	case c.Bucket != "" && c.Database != "":
		bad("bucket and database: set one, bucket for InfluxDB 2 or database for 1.8")
	case c.Database != "" && strings.Contains(c.Database+c.RetentionPolicy, "/"):
		bad("database: %q and retention_policy %q must not contain a slash", c.Database, c.RetentionPolicy)
	case c.Bucket != "" && c.Username != "":
		bad("username: is for InfluxDB 1.8 with database; InfluxDB 2 takes token")
	}
	if c.Token != "" && c.Username != "" {
		bad("token and username: set one")
	}
	if strings.Contains(c.Username, ":") {
		bad("username: must not contain a colon")
	}
	if _, ok := precision(c.Precision); !ok {
		bad("precision: %q is not one of ns, us, ms, s", c.Precision)
	}
	for _, n := range []struct {
		key string
		n   int64
	}{
		{"timeout", int64(c.Timeout)}, {"max_lines", int64(c.MaxLines)},
		{"max_bytes", int64(c.MaxBytes)}, {"max_fields", int64(c.MaxFields)},
	} {
		if n.n <= 0 {
			bad("%s: must be more than 0", n.key)
		}
	}
	return errors.Join(errs...)
}

// precision returns the length of a unit in ns.
func precision(name string) (int64, bool) {
	switch name {
	case "ns":
		return 1, true
	case "us":
		return 1e3, true
	case "ms":
		return 1e6, true
	case "s":
		return 1e9, true
	}
	return 0, false
}

// Store keeps the learnt types over restarts.
type Store interface {
	// Load returns what was saved last, and nil if nothing was.
	Load(ctx context.Context) ([]byte, error)
	// Save replaces it. It must be durable when Save returns. The size is
	// below 1 MB with the default Config.MaxFields.
	Save(ctx context.Context, types []byte) error
}

// Deps is what a Sink works with. All of it is optional.
type Deps struct {
	Store Store       // nil: types are learnt anew at each start
	TLS   *tls.Config // for https; nil is the system's
	Log   *slog.Logger
}

// wants reports whether events of a measurement are written.
func (c *Config) wants(measurement string) bool {
	for _, p := range c.Exclude {
		if matches(p, measurement) {
			return false
		}
	}
	for _, p := range c.Include {
		if matches(p, measurement) {
			return true
		}
	}
	return len(c.Include) == 0
}

// matches reports whether name is pattern with text in the place of each "*".
func matches(pattern, name string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	for ok {
		var part string
		part, rest, star = strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
	}
	return false
}
