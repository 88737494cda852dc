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

	set      *Set
	by       []string
	frame    *frameSpec // nil: it is evaluated on every event
	ends     *cellSpec  // of the frame
	lateness int64      // ns that late events are waited for
	past     bool       // people are told of what happened in history that is uploaded
	cells    []*cellSpec
	stratum  int
	behind   int64 // ns that the recordings which it reads are behind by their lateness
	derived  bool  // it reads recordings only
	space    *spaceSpec

	match match
	expr  *expression.Program
	clear *expression.Program // nil: not expr
	hold  time.Duration       // for
	keep  time.Duration       // keep_firing_for

	labels      []namedText
	annotations []namedText
	actions     []action

	maxKeys  int // in one partition
	maxState int // bytes, in one partition

	shadow   bool          // it evaluates without acting
	shadows  string        // id of the rule that it is to replace; "" for none
	repeat   time.Duration // after which it is told again; 0: never
	escalate []escalation  // in the order of their times
	inhibits []*inhibition
	across   bool      // it must be evaluated over all partitions, see spread
	flapping *flapping // nil: it may come and go as often as it likes
}

func (r *rule) info() Info {
	i := Info{
		Rule: r.id, Group: r.group, Name: r.name, Kind: r.kind, File: r.file, Line: r.pos.Line,
		Match: r.match.all(), Expr: r.expr.Source(), For: Duration(r.hold), KeepFiringFor: Duration(r.keep),
		Lateness: Duration(r.lateness), Labels: sources(r.labels), Annotations: sources(r.annotations), Compiled: r.expr.Compiled(),
	}
	if !slices.Equal(r.by, []string{"device"}) {
		i.By = r.by
	}
	if r.frame != nil {
		i.Window = r.frame.text()
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
	r.tellBounds(&i)
	if r.shadow {
		i.Mode, i.Shadows = ModeShadow, r.shadows
	}
	r.notices(&i)
	return i
}

// use notes that the rule reads a cell.
func (r *rule) use(c *cellSpec) {
	if !slices.Contains(r.cells, c) {
		r.cells = append(r.cells, c)
	}
	if !slices.Contains(c.rules, r.id) {
		c.rules = append(c.rules, r.id)
	}
}

// reads returns the names that the rule's expressions read of an event.
func (r *rule) reads() []expression.Ref {
	var refs []expression.Ref
	add := func(p *expression.Program) {
		if p == nil {
			return
		}
		for _, ref := range p.Refs() {
			if ref.Origin != expression.Cell && !slices.Contains(refs, ref) {
				refs = append(refs, ref)
			}
		}
	}
	add(r.expr)
	add(r.clear)
	for _, c := range r.cells {
		add(c.arg)
		for _, p := range c.steps {
			add(p)
		}
	}
	return refs
}

// recordings returns the names of the recordings that the rule asks for, by
// match.measurement or by reading a field of that name. No other recording
// reaches it, so that a rule about devices is not disturbed by what others
// derive.
func (r *rule) recordings() []string {
	if r.match.measurement != nil {
		return r.match.measurement
	}
	var names []string
	for _, ref := range r.reads() {
		if ref.IsField() && !slices.Contains(names, ref.Name) {
			names = append(names, ref.Name)
		}
	}
	return names
}
