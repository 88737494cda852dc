package attributes

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"weir/configs/strict"
	"weir/ingest/event"
)

// csvParser reads one CSV file.
type csvParser struct {
	file    string
	data    []byte
	builder *builder
	columns []int // by cell; the first is the device
	errs    strict.Errors
	reader  *csv.Reader
}

func parseCSV(file string, data []byte) (*builder, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	p := &csvParser{file: file, data: data, builder: newBuilder(file)}
	if !utf8.Valid(data) {
		p.notUTF8()
		return nil, p.errs
	}
	p.reader = csv.NewReader(bytes.NewReader(data))
	p.reader.FieldsPerRecord = -1 // lines with too many or too few cells are reported here
	p.reader.ReuseRecord = true
	p.reader.TrimLeadingSpace = true
	cells, err := p.reader.Read()
	if err == nil {
		p.header(cells)
	}
	for err == nil && len(p.errs) == 0 || err == nil && len(p.columns) > 0 && len(p.errs) < maxErrors {
		if cells, err = p.reader.Read(); err == nil && !p.line(cells) {
			break
		}
	}
	var bad *csv.ParseError
	switch {
	case errors.As(err, &bad):
		hint := "put quotes around a cell that holds a comma or a quote, and write quotes in it twice"
		p.errs.Addf(file, p.pos(bad.Line, bad.Column), hint, "not valid CSV: %v", bad.Err)
	case err != nil && !errors.Is(err, io.EOF):
		p.errs.Addf(file, strict.Pos{}, "", "read CSV: %v", err)
	}
	if len(p.errs) > maxErrors {
		p.errs = p.errs[:maxErrors]
	}
	return p.builder, p.errs.Err()
}

// header takes the first line.
func (p *csvParser) header(cells []string) {
	if first := strings.TrimSpace(cells[0]); first != "device" {
		hint := "begin the file with a line of names: device,site,..."
		if strings.ContainsAny(first, ";\t") {
			hint = "separate the cells by commas"
		}
		p.addf(0, hint, "the first column must be called device, not %q", first)
		return
	}
	columns := make([]int, len(cells))
	for i := 1; i < len(cells); i++ {
		name := strings.TrimSpace(cells[i])
		if err := checkName(name); err != nil {
			p.addf(i, "give the column another name", "%v", err)
			continue
		}
		if _, twice := p.builder.named[name]; twice {
			p.addf(i, "remove one of the two", "a second column %q", name)
			continue
		}
		columns[i] = p.builder.column(name)
	}
	if err := p.builder.checkBounds(); err != nil {
		p.addf(0, "", "%v", err)
	}
	if len(p.errs) == 0 {
		p.columns = columns
	}
}

// line takes the line of a device. It reports false if there is no sense in
// going on.
func (p *csvParser) line(cells []string) bool {
	if len(cells) != len(p.columns) {
		p.addf(0, "put quotes around a cell that holds a comma; leave a cell empty for what is not there",
			"the line has %d cells, the first line %d", len(cells), len(p.columns))
		return true
	}
	id := strings.TrimSpace(cells[0])
	if err := checkDevice(id); err != nil {
		p.addf(0, "", "%v", err)
		return true
	}
	b := p.builder
	device, isNew := b.device(id)
	if !isNew {
		p.addf(0, "remove one of the two", "a second line for device %q, the first is line %d", id, b.lines[device])
		return true
	}
	line, _ := p.reader.FieldPos(0)
	b.lines = append(b.lines, uint32(line))
	if err := b.checkBounds(); err != nil {
		p.addf(0, "", "%v", err)
		return false
	}
	for i := 1; i < len(cells); i++ {
		v, err := cell(cells[i])
		if err != nil {
			p.addf(i, "", "%s: %v", b.columns[p.columns[i]].name, err)
			continue
		}
		if v.Kind() != event.Null {
			b.set(device, p.columns[i], v)
		}
	}
	return true
}

// cell returns what a cell says, Null if it is empty.
func cell(s string) (event.Value, error) {
	switch s = strings.TrimSpace(s); s {
	case "":
		return event.Value{}, nil
	case "true", "True", "TRUE":
		return event.BoolValue(true), nil
	case "false", "False", "FALSE":
		return event.BoolValue(false), nil
	}
	if v, ok := decimal(s); ok {
		return v, nil
	}
	return text(s)
}

// addf reports a problem of a cell of the current line.
func (p *csvParser) addf(cell int, hint, format string, args ...any) {
	line, column := p.reader.FieldPos(cell)
	p.errs.Addf(p.file, p.pos(line, column), hint, format, args...)
}

// pos turns a column in bytes into one in characters.
func (p *csvParser) pos(line, column int) strict.Pos {
	rest := p.data
	for range line - 1 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
	}
	return strict.Pos{Line: line, Col: utf8.RuneCount(rest[:min(max(column-1, 0), len(rest))]) + 1}
}

func (p *csvParser) notUTF8() {
	at := 0
	for at < len(p.data) {
		r, n := utf8.DecodeRune(p.data[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	before := p.data[:at]
	line := bytes.Count(before, []byte("\n")) + 1
	start := bytes.LastIndexByte(before, '\n') + 1
	p.errs.Addf(p.file, strict.Pos{Line: line, Col: utf8.RuneCount(before[start:]) + 1}, "save the file as UTF-8", "byte 0x%02x is not UTF-8", p.data[at])
}
