package attributes

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode"

	"weir/configs/strict"
	"weir/ingest/event"
)

// Bounds of a file. YAML is read as a whole, which takes a hundred times the
// room that CSV does.
const (
	MaxYAML = 8 << 20   // bytes
	MaxCSV  = 256 << 20 // bytes
)

// maxErrors bounds what is reported of one file.
const maxErrors = 20

// Parse reads a table file, whose name says its format: .yaml, .yml or .csv. It
// returns strict.Errors with what is wrong with it, at most 20 of a CSV file.
func Parse(file string, data []byte) (*Table, error) {
	var errs strict.Errors
	max, parse := MaxYAML, parseYAML
	switch strings.ToLower(path.Ext(file)) {
	case ".yaml", ".yml":
	case ".csv":
		max, parse = MaxCSV, parseCSV
	default:
		errs.Addf(file, strict.Pos{}, "name it .yaml, .yml or .csv", "a table of devices is YAML or CSV: the file's name does not say which")
		return nil, errs
	}
	if len(data) > max {
		hint := "split the devices over fewer attributes"
		if max == MaxYAML {
			hint = "write large tables as CSV, which takes less room"
		}
		errs.Addf(file, strict.Pos{}, hint, "the table has %d bytes, more than %d", len(data), max)
		return nil, errs
	}
	b, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	if len(b.names) == 0 { // more likely a file that is being written than one that is meant so
		errs.Addf(file, strict.Pos{Line: 1, Col: 1}, "remove the table from attributes if it is not needed", "the table has no devices")
		return nil, errs
	}
	return b.table(), nil
}

// checkBounds returns what is wrong with the size of the table so far.
func (b *builder) checkBounds() error {
	switch {
	case len(b.names) > MaxDevices:
		return fmt.Errorf("there are more than %d devices", MaxDevices)
	case len(b.columns) > MaxAttributes:
		return fmt.Errorf("there are more than %d attributes", MaxAttributes)
	case b.cells() > MaxCells:
		return fmt.Errorf("%d devices with %d attributes make more than %d cells", len(b.names), len(b.columns), MaxCells)
	}
	return nil
}

// checkDevice returns what is wrong with the id of a device.
func checkDevice(id string) error {
	switch {
	case id == "":
		return errors.New("the device has no id")
	case len(id) > MaxDevice:
		return fmt.Errorf("the device's id has %d bytes, more than %d", len(id), MaxDevice)
	case strings.TrimSpace(id) != id:
		return fmt.Errorf("the device's id %q begins or ends with a space", id)
	case strings.ContainsFunc(id, unicode.IsControl):
		return fmt.Errorf("the device's id %q holds a control character", id)
	}
	return nil
}

// BuiltIn reports whether a name means something else in rules, so that no
// attribute can have it.
func BuiltIn(name string) bool {
	switch name {
	case "device", "source", "measurement", "time", "received":
		return true
	}
	return false
}

// checkName returns what is wrong with the name of an attribute.
func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the attribute has no name")
	case BuiltIn(name):
		return fmt.Errorf("no attribute can be called %q: it means something else in rules", name)
	case len(name) > MaxName:
		return fmt.Errorf("the attribute's name has %d bytes, more than %d", len(name), MaxName)
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the attribute's name %q holds a control character", name)
	}
	for part := range strings.SplitSeq(name, ".") {
		if part == "" || strings.TrimSpace(part) != part {
			return fmt.Errorf("the attribute's name %q has a part that is empty, or begins or ends with a space", name)
		}
	}
	return nil
}

// text returns a text as a value.
func text(s string) (event.Value, error) {
	if len(s) > MaxText {
		return event.Value{}, fmt.Errorf("the text has %d bytes, more than %d", len(s), MaxText)
	}
	return event.StringValue(s), nil
}

// decimal reads a number without an exponent: with one it is more likely a
// serial number, such as 12e45678. ok is false if it is none. As in payloads it
// is a float, or an integer beyond 2^53.
func decimal(s string) (v event.Value, ok bool) {
	integer, ok := isDecimal(s)
	if !ok {
		return v, false
	}
	if !integer {
		f, err := strconv.ParseFloat(s, 64)
		return number(f), err == nil
	}
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return whole(i), true
	}
	u, err := strconv.ParseUint(s, 10, 64)
	return event.UintValue(u), err == nil
}

// whole returns an integer as a value.
func whole(i int64) event.Value {
	if i < -1<<53 || i > 1<<53 {
		return event.IntValue(i)
	}
	return number(float64(i))
}

// isDecimal reports whether a text is a number in JSON's grammar without an
// exponent, and whether one without a fraction.
func isDecimal(s string) (integer, ok bool) {
	whole, fraction, point := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if !digits(whole) || len(whole) > 1 && whole[0] == '0' || point && !digits(fraction) {
		return false, false
	}
	return !point, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// Normal returns a text in the way in which Text gives the value of a cell that
// holds it: 3.0 is 3, TRUE is true.
func Normal(s string) string {
	if v, err := cell(s); err == nil && v.Kind() != event.String {
		if n, ok := Text(v); ok {
			return n
		}
	}
	return s
}
