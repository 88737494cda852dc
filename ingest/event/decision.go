package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The kinds of Decision.
const (
	Ack     = "ack"     // somebody looks after an alert: it is not told again
	Unack   = "unack"   // nobody does any more
	Silence = "silence" // nobody is told of the alerts that match, for a time
	Expire  = "expire"  // a silence ends now
)

// Decision is what an operator decided about alerts, as it is written to the
// log: it takes effect at its record, in the log's time. The JSON names are fixed.
type Decision struct {
	Kind string `json:"kind"`
	// ID is that of the silence for Silence and Expire, and one of its own else.
	ID       string     `json:"id"`
	Alert    string     `json:"alert,omitempty"`    // id of the incident, for Ack and Unack
	Matchers []Matcher  `json:"matchers,omitempty"` // all must match, for Silence
	Starts   *time.Time `json:"starts_at,omitempty"`
	Until    *time.Time `json:"ends_at,omitempty"`
	By       string     `json:"by,omitempty"` // who
	Comment  string     `json:"comment,omitempty"`
	At       time.Time  `json:"at"` // when it was decided
}

// Bounds of a decision.
const (
	MaxDecision   = 64 << 10 // bytes of its JSON
	MaxSilence    = 366 * 24 * time.Hour
	maxMatchers   = 32
	maxMatchValue = 1024
	maxText       = 4096 // bytes of a comment
	maxWho        = 200  // bytes of ids and names
)

