package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weir/configs/strict"
	"weir/rules/attributes"
	"weir/rules/expression"
)

// File is a rule file.
type File struct {
	Name string `json:"name"`
	Data []byte `json:"-"`
}

// Options are what rules may refer to.
type Options struct {
	// Sinks are the names that send may give; nil, with Sources nil too, means
	// that no config is known and they are not checked.
	Sinks []string `json:"sinks,omitempty"`
	// Sources are the names that match.source may give; nil means that they
	// are not known and not checked.
	Sources []string `json:"sources,omitempty"`
	// ReadFile reads the tables of devices that rule files name; nil refuses
	// files that name any. Names are relative to where the rule files' are.
	ReadFile func(name string) ([]byte, error) `json:"-"`

	recorded *recorded // instead of tables to be read, for a set from a record
}

// Kind says what a rule derives.
type Kind string

// The kinds of rules.
const (
	KindAlert  Kind = "alert"
	KindRecord Kind = "record"
)

// Info describes a rule of a set.
type Info struct {
	Rule          string              `json:"rule"` // group/name
	Group         string              `json:"group"`
	Name          string              `json:"name"`
	Kind          Kind                `json:"kind"`
	File          string              `json:"file"`
	Line          int                 `json:"line"`
	Match         map[string][]string `json:"match,omitempty"`
	Expr          string              `json:"expr"`
	By            []string            `json:"by,omitempty"` // if it is not [device]
	Window        string              `json:"window,omitempty"`
	Lateness      Duration            `json:"allowed_lateness,omitempty"`
	For           Duration            `json:"for,omitempty"`
	Clear         string              `json:"clear,omitempty"`
	KeepFiringFor Duration            `json:"keep_firing_for,omitempty"`
	Labels        map[string]string   `json:"labels,omitempty"`
	Annotations   map[string]string   `json:"annotations,omitempty"`
	Send          []string            `json:"send,omitempty"` // the sinks of Actions
	Actions       []ActionInfo        `json:"actions,omitempty"`
	Compiled      bool                `json:"compiled"` // runs without expr's VM
	Repeat        Duration            `json:"repeat,omitempty"`
	Escalate      []EscalationInfo    `json:"escalate,omitempty"`
	Inhibit       []InhibitInfo       `json:"inhibit,omitempty"`
	Flapping      *FlappingInfo       `json:"flapping,omitempty"`
	Limit         int                 `json:"limit,omitempty"`     // of its group
	Mode          string              `json:"mode,omitempty"`      // ModeShadow, or "" for rules that act
	Shadows       string              `json:"shadows,omitempty"`   // group/name of the rule that it is to replace
	MaxKeys       int                 `json:"max_keys,omitempty"`  // in one partition; if it is not the default
	MaxState      int                 `json:"max_state,omitempty"` // bytes, the same
}

// ActionInfo describes what transitions of an alert cause: Send or MQTT is set.
type ActionInfo struct {
	On   []string  `json:"on"`             // firing, resolved
	Send string    `json:"send,omitempty"` // name of a sink
	MQTT *MQTTInfo `json:"mqtt,omitempty"`
}

// MQTTInfo describes a message that an action publishes. Topic and Payload are
// the templates as the file has them.
type MQTTInfo struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	QoS     byte   `json:"qos"`
	Retain  bool   `json:"retain"`
}

// Duration is a time.Duration whose text, in JSON too, is such as "10m0s".
type Duration time.Duration

// String returns the duration as time.Duration writes it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText returns the same as String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText parses what time.ParseDuration does.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("parse a duration: %w", err)
	}
	*d = Duration(v)
	return nil
}

// Set is a checked and compiled set of rules. It is immutable and may be used
// by any number of engines.
type Set struct {
	files   []File
	options Options
	hash    string
	rules   []*rule           // in the order of their ids
	byID    map[string]*rule  // group/name
	slots   *expression.Table // names that expressions read
	texts   *expression.Table // names that templates read
	payload []byte            // see Marshal

	attributes *attributes.Table // what is known about devices; may be nil
	tables     []string          // names of the files that say it

	limits    map[string]limitSpec     // by group
	inhibited map[string][]*inhibition // by the id of the rule that is inhibited

	functions []*function // that expressions call, by number
	cells     int         // how many there are
	lanes     []laneSpec
	spaces    []*spaceSpec
}

