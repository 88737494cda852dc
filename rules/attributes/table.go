package attributes

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/maphash"
	"iter"
	"slices"
	"strconv"
	"strings"

	"weir/ingest/event"
)

// Bounds of a table, merged or not.
const (
	MaxDevices    = 2_000_000
	MaxAttributes = 200
	MaxCells      = 20_000_000 // devices times attributes
	MaxDevice     = 1024       // bytes of a device's id
	MaxName       = 200        // bytes of an attribute's name
	MaxText       = 4096       // bytes of a value
)

// Table says what is known about devices. It is immutable and safe for use by
// any number of goroutines. A nil Table knows no device.
type Table struct {
	names   string   // the ids of the devices, sorted, one after the other
	ends    []uint32 // where each ends in names
	index   []uint32 // open addressing: number of the device + 1; 0 is free
	seed    maphash.Seed
	columns []column // in the order of their names
	hash    string

	// Where it was read, for Merge; a merged or decoded table does not know.
	file  string
	lines []uint32 // by device
}

// column is one attribute of all devices.
type column struct {
	name   string
	values []event.Value // [0] is Null, for devices that do not have it; each once
	codes  codes
}

// codes are small numbers, in as few bytes as the largest of them needs.
type codes struct {
	one  []uint8
	two  []uint16
	four []uint32
}

func (c *codes) at(i uint32) uint32 {
	switch {
	case c.one != nil:
		return uint32(c.one[i])
	case c.two != nil:
		return uint32(c.two[i])
	}
	return c.four[i]
}

// pack returns numbers below n.
func pack(list []uint32, n int) codes {
	switch {
	case n <= 1<<8:
		one := make([]uint8, len(list))
		for i, v := range list {
			one[i] = uint8(v)
		}
		return codes{one: one}
	case n <= 1<<16:
		two := make([]uint16, len(list))
		for i, v := range list {
			two[i] = uint16(v)
		}
		return codes{two: two}
	}
	return codes{four: list}
}

// Row is the attributes of one device. The zero Row has none.
type Row struct {
	table *Table
	at    uint32
}

// Get returns the attributes of a device, and whether the table knows it.
func (t *Table) Get(device string) (Row, bool) {
	if t == nil || len(t.index) == 0 {
		return Row{}, false
	}
	mask := uint64(len(t.index) - 1)
	for h := maphash.String(t.seed, device) & mask; ; h = (h + 1) & mask {
		n := t.index[h]
		if n == 0 {
			return Row{}, false
		}
		if t.device(n-1) == device {
			return Row{t, n - 1}, true
		}
	}
}

// Value returns the attribute in a column, Null if the device does not have it.
func (r Row) Value(column int) event.Value {
	if r.table == nil {
		return event.Value{}
	}
	c := &r.table.columns[column]
	return c.values[c.codes.at(r.at)]
}

// Text returns the attribute in a column as text, and whether the device has
// it. It does not allocate.
func (r Row) Text(column int) (string, bool) { return Text(r.Value(column)) }

// Device returns the id of the device, "" for the zero Row.
func (r Row) Device() string {
	if r.table == nil {
		return ""
	}
	return r.table.device(r.at)
}

// Text returns a value of a table as text, and whether there is one: numbers
// without an exponent where people would write none, and always in the same
// way, however the file has them.
func Text(v event.Value) (string, bool) {
	switch v.Kind() {
	case event.Null:
		return "", false
	case event.Float:
		if l := v.Literal(); l != "" {
			return l, true
		}
	}
	return v.String(), true
}

// Columns returns the names of the attributes, sorted.
func (t *Table) Columns() []string {
	if t == nil {
		return nil
	}
	names := make([]string, len(t.columns))
	for i := range t.columns {
		names[i] = t.columns[i].name
	}
	return names
}

// Column returns the number of the column of an attribute, and whether any
// device has it.
func (t *Table) Column(name string) (int, bool) {
	if t == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(t.columns, name, func(c column, name string) int { return strings.Compare(c.name, name) })
}

// Devices returns the ids of the devices, sorted.
func (t *Table) Devices() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range t.Len() {
			if !yield(t.device(uint32(i))) {
				return
			}
		}
	}
}

// Len returns how many devices the table knows.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.ends)
}

// Hash identifies what the table says, not how its files are written: tables
// with the same devices and attributes have equal hashes. It is "" for a table
// without devices.
func (t *Table) Hash() string {
	if t == nil {
		return ""
	}
	return t.hash
}

func (t *Table) device(i uint32) string {
	from := uint32(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.names[from:t.ends[i]]
}

// seal makes what is derived from the rest of the table.
func (t *Table) seal() {
	if len(t.ends) == 0 {
		return
	}
	size := 2
	for size < len(t.ends)+len(t.ends)/2 {
		size <<= 1
	}
	t.index, t.seed = make([]uint32, size), maphash.MakeSeed()
	mask := uint64(size - 1)
	for i := range t.ends {
		h := maphash.String(t.seed, t.device(uint32(i))) & mask
		for t.index[h] != 0 {
			h = (h + 1) & mask
		}
		t.index[h] = uint32(i) + 1
	}
	h := sha256.New()
	t.write(h)
	t.hash = hex.EncodeToString(h.Sum(nil)[:16])
}

// number returns a number as tables hold it: with the one text that it has.
func number(f float64) event.Value {
	if f == 0 {
		f = 0 // of two zeros the positive one
	}
	format := byte('f')
	if a := max(f, -f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'g'
	}
	return event.FloatLiteral(f, strconv.FormatFloat(f, format, -1, 64))
}
