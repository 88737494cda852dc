package backtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"weir/ingest/eventlog"
	"weir/rules"
)

// report puts together what the passes have found.
func (r *runner) report() *Report {
	out := &Report{
		RuleSet: r.rules.Hash(), Against: r.against, WarmUp: rules.Duration(r.warmUp), Partitions: r.Log.Partitions(),
		Rules: []RuleReport{}, Added: []Incident{}, Removed: []Incident{}, Moved: []Move{},
	}
	if r.from.IsZero() {
		out.WarmUp = 0 // nothing comes before the beginning of the log
	}
	first, end := int64(math.MaxInt64), int64(math.MinInt64)
	bad := 0
	for _, p := range r.passes {
		out.Records += p.records
		out.Events += p.events
		out.Rejected += p.rejected
		out.Damage = append(out.Damage, p.damage...)
		first, end = min(first, p.first), max(end, p.end)
		bad += p.badFacts
	}
	slices.SortFunc(out.Damage, func(a, b *eventlog.Damage) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.From, b.From))
	})
	if first > end { // damaged from one end to the other
		first = end
	}
	out.From, out.To = time.Unix(0, first).UTC(), time.Unix(0, end).UTC()
	out.Days = out.To.Sub(out.From).Hours() / 24
	if r.against == AgainstInForce || r.against == AgainstFiles {
		r.namesOld(out)
	}

	tallies, single, moved, beyond := map[string]*tally{}, [sides][]*incident{}, []*pair{}, 0
	for _, p := range r.passes {
		p.finish()
		m, s := p.ledger.close(p.end)
		moved = append(moved, m...)
		for side := range s {
			single[side] = append(single[side], s[side]...)
			beyond += p.ledger.beyond[side]
		}
		for id, t := range p.ledger.rules {
			if tallies[id] == nil {
				tallies[id] = &tally{kind: t.kind}
			}
			tallies[id].add(t)
		}
	}
	if r.against != AgainstNone {
		var more []*pair
		more, single = match(single, max(r.warmUp, time.Minute))
		moved = append(moved, more...)
	}
	out.rules(tallies, single, moved)
	out.list(single, moved, r.limit)
	if r.against == AgainstNone {
		for i := range out.Rules {
			out.Rules[i].Old = nil
		}
		out.Total.Old = nil
	}
	r.note(out, bad, beyond)
	return out
}

// namesOld says which old rules they were.
func (r *runner) namesOld(out *Report) {
	none := true
	for _, s := range r.old {
		if s == nil || s.Len() == 0 {
			continue
		}
		none = false
		if out.OldRuleSet != "" && out.OldRuleSet != s.Hash() {
			out.Notes = append(out.Notes, "the partitions do not have the same rules in force: each is compared with its own")
		}
		out.OldRuleSet = s.Hash()
	}
	if none && r.against == AgainstInForce {
		out.Against = AgainstNone
		r.against = AgainstNone
		out.Notes = append(out.Notes, "no rules were in force at the end of the range: there is nothing to compare with")
	}
}

// finish takes over what the engines counted.
func (p *pass) finish() {
	for side, run := range p.sides {
		if run == nil {
			continue
		}
		for _, st := range run.Engine().Stats().Rules {
			s := &p.ledger.rule(st.Rule).sides[side]
			s.evaluations, s.errors, s.lastError = st.Evaluations, st.Errors, st.LastError
		}
	}
}

// add adds what another partition counted of the same rule.
func (t *tally) add(u *tally) {
	t.unchanged += u.unchanged
	for i := range t.sides {
		a, b := &t.sides[i], &u.sides[i]
		a.has = a.has || b.has
		a.incidents, a.open, a.pages = a.incidents+b.incidents, a.open+b.open, a.pages+b.pages
		a.firing += b.firing
		a.recordings, a.evaluations, a.errors = a.recordings+b.recordings, a.evaluations+b.evaluations, a.errors+b.errors
		a.lastError = cmp.Or(a.lastError, b.lastError)
	}
}

