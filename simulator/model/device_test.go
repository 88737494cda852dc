package model

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

func device(p Profile, number uint64, trouble Trouble) *Device {
	return New(Config{Name: "dev-1", Site: "site 1", Profile: p, Interval: time.Second, Seed: 7, Number: number, Trouble: trouble})
}

// series reads n times and returns the first field's values, NaN-free; dropped
// readings are left out.
func series(d *Device, n int) []float64 {
	var out []float64
	for range n {
		if d.Read() {
			out = append(out, d.fields[0].Number)
		}
	}
	return out
}

func TestTheSameSeedGivesTheSameReadings(t *testing.T) {
	for _, p := range Profiles() {
		trouble := Trouble{Kinds: Anomalies(), Every: 2 * time.Minute}
		a, b, other := device(p, 3, trouble), device(p, 3, trouble), device(p, 4, trouble)
		x, y, z := series(a, 2000), series(b, 2000), series(other, 2000)
		if !slices.Equal(x, y) {
			t.Errorf("%s: two devices of one seed differ", p)
		}
		if slices.Equal(x, z) {
			t.Errorf("%s: devices 3 and 4 read the same", p)
		}
	}
}

func TestADayWithoutAnomaliesStaysWithinReason(t *testing.T) {
	for _, tt := range []struct {
		profile   Profile
		low, high float64
	}{{Freezer, -21, -15.2}, {Room, 18, 26}, {Machine, 0, 5}, {Meter, 20, 4000}} {
		for number := range uint64(5) {
			got := series(device(tt.profile, number, Trouble{}), 86400)
			low, high := slices.Min(got), slices.Max(got)
			if low < tt.low || high > tt.high {
				t.Errorf("%s %d: %.2f to %.2f, want within %.2f to %.2f", tt.profile, number, low, high, tt.low, tt.high)
			}
			if high-low < 0.5 {
				t.Errorf("%s %d: hardly moves, %.2f to %.2f", tt.profile, number, low, high)
			}
		}
	}
}

func TestAFailingFreezerIsOverItsLimitWithinSecondsForTwenty(t *testing.T) {
	for number := range uint64(20) {
		d := device(Freezer, number, Trouble{Kinds: []Anomaly{Fail}, First: 5 * time.Second})
		warmAt, warm := -1, 0
		for second := range 60 {
			d.Read()
			if d.fields[0].Number > -15 {
				if warmAt < 0 {
					warmAt = second
				}
				if warmAt+warm != second {
					t.Fatalf("device %d: warm again at %d s", number, second)
				}
				warm++
			}
		}
		if warmAt < 5 || warmAt > 8 || warm < 20 || warm > 30 {
			t.Errorf("device %d: over -15 from %d s for %d s, want from 5..8 s for 20..30 s", number, warmAt, warm)
		}
	}
}

func TestEachAnomalyLooksAsItsNameSays(t *testing.T) {
	run := func(a Anomaly) (values []float64, dropped int) {
		d := device(Freezer, 1, Trouble{Kinds: []Anomaly{a}, First: 10 * time.Second})
		for range 200 {
			if d.Read() {
				values = append(values, d.fields[0].Number)
			} else {
				dropped++
			}
		}
		return values, dropped
	}
	warm := func(values []float64) (n, crossings int) {
		for i, v := range values {
			if v > -15 {
				n++
			}
			if i > 0 && (v > -15) != (values[i-1] > -15) {
				crossings++
			}
		}
		return n, crossings
	}
	for _, tt := range []struct {
		anomaly                                Anomaly
		minWarm, maxWarm, minCross, maxCross   int
		minDrop, maxDrop, minRepeat, maxRepeat int
	}{
		{anomaly: Spike, minWarm: 1, maxWarm: 1, minCross: 2, maxCross: 2, maxRepeat: 5},
		{anomaly: Drift, minWarm: 30, maxWarm: 110, minCross: 2, maxCross: 6, maxRepeat: 5},
		{anomaly: Flapping, minWarm: 15, maxWarm: 16, minCross: 28, maxCross: 32, maxRepeat: 5},
		{anomaly: Stuck, minRepeat: 58, maxRepeat: 62},
		{anomaly: Dropout, minDrop: 60, maxDrop: 61, maxRepeat: 5},
	} {
		values, dropped := run(tt.anomaly)
		n, crossings := warm(values)
		repeats := 0
		for i := 1; i < len(values); i++ {
			if values[i] == values[i-1] {
				repeats++
			}
		}
		if n < tt.minWarm || n > tt.maxWarm || crossings < tt.minCross || crossings > tt.maxCross ||
			dropped < tt.minDrop || dropped > tt.maxDrop || repeats < tt.minRepeat || repeats > tt.maxRepeat {
			t.Errorf("%s: %d warm, %d crossings, %d dropped, %d repeated", tt.anomaly, n, crossings, dropped, repeats)
		}
	}
}

