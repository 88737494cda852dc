package expression

import (
	"math"
	"time"

	"github.com/expr-lang/expr/vm"

	"weir/ingest/event"
	"weir/rules/attributes"
)

// value is what closures compute with: nil, a float64, an int64, a boolean or
// a text. It is event.Value opened up, with unsigned integers folded into the
// other two, so that the hot path is spared calls and cases.
type value struct {
	kind uint8
	num  uint64 // the bits of the number; 0 or 1
	str  string
}

const (
	vNil uint8 = iota
	vFloat
	vInt
	vBool
	vText
)

func floatOf(f float64) value { return value{kind: vFloat, num: math.Float64bits(f)} }
func intOf(i int64) value     { return value{kind: vInt, num: uint64(i)} }
func textOf(s string) value   { return value{kind: vText, str: s} }
func boolOf(b bool) value {
	if b {
		return value{kind: vBool, num: 1}
	}
	return value{kind: vBool}
}

func (v *value) float() float64 { return math.Float64frombits(v.num) }
func (v *value) int() int64     { return int64(v.num) }

// number returns v as a float64, and whether it is a number.
func (v *value) number() (float64, bool) {
	switch v.kind {
	case vFloat:
		return math.Float64frombits(v.num), true
	case vInt:
		return float64(int64(v.num)), true
	}
	return 0, false
}

// any returns the value as expr's VM knows it: nil, float64, int, bool or string.
func (v *value) any() any {
	switch v.kind {
	case vFloat:
		return v.float()
	case vInt:
		return int(v.int())
	case vBool:
		return v.num == 1
	case vText:
		return v.str
	}
	return nil
}

func (v *value) event() event.Value {
	switch v.kind {
	case vFloat:
		return event.FloatValue(v.float())
	case vInt:
		return event.IntValue(v.int())
	case vBool:
		return event.BoolValue(v.num == 1)
	case vText:
		return event.StringValue(v.str)
	}
	return event.Value{}
}

func (v *value) set(w event.Value) {
	switch w.Kind() {
	case event.Float:
		f, _ := w.Float()
		*v = floatOf(f)
	case event.Int:
		*v = intOf(w.Int())
	case event.Uint:
		if u := w.Uint(); u <= math.MaxInt64 {
			*v = intOf(int64(u))
		} else {
			*v = floatOf(float64(u))
		}
	case event.Bool:
		*v = boolOf(w.Bool())
	case event.String:
		*v = textOf(w.Text())
	default:
		*v = value{}
	}
}

// found says where the value of a slot was found.
type found uint8

const (
	nowhere found = iota
	inFields
	elsewhere
	idle // a cell that the event had no part in
)

// slot holds what one name of the table is in the current event.
type slot struct {
	value value
	stamp uint32 // the event it was read from
	hint  int32  // where in Fields the name was last found
	found found
}

// Scope is what programs are evaluated in: the current event, and what was
// read from it. It is used by one goroutine.
type Scope struct {
	// Variables answers for the names in Options.Variables. It may be nil if
	// there are none.
	Variables func(name string) event.Value
	// Cells answers for the cells, by number: the value, and whether the
	// current event had a part in it. It may be nil if there are none.
	Cells func(cell int32) (v event.Value, fed bool)

	table *Table
	event *event.Event
	slots []slot
	stamp uint32
	vm    vm.VM
	env   map[string]any

	row struct { // what is known about the device of the event with this stamp
		attributes.Row
		stamp uint32
	}
}

// NewScope returns a scope for the programs that were compiled with table.
// The table must be complete.
func NewScope(table *Table) *Scope {
	return &Scope{table: table, slots: make([]slot, table.Len()), env: map[string]any{}}
}

// Begin makes ev the current event. The scope refers to ev until the next Begin.
func (s *Scope) Begin(ev *event.Event) {
	s.event = ev
	if s.stamp++; s.stamp == 0 { // after 2^32 events old stamps would look new
		for i := range s.slots {
			s.slots[i].stamp = 0
		}
		s.stamp, s.row.stamp = 1, 0
	}
}

