package backtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

// ShadowRequest asks what the rules in force that only watch have decided.
type ShadowRequest struct {
	Since string `json:"since,omitempty"` // receive time, as ParseTime takes; default: where the log begins
	Limit int    `json:"limit"`           // incidents in each list; 0: all
}

// ShadowReport is what shadow rules have decided, and how that differs from what
// the rules have that they are to replace.
type ShadowReport struct {
	From  time.Time    `json:"from,omitzero"` // of the log that was read
	To    time.Time    `json:"to,omitzero"`
	Rules []ShadowRule `json:"rules"` // by id
	Notes []string     `json:"notes,omitempty"`
}

// ShadowRule is one shadow.
type ShadowRule struct {
	Rule      string    `json:"rule"`
	Shadows   string    `json:"shadows,omitempty"` // the rule that it is to replace
	Since     time.Time `json:"since,omitzero"`    // when it came into force, or From
	Incidents int       `json:"incidents"`
	Open      int       `json:"open"` // of these, those that had not ended
	Live      int       `json:"live"` // incidents of the rule that it shadows, meanwhile
	LiveOpen  int       `json:"live_open"`

	Unchanged int        `json:"unchanged"`
	AddedN    int        `json:"added_total"`
	RemovedN  int        `json:"removed_total"`
	MovedN    int        `json:"moved_total"`
	Added     []Incident `json:"added"`   // only the shadow has them; all of a shadow that shadows no rule
	Removed   []Incident `json:"removed"` // only the rule has them
	Moved     []Move     `json:"moved"`   // both, but not from and to the same time
}

// shadowing is a shadow whose incidents are collected.
type shadowing struct {
	ShadowRule
	since int64 // log time
	near  time.Duration
	sides [sides]map[string]*incident
}

// Shadow reports what the log says of the shadow rules in force.
func Shadow(ctx context.Context, d Deps, req ShadowRequest) (*ShadowReport, error) {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	var from time.Time
	if req.Since != "" {
		var err error
		if from, err = ParseTime(req.Since, now()); err != nil {
			return nil, wrong("since %v", err)
		}
	}
	if req.Limit < 0 {
		return nil, wrong("limit %d is negative; 0 lists all", req.Limit)
	}
	out := &ShadowReport{Rules: []ShadowRule{}}
	r := &shadows{Deps: d, out: out, from: bound(from, math.MinInt64), all: map[string]*shadowing{}}
	for i := range d.Log.Partitions() {
		p := d.Log.Partition(i)
		set, err := d.SetAt(ctx, p, p.Head().Seq)
		if err != nil {
			return nil, err
		}
		r.know(set)
	}
	if len(r.all) == 0 {
		return out, nil
	}
	all := r.all
	for i := range d.Log.Partitions() {
		r.all = map[string]*shadowing{}
		for id, s := range all {
			r.all[id] = s.another()
		}
		if err := r.read(ctx, d.Log.Partition(i), from); err != nil {
			return nil, err
		}
		for id, s := range r.all {
			all[id].add(s)
		}
	}
	for _, s := range all {
		out.Rules = append(out.Rules, s.report(req.Limit))
	}
	slices.SortFunc(out.Rules, func(a, b ShadowRule) int { return cmp.Compare(a.Rule, b.Rule) })
	return out, nil
}

// another returns the same shadow, of which nothing is known yet.
func (s *shadowing) another() *shadowing {
	return &shadowing{ShadowRule: ShadowRule{Rule: s.Rule, Shadows: s.Shadows}, since: math.MaxInt64, near: s.near, sides: [sides]map[string]*incident{{}, {}}}
}

// add adds what is known from another partition.
func (s *shadowing) add(t *shadowing) {
	s.since = min(s.since, t.since)
	for side := range s.sides {
		maps.Copy(s.sides[side], t.sides[side])
	}
}

// shadows collects incidents of all shadow rules, of one partition.
type shadows struct {
	Deps
	out  *ShadowReport
	from int64
	all  map[string]*shadowing // by the shadow's id
}

// know notes the shadows of a set.
func (r *shadows) know(set *rules.Set) {
	if set == nil {
		return
	}
	for _, info := range set.Rules() {
		if info.Mode != rules.ModeShadow || info.Kind != rules.KindAlert {
			continue
		}
		s := &shadowing{ShadowRule: ShadowRule{Rule: info.Rule, Shadows: info.Shadows}, near: max(set.Lookback(), time.Minute)}
		r.all[info.Rule] = s.another()
	}
}

// read takes the facts of a partition.
func (r *shadows) read(ctx context.Context, p *eventlog.Partition, from time.Time) error {
	first, err := p.First(ctx)
	if err != nil {
		return fmt.Errorf("look for shadows: %w", err)
	}
	if !from.IsZero() {
		if first, err = p.SeqAt(ctx, from); err != nil {
			return fmt.Errorf("look for shadows: find %s in partition %d: %w", stamp(from), p.ID(), err)
		}
	}
	first = max(1, first)
	set, err := r.SetAt(ctx, p, first-1)
	if err != nil {
		return err
	}
	begun := false
	rd := p.NewReader(first-1, 0)
	defer rd.Close()
	for head := p.Head().Seq; ; {
		b, err := rd.TryNext(ctx)
		var d *eventlog.Damage
		switch {
		case errors.As(err, &d):
			r.out.Notes = append(r.out.Notes, "not read: "+d.Error())
			continue
		case err != nil:
			return fmt.Errorf("look for shadows: %w", err)
		case b == nil:
			return nil
		}
		last := b.Seq >= head
		for i := range b.Messages {
			m := &b.Messages[i]
			if m.Received < r.from {
				continue
			}
			if !begun {
				begun = true
				r.inForce(set, m.Received)
			}
			r.take(m)
		}
		b.Release()
		if last {
			return nil
		}
	}
}

