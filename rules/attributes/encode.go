package attributes

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"weir/ingest/event"
)

// A table is encoded as
//
//	version byte  count of devices  count of columns
//	for each device, in order: how many bytes it shares with the one before, length and text of the rest
//	for each column, in order: name  count of values  values (kind, value)  their numbers by device:
//	    the lowest byte of each, then the second of each, ... as many as the largest needs
//
// Counts and lengths are varints. Equal tables have equal encodings.
const encodingVersion = 1

// maxEncoded bounds what Decode unpacks.
const maxEncoded = 1 << 30

// Encode returns the table, compressed, for Decode.
func (t *Table) Encode() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	t.write(z)
	if err := z.Close(); err != nil { // a Buffer takes everything
		panic(fmt.Sprintf("attributes: encode a table: %v", err))
	}
	return b.Bytes()
}

// write writes the encoding to w, which takes everything.
func (t *Table) write(to io.Writer) {
	w := bufio.NewWriterSize(to, 64<<10)
	var scratch [binary.MaxVarintLen64]byte
	number := func(n int) { w.Write(binary.AppendUvarint(scratch[:0], uint64(n))) }
	text := func(s string) { number(len(s)); w.WriteString(s) }
	w.WriteByte(encodingVersion)
	number(t.Len())
	number(len(t.Columns()))
	before := ""
	for id := range t.Devices() {
		n := 0
		for n < len(before) && n < len(id) && before[n] == id[n] {
			n++
		}
		number(n)
		text(id[n:])
		before = id
	}
	for i := range t.Columns() {
		c := &t.columns[i]
		text(c.name)
		number(len(c.values) - 1)
		for _, v := range c.values[1:] {
			w.WriteByte(byte(v.Kind()))
			switch v.Kind() {
			case event.Float:
				f, _ := v.Float()
				w.Write(binary.BigEndian.AppendUint64(scratch[:0], math.Float64bits(f)))
			case event.Int:
				w.Write(binary.BigEndian.AppendUint64(scratch[:0], uint64(v.Int())))
			case event.Uint:
				w.Write(binary.BigEndian.AppendUint64(scratch[:0], v.Uint()))
			case event.Bool:
				if v.Bool() {
					w.WriteByte(1)
				} else {
					w.WriteByte(0)
				}
			case event.String:
				text(v.Text())
			}
		}
		for shift := range planes(len(c.values)) {
			for at := range uint32(t.Len()) {
				w.WriteByte(byte(c.codes.at(at) >> (8 * shift)))
			}
		}
	}
	w.Flush()
}

// planes returns how many bytes numbers below n need.
func planes(n int) int {
	p := 1
	for n > 1<<(8*p) {
		p++
	}
	return p
}

// Decode returns the table with this hash that Encode packed. While one with
// the same hash is in use anywhere in the process, it returns that one.
func Decode(hash string, packed []byte) (*Table, error) {
	if t := shared(hash); t != nil {
		return t, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("unpack the table of devices: %w", err)
	}
	r := &reader{in: bufio.NewReaderSize(io.LimitReader(z, maxEncoded), 64<<10)}
	t := r.table()
	if r.err == nil {
		if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) { // reads, and so checks, gzip's checksum
			r.fail(fmt.Errorf("something is left over, or damaged (%v)", err))
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("unpack the table of devices: %w", r.err)
	}
	t.seal()
	if t.hash != hash {
		return nil, fmt.Errorf("the table of devices is damaged: its hash is %s, its content's %s", hash, t.hash)
	}
	return share(t), nil
}

// reader reads an encoding. After the first error it returns zeros.
type reader struct {
	in  *bufio.Reader
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

var errDamaged = errors.New("it holds what cannot be")

// number reads a number of at most max.
func (r *reader) number(max int) int {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.in)
	if err != nil {
		r.fail(err)
		return 0
	}
	if n > uint64(max) {
		r.fail(errDamaged)
		return 0
	}
	return int(n)
}

// bytes appends the next n bytes to b.
func (r *reader) bytes(b []byte, n int) []byte {
	if r.err != nil {
		return b
	}
	at := len(b)
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(r.in, b[at:]); err != nil {
		r.fail(err)
	}
	return b
}

func (r *reader) text(max int) string { return string(r.bytes(nil, r.number(max))) }

func (r *reader) table() *Table {
	t := &Table{}
	if v := r.bytes(nil, 1); r.err == nil && v[0] != encodingVersion {
		r.fail(fmt.Errorf("it has version %d, this weir knows %d", v[0], encodingVersion))
	}
	devices, columns := r.number(MaxDevices), r.number(MaxAttributes)
	if devices*columns > MaxCells {
		r.fail(errDamaged)
	}
	var names, id []byte
	for i := 0; i < devices && r.err == nil; i++ {
		before := string(id)
		id = r.bytes(id[:r.number(len(id))], r.number(MaxDevice))
		if i > 0 && string(id) <= before || len(id) > MaxDevice || len(names)+len(id) > math.MaxUint32 {
			r.fail(errDamaged)
		}
		names = append(names, id...)
		t.ends = append(t.ends, uint32(len(names)))
	}
	t.names = string(names)
	for i := 0; i < columns && r.err == nil; i++ {
		c := r.column(devices)
		if i > 0 && c.name <= t.columns[i-1].name {
			r.fail(errDamaged)
		}
		t.columns = append(t.columns, c)
	}
	return t
}

func (r *reader) column(devices int) column {
	c := column{name: r.text(MaxName), values: make([]event.Value, 1)}
	n := r.number(devices)
	for i := 0; i < n && r.err == nil; i++ {
		c.values = append(c.values, r.value())
	}
	list := make([]uint32, devices)
	var plane []byte
	for shift := range planes(len(c.values)) {
		plane = r.bytes(plane[:0], devices)
		for at, b := range plane {
			list[at] |= uint32(b) << (8 * shift)
		}
	}
	for _, code := range list {
		if int(code) >= len(c.values) {
			r.fail(errDamaged)
			return c
		}
	}
	c.codes = pack(list, len(c.values))
	return c
}

func (r *reader) value() event.Value {
	var b [8]byte
	bits := func() uint64 { return binary.BigEndian.Uint64(r.bytes(b[:0], 8)[:8]) }
	switch k := r.bytes(b[:0], 1); event.Kind(append(k, 0)[0]) {
	case event.Float:
		return number(math.Float64frombits(bits()))
	case event.Int:
		return event.IntValue(int64(bits()))
	case event.Uint:
		return event.UintValue(bits())
	case event.Bool:
		return event.BoolValue(append(r.bytes(b[:0], 1), 0)[0] == 1)
	case event.String:
		return event.StringValue(r.text(MaxText))
	}
	r.fail(errDamaged)
	return event.Value{}
}