// Event returns the current event, nil before the first Begin.
func (s *Scope) Event() *event.Event { return s.event }

// Lookup returns what the reference is in the current event, nil (Null) if it
// is not there.
func (s *Scope) Lookup(r Ref) event.Value {
	var sl slot
	s.read(&sl, &r, s.table.column(r))
	return sl.value.event()
}

func (s *Scope) fill(i int32) {
	sl, r := &s.slots[i], &s.table.refs[i]
	sl.stamp = s.stamp
	if r.Origin <= Field {
		if h := int(sl.hint); h < len(s.event.Fields) {
			if f := &s.event.Fields[h]; f.Name == r.Name {
				sl.value.set(f.Value)
				sl.found = inFields
				return
			}
		}
	}
	s.read(sl, r, s.table.columns[i])
}

// read looks for a name, in a column of the attributes too unless it is none.
func (s *Scope) read(sl *slot, r *Ref, column int32) {
	sl.found = elsewhere
	ev := s.event
	switch r.Origin {
	case Open, Field:
		for i := range ev.Fields {
			if ev.Fields[i].Name == r.Name {
				sl.value.set(ev.Fields[i].Value)
				sl.hint, sl.found = int32(i), inFields
				return
			}
		}
		if r.Origin == Open && s.readTag(sl, r.Name) {
			return
		}
		if ev.Rule != "" && r.Name == ev.Measurement { // a recording is known by its name
			v, _ := ev.Field("value")
			sl.value.set(v)
			sl.found = inFields
			return
		}
		s.readAttribute(sl, column)
	case Attribute:
		s.readAttribute(sl, column)
	case Tag:
		if !s.readTag(sl, r.Name) {
			sl.value, sl.found = value{}, nowhere
		}
	case Device:
		sl.value = textOf(ev.Device)
	case Source:
		sl.value = textOf(ev.Source)
	case Measurement:
		sl.value = textOf(ev.Measurement)
	case Time:
		sl.value = intOf(ev.Time)
	case Received:
		sl.value = intOf(ev.Received)
	case Variable:
		sl.stamp = s.stamp - 1 // may differ the next time it is asked for
		sl.value.set(s.Variables(r.Name))
	case Cell:
		v, fed := s.Cells(r.Cell)
		sl.value.set(v)
		sl.found = idle
		if fed {
			sl.found = inFields
		}
	}
}

func (s *Scope) readTag(sl *slot, key string) bool {
	v, ok := s.event.Tag(key)
	if ok {
		sl.value, sl.found = textOf(v), elsewhere
	}
	return ok
}

// readAttribute reads an attribute of the event's device, which is looked up
// once an event.
func (s *Scope) readAttribute(sl *slot, column int32) {
	sl.value, sl.found = value{}, nowhere
	if column == none {
		return
	}
	if s.row.stamp != s.stamp {
		s.row.Row, _ = s.table.attributes.Get(s.event.Device)
		s.row.stamp = s.stamp
	}
	if v := s.row.Value(int(column)); v.Kind() != event.Null {
		sl.value.set(v)
		sl.found = elsewhere
	}
}

// load reads what p needs into the slots. It reports false if the event has
// none of the fields that p reads and no part in its cells, and so says nothing
// about it.
func (s *Scope) load(p *Program) bool {
	missing, has, unfed := false, false, false
	for _, i := range p.slots {
		sl := &s.slots[i]
		if sl.stamp != s.stamp {
			s.fill(i)
		}
		missing = missing || sl.found == nowhere
		has = has || sl.found == inFields
		unfed = unfed || sl.found == idle
	}
	return has || !unfed && (!missing || p.tolerant)
}

// run evaluates p on the VM. load must have been called.
func (s *Scope) run(p *Program) (any, error) {
	clear(s.env)
	for i, key := range p.env {
		v := &s.slots[p.slots[i]].value
		switch p.refs[i].Origin {
		case Time, Received:
			s.env[key] = time.Unix(0, v.int()).UTC()
		default:
			s.env[key] = v.any()
		}
	}
	return s.vm.Run(p.vm, s.env)
}
