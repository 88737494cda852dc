package rules

import (
	"time"

	"weir/ingest/event"
	"weir/rules/expression"
)

// RuleStats are counts of one rule in one engine, since the engine was made.
// Pending and Firing are how many alerts are in that state now.
type RuleStats struct {
	Rule           string `json:"rule"` // group/name
	Kind           Kind   `json:"kind"`
	Evaluations    uint64 `json:"evaluations"` // of expr and clear
	Skipped        uint64 `json:"skipped"`     // events that matched but have none of the fields read
	Errors         uint64 `json:"errors"`      // evaluations that failed
	Missing        uint64 `json:"missing"`     // of these, because the event lacks a name that is read
	Recordings     uint64 `json:"recordings"`
	DroppedActions uint64 `json:"dropped_actions"` // mqtt actions without a valid topic
	Timed          uint64 `json:"timed"`           // evaluations on events that were timed, see SetStopwatch
	Nanos          int64  `json:"nanos"`           // that these took, with what followed from them
	Pending        int    `json:"pending"`
	Firing         int    `json:"firing"`
	StateKeys      int    `json:"state_keys"`           // of which its windows or alerts know anything
	StateBytes     int    `json:"state_bytes"`          // that these take, estimated as max_state counts them
	Stopped        string `json:"stopped,omitempty"`    // why it evaluates no more: it has passed a bound
	LastError      string `json:"last_error,omitempty"` // one of the failures, as an example
}

// Stats are the counts of an engine.
type Stats struct {
	Rules        []RuleStats `json:"rules"`         // in the order of their ids
	RejectedSets uint64      `json:"rejected_sets"` // rule set records that could not be used
	Rejection    string      `json:"rejection,omitempty"`

	RejectedOperations uint64 `json:"rejected_operations"` // operators' decisions that could not be used
	OperationRejection string `json:"operation_rejection,omitempty"`

	// Of the events that any rule matches:
	Late      uint64        `json:"late"`      // evaluations that an event came too late for: behind others of its device, or its group
	Future    uint64        `json:"future"`    // events whose own time is so far ahead that they count as of when they were received
	Backfills uint64        `json:"backfills"` // events that are history, see BackfillAfter
	Ahead     time.Duration `json:"ahead"`     // the furthest that an event's own time was ahead of when it was received
	Forgotten uint64        `json:"forgotten"` // devices of which nothing was known but their time, and that is no longer: there were too many
}

// Stats returns the counts.
func (e *Engine) Stats() Stats {
	e.book()
	s := Stats{Rules: make([]RuleStats, len(e.rules)), RejectedSets: e.rejected, Rejection: e.rejection}
	s.RejectedOperations, s.OperationRejection = e.desk.refused, e.desk.refusal
	s.Late, s.Future, s.Backfills, s.Ahead = e.late, e.future, e.backfills, time.Duration(e.ahead)
	s.Forgotten = e.forgotten
	for i, rs := range e.rules {
		s.Rules[i] = rs.stats
		s.Rules[i].StateKeys, s.Rules[i].StateBytes = rs.state()
	}
	return s
}

// state returns how many keys the rule knows something of, and how large that is.
func (rs *ruleState) state() (keys, bytes int) {
	keys = rs.active()
	for _, c := range rs.rule.cells {
		if c.slot < len(rs.space.usage) {
			keys = max(keys, rs.space.usage[c.slot].keys)
		}
	}
	return keys, rs.size + rs.active()*(alertSize+entrySize)
}

// count books the outcome of an evaluation.
func (rs *ruleState) count(res expression.Result, p *expression.Program, s *expression.Scope) {
	if res == expression.Silent {
		rs.stats.Skipped++
		return
	}
	rs.stats.Evaluations++
	if res != expression.Failed {
		return
	}
	rs.stats.Errors++
	if p.Incomplete(s) {
		rs.stats.Missing++
	}
	if n := rs.stats.Errors; n&(n-1) == 0 { // the text costs a run on the VM: for the 1st, 2nd, 4th, ...
		if err := p.Explain(s); err != nil {
			rs.stats.LastError = err.Error()
		}
	}
}

// Status is an alert that is pending or firing.
type Status struct {
	ID       string            `json:"id,omitempty"` // once it fires
	State    string            `json:"state"`        // pending or firing
	Rule     string            `json:"rule"`         // group/name
	Key      string            `json:"key"`
	Labels   map[string]string `json:"labels,omitempty"`
	Active   time.Time         `json:"active_at"`           // when expr became true
	StartsAt time.Time         `json:"starts_at,omitzero"`  // when it began to fire
	Clearing time.Time         `json:"cleared_at,omitzero"` // when the clear condition was met, while keep_firing_for runs
	Due      time.Time         `json:"due_at,omitzero"`     // when its timer is due: it fires then, or is resolved
	Event    *event.AlertCause `json:"event,omitempty"`     // that speaks for its state

	// What follows is of alerts that fire. Suppressed and Reason say why nobody
	// was told, or is not told again: see event.Alert.
	Told       bool             `json:"told,omitempty"`   // people were told that it fires
	ToldAt     time.Time        `json:"told_at,omitzero"` // last, in log time
	Suppressed string           `json:"suppressed,omitempty"`
	Reason     string           `json:"reason,omitempty"`
	Silences   []string         `json:"silenced_by,omitempty"` // ids of the silences that are about it now
	Acked      *Acknowledgement `json:"acked,omitempty"`
	Escalated  int              `json:"escalated,omitempty"` // steps of escalate that were taken
}

// Acknowledgement says who looks after an alert.
type Acknowledgement struct {
	By      string    `json:"by,omitempty"`
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"` // log time
}

// notices says who was told of an alert that fires.
func (s *Status) notices(e *Engine, a *alert) {
	n := a.notice
	s.Told, s.Suppressed, s.Reason, s.Escalated = n.told, n.mute.why, n.mute.reason, n.escalated
	if n.told {
		s.ToldAt = utc(n.latest)
	}
	if n.ack != nil {
		s.Acked = &Acknowledgement{n.ack.by, n.ack.comment, utc(n.ack.at)}
	}
	if len(e.desk.silences) == 0 {
		return
	}
	names := e.facets(a)
	for _, sl := range e.desk.silences {
		if sl.holds(e.now, names.get) {
			s.Silences = append(s.Silences, sl.decision.ID)
		}
	}
}

// Active returns the alerts that are pending or firing, in the order of their
// rules' ids and keys.
func (e *Engine) Active() []Status {
	alerts := e.sorted()
	all := make([]Status, 0, len(alerts))
	for _, a := range alerts {
		s := Status{ID: a.notice.id, State: event.Firing, Rule: a.rs.rule.id, Key: a.en.key(), Labels: a.notice.labels, Active: utc(a.active)}
		if a.phase == pending {
			s.State = event.Pending
		} else {
			s.StartsAt = utc(a.notice.starts)
			s.notices(e, a)
		}
		if a.phase == clearing {
			s.Clearing = utc(a.notice.cleared)
		}
		if a.deadline != never {
			s.Due = utc(a.deadline)
		}
		if c, err := e.cause(a); err == nil {
			s.Event = describe(c)
		}
		all = append(all, s)
	}
	return all
}
