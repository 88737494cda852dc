package rules

import (
	"cmp"
	"slices"

	"weir/ingest/event"
)

// notice is what an alert that fires knows beside that it does, and of who was
// told: apart from it, as most alerts that are not inactive are pending. What
// says nothing else is log time, ns: people wait by the clock on the wall, not by
// their devices'.
type notice struct {
	starts  int64             // when it began to fire, event time
	cleared int64             // when the clear condition was met, event time, while clearing
	id      string            // of the incident
	labels  map[string]string // with which it began to fire

	told      bool  // that it fires
	mute      mute  // what holds it back, or its repetitions; the zero mute if nothing does
	first     int64 // when it was told
	latest    int64 // when it was told last, repetitions included
	escalated int   // how many steps of escalate were taken
	ack       *acknowledged
	equals    []string // by clause of the rule's inhibit: what alerts must have to be inhibited, "" for none
	alarm     alarm
}

// acknowledged says who looks after an alert, and since which log time.
type acknowledged struct {
	by, comment string
	at          int64
}

// mute is why nobody is told of an alert: one of event's Suppressed constants,
// and the silence, the alert or the bound.
type mute struct{ why, reason string }

// desk decides who is told, and when again. It is a part of the engine.
type desk struct {
	silences  []*silence              // in the order of their ids
	incidents map[string]*alert       // those that fire, by id
	muted     map[mute][]*alert       // those that fire and are held back, in no order
	sources   map[inhibitKey][]*alert // those that inhibit others, as compareAlerts has it
	flaps     map[flapKey]*flap
	groups    map[string]*groupLimit // of groups that have a limit, or had one when it was exceeded
	alarms    alarms
	over      []mute // what is over: those that it held back are to be looked at again
	refused   uint64 // records of decisions that could not be used
	refusal   string
}

func newDesk() desk {
	return desk{
		incidents: map[string]*alert{}, muted: map[mute][]*alert{}, sources: map[inhibitKey][]*alert{},
		flaps: map[flapKey]*flap{}, groups: map[string]*groupLimit{},
	}
}

// compareAlerts is an order of alerts that is the same in every run.
func compareAlerts(a, b *alert) int {
	return cmp.Or(cmp.Compare(a.rs.rule.id, b.rs.rule.id), cmp.Compare(a.en.key(), b.en.key()), cmp.Compare(flag(a.en.clock.past), flag(b.en.clock.past)))
}

// decide finds out whether anybody is told of a transition, and notes it.
func (e *Engine) decide(a *alert, fact *event.Alert) {
	switch {
	case fact.State == event.Firing && fact.Notice == "":
		if m := e.heldBack(a); m != (mute{}) {
			e.quiet(a, m)
			fact.Suppressed, fact.Reason = m.why, m.reason
			return
		}
		e.tell(a)
	case fact.State == event.Resolved && !a.notice.told:
		fact.Suppressed, fact.Reason = a.notice.mute.why, a.notice.mute.reason
	case fact.State == event.Resolved && fact.Notice == "":
		if f := e.desk.flaps[flapKeyOf(a)]; f != nil && f.marked { // told once it has come to rest
			fact.Suppressed, fact.Reason = event.SuppressedFlapping, f.rule.flapping.text()
			f.keep(a, fact.EndsAt.UnixNano())
		}
	}
}

// heldBack returns why an alert that fires is not to be told.
func (e *Engine) heldBack(a *alert) mute {
	if m := e.quieted(a); m != (mute{}) {
		return m
	}
	if f := e.desk.flaps[flapKeyOf(a)]; f != nil && f.marked {
		return mute{event.SuppressedFlapping, f.rule.flapping.text()}
	}
	if g := e.desk.groups[a.rs.rule.group]; g != nil && g.full() {
		return mute{event.SuppressedLimit, g.spec.group}
	}
	return mute{}
}

