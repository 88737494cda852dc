package rules

import (
	"bytes"
	"slices"

	"weir/ingest/event"
)

// spoken is an event that speaks for the phase of an alert.
//
// Of an alert that is pending that is the entry's latest event as a rule, which
// is kept for the cells already: such an alert has none of its own. It gets one
// before the entry's latest is another.
type spoken struct {
	event []byte       // see appendCause
	said  *event.Value // of a rule with a window: the value of the window that speaks for the phase
}

// keep copies an event that speaks for the phase.
func (a *alert) keep(c cause) {
	if a.own == nil {
		a.own = &spoken{}
	}
	a.own.event, a.fresh = appendCause(a.own.event[:0], c), 0
}

// share notes the event that speaks for an alert which has no copy of it: it may
// be the entry's latest, or become that yet while it is evaluated.
func (e *Engine) share(a *alert, c cause) {
	en := a.en
	switch at := e.freshOf(en, c); {
	case at > 0:
		a.fresh = at
	case !e.timed:
		e.fresh = append(e.fresh, fresh{en: en, c: c})
		a.fresh = int32(len(e.fresh))
	case en.last.fresh == 0 && en.last.is(c): // of before: there may be many such in a batch
		a.fresh = 0
	default:
		a.keep(c)
	}
}

// unite lets an alert do without a copy of the entry's latest event.
func (en *entry) unite(a *alert) {
	if a.phase == pending && a.own != nil && a.own.said == nil && len(a.own.event) > 0 && bytes.Equal(a.own.event, en.last.event) {
		a.own = nil
	}
}

// part gives an alert a copy of the event, if it has none.
func (en *entry) part(a *alert) {
	if a.own == nil {
		a.own = &spoken{event: slices.Clone(en.last.event)}
	}
}

// bytes is the event that speaks for the phase, but for one in the batch that is
// processed.
func (a *alert) bytes() []byte {
	if a.own == nil {
		return a.en.last.event
	}
	return a.own.event
}

// said is the value of the window that speaks for the phase; nil if there is none.
func (a *alert) said() *event.Value {
	if a.own == nil {
		return nil
	}
	return a.own.said
}

// cause returns the event that speaks for the phase of an alert.
func (e *Engine) cause(a *alert) (cause, error) {
	if a.fresh > 0 {
		c := e.fresh[a.fresh-1].c
		ev := *c.ev // scopes are told another event, though it is the last that they saw
		return cause{c.at, &ev}, nil
	}
	at, ev, err := decodeCause(a.bytes())
	return cause{at, &ev}, err
}
