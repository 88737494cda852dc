package firmware

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Version is the firmware's version, which boot messages carry.
const Version = "1.4.2"

// Config is one device.
type Config struct {
	Device, Site string
	Interval     time.Duration // between two readings, until a command changes it
	DataDir      string        // the device's flash
	QueueBytes   int64         // of readings that wait for the network
	Sync         bool          // wait for the disk with each reading
	Broker       Broker
	Window       int           // messages in flight
	ClockDelay   time.Duration // from the first connection until the time is known
	ClockSkew    time.Duration // by which this device's clock is wrong once it is set
	Backoff      Backoff
	Log          *slog.Logger // nil: none
}

// Broker is where to connect, and as whom.
type Broker struct {
	URL                string // tcp:// or ssl://, with a port
	Username, Password string
	TLS                *tls.Config
	KeepAlive          time.Duration // whole seconds
}

// Backoff is how long to wait between attempts to connect: First, then twice
// as long each time up to Max, each a random part of half to all of it, so that
// a fleet does not come back all at once.
type Backoff struct{ First, Max time.Duration }

// Default is a device that reads every 10 s and keeps 4 MiB.
func Default() Config {
	return Config{
		Device: "device-1", Site: "site-1", Interval: 10 * time.Second, DataDir: "./firmware-data", QueueBytes: 4 << 20, Sync: true,
		Broker: Broker{URL: "tcp://127.0.0.1:1883", KeepAlive: 30 * time.Second}, Window: 16,
		ClockDelay: 2 * time.Second, Backoff: Backoff{First: time.Second, Max: 2 * time.Minute},
	}
}

// Limits of an interval, whether it is configured or commanded.
const (
	minInterval = 10 * time.Millisecond
	maxInterval = 24 * time.Hour
)

// Validate reports everything that is wrong with c, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	for what, name := range map[string]string{"device": c.Device, "site": c.Site} {
		bad(name == "" || strings.ContainsAny(name, "/+#\x00"), "%s: %q is not one level of a topic: no / + #, and not empty", what, name)
	}
	bad(c.Interval < minInterval || c.Interval > maxInterval, "interval: %v is not between %v and %v", c.Interval, minInterval, maxInterval)
	bad(c.DataDir == "", "data directory: none was given")
	bad(c.QueueBytes < 64<<10, "queue: %d bytes are less than 64 KiB", c.QueueBytes)
	bad(c.Window < 1 || c.Window > 1000, "window: %d is not between 1 and 1000", c.Window)
	bad(!strings.Contains(c.Broker.URL, "://"), "broker: %q is not an address like tcp://127.0.0.1:1883", c.Broker.URL)
	bad(c.ClockDelay < 0, "clock delay: %v is negative", c.ClockDelay)
	bad(c.Backoff.First <= 0 || c.Backoff.Max < c.Backoff.First, "backoff: from %v to %v is not a range", c.Backoff.First, c.Backoff.Max)
	return errors.Join(errs...)
}

// topic is one of the device's topics.
func (c Config) topic(name string) string { return "plant/" + c.Site + "/" + c.Device + "/" + name }