// quieted is heldBack for what holds back repetitions too.
func (e *Engine) quieted(a *alert) mute {
	switch {
	case a.rs.rule.shadow:
		return mute{event.SuppressedShadow, ""}
	case a.past:
		return mute{event.SuppressedBackfill, ""}
	}
	if len(e.desk.silences) == 0 && len(e.set.inhibited[a.rs.rule.id]) == 0 {
		return mute{}
	}
	n := e.facets(a)
	if s := e.silencing(n.get); s != nil {
		return mute{event.SuppressedSilence, s.decision.ID}
	}
	if by := e.inhibiting(a, n); by != nil {
		return mute{event.SuppressedInhibit, by.notice.id}
	}
	return mute{}
}

// facets answers for the names of an alert: what matchers and equal may ask for.
type facets struct {
	set *Set
	a   *alert
	ev  *event.Event // that speaks for it
}

func (e *Engine) facets(a *alert) *facets {
	c, _ := e.cause(a)
	return &facets{e.set, a, c.ev}
}

// lookup returns the text of a name, and whether the alert has it.
func (n *facets) lookup(name string) (string, bool) {
	r := n.a.rs.rule
	switch name {
	case "alertname":
		return r.name, true
	case "group":
		return r.group, true
	case "rule":
		return r.id, true
	case "key":
		return n.a.en.key(), true
	case "device":
		if n.a.en.space.device {
			return n.a.en.key(), true
		}
		if !n.a.en.space.devices {
			return "", false
		}
	}
	if v, ok := n.a.notice.labels[name]; ok {
		return v, true
	}
	if v, ok := n.set.nameOf(name, n.ev); ok {
		return v, true
	}
	if column, ok := n.set.attributes.Column(name); ok {
		if row, ok := n.set.attributes.Get(n.ev.Device); ok {
			return row.Text(column)
		}
	}
	return "", false
}

// get returns the text of a name, "" if the alert has none.
func (n *facets) get(name string) string {
	v, _ := n.lookup(name)
	return v
}

// tell notes that people are told now that an alert fires.
func (e *Engine) tell(a *alert) {
	if a.notice.told {
		return
	}
	a.notice.told, a.notice.first, a.notice.latest = true, e.now, e.now
	if g := e.desk.groups[a.rs.rule.group]; g != nil {
		g.told++
	}
	e.setAlarm(a)
}

// quiet notes what an alert is held back by.
func (e *Engine) quiet(a *alert, m mute) {
	a.notice.mute = m
	e.desk.muted[m] = append(e.desk.muted[m], a)
	if g := e.desk.groups[a.rs.rule.group]; g != nil && m.why == event.SuppressedLimit {
		g.held++
	}
	e.setAlarm(a)
}

// unhold notes that an alert is held back no more.
func (e *Engine) unhold(a *alert) {
	m := a.notice.mute
	if m == (mute{}) {
		return
	}
	all := e.desk.muted[m]
	if i := slices.Index(all, a); i >= 0 {
		all[i] = all[len(all)-1]
		all[len(all)-1] = nil
		all = all[:len(all)-1]
		if g := e.desk.groups[a.rs.rule.group]; g != nil && m.why == event.SuppressedLimit {
			g.held--
		}
	}
	if e.desk.muted[m] = all; len(all) == 0 {
		delete(e.desk.muted, m)
	}
}

// enter notes that an alert fires, once that was decided on.
func (e *Engine) enter(a *alert) {
	e.desk.incidents[a.notice.id] = a
	e.inhibit(a)
	e.flapped(a)
}

// leave notes that an alert fires no more.
func (e *Engine) leave(a *alert) {
	e.unhold(a)
	if e.desk.incidents[a.notice.id] == a {
		delete(e.desk.incidents, a.notice.id)
	}
	e.unset(&a.notice.alarm)
	e.uninhibit(a)
	if g := e.desk.groups[a.rs.rule.group]; g != nil {
		if a.notice.told {
			g.told--
		}
		e.mayEndLimit(g)
	}
}

