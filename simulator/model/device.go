package model

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Profile is a kind of device and how it writes its readings.
type Profile string

// The profiles.
const (
	Freezer      Profile = "freezer"
	Room         Profile = "room"
	Machine      Profile = "machine"
	Meter        Profile = "meter"
	Value        Profile = "value"         // a freezer that publishes its temperature alone, as a bare number
	LineProtocol Profile = "line-protocol" // a freezer that speaks InfluxDB's line protocol
)

// Profiles are all there are.
func Profiles() []Profile { return []Profile{Freezer, Room, Machine, Meter, Value, LineProtocol} }

// ParseProfile finds a profile by name.
func ParseProfile(name string) (Profile, error) {
	if p := Profile(name); slices.Contains(Profiles(), p) {
		return p, nil
	}
	return "", fmt.Errorf("profile %q is not one of %v", name, Profiles())
}

// Thing is what devices of the profile are called: freezer, room, machine, meter.
func (p Profile) Thing() string {
	if p == Value || p == LineProtocol {
		return string(Freezer)
	}
	return string(p)
}

// Device is one simulated device. It is not safe for concurrent use.
type Device struct {
	name, site string
	profile    Profile
	process    process
	episodes   *episodes
	interval   float64 // seconds
	readings   uint64
	seq        uint64
	fields     []Field
	stuck      []Field
	anomaly    Anomaly
}

// Config says what a device is.
type Config struct {
	Name, Site string
	Profile    Profile
	Interval   time.Duration // between two readings
	Seed       uint64        // of the fleet
	Number     uint64        // of the device, which gives it a seed of its own
	Trouble    Trouble
}

// New makes a device that has not read its sensors yet.
func New(cfg Config) *Device {
	d := &Device{
		name: cfg.Name, site: cfg.Site, profile: cfg.Profile, interval: cfg.Interval.Seconds(),
		// A stream of its own, so that anomalies do not shift the values around them.
		episodes: newEpisodes(rand.New(rand.NewPCG(cfg.Seed, cfg.Number<<1|1)), cfg.Trouble),
	}
	rng := rand.New(rand.NewPCG(cfg.Seed, cfg.Number<<1))
	switch cfg.Profile {
	case Room:
		d.process = newRoom(rng)
	case Machine:
		d.process = newMachine(rng)
	case Meter:
		d.process = newMeter(rng)
	default:
		d.process = newFreezer(rng)
	}
	return d
}

// Name is the device's name.
func (d *Device) Name() string { return d.name }

// Anomaly is what is wrong with the latest reading; empty if nothing is.
func (d *Device) Anomaly() Anomaly { return d.anomaly }

// Read reads the sensors, an interval after the last time. It reports false
// when the device has dropped out and publishes nothing.
func (d *Device) Read() bool {
	now := float64(d.readings) * d.interval
	d.readings++
	d.process.step(d.interval)
	var age float64
	var n int
	was := d.anomaly
	d.anomaly, age, n = d.episodes.at(now)
	switch d.anomaly {
	case Dropout:
		return false
	case Stuck:
		if was != Stuck {
			d.stuck = slices.Clone(d.fields)
		}
	}
	d.fields = d.process.fields(d.fields[:0])
	if d.anomaly == Stuck && len(d.stuck) > 0 {
		copy(d.fields, d.stuck)
	}
	d.fields[0].Number += d.anomaly.offset(age, n) * d.process.abnormal()
	d.seq++
	return true
}

// Append appends the latest reading as the profile writes it, said to be taken
// at t. JSON has milliseconds, line protocol nanoseconds, a bare value nothing.
func (d *Device) Append(dst []byte, t time.Time) []byte {
	switch d.profile {
	case Value:
		return appendNumber(dst, d.fields[0])
	case LineProtocol:
		return d.appendLine(dst, t)
	}
	dst = append(dst, `{"ts":`...)
	dst = strconv.AppendInt(dst, t.UnixMilli(), 10)
	for _, f := range d.fields {
		dst = append(dst, `,"`...)
		dst = append(dst, f.Name...)
		dst = append(dst, `":`...)
		if f.Text != "" {
			dst = strconv.AppendQuote(dst, f.Text)
		} else {
			dst = appendNumber(dst, f)
		}
	}
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, d.seq, 10)
	return append(dst, '}')
}

func (d *Device) appendLine(dst []byte, t time.Time) []byte {
	escape := strings.NewReplacer(" ", `\ `, ",", `\,`, "=", `\=`)
	dst = append(dst, d.profile.Thing()...)
	dst = append(dst, ",device="...)
	dst = append(dst, escape.Replace(d.name)...)
	dst = append(dst, ",site="...)
	dst = append(dst, escape.Replace(d.site)...)
	dst = append(dst, ' ')
	for _, f := range d.fields {
		dst = append(dst, f.Name...)
		dst = append(dst, '=')
		switch {
		case f.Text != "":
			dst = strconv.AppendQuote(dst, f.Text)
		case f.Decimals == 0:
			dst = append(appendNumber(dst, f), 'i')
		default:
			dst = appendNumber(dst, f)
		}
		dst = append(dst, ',')
	}
	dst = append(dst, "seq="...)
	dst = strconv.AppendUint(dst, d.seq, 10)
	dst = append(dst, "i "...)
	return strconv.AppendInt(dst, t.UnixNano(), 10)
}

func appendNumber(dst []byte, f Field) []byte {
	return strconv.AppendFloat(dst, f.Number, 'f', f.Decimals, 64)
}
