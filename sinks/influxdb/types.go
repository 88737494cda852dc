package influxdb

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"weir/ingest/event"
)

const (
	maxLearntName  = 256       // bytes; fields with longer names are written but not learnt
	maxLearntBytes = 512 << 10 // of all learnt names together: what is saved must stay below 1 MB
)

// Types is what is known of the type of each field: the type it was first seen
// with, or the one that the server insists on. It is safe for concurrent use.
type Types struct {
	max int // pairs

	mu       sync.Mutex
	fields   map[string]map[string]*fieldType // measurement, field
	n, bytes int
	overflow atomic.Uint64 // pairs that found no room, once for each time they were asked for

	version atomic.Uint64 // counts changes
	saveMu  sync.Mutex    // held while saving, before mu
	saved   uint64        // the version that was saved last; guarded by saveMu
}

// fieldType is the type of one field. Encoders hold on to it, and read it for
// every value.
type fieldType struct{ kind atomic.Uint32 }

func (f *fieldType) load() event.Kind { return event.Kind(f.kind.Load()) }

func newTypes(max int) *Types {
	return &Types{max: max, fields: map[string]map[string]*fieldType{}}
}

// field returns the slot of a field, and nil if there is no room for another.
// The names are copied.
func (t *Types) field(measurement, field string) *fieldType {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fieldLocked(measurement, field)
}

func (t *Types) fieldLocked(measurement, field string) *fieldType {
	if f := t.fields[measurement][field]; f != nil {
		return f
	}
	cost := len(measurement) + len(field)
	if t.n >= t.max || t.bytes+cost > maxLearntBytes || len(field) > maxLearntName || len(measurement) > maxLearntName {
		t.overflow.Add(1)
		return nil
	}
	of := t.fields[measurement]
	if of == nil {
		of = map[string]*fieldType{}
		t.fields[strings.Clone(measurement)] = of
	}
	f := &fieldType{}
	of[strings.Clone(field)] = f
	t.n++
	t.bytes += cost
	return f
}

// learn gives a field that has no type yet the type k, and returns the type
// that it has now: another goroutine may have been first.
func (t *Types) learn(f *fieldType, k event.Kind) event.Kind {
	if f.kind.CompareAndSwap(0, uint32(k)) {
		t.version.Add(1)
		return k
	}
	return f.load()
}

// set makes k the type of a field, whatever was known before.
func (t *Types) set(measurement, field string, k event.Kind) {
	if f := t.field(measurement, field); f != nil && f.kind.Swap(uint32(k)) != uint32(k) {
		t.version.Add(1)
	}
}

// Lookup returns the type of a field, and event.Null if none is known.
func (t *Types) Lookup(measurement, field string) event.Kind {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.fields[measurement][field]; f != nil {
		return f.load()
	}
	return event.Null
}

// Forget makes the next value of a field decide its type again, for when the
// field was dropped from the database. It reports whether a type was known.
func (t *Types) Forget(measurement, field string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.fields[measurement][field]
	if f == nil || f.kind.Swap(0) == 0 {
		return false
	}
	t.version.Add(1)
	return true
}

// Len returns how many fields are known.
func (t *Types) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n
}

// Overflow returns how often a field was met whose type could not be learnt as
// there is no room for it. Such fields are written as they come.
func (t *Types) Overflow() uint64 { return t.overflow.Load() }

// typesFile is the saved form: measurement, field, name of the type.
type typesFile struct {
	Version int                          `json:"version"`
	Types   map[string]map[string]string `json:"types"`
}

// encode returns the saved form and the version that it holds.
func (t *Types) encode() ([]byte, uint64, error) {
	version := t.version.Load() // before the read: a change meanwhile is saved again, never missed
	file := typesFile{Version: 1, Types: map[string]map[string]string{}}
	t.mu.Lock()
	for m, of := range t.fields {
		for name, f := range of {
			k := f.load()
			if k == event.Null {
				continue
			}
			if file.Types[m] == nil {
				file.Types[m] = map[string]string{}
			}
			file.Types[m][name] = k.String()
		}
	}
	t.mu.Unlock()
	b, err := json.Marshal(file)
	return b, version, err
}

// decode adds what was saved.
func (t *Types) decode(b []byte) error {
	var file typesFile
	if err := json.Unmarshal(b, &file); err != nil {
		return fmt.Errorf("parse the learnt field types: %w", err)
	}
	if file.Version != 1 {
		return fmt.Errorf("learnt field types have version %d, this program reads version 1", file.Version)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for m, of := range file.Types {
		for name, kind := range of {
			k, ok := kindNamed(kind)
			if !ok {
				return fmt.Errorf("learnt field types: field %q of %q has the unknown type %q", name, m, kind)
			}
			if f := t.fieldLocked(m, name); f != nil {
				f.kind.CompareAndSwap(0, uint32(k))
			}
		}
	}
	return nil
}

// kindNamed is the inverse of event.Kind.String for what a field can be. These
// are also the names that InfluxDB uses in its messages.
func kindNamed(name string) (event.Kind, bool) {
	switch name {
	case "float":
		return event.Float, true
	case "integer":
		return event.Int, true
	case "unsigned":
		return event.Uint, true
	case "boolean":
		return event.Bool, true
	case "string":
		return event.String, true
	}
	return event.Null, false
}
