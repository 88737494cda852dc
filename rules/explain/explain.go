package explain

import (
	"context"
	"fmt"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules"
	"weir/rules/backtest"
)

// Deps is what explanations are made from: the log, and the rules in force.
type Deps struct {
	backtest.Deps
}

// Request asks why an alert fired (Alert), or why a rule said nothing about a key
// at a time (Rule, Key, At).
type Request struct {
	Alert string `json:"alert,omitempty"` // id of the incident
	Rule  string `json:"rule,omitempty"`  // group/name
	Key   string `json:"key,omitempty"`
	At    string `json:"at,omitempty"`    // in the time of events, as backtest.ParseTime takes
	Until string `json:"until,omitempty"` // receive time up to which the log is read; default: 10 minutes after At
}

// InputError is a request that cannot be met as it is.
type InputError struct{ Msg string }

func (e *InputError) Error() string { return e.Msg }

func wrong(format string, args ...any) error { return &InputError{fmt.Sprintf(format, args...)} }

// Report is an explanation.
type Report struct {
	Verdict string     `json:"verdict"` // in a sentence
	Alert   string     `json:"alert,omitempty"`
	Rule    string     `json:"rule"`
	Key     string     `json:"key"`
	At      *time.Time `json:"at,omitempty"` // that was asked about

	RuleSet    string      `json:"rule_set,omitempty"` // hash of the set that decided
	Definition *rules.Info `json:"definition,omitempty"`
	File       string      `json:"file,omitempty"`
	Line       int         `json:"line,omitempty"`
	Text       string      `json:"text,omitempty"` // of the rule as its file had it then

	Transitions []Transition `json:"transitions"` // that the log holds, of the incident or about the time
	Steps       []Step       `json:"steps"`       // of the alert's life, as evaluated again

	// Of a question why not:
	State       string       `json:"state,omitempty"` // of the alert at the time
	Evaluations int          `json:"evaluations"`     // that were seen
	Last        []rules.Seen `json:"last,omitempty"`  // the last of them up to the time, the latest first
	Heard       int          `json:"heard"`           // events that were not evaluated, counted by Skipped
	Skipped     []Skipped    `json:"skipped,omitempty"`

	Read  Range    `json:"read"`
	Notes []string `json:"notes,omitempty"`
}

