package explain

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"weir/ingest/event"
	"weir/rules"
	"weir/rules/backtest"
)

// maxLast is how many evaluations a report lists.
const maxLast = 10

// whyNot explains what a rule made of a key up to a time.
func (x *explainer) whyNot(ctx context.Context, req Request) (*Report, error) {
	now := x.now()
	at, err := backtest.ParseTime(req.At, now)
	if err != nil {
		return nil, wrong("the time %v", err)
	}
	until := at.Add(time.Duration(rules.BackfillAfter))
	if req.Until != "" {
		if until, err = backtest.ParseTime(req.Until, now); err != nil {
			return nil, wrong("until %v", err)
		}
	}
	best, bestScore := (*Report)(nil), -1
	known := false
	var names []string
	for i := range x.Log.Partitions() {
		p := x.Log.Partition(i)
		r, set, heard, err := x.lookAt(ctx, p.ID(), req, at, until)
		if err != nil {
			return nil, err
		}
		if set != nil {
			_, has := set.Rule(req.Rule)
			known = known || has
			for _, info := range set.Rules() {
				if !slices.Contains(names, info.Rule) {
					names = append(names, info.Rule)
				}
			}
		}
		// The events of a key are in one partition, but for groups of devices, which
		// are looked at from partition 0.
		if score := heard; score > bestScore {
			best, bestScore = r, score
		}
		if x.grouped(set, req.Rule) {
			break
		}
	}
	if !known {
		there := "there were no rules"
		if len(names) > 0 {
			if len(names) > 12 {
				names = append(names[:12], "…")
			}
			there = "there were " + strings.Join(names, ", ")
		}
		return nil, wrong("no rule %s was in force at %s: %s", req.Rule, stamp(at), there)
	}
	return best, nil
}

// lookAt explains it from one partition. heard says how much the partition knows
// of the key.
func (x *explainer) lookAt(ctx context.Context, partition int, req Request, at, until time.Time) (_ *Report, _ *rules.Set, heard int, _ error) {
	p := x.Log.Partition(partition)
	seq, err := p.SeqAt(ctx, at)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("explain: find %s in partition %d: %w", stamp(at), partition, err)
	}
	set, err := x.SetAt(ctx, p, seq)
	if err != nil {
		return nil, nil, 0, err
	}
	lookback := margin
	if set != nil {
		lookback += set.Lookback()
	}
	oldest, err := p.First(ctx)
	if err != nil {
		return nil, nil, 0, fmt.Errorf("explain: %w", err)
	}
	var c *past
	var in *reading
	for factor := time.Duration(1); ; factor *= 8 {
		c = &past{until: at}
		in = x.reading(p, at.Add(-lookback*factor), req.Rule, req.Key)
		in.to, in.see, in.groups = until.UnixNano(), c.see, x.grouped(set, req.Rule)
		if until.Before(at) {
			in.to = math.MaxInt64
		}
		if err := in.run(ctx); err != nil {
			return nil, nil, 0, err
		}
		if !c.underway && c.evaluations+c.heard > 0 || in.out.First <= oldest || factor >= 512 {
			break // else what began before the range is taken for what begins with it
		}
	}
	if set == nil {
		set = in.set
	}
	if c.set != nil {
		set = c.set
	}
	r := &Report{
		Rule: req.Rule, Key: req.Key, At: &at, Read: in.out, Steps: c.steps, State: c.state, Evaluations: c.evaluations,
		Skipped: c.skipped, Heard: c.heard, Transitions: []Transition{},
	}
	if r.State == "" {
		r.State = event.Inactive
	}
	if r.Steps == nil {
		r.Steps = []Step{}
	}
	for i := range c.last {
		r.Last = append(r.Last, c.last[len(c.last)-1-i])
	}
	for i := range in.facts {
		if t := in.facts[i].transition(); !t.At.After(at) {
			r.Transitions = append(r.Transitions, t)
		}
	}
	r.define(set)
	if c.beyond > 0 {
		r.note("%d evaluations and events of %s after the time were left out", c.beyond, req.Key)
	}
	if !in.out.To.IsZero() && in.out.To.Before(at) {
		r.note("the log was read to its end at %s, before the time that was asked about", stamp(in.out.To))
	} else {
		r.note("what was received after %s was not looked at (--until)", stamp(until))
	}
	r.Verdict = whyNotVerdict(r, c)
	return r, set, c.evaluations + c.heard, nil
}