// Load checks and compiles rule files. Those that others name as their tables
// are read as such. It returns the whole set, or
// strict.Errors with every problem found in any of the files.
func Load(files []File, o Options) (*Set, error) {
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b File) int { return cmp.Compare(a.Name, b.Name) })
	s := &Set{
		options: Options{Sinks: slices.Sorted(slices.Values(o.Sinks)), Sources: slices.Sorted(slices.Values(o.Sources))},
		byID:    map[string]*rule{},
		slots:   expression.NewTable(),
		texts:   expression.NewTable(),
		limits:  map[string]limitSpec{},
	}
	if o.Sources != nil && s.options.Sources == nil {
		s.options.Sources = []string{}
	}
	l := &loader{set: s, options: &s.options, recorded: o.recorded != nil, groups: map[string]place{}, records: map[string]bool{}, cells: map[string]*cellSpec{}, calls: map[string]int32{}}
	files, specs := l.decode(files)
	s.files = files
	for i := range files {
		for _, g := range specs[i].Groups {
			for _, r := range g.Rules {
				l.records[r.Record.Value] = true
			}
		}
	}
	l.attributes(files, specs, &o)
	s.hash = s.sum()
	for i, f := range files {
		l.file(f.Name, &specs[i])
	}
	l.cycles()
	l.inhibitions()
	l.shadows()
	if o.recorded == nil && len(l.errs) == 0 {
		l.seal(specs)
	}
	if err := l.errs.Err(); err != nil { // a group's labels are compiled, and so refused, once a rule
		return nil, slices.CompactFunc(l.errs.Lead(), func(a, b *strict.Error) bool { return *a == *b })
	}
	slices.SortFunc(s.rules, func(a, b *rule) int { return cmp.Compare(a.id, b.id) })
	for i, r := range s.rules {
		r.index = i
	}
	s.spread()
	s.arrange()
	s.arrangeNotices()
	return s, nil
}

// Hash identifies the set: equal files and options have equal hashes.
func (s *Set) Hash() string { return s.hash }

// Len returns how many rules the set has.
func (s *Set) Len() int { return len(s.rules) }

// Rules describes the rules, in the order of their ids.
func (s *Set) Rules() []Info {
	all := make([]Info, len(s.rules))
	for i, r := range s.rules {
		all[i] = r.info()
	}
	return all
}

func (s *Set) sum() string {
	h := sha256.New()
	part := func(b []byte) { fmt.Fprintf(h, "%d:", len(b)); h.Write(b) }
	for _, f := range s.files {
		part([]byte(f.Name))
		part(f.Data)
	}
	for _, names := range [][]string{s.options.Sinks, s.options.Sources} {
		fmt.Fprintf(h, "%t%d;", names == nil, len(names))
		for _, n := range names {
			part([]byte(n))
		}
	}
	if s.attributes != nil {
		part([]byte(s.attributes.Hash()))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// The versions of the payload of a RuleSet record. The second may have packed
// files and attributes; what has neither is still written as the first.
const (
	payloadVersion       = 1
	payloadVersionPacked = 2
)

type payload struct {
	Version    int           `json:"version"`
	Hash       string        `json:"hash"`
	Options    Options       `json:"options"`
	Known      bool          `json:"sources_known,omitempty"` // Sources is not nil
	Files      []payloadFile `json:"files"`
	Packed     []byte        `json:"packed,omitempty"` // large files: see packFiles
	Attributes *payloadTable `json:"attributes,omitempty"`
}

type payloadFile struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Marshal returns the set as the payload of a RuleSet record: JSON with the
// text of the files, what their tables say, the options and the hash. It must
// not be changed. It has at most MaxPayload bytes.
func (s *Set) Marshal() []byte {
	if s.payload == nil { // an empty set
		return s.marshal()
	}
	return s.payload
}

func (s *Set) marshal() []byte {
	p := payload{Version: payloadVersion, Hash: s.hash, Options: s.options, Known: s.options.Sources != nil, Files: []payloadFile{}}
	size := 0
	for _, f := range s.files {
		p.Files = append(p.Files, payloadFile{f.Name, string(f.Data)})
		size += len(f.Data)
	}
	if size > packFrom {
		p.Version, p.Packed, p.Files = payloadVersionPacked, packFiles(p.Files), []payloadFile{}
	}
	if s.attributes != nil {
		p.Version = payloadVersionPacked
		p.Attributes = &payloadTable{s.tables, s.attributes.Hash(), s.attributes.Encode()}
	}
	b, err := json.Marshal(p)
	if err != nil { // strings and numbers only
		panic(fmt.Sprintf("rules: marshal a rule set: %v", err))
	}
	return b
}

// ParseSet loads the set that Marshal wrote.
func ParseSet(data []byte) (*Set, error) {
	var p payload
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("rule set record: %w", err)
	}
	if p.Version != payloadVersion && p.Version != payloadVersionPacked {
		return nil, fmt.Errorf("rule set record has version %d, this weir knows %d", p.Version, payloadVersionPacked)
	}
	if p.Known && p.Options.Sources == nil {
		p.Options.Sources = []string{}
	}
	if p.Packed != nil {
		var err error
		if p.Files, err = unpackFiles(p.Packed); err != nil {
			return nil, fmt.Errorf("rule set record: %w", err)
		}
	}
	p.Options.recorded = &recorded{}
	if a := p.Attributes; a != nil {
		var err error
		if p.Options.recorded.table, err = attributes.Decode(a.Hash, a.Table); err != nil {
			return nil, fmt.Errorf("rule set record: %w", err)
		}
	}
	files := make([]File, len(p.Files))
	for i, f := range p.Files {
		files[i] = File{Name: f.Name, Data: []byte(f.Text)}
	}
	s, err := Load(files, p.Options)
	if err != nil {
		return nil, fmt.Errorf("rule set record: %w", err)
	}
	if s.hash != p.Hash {
		return nil, fmt.Errorf("rule set record is damaged: its hash is %s, its content's %s", p.Hash, s.hash)
	}
	s.payload = slices.Clone(data)
	return s, nil
}
