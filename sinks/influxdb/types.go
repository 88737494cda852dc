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
	maxLearntBytes = 960 << 10 // of all of them as they are saved, which must stay below 1 MB
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

// fieldType is the type of one field: an event.Kind, and flags. Encoders hold on
// to it, and read it for every value.
type fieldType struct{ bits atomic.Uint32 }

const (
	kindMask = 1<<8 - 1
	// confirmed: a call that had learnt or used the type has come to its end.
	confirmed = 1 << 8
	// disputed: the server knows the field as several types, each for a time of
	// its own (1.8 keeps types per shard). A value that does not fit the learnt
	// type may fit another, so the server is asked.
	disputed = 1 << 9
)

func (f *fieldType) load() event.Kind { return event.Kind(f.bits.Load() & kindMask) }

func (f *fieldType) disputed() bool { return f.bits.Load()&disputed != 0 }

func (f *fieldType) mark(flag uint32) { f.bits.Or(flag) }

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
	of := t.fields[measurement]
	cost := savedSize(field)
	if of == nil {
		cost += savedSize(measurement)
	}
	if t.n >= t.max || t.bytes+cost > maxLearntBytes || len(field) > maxLearntName || len(measurement) > maxLearntName {
		t.overflow.Add(1)
		return nil
	}
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

// savedSize returns how many bytes a name takes in the saved form, at most, with
// what stands around it.
func savedSize(name string) int {
	n := len(`"":"unsigned?",`)
	for i := 0; i < len(name); i++ {
		if c := name[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			n += len(`\u0000`) - 1
		}
		n++
	}
	return n
}

// learn gives a field that has no type yet the type k. It returns the type that
// the field has now, as another goroutine may have been first, and whether it is new.
func (t *Types) learn(f *fieldType, k event.Kind) (now event.Kind, learnt bool) {
	for {
		b := f.bits.Load() // may have flags without a type
		if b&kindMask != 0 {
			return event.Kind(b & kindMask), false
		}
		if f.bits.CompareAndSwap(b, b|uint32(k)) {
			t.version.Add(1)
			return k, true
		}
	}
}

// replace makes k the type of a field if it is old, as a server turned out not
// to know old at all.
func (t *Types) replace(f *fieldType, old, k event.Kind) {
	for {
		b := f.bits.Load()
		if event.Kind(b&kindMask) != old {
			return
		}
		if f.bits.CompareAndSwap(b, b&^kindMask|uint32(k)) {
			t.version.Add(1)
			return
		}
	}
}

// override makes k the type of a field because the server says so. A field that
// was written as another type before is disputed from now on.
func (t *Types) override(measurement, field string, k event.Kind) {
	f := t.field(measurement, field)
	if f == nil {
		return
	}
	for {
		old := f.bits.Load()
		bits := old&^kindMask | uint32(k)
		if old&confirmed != 0 && event.Kind(old&kindMask) != k {
			bits |= disputed
		}
		if old == bits {
			return
		}
		if f.bits.CompareAndSwap(old, bits) {
			t.version.Add(1)
			return
		}
	}
}

// dispute marks a field as one that the server knows as several types.
func (t *Types) dispute(measurement, field string) {
	if f := t.field(measurement, field); f != nil && !f.disputed() {
		f.mark(disputed)
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
	if f == nil || f.bits.Swap(0) == 0 {
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

// typesFile is the saved form: measurement, field, name of the type with a "?"
// behind it if it is disputed.
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
			text := k.String()
			if f.disputed() {
				text += "?"
			}
			file.Types[m][name] = text
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
		for name, text := range of {
			text, maybe := strings.CutSuffix(text, "?")
			k, ok := kindNamed(text)
			if !ok {
				return fmt.Errorf("learnt field types: field %q of %q has the unknown type %q", name, m, text)
			}
			bits := uint32(k) | confirmed
			if maybe {
				bits |= disputed
			}
			if f := t.fieldLocked(m, name); f != nil {
				f.bits.CompareAndSwap(0, bits)
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
