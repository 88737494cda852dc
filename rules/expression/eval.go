package expression

import (
	"fmt"
	"math"

	"weir/ingest/event"
)

// Result is what a condition comes to.
type Result int8

// The results of a condition.
const (
	False  Result = iota
	True          // holds
	Failed        // cannot be evaluated, e.g. nil > 3: neither true nor false
	Silent        // the event has none of the fields that the expression reads
)

// Holds evaluates a condition on the current event. It does not allocate if
// the program is Compiled.
func (p *Program) Holds(s *Scope) Result {
	if len(p.tests) > 0 {
		if r := p.tested(s, s.event.Fields); r <= True {
			return r
		}
	}
	if !s.load(p) {
		return Silent
	}
	if p.cond != nil {
		return p.cond(s)
	}
	return p.holdsVM(s)
}

// Tests reports whether IsFalse can be true.
func (p *Program) Tests() bool { return len(p.tests) > 0 }

// IsFalse reports that Holds would be False on an event, where that is cheap to see: the program
// begins with thresholds. It is false if Holds may be anything.
func (p *Program) IsFalse(s *Scope, ev *event.Event) bool {
	return len(p.tests) > 0 && p.tested(s, ev.Fields) == False
}

func (p *Program) holdsVM(s *Scope) Result {
	v, err := s.run(p)
	if err != nil {
		return Failed
	}
	b, ok := v.(bool)
	switch {
	case !ok:
		return Failed
	case b:
		return True
	}
	return False
}

// Value evaluates an expression on the current event. The result is True with
// a scalar (Null for nil), or Failed or Silent.
func (p *Program) Value(s *Scope) (event.Value, Result) {
	if !s.load(p) {
		return event.Value{}, Silent
	}
	if p.val != nil {
		v, ok := p.val(s)
		if !ok {
			return event.Value{}, Failed
		}
		return v.event(), True
	}
	x, err := s.run(p)
	if err != nil {
		return event.Value{}, Failed
	}
	v, ok := scalar(x)
	if !ok {
		return event.Value{}, Failed
	}
	return v.event(), True
}

// Any evaluates an expression on the current event to whatever it gives, a
// list or a time too. Unlike the others it is evaluated on every event, with
// nil for what is not there.
func (p *Program) Any(s *Scope) (any, error) {
	s.load(p)
	v, err := s.run(p)
	if err != nil {
		return nil, checkError(p.source, err)
	}
	return v, nil
}

// Missing returns the names that the expression reads and the current event
// does not have.
func (p *Program) Missing(s *Scope) []Ref {
	s.load(p)
	var names []Ref
	for i, at := range p.slots {
		if s.slots[at].found == nowhere {
			names = append(names, p.refs[i])
		}
	}
	return names
}

// Speaks reports whether the current event has any of the fields that the
// expression reads, or a part in its windows, less those of cells that every
// event has a part in.
func (p *Program) Speaks(s *Scope, every func(cell int32) bool) bool {
	s.load(p)
	missing, has, unfed, reads := false, false, false, false
	for i, at := range p.slots {
		if r := &p.refs[i]; r.Origin == Cell && every(r.Cell) {
			continue
		}
		sl := &s.slots[at]
		reads = true
		missing = missing || sl.found == nowhere
		has = has || sl.found == inFields
		unfed = unfed || sl.found == idle
	}
	return has || reads && !unfed && (!missing || p.tolerant)
}

// Vacant reports whether a function of the past that the expression calls has
// nothing to say, as a rate of one sample.
func (p *Program) Vacant(s *Scope) bool {
	s.load(p)
	for i, at := range p.slots {
		if p.refs[i].Origin == Cell && s.slots[at].value.kind == vNil {
			return true
		}
	}
	return false
}

// Incomplete reports whether the current event lacks a name that the
// expression reads.
func (p *Program) Incomplete(s *Scope) bool {
	s.load(p)
	for _, at := range p.slots {
		if s.slots[at].found == nowhere {
			return true
		}
	}
	return false
}

// First returns the value of the left-most name of the expression that is a
// field of the current event.
func (p *Program) First(s *Scope) (event.Value, bool) {
	s.load(p)
	for _, at := range p.slots {
		if sl := &s.slots[at]; sl.found == inFields {
			return sl.value.event(), true
		}
	}
	return event.Value{}, false
}

// Explain returns why the program fails on the current event, as one line, or
// nil if it does not.
func (p *Program) Explain(s *Scope) error {
	v, err := p.Any(s)
	if err != nil {
		if names := p.Missing(s); len(names) > 0 {
			return fmt.Errorf("%w (the event has no %s)", err, names[0])
		}
		return err
	}
	if _, ok := v.(bool); p.wantsBool && !ok {
		return fmt.Errorf("the result is %v, not true or false", v)
	}
	if x, ok := scalar(v); !ok {
		return fmt.Errorf("the result is a %T, not one value", v)
	} else if f, _ := x.number(); math.IsNaN(f) || math.IsInf(f, 0) {
		return fmt.Errorf("the result is %v, not a finite number", f)
	}
	return nil
}

// scalar returns what the VM returned as a value, if it can be one.
func scalar(x any) (value, bool) {
	switch x := x.(type) {
	case nil:
		return value{}, true
	case float64:
		return floatOf(x), true
	case float32:
		return floatOf(float64(x)), true
	case int:
		return intOf(int64(x)), true
	case int64:
		return intOf(x), true
	case int32:
		return intOf(int64(x)), true
	case uint8:
		return intOf(int64(x)), true
	case uint64:
		if x > math.MaxInt64 {
			return floatOf(float64(x)), true
		}
		return intOf(int64(x)), true
	case bool:
		return boolOf(x), true
	case string:
		return textOf(x), true
	}
	return value{}, false
}
