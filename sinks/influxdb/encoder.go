package influxdb

import (
	"errors"
	"strconv"
	"strings"

	"weir/ingest/event"
	"weir/sinks/exchange"
	"weir/sinks/lineprotocol"
)

// unit is the lines of one message in the encoder's body: what is delivered or
// dead-lettered as a whole.
type unit struct {
	batch   int32
	message uint32
	end     int // of its lines in the body; they begin where the unit before ends
}

// encoder turns events into lines. It belongs to one goroutine at a time; only
// the fieldTypes that its columns point to are shared.
type encoder struct {
	types    *Types
	wants    func(measurement string) bool
	unit     int64 // ns in one unit of the timestamps
	unsigned bool  // the server knows unsigned integers; 1.8 does not
	natural  bool  // write each value in its own type, whatever is learnt: used by repair

	body  []byte
	units []unit
	lines int // in body
	uints int // unsigned values in body

	fresh []*fieldType // learnt in this call

	second     int64  // of the last timestamp
	secondText []byte // its digits

	measurements map[string]*measurement
	columns      int          // in all measurements, and their series
	last         *measurement // of the event before: mostly the same
	keys         []byte       // buffer for the text that series are found by

	coerced, skipped uint64 // values; taken over into the metrics after a call
}

// measurement is what is known of the events of one measurement.
type measurement struct {
	name     string
	unwanted bool   // by the settings
	escaped  []byte // with ",device=" behind: what nearly every line begins with
	bare     int    // length of the name alone in escaped
	series   map[string]*series
	last     *series // of the event before: mostly the same
}

func newEncoder(types *Types, cfg *Config) *encoder {
	unit, _ := precision(cfg.Precision)
	return &encoder{types: types, wants: cfg.wants, unit: unit, unsigned: true, measurements: map[string]*measurement{}}
}

// reset empties the body.
func (e *encoder) reset() { e.body, e.units, e.lines, e.uints = e.body[:0], e.units[:0], 0, 0 }

var errNoMeasurement = errors.New("the event has no measurement; name one in its source")

// addEvents appends the lines of one message's events, all or none of them, as
// one unit. It returns how many lines they are: 0 if no event has a field that
// can be written.
func (e *encoder) addEvents(batch int, message uint32, events []event.Event) (int, error) {
	start, before := len(e.body), e.lines
	for i := range events {
		if err := e.addEvent(&events[i]); err != nil {
			e.body, e.lines = e.body[:start], before
			return 0, err
		}
	}
	return e.endUnit(batch, message, start, before), nil
}

func (e *encoder) endUnit(batch int, message uint32, start, before int) int {
	if len(e.body) > start {
		e.units = append(e.units, unit{int32(batch), message, len(e.body)})
	}
	return e.lines - before
}

func (e *encoder) addEvent(ev *event.Event) error {
	if ev.Measurement == "" {
		return errNoMeasurement
	}
	m := e.last
	if m == nil || m.name != ev.Measurement {
		m = e.measurement(ev.Measurement)
	}
	if m.unwanted {
		return nil
	}
	s := m.last
	if s == nil || !s.fits(ev.Tags) {
		s = e.seriesOf(m, ev.Tags)
	}
	// e.body is set at the end only: what is refused halfway leaves no trace.
	body := appendSeries(e.body, m, s, ev)
	series, skipped := len(body), e.skipped
	body, repeats, err := e.appendFields(body, m, s, ev, false)
	if err == nil && len(body) == series && repeats {
		// That the device spoke is all that it says, and must not be lost.
		e.skipped = skipped
		body, _, err = e.appendFields(body, m, s, ev, true)
	}
	if err != nil || len(body) == series {
		return err
	}
	body = e.appendTime(append(body, ' '), ev.Time)
	e.body = append(body, '\n')
	e.lines++
	return nil
}