// ParseDecision reads the JSON of a decision and checks it.
func ParseDecision(data []byte) (Decision, error) {
	var o Decision
	if len(data) > MaxDecision {
		return o, fmt.Errorf("the decision has %d bytes, more than %d", len(data), MaxDecision)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&o); err != nil {
		return Decision{}, fmt.Errorf("read a decision: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Decision{}, errors.New("read a decision: something follows it")
	}
	if err := o.Validate(); err != nil {
		return Decision{}, err
	}
	return o, nil
}

// Validate returns what is wrong with the decision, or nil.
func (o *Decision) Validate() error {
	for _, t := range []struct {
		name, text string
		max        int
	}{{"id", o.ID, maxWho}, {"alert", o.Alert, maxWho}, {"by", o.By, maxWho}, {"comment", o.Comment, maxText}} {
		if len(t.text) > t.max {
			return fmt.Errorf("%s has %d bytes, more than %d", t.name, len(t.text), t.max)
		}
		if !utf8.ValidString(t.text) {
			return fmt.Errorf("%s is not valid UTF-8", t.name)
		}
	}
	if o.ID == "" {
		return errors.New("the decision has no id")
	}
	switch o.Kind {
	case Ack, Unack:
		if o.Alert == "" {
			return fmt.Errorf("%s names no alert: give the id of its incident", o.Kind)
		}
	case Silence:
		return o.validateSilence()
	case Expire:
	default:
		return fmt.Errorf("unknown kind of decision %q: there are %s, %s, %s and %s", o.Kind, Ack, Unack, Silence, Expire)
	}
	return nil
}

func (o *Decision) validateSilence() error {
	switch {
	case len(o.Matchers) == 0:
		return errors.New("the silence has no matcher, e.g. alertname=FreezerWarm")
	case len(o.Matchers) > maxMatchers:
		return fmt.Errorf("the silence has %d matchers, more than %d", len(o.Matchers), maxMatchers)
	case o.Starts == nil || o.Until == nil:
		return errors.New("the silence needs both starts_at and ends_at")
	case !o.Until.After(*o.Starts):
		return fmt.Errorf("the silence ends at %s, which is not after its start at %s", o.Until.Format(time.RFC3339), o.Starts.Format(time.RFC3339))
	case o.Until.Sub(*o.Starts) > MaxSilence:
		return fmt.Errorf("the silence is longer than %d days: remove the rule instead, or renew the silence", MaxSilence/(24*time.Hour))
	case !inNanoseconds(*o.Starts) || !inNanoseconds(*o.Until):
		return errors.New("starts_at and ends_at must lie between the years 1678 and 2262")
	}
	empty := true
	for _, m := range o.Matchers {
		if err := m.Validate(); err != nil {
			return err
		}
		empty = empty && m.Match("")
	}
	if empty {
		return errors.New("the silence would match every alert: one of its matchers must not match the empty text")
	}
	return nil
}

func inNanoseconds(t time.Time) bool { return t.Year() > 1678 && t.Year() < 2262 }

// Matcher is a condition on a name of an alert: alertname, group, rule, key,
// device, a label, a name of by, or a tag of the event that caused it.
type Matcher struct {
	Name  string `json:"name"`
	Op    string `json:"op"` // = != =~ !~
	Value string `json:"value"`
}

// ParseMatcher parses NAME OP VALUE, e.g. alertname=FreezerWarm, site!=oslo or
// device=~"f[0-9]+". The value may stand in double quotes, as in Go.
func ParseMatcher(s string) (Matcher, error) {
	var m Matcher
	i := strings.IndexAny(s, "=!")
	if i < 0 {
		return m, fmt.Errorf("matcher %q has none of = != =~ !~, e.g. alertname=FreezerWarm", s)
	}
	m.Name = strings.TrimSpace(s[:i])
	for _, op := range []string{"=~", "!~", "!=", "="} {
		if strings.HasPrefix(s[i:], op) {
			m.Op = op
			break
		}
	}
	if m.Op == "" {
		return Matcher{}, fmt.Errorf("matcher %q: after the name comes one of = != =~ !~", s)
	}
	m.Value = strings.TrimSpace(s[i+len(m.Op):])
	if strings.HasPrefix(m.Value, `"`) {
		v, err := strconv.Unquote(m.Value)
		if err != nil {
			return Matcher{}, fmt.Errorf("matcher %q: the quoted value is not closed, or has a wrong escape", s)
		}
		m.Value = v
	}
	if err := m.Validate(); err != nil {
		return Matcher{}, err
	}
	return m, nil
}

// String returns the text that ParseMatcher takes.
func (m Matcher) String() string {
	if m.Value == "" || strings.ContainsFunc(m.Value, func(r rune) bool {
		return r == '"' || r == '\\' || r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}) {
		return m.Name + m.Op + strconv.Quote(m.Value)
	}
	return m.Name + m.Op + m.Value
}

// Validate returns what is wrong with the matcher, or nil.
func (m Matcher) Validate() error {
	switch {
	case m.Name == "":
		return fmt.Errorf("matcher %q has no name before %s", m.Op+m.Value, m.Op)
	case len(m.Name) > maxWho || strings.ContainsFunc(m.Name, func(r rune) bool {
		return r == '=' || r == '!' || r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}):
		return fmt.Errorf("matcher: %q is no name", m.Name)
	case len(m.Value) > maxMatchValue:
		return fmt.Errorf("matcher of %s: the value has %d bytes, more than %d", m.Name, len(m.Value), maxMatchValue)
	case !utf8.ValidString(m.Value):
		return fmt.Errorf("matcher of %s: the value is not valid UTF-8", m.Name)
	case m.Op == "=" || m.Op == "!=":
		return nil
	case m.Op != "=~" && m.Op != "!~":
		return fmt.Errorf("matcher of %s: unknown operator %q, there are = != =~ !~", m.Name, m.Op)
	}
	if _, err := regexp.Compile(m.pattern()); err != nil {
		return fmt.Errorf("matcher of %s: %w", m.Name, err)
	}
	return nil
}

// pattern is anchored: the whole text must match.
func (m Matcher) pattern() string { return "^(?s:" + m.Value + ")$" }

// Match reports whether a text meets the matcher. One that is not valid
// matches nothing.
func (m Matcher) Match(text string) bool {
	f, err := m.Compile()
	return err == nil && f(text)
}

// Compile returns what Match does, for many texts.
func (m Matcher) Compile() (func(text string) bool, error) {
	switch m.Op {
	case "=":
		return func(t string) bool { return t == m.Value }, nil
	case "!=":
		return func(t string) bool { return t != m.Value }, nil
	}
	if err := m.Validate(); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(m.pattern())
	if err != nil {
		return nil, fmt.Errorf("matcher of %s: %w", m.Name, err)
	}
	want := m.Op == "=~"
	return func(t string) bool { return re.MatchString(t) == want }, nil
}
