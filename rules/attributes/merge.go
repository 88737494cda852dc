package attributes

import (
	"fmt"

	"weir/configs/strict"
	"weir/ingest/event"
)

// Merge returns the table with all devices and attributes of tables that Parse
// returned. A device may have attributes in several of them, but none in two:
// that is reported with both places, as strict.Errors.
func Merge(tables ...*Table) (*Table, error) {
	if len(tables) == 1 {
		t := *tables[0]
		t.file, t.lines = "", nil
		return share(&t), nil
	}
	b := newBuilder("")
	var errs strict.Errors
	for i, t := range tables {
		for at := range uint32(t.Len()) {
			device, _ := b.device(t.device(at))
			for j := range t.columns {
				v := t.columns[j].values[t.columns[j].codes.at(at)]
				if v.Kind() == event.Null {
					continue
				}
				if !b.set(device, b.column(t.columns[j].name), v) {
					name, id := t.columns[j].name, t.device(at)
					errs.Addf(t.file, t.pos(at), "remove it in one of the files",
						"attribute %q of device %q is there already, at %s", name, id, whence(tables[:i], id, name))
				}
			}
			if err := b.checkBounds(); err != nil {
				errs.Addf(t.file, t.pos(at), "", "with the tables before it: %v", err)
				return nil, errs
			}
			if len(errs) >= maxErrors {
				return nil, errs.Err()
			}
		}
	}
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return share(b.table()), nil
}

func (t *Table) pos(at uint32) strict.Pos {
	if int(at) >= len(t.lines) {
		return strict.Pos{}
	}
	return strict.Pos{Line: int(t.lines[at])}
}

// whence says where an attribute of a device stands.
func whence(tables []*Table, device, name string) string {
	for _, t := range tables {
		if row, ok := t.Get(device); ok {
			if c, ok := t.Column(name); ok && row.Value(c).Kind() != event.Null {
				return fmt.Sprintf("%s:%d", t.file, t.pos(row.at).Line)
			}
		}
	}
	return "another place"
}
