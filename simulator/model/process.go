package model

import (
	"math"
	"math/rand/v2"
)

// Field is one value of a reading.
type Field struct {
	Name     string
	Number   float64
	Decimals int    // of Number; 0: a whole number
	Text     string // instead of Number, unless empty
}

// process is something that sensors are on.
type process interface {
	// step lets dt seconds pass.
	step(dt float64)
	// fields appends what the sensors read; the first is the one that
	// anomalies happen to.
	fields(dst []Field) []Field
	// abnormal is by how much the first field has to rise to be alarming
	// beyond doubt.
	abnormal() float64
}

// noise is an autoregressive process of order 1 around zero: neighbouring
// readings resemble each other, as those of real sensors do.
type noise struct {
	rng       *rand.Rand
	deviation float64 // in the long run
	memory    float64 // seconds in which it forgets all but 1/e
	value     float64
}

func (n *noise) step(dt float64) float64 {
	keep := math.Exp(-dt / n.memory)
	n.value = keep*n.value + n.deviation*math.Sqrt(1-keep*keep)*n.rng.NormFloat64()
	return n.value
}

// happens reports whether something that happens every mean seconds on average
// happened within dt.
func happens(rng *rand.Rand, dt, mean float64) bool { return rng.Float64() < 1-math.Exp(-dt/mean) }

// freezer is a cold room at -18.5 °C: a compressor that switches at ±1 °C, and
// a door that lets warmth in.
type freezer struct {
	rng         *rand.Rand
	air         float64 // °C
	sensor      noise
	compressor  bool
	doorFor     float64 // seconds that the door stays open
	humidity    noise
	battery     float64 // percent
	temperature float64
}

const (
	freezerSetPoint = -18.5
	freezerBand     = 1.0
	freezerDoorMax  = -15.8 // an open door alone does not get it over -15
)

func newFreezer(rng *rand.Rand) *freezer {
	return &freezer{
		rng: rng, air: freezerSetPoint + freezerBand*(2*rng.Float64()-1), compressor: rng.IntN(2) == 0,
		sensor:   noise{rng: rng, deviation: 0.06, memory: 20},
		humidity: noise{rng: rng, deviation: 1.5, memory: 300},
		battery:  60 + 40*rng.Float64(),
	}
}

func (f *freezer) step(dt float64) {
	if f.doorFor -= dt; f.doorFor <= 0 {
		f.doorFor = 0
		if happens(f.rng, dt, 900) {
			f.doorFor = 10 + 30*f.rng.Float64()
		}
	}
	switch {
	case f.air > freezerSetPoint+freezerBand:
		f.compressor = true
	case f.air < freezerSetPoint-freezerBand:
		f.compressor = false
	}
	target, pace := -5.0, 5400.0 // warms slowly towards the building when nothing cools it
	if f.compressor {
		target, pace = -28, 1800
	}
	if f.doorFor > 0 {
		target, pace = max(f.air, freezerDoorMax), 60
	}
	f.air += (target - f.air) * (1 - math.Exp(-dt/pace))
	f.temperature = f.air + f.sensor.step(dt)
	f.humidity.step(dt)
	f.battery = max(f.battery-dt/(40*3600), 5) // a percent in 40 hours
}

func (f *freezer) fields(dst []Field) []Field {
	door, damp := "closed", 41.0
	if f.doorFor > 0 {
		door, damp = "open", 55
	}
	return append(dst,
		Field{Name: "temperature", Number: f.temperature, Decimals: 2},
		Field{Name: "humidity", Number: min(max(damp+f.humidity.value, 5), 99), Decimals: 1},
		Field{Name: "door", Text: door},
		Field{Name: "battery", Number: f.battery})
}

func (f *freezer) abnormal() float64 { return 8 }

// room is an office: people come and go, the air shows it.
type room struct {
	rng          *rand.Rand
	people       int
	co2          float64 // ppm
	air          float64 // °C
	sensor, damp noise
	light        noise
}

func newRoom(rng *rand.Rand) *room {
	return &room{
		rng: rng, people: rng.IntN(4), co2: 450 + 300*rng.Float64(), air: 21,
		sensor: noise{rng: rng, deviation: 0.08, memory: 60}, damp: noise{rng: rng, deviation: 3, memory: 1800}, light: noise{rng: rng, deviation: 40, memory: 600},
	}
}