// appendFields appends the fields of an event, each with what separates it from
// what stands before it. A field that repeats a tag is left out unless all is
// set; repeats says whether there was one.
func (e *encoder) appendFields(body []byte, m *measurement, s *series, ev *event.Event, all bool) (_ []byte, repeats bool, _ error) {
	sep := byte(' ')
	for i := range ev.Fields {
		f := &ev.Fields[i]
		v := f.Value
		kind := v.Kind()
		if kind == event.Null {
			continue
		}
		if kind == event.Float && v.Literal() == "" {
			if x, _ := v.Float(); !lineprotocol.Finite(x) {
				e.skipped++
				continue
			}
		}
		c := e.columnAt(m, s, i, len(ev.Fields), f.Name)
		if c.tag != noTag && !all && c.repeats(ev, v) {
			repeats = true
			continue
		}
		if want := e.typeOf(c, v); want != kind {
			w, ok := coerce(v, want)
			if !ok && c.typ != nil && c.typ.disputed() {
				w, ok = coerce(v, e.naturalType(v))
			}
			if !ok {
				return body, repeats, &TypeError{strings.Clone(m.name), c.written, cloneValue(v), want}
			}
			v = w
			e.coerced++
		}
		if v.Kind() == event.Uint {
			e.uints++
		}
		body = append(append(body, sep), c.key...)
		body = appendValue(body, v)
		sep = ','
	}
	return body, repeats, nil
}

// appendTime appends a timestamp. Events come in the order of their times, more
// or less: the digits of the second are those of the event before.
func (e *encoder) appendTime(dst []byte, at int64) []byte {
	if e.unit != 1 || at < 0 {
		return strconv.AppendInt(dst, floorDiv(at, e.unit), 10)
	}
	sec := at / 1e9
	if sec != e.second || len(e.secondText) == 0 {
		if sec == 0 { // no digits before the nine
			return strconv.AppendInt(dst, at, 10)
		}
		e.second, e.secondText = sec, strconv.AppendInt(e.secondText[:0], sec, 10)
	}
	dst = append(dst, e.secondText...)
	rest := uint32(at - sec*1e9)
	var nine [9]byte
	for i := 7; i > 0; i -= 2 {
		pair := rest % 100 * 2
		rest /= 100
		nine[i], nine[i+1] = digitPairs[pair], digitPairs[pair+1]
	}
	nine[0] = '0' + byte(rest)
	return append(dst, nine[:]...)
}

const digitPairs = "0001020304050607080910111213141516171819" +
	"2021222324252627282930313233343536373839" +
	"4041424344454647484950515253545556575859" +
	"6061626364656667686970717273747576777879" +
	"8081828384858687888990919293949596979899"

// typeOf returns the type in which v must be written to c, learning it if v is
// the first value.
func (e *encoder) typeOf(c *column, v event.Value) event.Kind {
	if c.typ == nil || e.natural {
		return e.naturalType(v)
	}
	k := c.typ.load()
	if k == event.Uint && !e.unsigned {
		e.types.replace(c.typ, event.Uint, e.naturalType(v))
		k = c.typ.load()
	}
	if k != event.Null {
		return k
	}
	k, learnt := e.types.learn(c.typ, e.naturalType(v))
	if learnt {
		e.fresh = append(e.fresh, c.typ)
	}
	return k
}

// naturalType returns the type that a value has by itself. Where the server
// knows no unsigned integers it is an integer if it fits.
func (e *encoder) naturalType(v event.Value) event.Kind {
	k := v.Kind()
	if k == event.Uint && !e.unsigned {
		if _, ok := toInt(v); ok {
			return event.Int
		}
		return event.Float
	}
	return k
}

// confirm makes the types that were learnt since the last call of confirm ones
// that points were written in.
func (e *encoder) confirm() {
	for _, f := range e.fresh {
		f.mark(confirmed)
	}
	e.fresh = e.fresh[:0]
}

func appendValue(dst []byte, v event.Value) []byte {
	switch v.Kind() {
	case event.Float:
		f, _ := v.Float()
		return lineprotocol.AppendFloat(dst, f, v.Literal())
	case event.Int:
		return lineprotocol.AppendInt(dst, v.Int())
	case event.Uint:
		return lineprotocol.AppendUint(dst, v.Uint())
	case event.Bool:
		return lineprotocol.AppendBool(dst, v.Bool())
	}
	return lineprotocol.AppendString(dst, v.Text())
}

// cloneValue returns v with memory of its own: errors outlive batches.
func cloneValue(v event.Value) event.Value {
	if v.Kind() == event.String {
		return event.StringValue(strings.Clone(exchange.Clip(v.Text(), 200)))
	}
	if l := v.Literal(); l != "" {
		f, _ := v.Float()
		return event.FloatValue(f)
	}
	return v
}

// floorDiv rounds down also before 1970, so that a unit is as long there.
func floorDiv(a, b int64) int64 {
	if b == 1 {
		return a
	}
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
