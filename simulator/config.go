package simulator

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"weir/simulator/endpoint"
	"weir/simulator/model"
)

// maxOwnClients is up to how many devices each get a connection of their own
// unless Config.Clients says otherwise.
const maxOwnClients = 100

// Config is a fleet and where it publishes.
type Config struct {
	Endpoint endpoint.Endpoint
	IDPrefix string // client ids are this and a number
	Clients  int    // connections that the devices share; 0: one a device, 100 at most
	Topic    string // {site}, {device} and {profile} are replaced
	QoS      byte

	Devices  int
	Sites    int
	Profile  model.Profile
	Interval time.Duration // between two readings of a device
	Duration time.Duration // 0: until the context ends
	Seed     uint64        // the same seed gives the same readings

	Anomalies    []model.Anomaly
	AnomalyEvery time.Duration // mean time between two of one device; 0: only the first
	FirstAnomaly time.Duration // of the first device, so that something happens soon; 0: at random

	Log *slog.Logger // connections made and lost; nil: none
}

// Default is twenty freezers on two sites that publish each second.
func Default() Config {
	return Config{
		Endpoint: endpoint.Endpoint{Broker: "tcp://127.0.0.1:1883"}, IDPrefix: "simulator-",
		Topic: "plant/{site}/{device}/telemetry", QoS: 1,
		Devices: 20, Sites: 2, Profile: model.Freezer, Interval: time.Second, Seed: 1,
		Anomalies: model.Anomalies(), AnomalyEvery: 5 * time.Minute, FirstAnomaly: 5 * time.Second,
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
	if _, err := model.ParseProfile(string(c.Profile)); err != nil {
		errs = append(errs, err)
	}
	bad(c.Devices < 1, "devices: %d is less than 1", c.Devices)
	bad(c.Sites < 1, "sites: %d is less than 1", c.Sites)
	bad(c.Clients < 0 || c.Clients > c.Devices, "clients: %d is not between 0 and the number of devices, %d", c.Clients, c.Devices)
	bad(c.QoS > 2, "qos: %d is not 0, 1 or 2", c.QoS)
	bad(c.Interval <= 0, "interval: %v is not positive", c.Interval)
	bad(c.Duration < 0, "duration: %v is negative", c.Duration)
	bad(c.AnomalyEvery < 0 || c.FirstAnomaly < 0, "times of anomalies must not be negative")
	bad(c.Topic == "" || strings.ContainsAny(c.Topic, "#+\x00"), "topic: %q is not a topic to publish to, e.g. plant/{site}/{device}/telemetry", c.Topic)
	bad(c.Devices > 1 && !strings.Contains(c.Topic, "{device}"), "topic: %q has no {device}, so %d devices would publish as one", c.Topic, c.Devices)
	return errors.Join(errs...)
}

// clients is the number of connections, with the default in place.
func (c Config) clients() int {
	if c.Clients == 0 {
		return min(c.Devices, maxOwnClients)
	}
	return c.Clients
}

// member is a device of the fleet, with where it publishes and when.
type member struct {
	*model.Device
	topic string
	phase time.Duration // after the start of each interval
	last  time.Time     // of its latest reading that was sent
}

// fleet makes the devices, dealt out to clients.
func (c Config) fleet() [][]member {
	out := make([][]member, c.clients())
	for i := range c.Devices {
		site := fmt.Sprintf("site-%d", i%c.Sites+1)
		name := fmt.Sprintf("%s-%d", c.Profile.Thing(), i+1)
		trouble := model.Trouble{Kinds: c.Anomalies, Every: c.AnomalyEvery}
		if i == 0 {
			trouble.First = c.FirstAnomaly
		}
		device := model.New(model.Config{
			Name: name, Site: site, Profile: c.Profile, Interval: c.Interval, Seed: c.Seed, Number: uint64(i), Trouble: trouble,
		})
		topic := strings.NewReplacer("{site}", site, "{device}", name, "{profile}", string(c.Profile)).Replace(c.Topic)
		phase := time.Duration(float64(c.Interval) * float64(i) / float64(c.Devices))
		n := i % len(out)
		out[n] = append(out[n], member{Device: device, topic: topic, phase: phase})
	}
	return out
}
