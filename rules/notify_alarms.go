package rules

import (
	"cmp"
	"container/heap"

	"weir/ingest/event"
)

// The kinds of alarms, in the order in which they ring at the same time.
const (
	alarmSilence uint8 = iota // a silence ends
	alarmFlap                 // an alert that flapped has come to rest
	alarmAlert                // an alert is repeated or escalated
)

// alarm is a deadline in log time. Equal times ring in the order of kind, rule,
// key and past.
type alarm struct {
	at        int64
	kind      uint8
	rule, key string // of a silence: its id is the key
	past      bool
	pos       int // in desk.alarms, from 1; 0 if it is not there
	alert     *alert
	flap      *flap
	silence   *silence
}

// alarms is a heap.
type alarms []*alarm

func (h alarms) Len() int { return len(h) }

func (h alarms) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.kind, b.kind), cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key),
		cmp.Compare(flag(a.past), flag(b.past))) < 0
}

func (h alarms) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i+1, j+1
}

// Push implements heap.Interface.
func (h *alarms) Push(x any) {
	a := x.(*alarm)
	*h = append(*h, a)
	a.pos = len(*h)
}

// Pop implements heap.Interface.
func (h *alarms) Pop() any {
	old := *h
	a := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	a.pos = 0
	return a
}

// ringAt sets an alarm that is not set, or moves it.
func (e *Engine) ringAt(a *alarm, at int64) {
	switch {
	case at == never:
		e.unset(a)
	case a.pos == 0:
		a.at = at
		heap.Push(&e.desk.alarms, a)
	default:
		a.at = at
		heap.Fix(&e.desk.alarms, a.pos-1)
	}
}

func (e *Engine) unset(a *alarm) {
	if a.pos > 0 {
		heap.Remove(&e.desk.alarms, a.pos-1)
	}
}

// nextAlarm is when the next alarm rings; never if none is set.
func (d *desk) nextAlarm() int64 {
	if len(d.alarms) == 0 {
		return never
	}
	return d.alarms[0].at
}

// ring does what the next alarm is for. The log goes on at to: of repetitions
// that would have come in a time without records, which is one in which weir
// was down, only the last is told.
func (e *Engine) ring(to int64, emit func(Derived)) {
	a := heap.Pop(&e.desk.alarms).(*alarm)
	switch a.kind {
	case alarmSilence:
		e.endSilence(a.silence)
	case alarmFlap:
		e.calm(a.flap, emit)
	case alarmAlert:
		e.remind(a.alert, to, emit)
	}
	e.followUp(emit)
}

// setAlarm sets when an alert is repeated or escalated.
func (e *Engine) setAlarm(a *alert) {
	at, r, n := never, a.rs.rule, a.notice
	if n.told && n.ack == nil && n.mute == (mute{}) {
		if r.repeat > 0 {
			at = after(n.latest, int64(r.repeat))
		}
		if n.escalated < len(r.escalate) {
			at = min(at, after(n.first, int64(r.escalate[n.escalated].after)))
		}
	}
	n.alarm.kind, n.alarm.rule, n.alarm.key, n.alarm.past, n.alarm.alert = alarmAlert, r.id, a.en.key(), a.en.clock.past, a
	e.ringAt(&n.alarm, at)
}

// remind tells again that an alert fires, because nobody has acknowledged it.
func (e *Engine) remind(a *alert, to int64, emit func(Derived)) {
	e.touch(a.en)
	if m := e.quieted(a); m != (mute{}) { // once that is over
		e.quiet(a, m)
		return
	}
	c, err := e.cause(a)
	if err != nil {
		return
	}
	r, n := a.rs.rule, a.notice
	e.here, e.at, e.timed = a.en, e.now, true
	switch {
	case n.escalated < len(r.escalate) && after(n.first, int64(r.escalate[n.escalated].after)) <= e.now:
		n.escalated++
		emit(e.transition(a, event.Firing, e.now, c, event.NoticeEscalation))
	case r.repeat > 0 && after(n.latest, int64(r.repeat)) <= e.now:
		if missed := (to - 1 - e.now) / int64(r.repeat); missed > 0 {
			e.ringAt(&n.alarm, e.now+missed*int64(r.repeat))
			return
		}
		n.latest = e.now
		emit(e.transition(a, event.Firing, e.now, c, event.NoticeRepeat))
	}
	e.setAlarm(a)
}
