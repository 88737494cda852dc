package expression

import "weir/rules/attributes"

// Origin says where the value of a name comes from.
type Origin uint8

// The origins of a name.
const (
	Open        Origin = iota // a field of the event, or else a tag, or else an attribute of its device
	Field                     // a field, asked for by field("...")
	Tag                       // a tag, asked for by tag("...")
	Device                    // the device's id
	Source                    // the source that decoded the event
	Measurement               // the event's measurement
	Time                      // event time
	Received                  // when weir received it
	Variable                  // what Scope.Variables answers
	Cell                      // what Scope.Cells answers: it depends on more than the event
	Attribute                 // an attribute of the event's device, asked for by attribute("...")
)

// Ref is something that an expression reads.
type Ref struct {
	Origin Origin
	Name   string // "" for Device, Source, Measurement, Time and Received; the identity of a Cell
	Cell   int32  // number of a Cell
	Text   string // a Cell as it is written, e.g. avg_over_time(temperature, "5m")
}

// String returns the name as it is written in an expression.
func (r Ref) String() string {
	switch r.Origin {
	case Field:
		return `field("` + r.Name + `")`
	case Tag:
		return `tag("` + r.Name + `")`
	case Device:
		return "device"
	case Source:
		return "source"
	case Measurement:
		return "measurement"
	case Time:
		return "time"
	case Received:
		return "received"
	case Cell:
		return r.Text
	case Attribute:
		return `attribute("` + r.Name + `")`
	}
	return r.Name
}

// IsField reports whether the name is, or may be, a field of the event.
func (r Ref) IsField() bool { return r.Origin == Open || r.Origin == Field }

// mark begins the key of every resolved name. No name that a user can write
// begins with it.
const mark = '@'

// key is the name by which the syntax tree and expr's VM know the reference.
func (r Ref) key() string {
	switch r.Origin {
	case Variable:
		return string(mark) + "variable " + r.Name
	case Cell:
		return string(mark) + "cell " + r.Name
	}
	return string(mark) + r.String()
}

func eventRef(name string) (Ref, bool) {
	switch name {
	case "device":
		return Ref{Origin: Device}, true
	case "source":
		return Ref{Origin: Source}, true
	case "measurement":
		return Ref{Origin: Measurement}, true
	case "time":
		return Ref{Origin: Time}, true
	case "received":
		return Ref{Origin: Received}, true
	}
	return Ref{}, false
}

// Table numbers the names that a set of programs reads. It is filled while
// programs are compiled and immutable after that.
type Table struct {
	refs       []Ref
	columns    []int32 // by ref: the column of attributes that it may be in, or none
	index      map[string]int32
	attributes *attributes.Table // nil if nothing is known about devices
}

// none is no column.
const none = -1

// NewTable returns an empty table.
func NewTable() *Table { return &Table{index: map[string]int32{}} }

// SetAttributes says what is known about devices. It must be called before
// programs are compiled with the table.
func (t *Table) SetAttributes(a *attributes.Table) { t.attributes = a }

// column returns the column in which a name may be found, or none.
func (t *Table) column(r Ref) int32 {
	if r.Origin == Open || r.Origin == Attribute {
		if c, ok := t.attributes.Column(r.Name); ok {
			return int32(c)
		}
	}
	return none
}

// Len returns how many names are in the table.
func (t *Table) Len() int { return len(t.refs) }

func (t *Table) slot(r Ref) int32 {
	k := r.key()
	if i, ok := t.index[k]; ok {
		return i
	}
	i := int32(len(t.refs))
	t.refs, t.columns, t.index[k] = append(t.refs, r), append(t.columns, t.column(r)), i
	return i
}
