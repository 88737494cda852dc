package firmware

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// entry is what the queue holds: a message, but for what is only known when it
// is sent.
type entry struct {
	Topic  string          `json:"topic"` // last level
	Boot   uint64          `json:"boot"`
	Uptime int64           `json:"uptime_ms"`
	TS     int64           `json:"ts,omitempty"` // Unix milliseconds; 0: not known when it was stored
	Body   json.RawMessage `json:"body"`         // an object
}

// stamp is what every message from the queue starts with.
type stamp struct {
	Seq     uint64 `json:"seq"`
	Boot    uint64 `json:"boot"`
	Uptime  int64  `json:"uptime_ms"`
	TS      int64  `json:"ts,omitempty"`
	Dropped uint64 `json:"dropped,omitempty"`
}

// payload is the message as it is published.
func (e entry) payload(seq, dropped uint64, clock *clock) ([]byte, error) {
	ts := e.TS
	if ts == 0 && e.Boot == clock.boot {
		ts = clock.at(e.Uptime)
	}
	head, err := json.Marshal(stamp{Seq: seq, Boot: e.Boot, Uptime: e.Uptime, TS: ts, Dropped: dropped})
	if err != nil {
		return nil, fmt.Errorf("encode message %d: %w", seq, err)
	}
	if len(e.Body) > 2 {
		head = append(append(head[:len(head)-1], ','), e.Body[1:]...)
	}
	return head, nil
}

// bootReport is the body of a boot message.
type bootReport struct {
	Reason   string `json:"reason"` // power-on, restart or crash
	Firmware string `json:"firmware"`
	Queued   uint64 `json:"queued"`                  // messages of earlier boots that still wait
	Damaged  uint64 `json:"damaged_bytes,omitempty"` // of the queue, given up
}

// reading is the body of a telemetry message.
type reading struct {
	Temperature float64 `json:"temperature"`
	Humidity    float64 `json:"humidity"`
	Battery     float64 `json:"battery"`
}

// sensors are a thermometer, a hygrometer and a battery gauge in a cold room.
type sensors struct {
	rng                        *rand.Rand
	temperature, damp, battery float64
}

func newSensors(seed uint64) *sensors {
	return &sensors{rng: rand.New(rand.NewPCG(seed, 1)), battery: 100}
}

// read reads them all. Neighbouring values resemble each other.
func (s *sensors) read() reading {
	s.temperature = 0.95*s.temperature + 0.1*s.rng.NormFloat64()
	s.damp = 0.98*s.damp + 0.3*s.rng.NormFloat64()
	s.battery = max(s.battery-0.001, 5)
	round := func(v, unit float64) float64 { return math.Round(v/unit) * unit }
	two := func(v float64) float64 { return math.Round(v*100) / 100 }
	return reading{Temperature: two(-18.4 + s.temperature), Humidity: two(round(41+s.damp, 0.1)), Battery: two(round(s.battery, 0.1))}
}

// clock knows how long the device is up, and after a while what time it is.
type clock struct {
	boot   uint64
	now    func() time.Time
	start  time.Time
	skew   time.Duration
	offset int64 // Unix milliseconds at uptime 0; 0: not known yet
}

// uptime is the time since the boot in milliseconds.
func (c *clock) uptime() int64 { return c.now().Sub(c.start).Milliseconds() }

// set takes the time from the time server, and its own skew with it.
func (c *clock) set() { c.offset = c.now().Add(c.skew).UnixMilli() - c.uptime() }

// at is the Unix time in milliseconds at an uptime of this boot; 0 while the
// time is not known.
func (c *clock) at(uptime int64) int64 {
	if c.offset == 0 {
		return 0
	}
	return c.offset + uptime
}