// inForce notes which shadows are in force from a log time on.
func (r *shadows) inForce(set *rules.Set, at int64) {
	for id, s := range r.all {
		known := false
		if set != nil {
			info, ok := set.Rule(id)
			known = ok && info.Mode == rules.ModeShadow && info.Shadows == s.Shadows
		}
		switch {
		case known:
			s.since = min(s.since, at)
		case s.since <= at && set != nil: // it was something else meanwhile
			s.since = math.MaxInt64
			s.sides = [sides]map[string]*incident{{}, {}}
		}
	}
}

func (r *shadows) take(m *event.Message) {
	at := time.Unix(0, m.Received).UTC()
	if r.out.From.IsZero() || at.Before(r.out.From) {
		r.out.From = at
	}
	if at.After(r.out.To) {
		r.out.To = at
	}
	switch m.Record {
	case event.RuleSet:
		if set, err := rules.ParseSet(m.Payload); err == nil {
			r.inForce(set, m.Received)
		}
	case event.AlertFact:
		var a event.Alert
		if json.Unmarshal(m.Payload, &a) != nil {
			return
		}
		for _, s := range r.all {
			s.take(&a, m.Received)
		}
	}
}

// take books a transition.
func (s *shadowing) take(a *event.Alert, at int64) {
	side := oldSide
	switch {
	case a.Rule == s.Rule:
		side = newSide
	case a.Rule != s.Shadows || a.Rule == "":
		return
	}
	if a.Notice != "" {
		return
	}
	in := s.sides[side][a.ID]
	if in == nil {
		if at < s.since && a.State == event.Resolved {
			return // it was over before the shadow was there
		}
		in = newIncident(a)
		s.sides[side][a.ID] = in
	}
	if a.State == event.Resolved && in.ends == open {
		in.ends = at
		if a.EndsAt != nil {
			in.ends = a.EndsAt.UnixNano()
		}
		if at < s.since {
			delete(s.sides[side], a.ID)
		}
	}
}

// report compares the two sides.
func (s *shadowing) report(limit int) ShadowRule {
	out := s.ShadowRule
	if s.since != math.MaxInt64 {
		out.Since = time.Unix(0, s.since).UTC()
	}
	var single [sides][]*incident
	for side := range s.sides {
		for _, in := range s.sides[side] {
			copied := *in
			copied.rule = s.Rule // match pairs what is of one rule
			single[side] = append(single[side], &copied)
			n, o := &out.Incidents, &out.Open
			if side == oldSide {
				n, o = &out.Live, &out.LiveOpen
			}
			*n++
			if in.ends == open {
				*o++
			}
		}
	}
	var moved []*pair
	pairs, left := match(single, s.near)
	for _, p := range pairs {
		if p[newSide].starts == p[oldSide].starts && p[newSide].ends == p[oldSide].ends {
			out.Unchanged++
		} else {
			moved = append(moved, p)
		}
	}
	for _, in := range left[oldSide] {
		in.rule = s.Shadows
	}
	for _, p := range moved {
		p[oldSide].rule = s.Shadows
	}
	list := &Report{Added: []Incident{}, Removed: []Incident{}, Moved: []Move{}}
	list.list(left, moved, limit)
	out.Added, out.Removed, out.Moved = list.Added, list.Removed, list.Moved
	out.AddedN, out.RemovedN, out.MovedN = len(left[newSide]), len(left[oldSide]), len(moved)
	return out
}

// WriteShadows writes a report about shadow rules for people.
func WriteShadows(w io.Writer, r *ShadowReport) error {
	var b strings.Builder
	if len(r.Rules) == 0 {
		b.WriteString("no rule in force has mode: shadow\n")
	} else {
		fmt.Fprintf(&b, "%s to %s\n\n", second(r.From), second(r.To))
		t := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "SHADOW\tINCIDENTS\tOPEN\tSHADOWS\tITS INCIDENTS\tADDED\tREMOVED\tMOVED\tUNCHANGED")
		for _, x := range r.Rules {
			if x.Shadows == "" {
				fmt.Fprintf(t, "%s\t%d\t%d\t-\t\t\t\t\t\n", plain(x.Rule), x.Incidents, x.Open)
				continue
			}
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%d\t%d\t%d\t%d\t%d\n", plain(x.Rule), x.Incidents, x.Open, plain(x.Shadows), x.Live, x.AddedN, x.RemovedN, x.MovedN, x.Unchanged)
		}
		_ = t.Flush() // into memory
		for i := range r.Rules {
			x := &r.Rules[i]
			list := &Report{Against: AgainstLog, Added: x.Added, Removed: x.Removed, Moved: x.Moved}
			if x.Shadows == "" {
				list.Against = AgainstNone
			}
			list.Total.Added, list.Total.Removed, list.Total.Moved = x.AddedN, x.RemovedN, x.MovedN
			if x.AddedN+x.RemovedN+x.MovedN > 0 {
				list.lists(&b)
			}
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", plain(n))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
