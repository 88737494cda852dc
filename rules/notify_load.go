package rules

import (
	"slices"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/ingest/event"
)

// flappingSpec, escalateSpec and inhibitSpec are parts of a rule file as it is
// written.
type flappingSpec struct {
	Pos     strict.Pos            `yaml:"-"`
	Keys    map[string]strict.Pos `yaml:"-"`
	Changes int                   `yaml:"changes"`
	Within  duration              `yaml:"within"`
}

type escalateSpec struct {
	Pos     strict.Pos            `yaml:"-"`
	Keys    map[string]strict.Pos `yaml:"-"`
	After   duration              `yaml:"after"`
	Actions []actionSpec          `yaml:"actions"`
}

type inhibitSpec struct {
	Pos   strict.Pos            `yaml:"-"`
	Keys  map[string]strict.Pos `yaml:"-"`
	Rules []strict.String       `yaml:"rules"`
	Equal []strict.String       `yaml:"equal"`
}

// escalation is one step of a rule's escalate.
type escalation struct {
	after   time.Duration
	actions []action
}

// alertKeys are the keys of a rule that only alerts have.
func alertKeys() []string {
	return []string{"for", "clear", "keep_firing_for", "labels", "annotations", "actions", "repeat", "escalate", "inhibit", "flapping", "backfill"}
}

const (
	minRepeat      = time.Second
	minChanges     = 2
	maxChanges     = 100
	maxLimit       = 1_000_000
	maxEscalations = 16 // of escalate
)

// notices loads what a rule says about who is told, and when again.
func (l *loader) notices(r *rule, spec *ruleSpec, labels []string) {
	repeat := spec.Repeat
	if !has(spec.Keys, "repeat") {
		repeat = l.group.Repeat
	}
	r.repeat = l.duration("repeat", repeat)
	if r.repeat > 0 && r.repeat < minRepeat {
		l.addf(repeat.pos, "leave it out for none", "repeat is shorter than %v", minRepeat)
	}
	flaps := spec.Flapping
	if !has(spec.Keys, "flapping") {
		flaps = l.group.Flapping
	}
	r.flapping = l.flapping(flaps)
	if len(spec.Escalate) > maxEscalations {
		l.addf(spec.Keys["escalate"], "", "escalate has more than %d steps", maxEscalations)
	}
	for i := range spec.Escalate {
		l.escalation(r, &spec.Escalate[i], labels)
	}
	for i := range spec.Inhibit {
		l.inhibition(r, &spec.Inhibit[i])
	}
}

func (l *loader) flapping(spec *flappingSpec) *flapping {
	if spec == nil || spec.Pos == (strict.Pos{}) {
		return nil
	}
	before := len(l.errs)
	switch {
	case !has(spec.Keys, "changes") || !has(spec.Keys, "within"):
		l.addf(spec.Pos, "e.g. {changes: 5, within: 10m}", "flapping needs both changes and within")
	case spec.Changes < minChanges || spec.Changes > maxChanges:
		l.addf(spec.Keys["changes"], "", "changes is %d, it may be from %d to %d", spec.Changes, minChanges, maxChanges)
	case spec.Within.Duration == 0:
		l.addf(spec.Keys["within"], "e.g. 10m", "within is empty")
	}
	within := l.duration("within", spec.Within)
	if len(l.errs) > before {
		return nil
	}
	return &flapping{spec.Changes, within}
}

func (l *loader) escalation(r *rule, spec *escalateSpec, labels []string) {
	if spec.Pos == (strict.Pos{}) { // no mapping, which is reported already
		return
	}
	after := l.duration("after", spec.After)
	switch {
	case after == 0:
		l.addf(keyOr(spec.Keys, "after", spec.Pos), "e.g. after: 30m", "the step says not after which time it is taken")
	case len(r.escalate) > 0 && after <= r.escalate[len(r.escalate)-1].after:
		l.addf(spec.Keys["after"], "put the steps in the order of their times", "this step comes after %v, which is no later than the step before it", after)
	}
	if len(spec.Actions) == 0 {
		l.addf(keyOr(spec.Keys, "actions", spec.Pos), "e.g. actions: [{send: NAME}]", "the step has no actions")
	}
	step := escalation{after: after}
	for i := range spec.Actions {
		if a, ok := l.action(&spec.Actions[i], labels); ok {
			step.actions = append(step.actions, a)
		}
	}
	r.escalate = append(r.escalate, step)
}

// inhibition loads one item of inhibit.
func (l *loader) inhibition(r *rule, spec *inhibitSpec) {
	if spec.Pos == (strict.Pos{}) { // no mapping, which is reported already
		return
	}
	in := &inhibition{rule: r, index: len(r.inhibits)}
	if len(spec.Rules) == 0 {
		l.addf(keyOr(spec.Keys, "rules", spec.Pos), "e.g. rules: [OtherRule], or [group/OtherRule]", "inhibit names no rules")
	}
	for _, name := range spec.Rules {
		if name.Pos == (strict.Pos{}) { // no text, which is reported already
			continue
		}
		id := name.Value
		if !strings.Contains(id, "/") {
			id = r.group + "/" + id
		}
		switch {
		case id == r.id:
			l.addf(name.Pos, "remove it", "a rule can't inhibit itself")
		case slices.Contains(in.rules, id):
			l.addf(name.Pos, "remove one of them", "%q is there twice", name.Value)
		default:
			in.rules = append(in.rules, id)
			l.targets = append(l.targets, target{r, id, name, l.name})
		}
	}
	for _, name := range spec.Equal {
		switch {
		case name.Pos == (strict.Pos{}): // no text, which is reported already
		case name.Value == "":
			l.addf(name.Pos, "", "equal has an empty name")
		case slices.Contains(in.equal, name.Value):
			l.addf(name.Pos, "remove one of them", "%q is there twice", name.Value)
		default:
			in.equal = append(in.equal, name.Value)
		}
	}
	slices.Sort(in.equal)
	r.inhibits = append(r.inhibits, in)
}