// end notes that what held alerts back is over.
func (d *desk) end(m mute) { d.over = append(d.over, m) }

// followUp looks again at alerts whose reason to be held back is over, and
// tells that they fire. It is called between records: it asks other events than
// the one that is evaluated.
func (e *Engine) followUp(emit func(Derived)) {
	for len(e.desk.over) > 0 {
		m := e.desk.over[0]
		e.desk.over = e.desk.over[1:]
		g := e.desk.groups[m.reason]
		if m.why == event.SuppressedLimit && g != nil {
			if !g.ends() {
				continue
			}
			g.over = false
		}
		all := slices.Clone(e.desk.muted[m])
		slices.SortFunc(all, compareAlerts)
		for _, a := range all {
			e.reconsider(a, emit)
		}
		if m.why == event.SuppressedLimit && g != nil && !g.over {
			e.tellLimit(g, event.Resolved, emit)
			if g.spec.max == 0 {
				delete(e.desk.groups, g.spec.group)
			}
		}
	}
	e.desk.over = nil
}

// reconsider tells that an alert fires, unless something else holds it back.
func (e *Engine) reconsider(a *alert, emit func(Derived)) {
	c, err := e.cause(a)
	if err != nil || a.phase == pending {
		return
	}
	e.here, e.at, e.timed = a.en, e.now, true
	e.resume(a, e.now, c, emit)
}

// resume is reconsider while an event is evaluated.
func (e *Engine) resume(a *alert, at int64, c cause, emit func(Derived)) {
	e.touch(a.en)
	e.unhold(a)
	a.notice.mute = mute{}
	if a.notice.told {
		e.setAlarm(a) // a repetition may be overdue
		return
	}
	if m := e.heldBack(a); m != (mute{}) {
		e.quiet(a, m)
		e.mayExceed(a, c, emit)
		return
	}
	e.tell(a)
	emit(e.transition(a, event.Firing, at, c, event.NoticeResumed))
}

// inheritDesk goes on under another rule set with what is known about alerts,
// once those that stay are in their new places.
func (e *Engine) inheritDesk(emit func(Derived)) {
	e.inheritFlaps()
	e.rebuildDesk()
	var all []mute
	for m := range e.desk.muted {
		all = append(all, m)
	}
	for _, g := range e.desk.groups {
		if g.over {
			all = append(all, mute{event.SuppressedLimit, g.spec.group})
		}
	}
	slices.SortFunc(all, func(a, b mute) int { return cmp.Or(cmp.Compare(a.why, b.why), cmp.Compare(a.reason, b.reason)) })
	for _, m := range slices.Compact(all) {
		e.desk.end(m)
	}
	e.followUp(emit)
}

// rebuildDesk makes what follows from the alerts that fire, from the silences
// and from the flaps.
func (e *Engine) rebuildDesk() {
	d := &e.desk
	d.incidents, d.muted, d.sources, d.alarms = map[string]*alert{}, map[mute][]*alert{}, map[inhibitKey][]*alert{}, nil
	e.rebuildGroups()
	for _, s := range d.silences {
		s.alarm.pos = 0
		e.ringAt(&s.alarm, s.until())
	}
	for _, f := range d.flaps {
		f.alarm.pos = 0
		e.ringAt(&f.alarm, after(f.changed, int64(f.rule.flapping.within)))
	}
	for _, a := range e.sortedIf(func(a *alert) bool { return a.phase != pending }) {
		d.incidents[a.notice.id] = a
		e.inhibit(a)
		if g := d.groups[a.rs.rule.group]; g != nil && a.notice.told {
			g.told++
		}
		a.notice.alarm.pos = 0
		if a.notice.mute != (mute{}) {
			e.quiet(a, a.notice.mute)
		} else {
			e.setAlarm(a)
		}
	}
}
