package attributes

import (
	"slices"
	"strings"

	"weir/ingest/event"
)

// builder gathers a table, devices and attributes in any order.
type builder struct {
	file    string
	known   map[string]uint32 // number of each device
	names   []string          // of the devices
	lines   []uint32          // where each stands; empty for a merged table
	columns []*columnBuilder
	named   map[string]int // number of each column
}

type columnBuilder struct {
	name   string
	values []event.Value // without Null
	code   map[event.Value]uint32
	codes  []uint32 // by device, as far as any has it; 0 is nothing
}

func newBuilder(file string) *builder {
	return &builder{file: file, known: map[string]uint32{}, named: map[string]int{}}
}

// device adds a device, and returns its number and whether it is new.
func (b *builder) device(name string) (uint32, bool) {
	if i, ok := b.known[name]; ok {
		return i, false
	}
	i := uint32(len(b.names))
	b.known[name] = i
	b.names = append(b.names, name)
	return i, true
}

// column returns the number of the column of an attribute, adding it if need be.
func (b *builder) column(name string) int {
	if i, ok := b.named[name]; ok {
		return i
	}
	i := len(b.columns)
	name = strings.Clone(name)
	b.named[name] = i
	b.columns = append(b.columns, &columnBuilder{name: name, code: map[event.Value]uint32{}})
	return i
}

// cells returns how many cells the table has so far.
func (b *builder) cells() int { return len(b.names) * len(b.columns) }

// set gives a device an attribute that is not Null. It reports false if the
// device has it already.
func (b *builder) set(device uint32, column int, v event.Value) bool {
	c := b.columns[column]
	if int(device) >= len(c.codes) {
		c.codes = append(c.codes, make([]uint32, int(device)+1-len(c.codes))...)
	}
	if c.codes[device] != 0 {
		return false
	}
	code, ok := c.code[v]
	if !ok {
		if v.Kind() == event.String { // the text is part of a line, or of a whole file
			v = event.StringValue(strings.Clone(v.Text()))
		}
		c.values = append(c.values, v)
		code = uint32(len(c.values))
		c.code[v] = code
	}
	c.codes[device] = code
	return true
}

// table returns what was gathered. The builder must not be used after it.
func (b *builder) table() *Table {
	order := make([]uint32, len(b.names))
	size := 0
	for i := range order {
		order[i] = uint32(i)
		size += len(b.names[i])
	}
	slices.SortFunc(order, func(x, y uint32) int { return strings.Compare(b.names[x], b.names[y]) })
	t := &Table{file: b.file, ends: make([]uint32, 0, len(order))}
	var names strings.Builder
	names.Grow(size)
	for _, i := range order {
		names.WriteString(b.names[i])
		t.ends = append(t.ends, uint32(names.Len()))
		if len(b.lines) > 0 {
			t.lines = append(t.lines, b.lines[i])
		}
	}
	t.names = names.String()
	b.names, b.known = nil, nil
	slices.SortFunc(b.columns, func(x, y *columnBuilder) int { return strings.Compare(x.name, y.name) })
	for _, c := range b.columns {
		if len(c.values) > 0 { // a header without a single value is no attribute
			t.columns = append(t.columns, c.column(order))
		}
		c.code, c.codes = nil, nil
	}
	t.seal()
	return t
}

// column numbers the values in the order of the devices, so that tables that
// say the same are the same.
func (c *columnBuilder) column(order []uint32) column {
	c.code = nil
	values := make([]event.Value, 1, len(c.values)+1)
	number := make([]uint32, len(c.values)+1)
	list := make([]uint32, len(order))
	for i, device := range order {
		if int(device) >= len(c.codes) || c.codes[device] == 0 {
			continue
		}
		old := c.codes[device]
		if number[old] == 0 {
			number[old] = uint32(len(values))
			values = append(values, c.values[old-1])
		}
		list[i] = number[old]
	}
	return column{name: c.name, values: values, codes: pack(list, len(values))}
}
