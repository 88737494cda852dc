package rules

import (
	"fmt"
	"slices"

	"weir/ingest/event"
)

// MaxSilences is how many silences that have not ended a partition keeps.
const MaxSilences = 1000

// silence is a silence that has not ended. Log time decides.
type silence struct {
	decision event.Decision
	matchers []func(text string) bool // of decision.Matchers
	alarm    alarm
}

func newSilence(d event.Decision) (*silence, error) {
	s := &silence{decision: d}
	for _, m := range d.Matchers {
		f, err := m.Compile()
		if err != nil {
			return nil, err
		}
		s.matchers = append(s.matchers, f)
	}
	s.alarm = alarm{kind: alarmSilence, key: d.ID, silence: s}
	return s, nil
}

func (s *silence) until() int64 { return s.decision.Until.UnixNano() }

// holds reports whether the silence is about the alert of a name at a log time.
func (s *silence) holds(now int64, name func(string) string) bool {
	if now < s.decision.Starts.UnixNano() || now >= s.until() {
		return false
	}
	for i, f := range s.matchers {
		if !f(name(s.decision.Matchers[i].Name)) {
			return false
		}
	}
	return true
}

// silencing returns the first silence that is about an alert now; nil if none is.
func (e *Engine) silencing(name func(string) string) *silence {
	for _, s := range e.desk.silences {
		if s.holds(e.now, name) {
			return s
		}
	}
	return nil
}

// operation does what an operator decided. What cannot be read changes nothing.
func (e *Engine) operation(payload []byte) {
	d, err := event.ParseDecision(payload)
	if err != nil {
		e.desk.refused++
		e.desk.refusal = err.Error()
		return
	}
	switch d.Kind {
	case event.Ack, event.Unack:
		a := e.desk.incidents[d.Alert]
		if a == nil { // it is in another partition, or over
			return
		}
		e.touch(a.en)
		a.notice.ack = nil
		if d.Kind == event.Ack {
			a.notice.ack = &acknowledged{d.By, d.Comment, e.now}
		}
		e.setAlarm(a)
	case event.Silence:
		e.beginSilence(d)
	case event.Expire:
		if i := e.findSilence(d.ID); i < len(e.desk.silences) && e.desk.silences[i].decision.ID == d.ID {
			e.endSilence(e.desk.silences[i])
		}
	}
}

// findSilence returns where the silence of an id is, or would be.
func (e *Engine) findSilence(id string) int {
	i, _ := slices.BinarySearchFunc(e.desk.silences, id, func(s *silence, id string) int {
		switch {
		case s.decision.ID < id:
			return -1
		case s.decision.ID > id:
			return 1
		}
		return 0
	})
	return i
}

// beginSilence begins a silence, or replaces the one of the same id.
func (e *Engine) beginSilence(d event.Decision) {
	s, err := newSilence(d)
	if err != nil || s.until() <= e.now {
		return
	}
	i := e.findSilence(d.ID)
	if i < len(e.desk.silences) && e.desk.silences[i].decision.ID == d.ID {
		e.endSilence(e.desk.silences[i])
	}
	if len(e.desk.silences) >= MaxSilences {
		e.desk.refused++
		e.desk.refusal = fmt.Sprintf("silence %s: there are %d silences already", d.ID, MaxSilences)
		return
	}
	e.desk.silences = slices.Insert(e.desk.silences, i, s)
	e.ringAt(&s.alarm, s.until())
}

// endSilence ends a silence: those that it held back are looked at again.
func (e *Engine) endSilence(s *silence) {
	e.unset(&s.alarm)
	e.desk.silences = slices.DeleteFunc(e.desk.silences, func(t *silence) bool { return t == s })
	e.desk.end(mute{event.SuppressedSilence, s.decision.ID})
}

// Silences returns the silences that have not ended, in the order of their ids.
func (e *Engine) Silences() []event.Decision {
	all := make([]event.Decision, len(e.desk.silences))
	for i, s := range e.desk.silences {
		all[i] = s.decision
	}
	return all
}