func TestAnomaliesComeAsOftenAsAsked(t *testing.T) {
	d := device(Freezer, 1, Trouble{Kinds: []Anomaly{Spike}, Every: time.Minute})
	n := 0
	for range 36000 {
		if d.Read(); d.Anomaly() == Spike {
			n++
		}
	}
	if n < 450 || n > 750 { // 600 expected
		t.Errorf("%d spikes in ten hours at one a minute", n)
	}
}

func TestPayloadsHaveTheirProfilesShape(t *testing.T) {
	at := time.UnixMilli(1790000000123)
	for p, want := range map[Profile]string{
		Freezer:      `^\{"ts":1790000000123,"temperature":-1\d\.\d\d,"humidity":\d\d\.\d,"door":"(open|closed)","battery":\d+,"seq":1\}$`,
		Room:         `^\{"ts":1790000000123,"temperature":2\d\.\d\d,"humidity":\d\d\.\d,"co2":\d+,"illuminance":\d+,"motion":"(on|off)","seq":1\}$`,
		Machine:      `^\{"ts":1790000000123,"vibration":\d\.\d\d,"temperature":\d\d\.\d,"rpm":\d+,"current":\d+\.\d\d,"state":"(idle|running)","parts":0,"seq":1\}$`,
		Meter:        `^\{"ts":1790000000123,"power":\d+\.\d,"energy":\d+\.\d{4},"voltage":2\d\d\.\d,"current":\d+\.\d{3},"frequency":(49|50)\.\d{3},"seq":1\}$`,
		Value:        `^-1\d\.\d\d$`,
		LineProtocol: `^freezer,device=dev-1,site=site\\ 1 temperature=-1\d\.\d\d,humidity=\d\d\.\d,door="(open|closed)",battery=\d+i,seq=1i 1790000000123000000$`,
	} {
		d := device(p, 1, Trouble{})
		d.Read()
		got := d.Append(nil, at)
		if !regexp.MustCompile(want).Match(got) {
			t.Errorf("%s: %s, want it to match %s", p, got, want)
		}
		if want[1] == '\\' && !json.Valid(got) {
			t.Errorf("%s: %s is not JSON", p, got)
		}
	}
}

func TestMeterEnergyNeverFallsAndSequenceNumbersCountUp(t *testing.T) {
	d := device(Meter, 1, Trouble{})
	last := 0.0
	for i := range 5000 {
		d.Read()
		energy := d.fields[1].Number
		if energy < last {
			t.Fatalf("energy fell from %v to %v", last, energy)
		}
		last = energy
		if d.seq != uint64(i+1) {
			t.Fatalf("reading %d has sequence number %d", i+1, d.seq)
		}
	}
}

func TestNamesAreParsedOrRefusedWithTheChoice(t *testing.T) {
	if got, err := ParseAnomalies("fail, spike,fail"); err != nil || !slices.Equal(got, []Anomaly{Fail, Spike}) {
		t.Errorf("ParseAnomalies = %v, %v", got, err)
	}
	if got, err := ParseAnomalies("none"); err != nil || got != nil {
		t.Errorf("none = %v, %v", got, err)
	}
	if _, err := ParseAnomalies("spyke"); err == nil || !regexp.MustCompile(strconv.Quote("spyke")+".*spike").MatchString(err.Error()) {
		t.Errorf("spyke: %v", err)
	}
	if _, err := ParseProfile("fridge"); err == nil || !regexp.MustCompile("fridge.*freezer").MatchString(err.Error()) {
		t.Errorf("fridge: %v", err)
	}
}