// Transition is a fact of the log.
type Transition struct {
	State      string         `json:"state"`
	ID         string         `json:"id"`
	Notice     string         `json:"notice,omitempty"`
	At         time.Time      `json:"at"`       // in the time of events
	Position   event.Position `json:"position"` // of the fact
	Decided    time.Time      `json:"decided"`  // log time
	Suppressed string         `json:"suppressed,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	RuleSet    string         `json:"rule_set,omitempty"`
	Value      any            `json:"value,omitempty"`
}

// Step is a change of the alert's state and what it rests on.
type Step struct {
	rules.Seen
	// Timer is set if the state changed because time had passed: Evaluation is
	// then the last one before.
	Timer      bool        `json:"timer,omitempty"`
	Evaluation *rules.Seen `json:"evaluation,omitempty"`
}

// Skipped counts events that were not evaluated for one reason.
type Skipped struct {
	What  string            `json:"what"` // one of rules' Seen constants
	Why   string            `json:"why,omitempty"`
	Count int               `json:"count"`
	Event *event.AlertCause `json:"event,omitempty"` // the last of them
}

// Range is the part of the log that was read.
type Range struct {
	Partition int       `json:"partition"`
	First     uint64    `json:"first"` // batch
	Last      uint64    `json:"last"`
	From      time.Time `json:"from,omitzero"` // receive times
	To        time.Time `json:"to,omitzero"`
	Records   int       `json:"records"`
	Damaged   int       `json:"damaged,omitempty"` // ranges that could not be read
}

// Run answers a request. It returns an *InputError for one that can't be met.
func Run(ctx context.Context, d Deps, req Request) (*Report, error) {
	x := &explainer{Deps: d, now: time.Now}
	if d.Now != nil {
		x.now = d.Now
	}
	why := req.Alert != ""
	switch {
	case why && (req.Rule != "" || req.Key != "" || req.At != ""):
		return nil, wrong("ask about an alert by its id, or about a rule, a key and a time")
	case why:
		return x.why(ctx, req.Alert)
	case req.Rule == "" || req.Key == "" || req.At == "":
		return nil, wrong("name the id of an alert, or else a rule (group/name), a key and a time")
	case !strings.Contains(req.Rule, "/"):
		return nil, wrong("rule %q: rules are named group/name", req.Rule)
	}
	return x.whyNot(ctx, req)
}

// explainer makes one explanation.
type explainer struct {
	Deps
	now func() time.Time
}

// settling is how long after a time what happened then may be decided: clocks of
// devices wait in silence.
const settling = 15 * time.Second

// margin is read beyond what rules say that they look back.
const margin = time.Minute

// why explains an incident.
func (x *explainer) why(ctx context.Context, id string) (*Report, error) {
	facts, err := x.incident(ctx, id)
	if err != nil {
		return nil, err
	}
	first, last := facts[0], facts[len(facts)-1]
	a := first.alert
	p := x.Log.Partition(int(first.at.Partition))
	active := a.ActiveAt
	if active.IsZero() {
		active = a.StartsAt
	}
	// What lay between events lay between their receipts, unless a device sent late.
	received, lasted := time.Unix(0, first.received), a.StartsAt.Sub(active)
	if a.Event != nil {
		received = a.Event.Received
		lasted = max(lasted, a.Event.Time.Sub(active))
	}
	set, err := x.SetAt(ctx, p, first.at.Seq)
	if err != nil {
		return nil, err
	}
	lookback := margin + lasted
	if set != nil {
		lookback += set.Lookback()
	}
	oldest, err := p.First(ctx)
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	var c *life
	var reading *reading
	for factor := time.Duration(1); ; factor *= 8 {
		c = &life{id: id, active: active}
		reading = x.reading(p, received.Add(-lookback*factor), a.Rule, a.Key)
		reading.until, reading.see, reading.groups = last.at.Seq, c.see, x.grouped(set, a.Rule)
		if err := reading.run(ctx); err != nil {
			return nil, err
		}
		if c.complete() || reading.out.First <= oldest || factor >= 512 {
			break
		}
	}
	r := &Report{Alert: id, Rule: a.Rule, Key: a.Key, Steps: c.steps, Read: reading.out, Evaluations: c.evaluations}
	for _, f := range facts {
		r.Transitions = append(r.Transitions, f.transition())
	}
	if reading.set != nil {
		set = reading.set
	}
	if c.set != nil {
		set = c.set
	}
	r.define(set)
	if a.RuleSet != "" && set != nil && set.Hash() != a.RuleSet {
		r.note("the log says that the rule set %.8s decided, and %.8s was in force there", a.RuleSet, set.Hash())
	}
	if !c.complete() {
		r.Steps = c.some()
		r.note("evaluated again, the rules do not come to this incident: the log begins at %s, and what was decided may rest on what stood before that", stamp(reading.out.From))
	}
	r.Verdict = whyVerdict(r)
	return r, nil
}

// life collects the states of one incident.
type life struct {
	id          string
	active      time.Time
	steps       []Step
	last        *rules.Seen
	evaluations int
	fired       bool
	over        bool
	set         *rules.Set // that decided
	others      []Step     // that belong to no incident, or to others
}

func (c *life) see(e *rules.Engine, s rules.Seen) {
	switch s.What {
	case rules.SeenEvaluated:
		if c.fired && !c.over {
			c.evaluations++
		}
		c.last = &s
	case rules.SeenState:
		step := step(s, c.last)
		switch {
		case c.over:
		case s.State == event.Pending && s.Since.Equal(c.active) && !c.fired:
			c.steps = []Step{step}
		case s.ID == c.id:
			if !c.fired {
				c.set = e.Set()
			}
			c.fired = true
			c.over = s.State == event.Resolved
			c.steps = append(c.steps, step)
		default:
			if c.others = append(c.others, step); len(c.others) > 20 {
				c.others = c.others[1:]
			}
		}
	}
}

// complete reports whether the incident was seen from its beginning.
func (c *life) complete() bool {
	return c.fired && len(c.steps) > 0 && c.steps[0].Since.Equal(c.active)
}

func (c *life) some() []Step {
	if c.fired {
		return c.steps
	}
	return []Step{}
}

// step puts a state beside the evaluation that it rests on.
func step(s rules.Seen, last *rules.Seen) Step {
	t := Step{Seen: s, Evaluation: last}
	t.Timer = last == nil || !last.Log.Equal(s.Log) || last.At.Before(s.At)
	return t
}

// define says what the rule was.
func (r *Report) define(set *rules.Set) {
	if set == nil {
		return
	}
	r.RuleSet = set.Hash()
	if info, ok := set.Rule(r.Rule); ok {
		r.Definition = &info
		r.File, r.Line, r.Text, _ = set.Text(r.Rule)
	}
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func whyVerdict(r *Report) string {
	t := r.Transitions
	var b strings.Builder
	fmt.Fprintf(&b, "%s fired for %s at %s", r.Rule, r.Key, stamp(t[0].At))
	for _, s := range r.Steps {
		if s.State == event.Firing {
			if s.Timer {
				b.WriteString(", when its expression had held for as long as it takes")
			} else if s.Evaluation.Event != nil {
				fmt.Fprintf(&b, ", on the event %s", s.Evaluation.Event.Position)
			}
			break
		}
	}
	switch {
	case t[0].Suppressed != "":
		fmt.Fprintf(&b, "; nobody was told: %s", suppression(t[0].Suppressed, t[0].Reason))
	}
	ended := false
	for _, x := range t {
		if x.State == event.Resolved {
			fmt.Fprintf(&b, "; it was resolved at %s", stamp(x.At))
			ended = true
			break
		}
	}
	if !ended {
		b.WriteString("; it has not been resolved")
	}
	return b.String()
}

func suppression(why, reason string) string {
	text := why
	switch why {
	case event.SuppressedBackfill:
		text = "it happened in history that the device uploaded later (backfill)"
	case event.SuppressedShadow:
		text = "the rule evaluates without acting (shadow)"
	case event.SuppressedSilence:
		text = "an operator had silenced it (silence)"
	case event.SuppressedInhibit:
		text = "another alert said it already (inhibited)"
	case event.SuppressedLimit:
		text = "its group had too many alerts (limit)"
	case event.SuppressedFlapping:
		text = "it came and went too often (flapping)"
	}
	if reason != "" {
		text += ": " + reason
	}
	return text
}
