package ruletest

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/ingest/event"
)

// group is series of one device, source, measurement and tags: their samples of
// an instant are one event.
type group struct {
	event   event.Event // without fields
	names   []string
	samples [][]sample // of each name
	length  int        // of the longest
}

// input is what one entry of input_events becomes.
type input struct {
	at      time.Duration
	message event.Message // without Received
	events  []event.Event
}

// transit is how long an event is on its way: one with a time of its own was
// never received at just that time.
const transit = 1

func (l *loader) series(t *test, spec *testSpec) {
	for i := range spec.Series {
		s := &spec.Series[i]
		if s.Pos == (strict.Pos{}) { // no mapping, which is reported already
			continue
		}
		l.oneSeries(t, s)
	}
}

func (l *loader) oneSeries(t *test, s *seriesSpec) {
	const example = `write {series: 'temperature{device="d1"}', values: '20+1x10'}`
	switch {
	case strings.TrimSpace(s.Series.Value) == "":
		l.addf(s.Pos, example, "the entry has no series")
		return
	case strings.TrimSpace(s.Values.Value) == "":
		l.addf(s.Pos, example, "the series has no values")
		return
	}
	name, err := parseSeries(s.Series.Value)
	if err != nil {
		l.addf(s.Series.At(err.offset), err.hint, "series: %s", err.msg)
		return
	}
	samples, err := parseValues(s.Values.Value, maxSamples-l.samples)
	if err != nil {
		l.addf(s.Values.At(err.offset), err.hint, "values: %s", err.msg)
		return
	}
	l.samples += len(samples)
	ev := event.Event{}
	for _, lb := range name.labels {
		switch lb.Key {
		case "device":
			ev.Device = lb.Value
		case "source":
			ev.Source = lb.Value
		case "measurement":
			ev.Measurement = lb.Value
		default:
			if lb.Value != "" { // as in Prometheus: an empty label is none
				ev.Tags = append(ev.Tags, lb)
			}
		}
	}
	if ev.Device == "" {
		l.addf(s.Series.Pos, `add device="..." to its labels`, "the series names no device")
		return
	}
	sortTags(ev.Tags)
	l.origin(&ev, s.Series.Pos, "series")
	g := t.group(ev)
	if slices.Contains(g.names, name.field) {
		l.addf(s.Series.Pos, "put the values behind each other", "a second series of the field %q with these labels", name.field)
		return
	}
	g.names, g.samples, g.length = append(g.names, name.field), append(g.samples, samples), max(g.length, len(samples))
	if n := len(samples) - 1; n > 0 && t.interval > math.MaxInt64/time.Duration(n) {
		l.addf(s.Values.Pos, "", "values: the series is longer than %d days", maxUntil/(24*time.Hour))
	} else {
		l.mention(t, time.Duration(max(n, 0))*t.interval, s.Values.Pos, "the last of the values")
	}
}

func sortTags(tags []event.Tag) {
	slices.SortFunc(tags, func(a, b event.Tag) int { return strings.Compare(a.Key, b.Key) })
}

// group returns the series of the origin of ev.
func (t *test) group(ev event.Event) *group {
	for _, g := range t.groups {
		if o := &g.event; o.Source == ev.Source && o.Measurement == ev.Measurement && o.Device == ev.Device && slices.Equal(o.Tags, ev.Tags) {
			return g
		}
	}
	g := &group{event: ev}
	t.groups = append(t.groups, g)
	return g
}

// at returns the group's event of the i-th interval, if it has one.
func (g *group) at(i int, ns int64) (event.Event, bool) {
	ev := g.event
	ev.Time, ev.Received = ns, ns
	for k, samples := range g.samples {
		if i < len(samples) && samples[i].there {
			ev.Fields = append(ev.Fields, event.Field{Name: g.names[k], Value: samples[i].value})
		}
	}
	return ev, len(ev.Fields) > 0
}

// event loads an entry of input_events.
func (l *loader) event(t *test, s *eventSpec) {
	if !s.At.set {
		l.addf(s.Pos, "write at: 10m, the time since the start of the test", "the event has no at")
		return
	}
	if !l.mention(t, s.At.Duration, s.At.pos, "at") {
		return
	}
	received := t.start + int64(s.At.Duration)
	in := input{at: s.At.Duration, message: event.Message{Topic: s.Topic.Value}}
	_, topic := s.Keys["topic"]
	if _, payload := s.Keys["payload"]; topic || payload {
		if l.payload(s, &in, received) {
			t.inputs = append(t.inputs, in)
		}
		return
	}
	ev := event.Event{
		Source: s.Source.Value, Measurement: s.Measurement.Value, Device: s.Device.Value,
		Time: received, Received: received, Fields: s.Fields,
	}
	if s.Time.set {
		ev.Time = s.Time.from(t.start)
		ev.Received += transit
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		ev.Tags = append(ev.Tags, event.Tag{Key: k, Value: s.Tags[k].Value})
	}
	switch {
	case ev.Device == "":
		l.addf(s.Pos, "add device: ID; or give a topic and a payload", "the event names no device")
	case len(ev.Fields) == 0:
		if _, ok := s.Keys["fields"]; !ok || len(l.errs) == 0 { // else it is reported what is wrong with them
			l.addf(s.Pos, "add fields: {temperature: 20}", "the event has no fields")
		}
	default:
		l.origin(&ev, s.Pos, "event")
		in.events = []event.Event{ev}
		t.inputs = append(t.inputs, in)
	}
}

// payload decodes an entry of input_events as the sources say.
func (l *loader) payload(s *eventSpec, in *input, received int64) bool {
	before := len(l.errs)
	for _, key := range []string{"time", "source", "measurement", "device", "tags", "fields"} {
		if at, ok := s.Keys[key]; ok {
			l.addf(at, "remove it, or give no topic and payload", "an event with a payload has no %s: its source says that", key)
		}
	}
	for _, key := range []string{"topic", "payload"} {
		if _, ok := s.Keys[key]; !ok {
			l.addf(s.Pos, "write {at: 10m, topic: sensors/d1, payload: '{\"temperature\": 20}'}", "the event has no %s", key)
		}
	}
	switch {
	case len(l.errs) > before:
		return false
	case l.sources == nil:
		if l.without { // else it is reported what is wrong with them
			l.addf(s.Payload.Pos, "name them: config: weir.yaml, or sources: as in weir.yaml, or -c weir.yaml", "no sources are known that could decode the payload")
		}
		return false
	}
	x, err := l.sources.Explain(s.Topic.Value, []byte(s.Payload.Value), received+transit)
	switch {
	case err != nil:
		l.addf(s.Payload.Pos, "", "%v", err)
		return false
	case len(x.Events) == 0:
		l.addf(s.Payload.Pos, "", "source %s: the payload gives no event: %s", x.Source, x.Reason)
		return false
	}
	for i := range x.Events {
		if ev := &x.Events[i]; ev.Time == received+transit { // it has no time of its own
			ev.Time, ev.Received = received, received
		}
	}
	in.message.Payload, in.events = []byte(s.Payload.Value), x.Events
	return true
}
