package bench

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"weir/simulator/endpoint"
	"weir/simulator/wire"
)

// MaxWindow is the most messages that one connection keeps in flight.
const MaxWindow = 32768

// Config is one measurement: whom to load, with what, and for how long.
type Config struct {
	Endpoint endpoint.Endpoint
	Client   Client
	Load     Load
	Schedule Schedule
	Fault    Fault

	// Acked, when set, gets the sequence number of every acknowledged message,
	// one decimal a line. Writes come from one goroutine at a time.
	Acked io.Writer
	// Paho publishes with paho.mqtt.golang instead of the engine of this
	// package. Order of acknowledgements cannot be checked then.
	Paho bool
}

// Client is how the connections present themselves.
type Client struct {
	Connections int
	IDPrefix    string // client ids are the prefix and a number
	Version     wire.Version
	KeepAlive   time.Duration // whole seconds; 0: none
	Sources     []net.IP      // local addresses to connect from in turn, each of which has its own ports; nil: the system's choice
}

// Load is what is published.
type Load struct {
	Topic    string // {device} and {n} stand for the device's name and number
	Devices  int    // device n belongs to connection n mod Connections; 0: one a connection
	QoS      byte
	Size     int      // bytes of a JSON payload, filled up; 0: as it comes, about 90
	Payload  []byte   // instead of the built-in JSON; {seq}, {device} and {ts} are replaced
	Time     TimeUnit // of the field ts
	SeqStart uint64   // sequence number of the first message
}

// Schedule is how much is published and how fast.
type Schedule struct {
	Count    uint64        // messages in all; 0: until Duration ends
	Duration time.Duration // 0: until Count is reached
	Rate     float64       // messages a second in all; 0: as fast as the window allows
	Tick     time.Duration // at a Rate: messages of a connection that lie closer together than this are due together
	Window   int           // messages in flight a connection (QoS 1 and 2)
	Burst    int           // send only when this much of the window is free; 0: a quarter of it
}

// Fault is what happens when something goes wrong.
type Fault struct {
	Reconnect bool          // dial again and send what is unacknowledged with DUP set
	Timeout   time.Duration // give up after this long without any progress
}

// Default is 1,000,000 messages of QoS 1 over 50 connections, window 100.
func Default() Config {
	return Config{
		Endpoint: endpoint.Endpoint{Broker: "tcp://127.0.0.1:1883"},
		Client:   Client{Connections: 50, IDPrefix: "bench-", Version: wire.V311, KeepAlive: 60 * time.Second},
		Load:     Load{Topic: "sensors/{device}/telemetry", QoS: 1, Time: Milliseconds},
		Schedule: Schedule{Count: 1_000_000, Tick: time.Millisecond, Window: 100},
		Fault:    Fault{Timeout: 30 * time.Second},
	}
}

// Validate reports everything that is wrong with c, or nil.
func (c Config) Validate() error {
	var errs []error
	bad := func(cond bool, format string, args ...any) {
		if cond {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	if _, _, err := c.Endpoint.Address(); err != nil {
		errs = append(errs, err)
	}
	if _, err := c.Load.Time.duration(); err != nil {
		errs = append(errs, err)
	}
	bad(c.Client.Connections < 1, "connections: %d is less than 1", c.Client.Connections)
	bad(c.Client.Version != wire.V311 && c.Client.Version != wire.V5, "version: %d is neither 4 (MQTT 3.1.1) nor 5", c.Client.Version)
	bad(c.Client.KeepAlive < 0 || c.Client.KeepAlive > 65535*time.Second, "keepalive: %v is not between 0 and 65535 s", c.Client.KeepAlive)
	bad(c.Load.QoS > 2, "qos: %d is not 0, 1 or 2", c.Load.QoS)
	bad(c.Load.Devices != 0 && c.Load.Devices < c.Client.Connections,
		"devices: %d are fewer than the %d connections; a device publishes over one connection", c.Load.Devices, c.Client.Connections)
	bad(c.Load.Size < 0 || c.Load.Size > 16<<20, "size: %d is not between 0 and 16 MiB", c.Load.Size)
	bad(c.Load.Topic == "" || strings.ContainsAny(c.Load.Topic, "#+\x00"), "topic: %q is not a topic to publish to, e.g. sensors/{device}/telemetry", c.Load.Topic)
	bad(len(c.Load.Topic) > 60000, "topic: %d bytes are more than MQTT carries", len(c.Load.Topic))
	bad(c.Schedule.Count == 0 && c.Schedule.Duration == 0, "count and duration are both 0: say how much to send, e.g. 1000000 messages or 30s")
	bad(c.Schedule.Duration < 0, "duration: %v is negative", c.Schedule.Duration)
	bad(c.Schedule.Rate < 0, "rate: %v is negative", c.Schedule.Rate)
	bad(c.Schedule.Tick < 0, "tick: %v is negative", c.Schedule.Tick)
	bad(c.Schedule.Window < 1 || c.Schedule.Window > MaxWindow, "window: %d is not between 1 and %d", c.Schedule.Window, MaxWindow)
	bad(c.Schedule.Burst < 0 || c.Schedule.Burst > c.Schedule.Window, "burst: %d is not between 0 and the window, %d", c.Schedule.Burst, c.Schedule.Window)
	bad(c.Fault.Timeout <= 0, "timeout: %v is not positive", c.Fault.Timeout)
	bad(c.Paho && c.Fault.Reconnect, "reconnect is a feature of the raw client, not of paho")
	bad(c.Paho && c.Client.Version != wire.V311, "the paho client speaks MQTT 3.1.1 only")
	bad(c.Paho && len(c.Client.Sources) > 0, "choosing local addresses needs the raw client, not paho")
	bad(c.Paho && c.Schedule.Rate > 0, "a bounded rate needs the raw client, not paho")
	return errors.Join(errs...)
}

// devices is the number of devices, with the default in place.
func (c Config) devices() int {
	if c.Load.Devices == 0 {
		return c.Client.Connections
	}
	return c.Load.Devices
}

// burst is the free window that is worth a write, with the default in place.
func (c Config) burst(window int) int {
	if c.Schedule.Burst > 0 {
		return min(c.Schedule.Burst, window)
	}
	return max(window/4, 1)
}

// quota is how many of Count messages connection i publishes.
func (c Config) quota(i int) uint64 {
	if c.Schedule.Count == 0 {
		return 1 << 62
	}
	n := uint64(c.Client.Connections)
	q := c.Schedule.Count / n
	if uint64(i) < c.Schedule.Count%n {
		q++
	}
	return q
}
