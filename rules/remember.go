package rules

import "weir/ingest/event"

// fresh is the latest event of an entry, in the batch that is processed. A
// device may have many events in a batch, and only the last is kept after it.
type fresh struct {
	en *entry
	c  cause
}

// remember notes the latest event of an entry.
func (e *Engine) remember(en *entry, c cause) {
	if en.fresh > 0 {
		e.fresh[en.fresh-1].c = c
		return
	}
	e.fresh = append(e.fresh, fresh{en, c})
	en.fresh = int32(len(e.fresh))
}

// keepFresh copies the latest events into their entries. It is called before
// the batch goes, and before entries are replaced.
func (e *Engine) keepFresh() {
	for i := range e.fresh {
		en := e.fresh[i].en
		en.last, en.fresh = appendCause(en.last[:0], e.fresh[i].c), 0
	}
	clear(e.fresh)
	e.fresh = e.fresh[:0]
}

// remembered returns the latest event of an entry.
func (e *Engine) remembered(en *entry) cause {
	if en.fresh > 0 {
		return e.fresh[en.fresh-1].c
	}
	if len(en.last) > 0 {
		if at, ev, err := decodeCause(en.last); err == nil {
			return cause{at, &ev}
		}
	}
	ev := &event.Event{}
	if en.space.device {
		ev.Device = en.key
	}
	return cause{ev: ev}
}
