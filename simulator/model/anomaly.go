package model

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Anomaly is a way in which readings go wrong.
type Anomaly string

// The anomalies.
const (
	Fail     Anomaly = "fail"     // what is measured gets out of hand within seconds, stays so for 20 s, and recovers
	Spike    Anomaly = "spike"    // one reading is far off
	Drift    Anomaly = "drift"    // the sensor strays, for two minutes
	Stuck    Anomaly = "stuck"    // the sensor repeats itself, for a minute
	Dropout  Anomaly = "dropout"  // nothing is published, for a minute
	Flapping Anomaly = "flapping" // good and bad take turns, for half a minute
)

// Anomalies are all there are.
func Anomalies() []Anomaly { return []Anomaly{Fail, Spike, Drift, Stuck, Dropout, Flapping} }

// ParseAnomalies reads a list such as "fail,spike", or "all", or "none".
func ParseAnomalies(list string) ([]Anomaly, error) {
	switch list {
	case "all":
		return Anomalies(), nil
	case "none", "":
		return nil, nil
	}
	var out []Anomaly
	for name := range strings.SplitSeq(list, ",") {
		a := Anomaly(strings.TrimSpace(name))
		if !slices.Contains(Anomalies(), a) {
			return nil, fmt.Errorf("anomaly %q is not one of %v, all, none", string(a), Anomalies())
		}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out, nil
}

// Trouble says which anomalies a device has, and how often.
type Trouble struct {
	Kinds []Anomaly
	Every time.Duration // mean time between the end of one and the start of the next; 0: only First
	First time.Duration // when the first one starts; 0: at random, as the others. It is Fail if Kinds has it
}

// Shape of Fail: up within a few seconds, then at least 20 s far off.
const (
	failRise = 4.0
	failHold = 24.0
	failEnd  = 30.0
)

// length is how long an anomaly lasts, in seconds.
func (a Anomaly) length() float64 {
	switch a {
	case Fail:
		return failEnd
	case Drift:
		return 120
	case Flapping:
		return 30
	case Spike:
		return 0 // one reading, however far apart readings are
	}
	return 60
}

// offset is what an anomaly adds to the first field at age seconds into it, in
// units of process.abnormal. n counts its readings from 0.
func (a Anomaly) offset(age float64, n int) float64 {
	switch a {
	case Fail:
		switch {
		case age < failRise:
			return 1 - math.Exp(-age*1.2)
		case age < failHold:
			return 1
		}
		return math.Exp(-(age - failHold) / 1.5)
	case Spike:
		return 2
	case Drift:
		return 1.5 * min(age/120, 1)
	case Flapping:
		return float64(1 - n%2)
	}
	return 0
}

// episodes decides when anomalies come and go.
type episodes struct {
	rng     *rand.Rand
	trouble Trouble
	next    float64 // seconds since the start
	first   bool    // the next one is the first
	current Anomaly // empty: all is well
	began   float64
	count   int // readings of the current one
}

func newEpisodes(rng *rand.Rand, t Trouble) *episodes {
	e := &episodes{rng: rng, trouble: t, first: t.First > 0, next: math.Inf(1)}
	switch {
	case len(t.Kinds) == 0:
	case t.First > 0:
		e.next = t.First.Seconds()
	case t.Every > 0:
		e.next = rng.ExpFloat64() * t.Every.Seconds()
	}
	return e
}

// at moves on to now, seconds since the start, and says what is wrong then.
func (e *episodes) at(now float64) (a Anomaly, age float64, n int) {
	if e.current != "" && (now-e.began > e.current.length() || e.current == Spike) {
		e.current = ""
		e.next = math.Inf(1)
		if e.trouble.Every > 0 {
			e.next = now + e.rng.ExpFloat64()*e.trouble.Every.Seconds()
		}
	}
	if e.current == "" && now >= e.next {
		e.current = e.trouble.Kinds[e.rng.IntN(len(e.trouble.Kinds))]
		if e.first && slices.Contains(e.trouble.Kinds, Fail) {
			e.current = Fail
		}
		e.first, e.began, e.count = false, now, 0
	}
	if e.current == "" {
		return "", 0, 0
	}
	e.count++
	return e.current, now - e.began, e.count - 1
}