func (r *room) step(dt float64) {
	if happens(r.rng, dt, 600) {
		r.people = min(max(r.people+r.rng.IntN(3)-1, 0), 8)
	}
	r.co2 += (420 + 180*float64(r.people) - r.co2) * (1 - math.Exp(-dt/900))
	r.air += (20.8 + 0.25*float64(r.people) - r.air) * (1 - math.Exp(-dt/2400))
	r.sensor.step(dt)
	r.damp.step(dt)
	r.light.step(dt)
}

func (r *room) fields(dst []Field) []Field {
	motion := "off"
	if r.people > 0 {
		motion = "on"
	}
	return append(dst,
		Field{Name: "temperature", Number: r.air + r.sensor.value, Decimals: 2},
		Field{Name: "humidity", Number: min(max(44+r.damp.value, 5), 99), Decimals: 1},
		Field{Name: "co2", Number: r.co2},
		Field{Name: "illuminance", Number: max(380+r.light.value, 0)},
		Field{Name: "motion", Text: motion})
}

func (r *room) abnormal() float64 { return 12 }

// machine is a lathe: it works, idles, and counts parts.
type machine struct {
	rng              *rand.Rand
	running          bool
	left             float64 // seconds until it changes over
	rpm, heat        float64
	shake, load      noise
	parts, sincePart float64
}

func newMachine(rng *rand.Rand) *machine {
	return &machine{rng: rng, heat: 35, shake: noise{rng: rng, deviation: 0.25, memory: 15}, load: noise{rng: rng, deviation: 0.6, memory: 10}}
}

func (m *machine) step(dt float64) {
	if m.left -= dt; m.left <= 0 {
		m.running = !m.running
		m.left = 30 + 90*m.rng.Float64()
		if m.running {
			m.left += 300
		}
	}
	rpm, heat := 0.0, 28.0
	if m.running {
		rpm, heat = 2950, 62
		for m.sincePart += dt; m.sincePart >= 18; m.sincePart -= 18 {
			m.parts++
		}
	}
	m.rpm += (rpm - m.rpm) * (1 - math.Exp(-dt/4))
	m.heat += (heat - m.heat) * (1 - math.Exp(-dt/600))
	m.shake.step(dt)
	m.load.step(dt)
}

func (m *machine) fields(dst []Field) []Field {
	share, state := m.rpm/2950, "idle"
	if m.running {
		state = "running"
	}
	return append(dst,
		Field{Name: "vibration", Number: max(0.2+share*(2.1+m.shake.value), 0), Decimals: 2},
		Field{Name: "temperature", Number: m.heat, Decimals: 1},
		Field{Name: "rpm", Number: m.rpm},
		Field{Name: "current", Number: max(0.4+share*(11+m.load.value), 0), Decimals: 2},
		Field{Name: "state", Text: state},
		Field{Name: "parts", Number: m.parts})
}

func (m *machine) abnormal() float64 { return 7 }

// meter is an electricity meter: its energy only ever grows.
type meter struct {
	rng                      *rand.Rand
	base                     float64 // W
	boiler                   float64 // seconds that something large stays on
	power, volts, hertz      noise
	energy, watts, lastVolts float64
}

func newMeter(rng *rand.Rand) *meter {
	return &meter{
		rng: rng, base: 200 + 600*rng.Float64(), energy: 1000 + 9000*rng.Float64(),
		power: noise{rng: rng, deviation: 60, memory: 120}, volts: noise{rng: rng, deviation: 1.6, memory: 60}, hertz: noise{rng: rng, deviation: 0.012, memory: 30},
	}
}

func (m *meter) step(dt float64) {
	if m.boiler -= dt; m.boiler <= 0 {
		m.boiler = 0
		if happens(m.rng, dt, 1200) {
			m.boiler = 60 + 240*m.rng.Float64()
		}
	}
	m.watts = max(m.base+m.power.step(dt), 20)
	if m.boiler > 0 {
		m.watts += 2000
	}
	m.energy += m.watts * dt / 3.6e6
	m.lastVolts = 230 + m.volts.step(dt)
	m.hertz.step(dt)
}

func (m *meter) fields(dst []Field) []Field {
	return append(dst,
		Field{Name: "power", Number: m.watts, Decimals: 1},
		Field{Name: "energy", Number: m.energy, Decimals: 4},
		Field{Name: "voltage", Number: m.lastVolts, Decimals: 1},
		Field{Name: "current", Number: m.watts / m.lastVolts, Decimals: 3},
		Field{Name: "frequency", Number: 50 + m.hertz.value, Decimals: 3})
}

func (m *meter) abnormal() float64 { return 9000 }
