package backtest

import (
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// Report is the outcome of a backtest.
type Report struct {
	From    time.Time      `json:"from"` // of the range, as far as the log has it
	To      time.Time      `json:"to"`
	Days    float64        `json:"days"` // of 24 hours, between From and To
	WarmUp  rules.Duration `json:"warm_up"`
	RuleSet string         `json:"rule_set"` // hash of the new rules
	Against string         `json:"against"`  // one of the Against constants
	// OldRuleSet is the hash of the old rules; "" if there are none, or if what
	// was decided live is compared with.
	OldRuleSet string `json:"old_rule_set,omitempty"`

	Partitions int    `json:"partitions"`
	Records    uint64 `json:"records"` // that were read, of the warm-up too
	Events     uint64 `json:"events"`
	Rejected   uint64 `json:"rejected,omitempty"` // messages that could not be decoded

	Rules []RuleReport `json:"rules"` // of both sides, by id
	Total RuleReport   `json:"total"`

	Added   []Incident `json:"added"`   // only the new rules raise them
	Removed []Incident `json:"removed"` // only the old ones
	Moved   []Move     `json:"moved"`   // both, but not from and to the same time

	Damage []*eventlog.Damage `json:"damage,omitempty"` // ranges of the log that could not be read
	Notes  []string           `json:"notes,omitempty"`  // what else should be known of the result
}

// Changed reports whether the two sides differ.
func (r *Report) Changed() bool { return r.Total.Added+r.Total.Removed+r.Total.Moved > 0 }

// Compared reports whether there is another side.
func (r *Report) Compared() bool { return r.Against != AgainstNone }

// RuleReport compares one rule, or all of them.
type RuleReport struct {
	Rule      string     `json:"rule,omitempty"` // group/name
	Kind      rules.Kind `json:"kind,omitempty"`
	New       *Side      `json:"new,omitempty"` // nil: the side does not have the rule
	Old       *Side      `json:"old,omitempty"`
	Added     int        `json:"added"`
	Removed   int        `json:"removed"`
	Moved     int        `json:"moved"`
	Unchanged int        `json:"unchanged"`
}

// Side is what one side's rule did in the range.
type Side struct {
	Incidents int     `json:"incidents"`
	Open      int     `json:"open"`  // of these, those that had not ended
	Pages     int     `json:"pages"` // times that somebody was told that an alert fires
	PerDay    float64 `json:"pages_per_day"`
	Firing    float64 `json:"firing_seconds"` // of all incidents together, within the range

	Recordings  uint64 `json:"recordings,omitempty"`
	Evaluations uint64 `json:"evaluations,omitempty"` // in the warm-up too
	Errors      uint64 `json:"errors,omitempty"`
	LastError   string `json:"last_error,omitempty"`
}

// Incident is one incident of one side.
type Incident struct {
	ID         string            `json:"id"`
	Rule       string            `json:"rule"`
	Key        string            `json:"key"`
	StartsAt   time.Time         `json:"starts_at"`
	EndsAt     *time.Time        `json:"ends_at,omitempty"` // nil: it had not ended
	Labels     map[string]string `json:"labels,omitempty"`
	Value      any               `json:"value,omitempty"`
	Suppressed string            `json:"suppressed,omitempty"` // why nobody was told
	Cause      *event.Position   `json:"cause,omitempty"`      // the event that it began with
}

// Move is an incident of both sides that does not begin and end at the same time.
type Move struct {
	Rule   string         `json:"rule"`
	Key    string         `json:"key"`
	Old    Incident       `json:"old"`
	New    Incident       `json:"new"`
	Starts rules.Duration `json:"starts_moved"`      // new minus old
	Ends   rules.Duration `json:"ends_moved"`        // new minus old; 0 if only one has ended
	OpenIn string         `json:"open_in,omitempty"` // old or new: the side in which it had not ended
}

// Progress says how far a backtest has come.
type Progress struct {
	Stage   string    `json:"stage"` // "rules in force", "evaluating"
	Records uint64    `json:"records"`
	Of      uint64    `json:"of,omitempty"`
	Events  uint64    `json:"events"`
	At      time.Time `json:"at,omitzero"` // log time of a partition
}