// rules fills in the rules and the total.
func (out *Report) rules(tallies map[string]*tally, single [sides][]*incident, moved []*pair) {
	count := map[string][3]int{}
	inc := func(rule string, what int) {
		c := count[rule]
		c[what]++
		count[rule] = c
	}
	for _, in := range single[newSide] {
		inc(in.rule, 0)
	}
	for _, in := range single[oldSide] {
		inc(in.rule, 1)
	}
	for _, p := range moved {
		inc(p[newSide].rule, 2)
	}
	total := &tally{}
	for id, t := range tallies {
		c := count[id]
		out.Rules = append(out.Rules, RuleReport{
			Rule: id, Kind: t.kind, New: t.side(newSide, out.Days), Old: t.side(oldSide, out.Days),
			Added: c[0], Removed: c[1], Moved: c[2], Unchanged: t.unchanged,
		})
		out.Total.Added += c[0]
		out.Total.Removed += c[1]
		out.Total.Moved += c[2]
		total.add(t)
	}
	slices.SortFunc(out.Rules, func(a, b RuleReport) int { return cmp.Compare(a.Rule, b.Rule) })
	for i := range total.sides {
		total.sides[i].has, total.sides[i].lastError = true, ""
	}
	out.Total.New, out.Total.Old, out.Total.Unchanged = total.side(newSide, out.Days), total.side(oldSide, out.Days), total.unchanged
}

func (t *tally) side(i int, days float64) *Side {
	s := &t.sides[i]
	if !s.has {
		return nil
	}
	out := &Side{
		Incidents: s.incidents, Open: s.open, Pages: s.pages, Firing: time.Duration(s.firing).Seconds(),
		Recordings: s.recordings, Evaluations: s.evaluations, Errors: s.errors, LastError: s.lastError,
	}
	if days > 0 {
		out.PerDay = float64(s.pages) / days
	}
	return out
}

// list fills in the incidents that differ, the earliest first.
func (out *Report) list(single [sides][]*incident, moved []*pair, limit int) {
	for side, all := range single {
		slices.SortFunc(all, byTime)
		if limit > 0 && len(all) > limit {
			all = all[:limit]
		}
		for _, in := range all {
			if side == newSide {
				out.Added = append(out.Added, in.export())
			} else {
				out.Removed = append(out.Removed, in.export())
			}
		}
	}
	slices.SortFunc(moved, func(a, b *pair) int { return byTime(a[newSide], b[newSide]) })
	for i, p := range moved {
		if limit > 0 && i == limit {
			break
		}
		out.Moved = append(out.Moved, p.export())
	}
}

// note says what else should be known.
func (r *runner) note(out *Report, bad, beyond int) {
	add := func(format string, args ...any) { out.Notes = append(out.Notes, fmt.Sprintf(format, args...)) }
	if !r.to.IsZero() && r.ended(out.To) {
		add("the log ends at %s, before the end of the range", stamp(out.To))
	}
	if !r.from.IsZero() && out.From.Sub(r.from) > r.slack() {
		add("the log has nothing of the range before %s", stamp(out.From))
	}
	if r.against == AgainstLog && slices.ContainsFunc(r.spans, func(s span) bool { return s.behind }) {
		add("the rules that run have decided on what was received until %s: the rest of the range was left out", stamp(out.To))
	}
	if bad > 0 {
		add("%d records of alerts in the log could not be read", bad)
	}
	if beyond > 0 {
		add("%d incidents beyond the first %d were counted as they began and not compared", beyond, maxKept)
	}
	declared := map[string]bool{} // the alert that a group is over its limit is no rule that is evaluated
	for _, info := range r.rules.Rules() {
		declared[info.Rule] = true
	}
	for i := range out.Rules {
		x := &out.Rules[i]
		if x.New != nil && x.New.Evaluations == 0 && declared[x.Rule] {
			add("rule %s was not evaluated once: no event has what it matches and reads", x.Rule)
		}
		if x.New != nil && x.New.Errors > 0 {
			add("rule %s failed on %d of %d events, e.g. %s", x.Rule, x.New.Errors, x.New.Evaluations, x.New.LastError)
		}
	}
}

// slack is how much of the range may be without records at either end: a log
// whose devices are silent has a tick a second.
func (r *runner) slack() time.Duration { return 5 * time.Second }

// ended reports whether every partition was read to its end.
func (r *runner) ended(end time.Time) bool {
	for _, s := range r.spans {
		if s.until < s.head {
			return false
		}
	}
	return r.against != AgainstLog && r.to.Sub(end) > r.slack()
}