// past collects what was made of a key up to a time.
type past struct {
	until       time.Time
	last        []rules.Seen // the latest last
	evaluations int
	heard       int
	skipped     []Skipped
	steps       []Step
	state       string
	beyond      int
	underway    bool // the expression was true at the first evaluation
	set         *rules.Set
}

func (c *past) see(e *rules.Engine, s rules.Seen) {
	if s.At.After(c.until) {
		c.beyond++
		return
	}
	switch s.What {
	case rules.SeenEvaluated:
		if c.evaluations == 0 {
			c.underway = s.Result == rules.ResultTrue && !s.History
		}
		c.set = e.Set()
		c.evaluations++
		if c.last = append(c.last, s); len(c.last) > maxLast {
			c.last = c.last[1:]
		}
	case rules.SeenState:
		var last *rules.Seen
		if n := len(c.last); n > 0 {
			last = &c.last[n-1]
			copied := *last
			last = &copied
		}
		if c.state = s.State; s.State == event.Resolved {
			c.state = event.Inactive
		}
		if c.steps = append(c.steps, step(s, last)); len(c.steps) > maxLast {
			c.steps = c.steps[1:]
		}
	default:
		c.heard++
		i := slices.IndexFunc(c.skipped, func(k Skipped) bool {
			return k.What == s.What && (k.Why == s.Why || s.What != rules.SeenUnmatched)
		})
		if i < 0 {
			if len(c.skipped) == maxLast {
				return
			}
			c.skipped = append(c.skipped, Skipped{What: s.What})
			i = len(c.skipped) - 1
		}
		k := &c.skipped[i]
		k.Count++
		k.Why, k.Event = s.Why, s.Event
	}
}

func whyNotVerdict(r *Report, c *past) string {
	head := fmt.Sprintf("%s for %s at %s: ", r.Rule, r.Key, stamp(*r.At))
	var latest *rules.Seen
	if len(r.Last) > 0 {
		latest = &r.Last[0]
	}
	switch {
	case r.State == event.Firing || r.State == rules.StateClearing:
		s := r.Steps[len(r.Steps)-1]
		text := head + "it was firing, the incident is " + s.ID
		for _, t := range r.Transitions {
			if t.ID == s.ID && t.Suppressed != "" {
				return text + "; nobody was told: " + suppression(t.Suppressed, t.Reason)
			}
		}
		return text
	case r.State == event.Pending:
		s := r.Steps[len(r.Steps)-1]
		return head + fmt.Sprintf("its expression was true since %s, and for was not over before %s", stamp(s.Since), stamp(s.Due))
	case latest == nil && r.Heard == 0 && r.Read.From.IsZero():
		return head + "the log holds nothing of then"
	case latest == nil && r.Heard == 0:
		return head + fmt.Sprintf("no event of it was received from %s to %s", stamp(r.Read.From), stamp(r.Read.To))
	case latest == nil:
		k := r.Skipped[0]
		for _, o := range r.Skipped {
			if o.Count > k.Count {
				k = o
			}
		}
		return head + fmt.Sprintf("none of its %d events was evaluated: %s", r.Heard, skipText(k))
	case r.Definition != nil && r.Definition.Kind == rules.KindRecord:
		gave := latest.Result
		if gave == rules.ResultTrue { // so says the engine of whatever is recorded
			gave = "a value"
		}
		return head + "it is a record; its last evaluation gave " + gave
	}
	text := head + "its expression was false"
	switch latest.Result {
	case rules.ResultFailed:
		text = head + "its expression could not be evaluated: " + latest.Why
	case rules.ResultSilent:
		text = head + "the last event said nothing about it: " + latest.Why
	case rules.ResultTrue:
		text = head + "its expression was true, and the alert had ended"
	}
	return text + fmt.Sprintf(" (as of %s)", stamp(latest.At))
}

func skipText(k Skipped) string {
	switch k.What {
	case rules.SeenUnmatched:
		return "the rule's match leaves it out: " + k.Why
	case rules.SeenLate:
		return "it came too late: " + k.Why
	case rules.SeenHeld:
		return "it waits for others that may come late (allowed_lateness)"
	case rules.SeenCollected:
		return "it went into the rule's window, which had not ended"
	}
	return k.What
}
