package rules

import (
	"slices"
	"time"

	"weir/configs/strict"
	"weir/rules/expression"
)

// rule is a compiled rule. Immutable once its set is loaded.
type rule struct {
	id          string // group/name
	group, name string
	kind        Kind
	file        string
	pos         strict.Pos
	index       int // in Set.rules

	match match
	expr  *expression.Program
	clear *expression.Program // nil: not expr
	hold  time.Duration       // for
	keep  time.Duration       // keep_firing_for

	labels      []namedText
	annotations []namedText
	actions     []action
}

func (r *rule) info() Info {
	i := Info{
		Rule: r.id, Group: r.group, Name: r.name, Kind: r.kind, File: r.file, Line: r.pos.Line,
		Match: r.match.all(), Expr: r.expr.Source(), For: Duration(r.hold), KeepFiringFor: Duration(r.keep),
		Labels: sources(r.labels), Annotations: sources(r.annotations), Compiled: r.expr.Compiled(),
	}
	if r.clear != nil {
		i.Clear = r.clear.Source()
		i.Compiled = i.Compiled && r.clear.Compiled()
	}
	for _, a := range r.actions {
		if a.send != "" {
			i.Send = append(i.Send, a.send)
		}
		i.Actions = append(i.Actions, a.info())
	}
	return i
}

// recordings returns the names of the recordings that the rule asks for, by
// match.measurement or by reading a field of that name. No other recording
// reaches it, so that a rule about devices is not disturbed by what others
// derive.
func (r *rule) recordings() []string {
	if r.match.source != nil {
		return nil
	}
	if r.match.measurement != nil {
		return r.match.measurement
	}
	var names []string
	for _, p := range []*expression.Program{r.expr, r.clear} {
		if p == nil {
			continue
		}
		for _, ref := range p.Refs() {
			if ref.IsField() && !slices.Contains(names, ref.Name) {
				names = append(names, ref.Name)
			}
		}
	}
	return names
}
