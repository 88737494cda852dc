package rules

import (
	"fmt"
	"maps"
	"slices"

	"weir/ingest/event"
)

// limitSpec is a group's limit: how many of its alerts people are told of at
// once.
type limitSpec struct {
	group  string
	max    int
	labels []namedText // of the group
	sends  []action    // of the group's rules, each sink once
}

// limitName is the name, as that of a rule, under which it is told that a group
// is over its limit.
const limitName = "limit"

// limitKey is the key of that, as of a rule that groups all devices.
const limitKey = "all"

// groupLimit is how a group stands to its limit. The alerts that were resolved
// without a word since they flap do not count.
type groupLimit struct {
	spec   limitSpec // max is 0 if the group has none any more
	told   int       // alerts that fire and of which people were told
	held   int       // those that the limit holds back
	over   bool      // an alert could not be told, and more fire than the limit still
	starts int64     // when that began, log time
	n      int       // number of the incidents that began before it at the same time
	id     string
	labels map[string]string
	mute   mute // what holds back the alert about the limit itself
}

// full reports whether one more alert can't be told.
func (g *groupLimit) full() bool { return g.spec.max > 0 && (g.over || g.told >= g.spec.max) }

// ends reports whether the group is over its limit no more.
func (g *groupLimit) ends() bool { return g.over && (g.spec.max == 0 || g.told+g.held <= g.spec.max) }

// rebuildGroups takes over how groups stood to their limits, without counts.
func (e *Engine) rebuildGroups() {
	had := e.desk.groups
	e.desk.groups = map[string]*groupLimit{}
	for name, spec := range e.set.limits {
		g := had[name]
		if g == nil {
			g = &groupLimit{}
		}
		g.spec, g.told, g.held = spec, 0, 0
		e.desk.groups[name] = g
	}
	for name, g := range had {
		if e.desk.groups[name] == nil && g.over {
			g.spec.max, g.told, g.held = 0, 0, 0
			e.desk.groups[name] = g
		}
	}
}

// mayExceed tells that a group is over its limit, if an alert was held back for
// that as the first.
func (e *Engine) mayExceed(a *alert, c cause, emit func(Derived)) {
	g := e.desk.groups[a.rs.rule.group]
	if g == nil || g.over || a.notice.mute.why != event.SuppressedLimit {
		return
	}
	g.over = true
	if g.starts == e.now && g.id != "" {
		g.n++
	} else {
		g.n = 0
	}
	g.starts = e.now
	g.id = incident(&rule{group: g.spec.group, name: limitName}, limitKey, g.starts, g.n)
	e.text.Begin(c.ev)
	e.told = telling{alert: a, state: event.Firing, scope: e.text}
	g.labels = map[string]string{}
	for _, l := range g.spec.labels {
		g.labels[l.key], _ = l.text.render(e.text)
	}
	g.mute = mute{}
	e.tellLimit(g, event.Firing, emit)
}

// mayEndLimit notes that a group may be over its limit no more.
func (e *Engine) mayEndLimit(g *groupLimit) {
	if g.ends() {
		e.desk.end(mute{event.SuppressedLimit, g.spec.group})
	}
}

// tellLimit emits the fact that a group is over its limit, or no more.
func (e *Engine) tellLimit(g *groupLimit, state string, emit func(Derived)) {
	fact := &event.Alert{
		ID: g.id, State: state, Rule: g.spec.group + "/" + limitName, Key: limitKey,
		Labels: maps.Clone(g.labels), StartsAt: utc(g.starts), ActiveAt: utc(g.starts), Value: g.told + g.held, RuleSet: e.set.hash,
		Annotations: map[string]string{"summary": fmt.Sprintf("more than %d alerts of %s fire: people are told of no others until fewer do", g.spec.max, g.spec.group)},
	}
	if state == event.Resolved {
		ends := utc(e.now)
		fact.EndsAt = &ends
		fact.Annotations["summary"] = fmt.Sprintf("so few alerts of %s fire that people are told of each", g.spec.group)
	}
	if state == event.Firing {
		if s := e.silencing(g.lookup); s != nil {
			g.mute = mute{event.SuppressedSilence, s.decision.ID}
		}
	}
	fact.Suppressed, fact.Reason = g.mute.why, g.mute.reason
	for _, act := range g.spec.sends {
		if fact.Told() && (state == event.Firing && act.firing || state == event.Resolved && act.resolved) {
			fact.Actions = append(fact.Actions, event.Action{Send: act.send})
		}
	}
	emit(Derived{
		Record: event.AlertFact, ID: g.id + "/" + state, Topic: alertTopic(g.spec.group, limitName, limitKey),
		Payload: encode(fact), Time: e.now, Alert: fact,
	})
}

// lookup answers for the names of the alert about the limit.
func (g *groupLimit) lookup(name string) string {
	switch name {
	case "alertname":
		return limitName
	case "group":
		return g.spec.group
	case "rule":
		return g.spec.group + "/" + limitName
	}
	return g.labels[name]
}

// collectLimits finds what a set's groups send about their limits.
func (s *Set) collectLimits() {
	for name, spec := range s.limits {
		for _, r := range s.rules {
			if r.group != name {
				continue
			}
			for _, a := range r.actions {
				i := slices.IndexFunc(spec.sends, func(b action) bool { return a.send == b.send })
				switch {
				case a.send == "":
				case i < 0:
					spec.sends = append(spec.sends, action{send: a.send, firing: a.firing, resolved: a.resolved})
				default:
					spec.sends[i].firing, spec.sends[i].resolved = spec.sends[i].firing || a.firing, spec.sends[i].resolved || a.resolved
				}
			}
		}
		s.limits[name] = spec
	}
}
