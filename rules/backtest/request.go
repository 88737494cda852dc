package backtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/rules"
)

// What the new rules are compared with.
const (
	AgainstInForce = "in-force" // the rules in force at the end of the range
	AgainstFiles   = "files"    // Request.Old
	AgainstLog     = "log"      // what was decided live
	AgainstNone    = "none"     // nothing: what would have fired
)

// Text is a rule file, or a table of devices.
type Text struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Request says what to evaluate, over what, and against what.
type Request struct {
	Rules   []Text `json:"rules"`
	Against string `json:"against,omitempty"` // default: files if there are Old ones, else in-force
	Old     []Text `json:"old,omitempty"`
	Tables  []Text `json:"tables,omitempty"`  // of devices that the files of both sides name, each as seen from where their names are
	From    string `json:"from,omitempty"`    // as ParseTime takes; default: where the log begins
	To      string `json:"to,omitempty"`      // the first time that is left out; default: the end of the log
	WarmUp  string `json:"warm_up,omitempty"` // default: as far back as the rules look
	Limit   int    `json:"limit"`             // incidents in each list of the report; 0: all
}

// DefaultLimit is the usual Request.Limit.
const DefaultLimit = 50

// InputError is a request that cannot be met as it is.
type InputError struct{ Msg string }

func (e *InputError) Error() string { return e.Msg }

func wrong(format string, args ...any) error { return &InputError{fmt.Sprintf(format, args...)} }

// ParseTime parses an RFC 3339 time, a day such as 2026-01-31 (UTC), "now", or
// a time back from now such as "-24h", "2d" or "90m ago".
func ParseTime(text string, now time.Time) (time.Time, error) {
	s := strings.TrimSpace(text)
	if s == "now" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	back := strings.TrimSpace(strings.TrimSuffix(s, "ago"))
	if d, err := strict.ParseDuration(strings.TrimPrefix(back, "-")); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is none of: a time such as 2026-01-31T12:00:00Z, a day such as 2026-01-31, now, a time back from now such as -24h or \"2d ago\"", text)
}

// plan is a checked request.
type plan struct {
	against  string
	rules    *rules.Set
	old      *rules.Set // of files
	from, to time.Time  // zero: not bounded
	warmUp   time.Duration
	auto     bool // warmUp was not given: it is as far as the rules look back
	limit    int
}

// Check returns what is wrong with a request, and nil if it can be run: an
// *InputError, or strict.Errors for its rule files. Tables that the rule files
// name and the request lacks are read with o.ReadFile, if it is not nil, and
// added to the request.
func (r *Request) Check(o rules.Options, now time.Time) error {
	_, err := r.plan(o, now)
	return err
}

func (r *Request) plan(o rules.Options, now time.Time) (*plan, error) {
	p := &plan{against: r.Against, limit: r.Limit, auto: r.WarmUp == ""}
	if p.against == "" {
		p.against = AgainstInForce
		if len(r.Old) > 0 {
			p.against = AgainstFiles
		}
	}
	switch p.against {
	case AgainstInForce, AgainstLog, AgainstNone:
		if len(r.Old) > 0 {
			return nil, wrong("against %s: then there can be no old rule files", p.against)
		}
	case AgainstFiles:
		if len(r.Old) == 0 {
			return nil, wrong("against files: there are none; name them in old")
		}
	default:
		return nil, wrong("against %q is none of: %s, %s, %s, %s", p.against, AgainstInForce, AgainstFiles, AgainstLog, AgainstNone)
	}
	if len(r.Rules) == 0 {
		return nil, wrong("there are no rules to test")
	}
	if p.limit < 0 {
		return nil, wrong("limit %d is negative; 0 lists all", p.limit)
	}
	var err error
	if r.From != "" {
		if p.from, err = ParseTime(r.From, now); err != nil {
			return nil, wrong("from %v", err)
		}
	}
	if r.To != "" {
		if p.to, err = ParseTime(r.To, now); err != nil {
			return nil, wrong("to %v", err)
		}
	}
	if !p.from.IsZero() && !p.to.IsZero() && !p.from.Before(p.to) {
		return nil, wrong("from %s is not before to %s", stamp(p.from), stamp(p.to))
	}
	if !p.auto {
		if p.warmUp, err = strict.ParseDuration(r.WarmUp); err != nil || p.warmUp < 0 {
			return nil, wrong("warm-up %q: want a duration such as 10m or 2h", r.WarmUp)
		}
	}
	if o.ReadFile, err = r.tables(o.ReadFile); err != nil {
		return nil, err
	}
	if p.rules, err = load(r.Rules, o); err != nil {
		return nil, err
	}
	if p.rules.Len() == 0 {
		return nil, wrong("the files hold no rules to test")
	}
	if p.against == AgainstFiles {
		if p.old, err = load(r.Old, o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// tables returns what reads the tables of the request. Those that it lacks are
// read with more, if it is not nil, and added to it.
func (r *Request) tables(more func(string) ([]byte, error)) (func(string) ([]byte, error), error) {
	known := make(map[string]string, len(r.Tables))
	for _, t := range r.Tables {
		name := filepath.Clean(t.Name)
		if _, ok := known[name]; ok {
			return nil, wrong("tables has %s twice", name)
		}
		known[name] = t.Text
	}
	return func(name string) ([]byte, error) {
		if text, ok := known[name]; ok {
			return []byte(text), nil
		}
		if more == nil {
			return nil, fmt.Errorf("%s is not among the tables of the request", name)
		}
		b, err := more(name)
		if err != nil {
			return nil, err
		}
		known[name] = string(b)
		r.Tables = append(r.Tables, Text{Name: name, Text: known[name]})
		return b, nil
	}, nil
}

func load(texts []Text, o rules.Options) (*rules.Set, error) {
	files := make([]rules.File, len(texts))
	for i, t := range texts {
		files[i] = rules.File{Name: t.Name, Data: []byte(t.Text)}
	}
	return rules.Load(files, o)
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// lookback returns how much of the log before a range decides what a set finds in it.
func lookback(s *rules.Set) time.Duration {
	if s == nil {
		return 0
	}
	return s.Lookback()
}