// target is a rule that inhibit names.
type target struct {
	from *rule
	id   string
	name strict.String
	file string
}

// inhibitions refuses targets that do not exist and rules that inhibit each
// other.
func (l *loader) inhibitions() {
	var alerts []string
	for _, r := range l.set.byID {
		if r.kind == KindAlert {
			alerts = append(alerts, r.id)
		}
	}
	slices.Sort(alerts)
	for _, t := range l.targets {
		r := l.set.byID[t.id]
		switch {
		case r == nil:
			l.errs.Addf(t.file, t.name.Pos, alertHint(t.id, alerts), "inhibit: there is no rule %q", t.id)
		case r.kind != KindAlert:
			l.errs.Addf(t.file, t.name.Pos, "name alerts", "inhibit: %q is a record, which is told to nobody", t.id)
		case l.reaches(r, t.from, map[*rule]bool{}):
			l.errs.Addf(t.file, t.name.Pos, "let only one of them inhibit the other", "inhibit: %s inhibits %s, and the other way about", t.from.id, t.id)
		}
	}
}

// reaches reports whether a rule inhibits another, perhaps by others between.
func (l *loader) reaches(from, to *rule, seen map[*rule]bool) bool {
	if from == to {
		return true
	}
	if seen[from] {
		return false
	}
	seen[from] = true
	for _, in := range from.inhibits {
		for _, id := range in.rules {
			if next := l.set.byID[id]; next != nil && l.reaches(next, to, seen) {
				return true
			}
		}
	}
	return false
}

// limit loads a group's limit.
func (l *loader) limit(g *groupSpec) {
	if !has(g.Keys, "limit") {
		return
	}
	if g.Limit < 1 || g.Limit > maxLimit {
		l.addf(g.Keys["limit"], "leave it out for none", "limit is %d, it may be from 1 to %d", g.Limit, maxLimit)
	}
	for i := range g.Rules {
		if r := &g.Rules[i]; r.Alert.Value == limitName || r.Record.Value == limitName {
			l.addf(r.Pos, "give the rule another name", "that a group is over its limit is told as %s/%s, so no rule of it may be called so", g.Name.Value, limitName)
		}
	}
	l.set.limits[g.Name.Value] = limitSpec{group: g.Name.Value, max: g.Limit, labels: l.texts(g.Labels, inLabel, nil)}
}

// arrangeNotices finds which rules are inhibited, and by what.
func (s *Set) arrangeNotices() {
	s.inhibited = map[string][]*inhibition{}
	for _, r := range s.rules {
		for _, in := range r.inhibits {
			for _, id := range in.rules {
				s.inhibited[id] = append(s.inhibited[id], in)
			}
		}
	}
	s.collectLimits()
}

// acts returns what a transition causes.
func (a *alert) acts(fact *event.Alert) []action {
	r := a.rs.rule
	if fact.Notice == event.NoticeEscalation {
		return r.escalate[a.notice.escalated-1].actions
	}
	if fact.State != event.Resolved || a.notice.escalated == 0 {
		return r.actions
	}
	all := slices.Clone(r.actions)
	for _, step := range r.escalate[:min(a.notice.escalated, len(r.escalate))] {
		for _, act := range step.actions {
			if act.send == "" || !slices.ContainsFunc(all, func(b action) bool { return b.send == act.send && b.resolved }) {
				all = append(all, act)
			}
		}
	}
	return all
}

// EscalationInfo describes a step of a rule's escalate.
type EscalationInfo struct {
	After   Duration     `json:"after"`
	Actions []ActionInfo `json:"actions"`
}

// InhibitInfo describes an item of a rule's inhibit.
type InhibitInfo struct {
	Rules []string `json:"rules"` // group/name
	Equal []string `json:"equal,omitempty"`
}

// FlappingInfo describes when an alert flaps.
type FlappingInfo struct {
	Changes int      `json:"changes"`
	Within  Duration `json:"within"`
}

// notices adds to a rule's description who is told, and when again.
func (r *rule) notices(i *Info) {
	i.Repeat = Duration(r.repeat)
	for _, step := range r.escalate {
		e := EscalationInfo{After: Duration(step.after)}
		for _, a := range step.actions {
			e.Actions = append(e.Actions, a.info())
		}
		i.Escalate = append(i.Escalate, e)
	}
	for _, in := range r.inhibits {
		i.Inhibit = append(i.Inhibit, InhibitInfo{in.rules, in.equal})
	}
	if r.flapping != nil {
		i.Flapping = &FlappingInfo{r.flapping.changes, Duration(r.flapping.within)}
	}
	if r.set != nil && r.kind == KindAlert {
		i.Limit = r.set.limits[r.group].max
	}
}
