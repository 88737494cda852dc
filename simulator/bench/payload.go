package bench

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// TimeUnit is the unit of a payload's field ts.
type TimeUnit string

// The time units; NoTime leaves the field out.
const (
	NoTime       TimeUnit = "none"
	Seconds      TimeUnit = "s"
	Milliseconds TimeUnit = "ms"
	Microseconds TimeUnit = "us"
	Nanoseconds  TimeUnit = "ns"
)

// duration is the length of one unit; 0 for NoTime.
func (u TimeUnit) duration() (time.Duration, error) {
	switch u {
	case NoTime:
		return 0, nil
	case Seconds:
		return time.Second, nil
	case Milliseconds:
		return time.Millisecond, nil
	case Microseconds:
		return time.Microsecond, nil
	case Nanoseconds:
		return time.Nanosecond, nil
	}
	return 0, fmt.Errorf("time unit %q is not one of none, s, ms, us, ns", string(u))
}

// payloads makes the payloads of a run. It is immutable and shared by all
// connections.
type payloads struct {
	unit     time.Duration
	size     int
	tails    [256]string // the end of a built-in payload, from ,"temperature" on
	template []segment   // of a payload file; nil: built-in
	filler   []byte
}

// segment is literal text and what follows it.
type segment struct {
	text string
	then string // "seq", "device", "ts" or ""
}

func newPayloads(l Load) (*payloads, error) {
	unit, err := l.Time.duration()
	if err != nil {
		return nil, err
	}
	p := &payloads{unit: unit, size: l.Size}
	if l.Payload != nil {
		p.template = splitTemplate(string(l.Payload))
		return p, nil
	}
	for i := range p.tails {
		// Freezers that are all well: between -19.9 and -16.1 degrees.
		temperature := -18 + 1.9*float64(i*37%256-128)/128
		humidity := 41 + float64(i*91%256)/40
		p.tails[i] = `,"temperature":` + strconv.FormatFloat(temperature, 'f', 2, 64) +
			`,"humidity":` + strconv.FormatFloat(humidity, 'f', 1, 64)
	}
	p.filler = []byte(strings.Repeat("x", max(l.Size, 0)))
	return p, nil
}

// append appends the payload of one message. ts is in units of p.unit.
func (p *payloads) append(dst []byte, device string, seq uint64, ts int64) []byte {
	if p.template != nil {
		return p.fill(dst, device, seq, ts)
	}
	start := len(dst)
	dst = append(dst, `{"device":"`...)
	dst = append(dst, device...)
	dst = append(dst, `","seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	if p.unit != 0 {
		dst = append(dst, `,"ts":`...)
		dst = strconv.AppendInt(dst, ts, 10)
	}
	dst = append(dst, p.tails[byte(seq*0x9E3779B97F4A7C15>>56)]...)
	const around = len(`,"pad":""}`)
	if missing := p.size - (len(dst) - start) - around; missing >= 0 {
		dst = append(dst, `,"pad":"`...)
		dst = append(dst, p.filler[:missing]...)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

func (p *payloads) fill(dst []byte, device string, seq uint64, ts int64) []byte {
	for _, s := range p.template {
		dst = append(dst, s.text...)
		switch s.then {
		case "seq":
			dst = strconv.AppendUint(dst, seq, 10)
		case "device":
			dst = append(dst, device...)
		case "ts":
			dst = strconv.AppendInt(dst, ts, 10)
		}
	}
	return dst
}

// splitTemplate cuts text at {seq}, {device} and {ts}; other braces, of which
// JSON has many, are text.
func splitTemplate(text string) []segment {
	var out []segment
	from := 0
	for i := 0; i < len(text); i++ {
		for _, name := range []string{"seq", "device", "ts"} {
			if strings.HasPrefix(text[i:], "{"+name+"}") {
				out = append(out, segment{text[from:i], name})
				from = i + len(name) + 2
				i = from - 1
				break
			}
		}
	}
	return append(out, segment{text: text[from:]})
}

// target is one device of a connection: its name, topic and the newest time
// that it has said.
type target struct {
	device string
	topic  []byte
	last   int64
}

// targets are the devices that connection i of c publishes for.
func (c Config) targets(i int) []target {
	var out []target
	add := func(n int) {
		name := "d" + strconv.Itoa(n)
		topic := strings.NewReplacer("{device}", name, "{n}", strconv.Itoa(n)).Replace(c.Load.Topic)
		out = append(out, target{device: name, topic: []byte(topic)})
	}
	devices := c.devices()
	for n := i; n < devices; n += c.Client.Connections {
		add(n)
	}
	return out
}

// headStart is how many units of time in the past a connection's times begin:
// as many as each of its devices has messages to send, so that one unit a
// message never runs ahead of the clock. Without a count it is 0.
func (c Config) headStart(quota uint64, devices int) int64 {
	if c.Schedule.Count == 0 {
		return 0
	}
	return int64(quota/uint64(devices)) + 1
}

// stamp is the time that t's next message says: the clock's, less a head
// start, but never one that t has said before, since series and time are what
// tells one stored point from another.
func (t *target) stamp(now, headStart int64) int64 {
	t.last = max(t.last+1, now-headStart)
	return t.last
}
