package rules

import (
	"encoding/binary"
	"time"

	"gopkg.in/yaml.v3"

	"weir/configs/strict"
	"weir/ingest/event"
	"weir/rules/expression"
	"weir/rules/window"
)

// frameSpec is the window of a rule that is evaluated once a window.
type frameSpec struct {
	session bool
	count   bool
	size    int64 // ns; the gap of a session; the number of events of a count
	every   int64 // ns between two ends; events between two ends of a count
}

// mode is how the windows of a rule's functions hold samples.
func (f *frameSpec) window() window.Spec {
	switch {
	case f.session:
		return window.Spec{Mode: window.Whole}
	case f.count:
		return window.Spec{Mode: window.Counted, N: int(f.size)}
	}
	return window.Spec{Mode: window.Aligned, Width: f.size}
}

func (f *frameSpec) text() string {
	switch {
	case f.session:
		return "session " + time.Duration(f.size).String()
	case f.count:
		return "count " + itoa(f.size) + " every " + itoa(f.every)
	}
	return "aligned " + time.Duration(f.size).String() + " every " + time.Duration(f.every).String()
}

// frameCell knows when a rule's window ends.
type frameCell struct {
	spec *cellSpec
	end  int64 // of the window that is open, ns; none if no window is
	n    int64 // events since the last end of a count
	full bool  // a count has had as many events as its size
}

// touch takes an event that went into the rule's windows, and reports whether
// that ends a window.
func (c *frameCell) touch(at int64) bool {
	f := c.spec.frame
	switch {
	case f.count:
		c.n++
		if !c.full && c.n == f.size || c.full && c.n == f.every {
			c.full, c.n = true, 0
			return true
		}
	case f.session:
		c.end = max(c.end, after(at, f.size))
	case c.end == none:
		c.end = floor(at, f.every) + f.every
	}
	return false
}

// frameEnds tells a rule's frame of an event, and reports whether the rule is
// to be evaluated on it.
func (e *Engine) frameEnds(rs *ruleState, en *entry, at int64) bool {
	if en == nil || len(en.cells) == 0 {
		return false
	}
	some := false
	for _, spec := range rs.rule.cells {
		some = some || spec.kind == windowKind && e.fed[spec.numbers[0]] == e.stamp
	}
	if !some {
		return false
	}
	if rs.rule.frame.count { // each event counts for all functions
		for _, spec := range rs.rule.cells {
			if spec.kind == windowKind && e.fed[spec.numbers[0]] != e.stamp {
				en.cell(spec).(*windowCell).w.Pass()
			}
		}
	}
	return en.cell(rs.rule.ends).(*frameCell).touch(at)
}

// floor is the multiple of d at or before t.
func floor(t, d int64) int64 {
	q := t / d
	if t%d < 0 {
		q--
	}
	return q * d
}

func (c *frameCell) feed(*expression.Scope, int64) bool { return false } // the engine calls touch
func (c *frameCell) advance(int64)                      {}

func (c *frameCell) next() int64 {
	if c.end == none {
		return never
	}
	return c.end
}

func (c *frameCell) value(*function, int64) event.Value { return event.Value{} }
func (c *frameCell) bind(s *cellSpec)                   { c.spec = s }
func (c *frameCell) empty() bool                        { return c.end == none && c.n == 0 && !c.full }
func (c *frameCell) size() int                          { return 32 }

func (c *frameCell) appendBinary(b []byte) []byte {
	b = binary.AppendVarint(b, c.end)
	b = binary.AppendVarint(b, c.n)
	return append(b, flag(c.full))
}

func (c *frameCell) restore(r *reader) {
	c.end, c.n, c.full = r.varint(), r.varint(), r.byte() == 1
}

// windowSpec is a rule's window as it is written.
type windowSpec struct {
	Pos      strict.Pos            `yaml:"-"`
	Keys     map[string]strict.Pos `yaml:"-"`
	Tumbling duration              `yaml:"tumbling"`
	Hopping  duration              `yaml:"hopping"`
	Session  duration              `yaml:"session"`
	Count    int                   `yaml:"count"`
	Every    yaml.Node             `yaml:"every"`
}

// frame checks a rule's window.
func (l *loader) frame(w *windowSpec) *frameSpec {
	var kinds []string
	for _, k := range []string{"tumbling", "hopping", "session", "count"} {
		if _, ok := w.Keys[k]; ok {
			kinds = append(kinds, k)
		}
	}
	switch len(kinds) {
	case 0:
		l.addf(w.Pos, "e.g. window: {tumbling: 1m}", "a window is tumbling, hopping, session or count")
		return nil
	case 1:
	default:
		l.addf(w.Keys[kinds[1]], "keep one of them", "a window can't be %s and %s", kinds[0], kinds[1])
		return nil
	}
	f := &frameSpec{session: kinds[0] == "session", count: kinds[0] == "count"}
	at := w.Keys["every"]
	_, every := w.Keys["every"]
	switch kinds[0] {
	case "tumbling", "session":
		d := w.Tumbling
		if f.session {
			d = w.Session
		}
		f.size = int64(l.needed("window."+kinds[0], d))
		f.every = f.size
		if every {
			l.addf(at, "every belongs to hopping and count", "a %s window has no every", kinds[0])
		}
	case "hopping":
		f.size = int64(l.needed("window.hopping", w.Hopping))
		d, err := strict.ParseDuration(w.Every.Value)
		switch {
		case !every:
			l.addf(w.Pos, "e.g. window: {hopping: 5m, every: 1m}", "a hopping window needs every")
		case err != nil || d < minDuration:
			l.addf(at, "write a duration, e.g. 1m", "window.every is no duration that windows can have")
		case int64(d) > f.size && f.size > 0:
			l.addf(at, "events between two windows would be in none", "window.every is longer than the window")
		}
		f.every = int64(d)
	case "count":
		f.size, f.every = int64(w.Count), int64(w.Count)
		if w.Count < 1 || w.Count > maxCount {
			l.addf(w.Keys["count"], "write a number of events, e.g. count: 10", "window.count is not between 1 and %d", maxCount)
		}
		if every {
			n := int64(0)
			if err := w.Every.Decode(&n); err != nil || n < 1 || n > f.size {
				l.addf(at, "write a number of events, e.g. 1", "window.every is not between 1 and window.count")
			}
			f.every = n
		}
	}
	if f.size < 1 || f.every < 1 { // reported already
		return nil
	}
	return f
}

// maxCount bounds the samples of a count window.
const maxCount = 1_000_000

// needed is a duration that must be there.
func (l *loader) needed(key string, d duration) time.Duration {
	if d.Duration == 0 && d.pos != (strict.Pos{}) {
		l.addf(d.pos, "write a positive duration, e.g. 1m", "%s is zero", key)
		return 0
	}
	return l.duration(key, d)
}
