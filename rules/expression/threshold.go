package expression

import (
	"math"

	"github.com/expr-lang/expr/ast"

	"weir/ingest/event"
)

// Threshold is the comparison of a field with a number.
type Threshold struct {
	Field string
	Op    string // <, >, <= or >=, the field being on its left
	Limit float64
}

// exact is up to where float64 has every integer.
const exact = 1 << 53

// Threshold returns the threshold that a condition begins with: it is the
// condition, or the left-most operand of its ands. Where the event has the
// field, with a number that float64 has exactly, and the threshold is false,
// the condition is False.
func (p *Program) Threshold() (Threshold, bool) {
	n := p.node
	for {
		b, ok := n.(*ast.BinaryNode)
		if !ok {
			return Threshold{}, false
		}
		switch b.Operator {
		case "and", "&&":
			n = b.Left
			continue
		case "<", ">", "<=", ">=":
			return p.threshold(b)
		}
		return Threshold{}, false
	}
}

func (p *Program) threshold(b *ast.BinaryNode) (Threshold, bool) {
	op := b.Operator
	side, number := b.Left, b.Right
	if _, ok := p.RefOf(side); !ok {
		side, number = b.Right, b.Left
		op = map[string]string{"<": ">", ">": "<", "<=": ">=", ">=": "<="}[op]
	}
	ref, ok := p.RefOf(side)
	if !ok || !ref.IsField() {
		return Threshold{}, false
	}
	k, ok := (&closures{table: NewTable()}).fixed(number)
	limit, isNumber := k.number()
	if !ok || !isNumber || math.IsNaN(limit) || math.Abs(limit) > exact {
		return Threshold{}, false
	}
	return Threshold{ref.Name, op, limit}, true
}

// FieldsOnly returns the fields of which an event must have one for the program
// to say anything about it: on an event that has none of them, and no tag of
// such a name, it is Silent. It returns false for a program that reads anything
// else, or deals with what is missing itself.
func (p *Program) FieldsOnly(t *Table) ([]string, bool) {
	if p.tolerant || len(p.refs) == 0 {
		return nil, false
	}
	var names []string
	for _, r := range p.refs {
		if !r.IsField() || t.column(r) != none {
			return nil, false
		}
		names = append(names, r.Name)
	}
	return names, true
}

// test is a threshold, ready to be compared with a field of the event.
type test struct {
	name  string
	limit float64
	slot  int32
	op    operator
}

type operator uint8

const (
	above operator = iota
	aboveOrAt
	below
	belowOrAt
)

// addTests adds the thresholds that a condition begins with, and reports
// whether it consists of them.
func (p *Program) addTests(n ast.Node) bool {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return false
	}
	switch b.Operator {
	case "and", "&&":
		return p.addTests(b.Left) && p.addTests(b.Right)
	case "<", ">", "<=", ">=":
	default:
		return false
	}
	t, ok := p.threshold(b)
	if !ok {
		return false
	}
	side := b.Left
	ref, ok := p.RefOf(side)
	if !ok {
		ref, _ = p.RefOf(b.Right)
	}
	op := map[string]operator{">": above, ">=": aboveOrAt, "<": below, "<=": belowOrAt}[t.Op]
	for i, r := range p.refs {
		if r == ref {
			p.tests = append(p.tests, test{t.Field, t.Limit, p.slots[i], op})
		}
	}
	return true
}

// tested evaluates a condition that begins with thresholds on fields which are
// where they were in an event before and have a float64. It returns Silent if
// there is more to it: that is no result.
func (p *Program) tested(s *Scope, fields []event.Field) Result {
	for i := range p.tests {
		t := &p.tests[i]
		h := int(s.slots[t.slot].hint)
		if h >= len(fields) {
			return Silent
		}
		f := &fields[h]
		if f.Value.Kind() != event.Float || f.Name != t.name {
			return Silent
		}
		x, _ := f.Value.Float()
		holds := false
		switch t.op {
		case above:
			holds = x > t.limit
		case aboveOrAt:
			holds = x >= t.limit
		case below:
			holds = x < t.limit
		case belowOrAt:
			holds = x <= t.limit
		}
		if !holds {
			return False
		}
	}
	if p.testsOnly {
		return True
	}
	return Silent
}
