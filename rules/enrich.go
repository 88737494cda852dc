package rules

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules/attributes"
)

// MaxPayload bounds what Set.Marshal returns, in bytes: a rule set in force is
// one record of the log, with what its tables say.
const MaxPayload = 4<<20 - 64<<10

// packFrom is how many bytes of rule files are put into a record as they are.
const packFrom = 64 << 10

// maxTables bounds how many tables a set has.
const maxTables = 100

// tableNames is what attributes takes: a file's name, or a list of them.
type tableNames []strict.String

// UnmarshalStrict decodes a text or a list of texts.
func (t *tableNames) UnmarshalStrict(d *strict.Decoder, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		var s strict.String
		if d.Decode(n, &s) {
			*t = tableNames{s}
		}
		return
	}
	var list []strict.String
	if d.Decode(n, &list) {
		*t = list
	}
}

// Attributes returns what the set's tables say about devices, nil (which knows
// no device) if it has none.
func (s *Set) Attributes() *attributes.Table { return s.attributes }

// AttributeFiles returns the names of the tables, as ReadFile was given them.
func (s *Set) AttributeFiles() []string { return slices.Clone(s.tables) }

// label returns a tag of an event, or else an attribute of its device, as text.
func (s *Set) label(name string, ev *event.Event) (string, bool) {
	if v, ok := ev.Tag(name); ok {
		return v, true
	}
	if column, ok := s.attributes.Column(name); ok {
		row, _ := s.attributes.Get(ev.Device)
		return row.Text(column)
	}
	return "", false
}

// decode decodes rule files, and leaves out those that are tables of others: a
// glob for rule files may take them along.
func (l *loader) decode(files []File) ([]File, []fileSpec) {
	specs, errs, isTable := make([]fileSpec, len(files)), make([]error, len(files)), map[string]bool{}
	for i, f := range files {
		decode := strict.Decode
		if l.recorded {
			decode = strict.DecodeRecorded
		}
		errs[i] = decode(f.Name, f.Data, &specs[i])
		for _, name := range specs[i].Attributes {
			isTable[tableFile(f.Name, name.Value)] = true
		}
	}
	var rules []File
	var ruleSpecs []fileSpec
	for i, f := range files {
		if isTable[filepath.Clean(f.Name)] {
			continue
		}
		if errs[i] != nil {
			l.addDecoded(f.Name, errs[i])
		}
		rules, ruleSpecs = append(rules, f), append(ruleSpecs, specs[i])
	}
	return rules, ruleSpecs
}

// tableFile returns the file that a rule file names.
func tableFile(ruleFile, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(ruleFile), name)
}

// attributes reads and merges the tables that the files name. A set from a
// record has its table from there.
func (l *loader) attributes(files []File, specs []fileSpec, o *Options) {
	type reading struct {
		at    place
		table *attributes.Table
	}
	read := map[string]reading{}
	var tables []*attributes.Table
	for i := range specs {
		l.name = files[i].Name
		for _, name := range specs[i].Attributes {
			if name.Pos == (strict.Pos{}) { // no text, which is reported already
				continue
			}
			if name.Value == "" {
				l.addf(name.Pos, "e.g. attributes: devices.yaml", "attributes has an empty file name")
				continue
			}
			file := tableFile(l.name, name.Value)
			if _, ok := read[file]; ok { // several files may need it
				continue
			}
			r := reading{at: place{l.name, name.Pos}}
			if l.set.tables = append(l.set.tables, file); len(l.set.tables) > maxTables {
				l.addf(name.Pos, "put the devices into fewer files", "there are more than %d tables of devices", maxTables)
				return
			}
			if o.recorded == nil {
				r.table = l.readTable(file, name, o)
			}
			if r.table != nil {
				tables = append(tables, r.table)
			}
			read[file] = r
		}
	}
	if o.recorded != nil {
		l.know(o.recorded.table)
		return
	}
	if len(tables) == 0 || len(tables) < len(read) {
		return
	}
	table, err := attributes.Merge(tables...)
	if err != nil {
		l.addDecoded("", err)
		return
	}
	l.know(table)
}

func (l *loader) readTable(file string, name strict.String, o *Options) *attributes.Table {
	if o.ReadFile == nil {
		l.addf(name.Pos, "", "tables of devices cannot be read here")
		return nil
	}
	data, err := o.ReadFile(file)
	if err != nil {
		l.addf(name.Pos, "name it relative to the rule file", "read the table of devices: %v", err)
		return nil
	}
	table, err := attributes.Parse(file, data)
	if err != nil {
		before := len(l.errs)
		l.addDecoded(file, err)
		for _, e := range l.errs[before:] {
			if e.Line == 0 { // about the file as a whole
				e.File, e.Pos, e.Msg = l.name, name.Pos, e.File+": "+e.Msg
			}
		}
		return nil
	}
	return table
}

// know makes a table the one that expressions read. It must come before they
// are compiled.
func (l *loader) know(t *attributes.Table) {
	l.set.attributes = t
	l.set.slots.SetAttributes(t)
	l.set.texts.SetAttributes(t)
}

// seal makes the set's payload, and refuses what no record can hold.
func (l *loader) seal(specs []fileSpec) {
	s := l.set
	s.payload = s.marshal()
	if len(s.payload) <= MaxPayload {
		return
	}
	for i := range specs {
		for _, name := range specs[i].Attributes {
			l.errs.Addf(s.files[i].Name, name.Pos, "leave out attributes that no rule reads, and devices that are alike in all",
				"the rules with their table of %d devices take %d bytes of the log, packed, more than the %d that a record may have", s.attributes.Len(), len(s.payload), MaxPayload)
			return
		}
	}
	l.errs.Addf("", strict.Pos{}, "", "the rules take %d bytes of the log, packed, more than the %d that a record may have", len(s.payload), MaxPayload)
}

// recorded is the table of a set that comes from a record.
type recorded struct{ table *attributes.Table }

// payloadTable is what a record holds of the tables: not their text, but what
// they say.
type payloadTable struct {
	Files []string `json:"files"`
	Hash  string   `json:"hash"`
	Table []byte   `json:"table"` // see attributes.Table.Encode
}

// packFiles returns the text of rule files, compressed.
func packFiles(files []payloadFile) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := errors.Join(json.NewEncoder(z).Encode(files), z.Close())
	if err != nil { // strings only, into a Buffer
		panic(fmt.Sprintf("rules: pack rule files: %v", err))
	}
	return b.Bytes()
}

// maxUnpacked bounds what unpackFiles makes of a record.
const maxUnpacked = 256 << 20

func unpackFiles(b []byte) ([]payloadFile, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("unpack the rule files: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(z, maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("unpack the rule files: %w", err)
	}
	var files []payloadFile
	if err := json.Unmarshal(text, &files); err != nil {
		return nil, fmt.Errorf("unpack the rule files: %w", err)
	}
	return files, nil
}
