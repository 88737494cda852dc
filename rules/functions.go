package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/rules/expression"
	"weir/rules/window"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// aggregates are the functions over a window, by their names in Prometheus.
var aggregates = map[string]window.Func{
	"avg_over_time": window.Avg, "min_over_time": window.Min, "max_over_time": window.Max, "sum_over_time": window.Sum,
	"count_over_time": window.Count, "stddev_over_time": window.Stddev, "stdvar_over_time": window.Stdvar,
	"last_over_time": window.Last, "first_over_time": window.First, "present_over_time": window.Present,
	"quantile_over_time": window.Quantile, "rate": window.Rate, "increase": window.Increase, "delta": window.Delta,
	"changes": window.Changes, "resets": window.Resets, "irate": window.Irate, "idelta": window.Idelta, "deriv": window.Deriv,
	"predict_linear": window.Predict,
}

// functionNames are the functions that look at more than the current event.
func functionNames() []string {
	names := []string{"absent", "sequence", "in_state", "time_in_state"}
	for name := range aggregates {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// maxSteps bounds the conditions of a sequence.
const maxSteps = 16

// builder makes the cells of one rule's expressions.
type builder struct {
	l     *loader
	rule  *rule
	texts []string // of the rule's expressions
}

// call checks a call and returns what stands for it.
func (b *builder) call(c *expression.Call) (expression.CellRef, []*expression.Error) {
	spec := &cellSpec{}
	f := &function{cell: spec}
	kind := expression.NumberCell
	var errs []*expression.Error
	var parts []string // of the identity
	fail := func(at int, hint, format string, args ...any) (expression.CellRef, []*expression.Error) {
		return expression.CellRef{}, append(errs, &expression.Error{Offset: at, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	args := c.Args
	if len(args) == 0 {
		return fail(c.Offset, "e.g. "+exampleOf(c.Name), "%s needs arguments", c.Name)
	}
	// takeWidth takes the duration at index i off args.
	takeWidth := func(i int) *expression.Error {
		text, ok := args[i].Literal()
		if !ok {
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("%s needs a duration in quotes here", c.Name), Hint: "e.g. " + exampleOf(c.Name)}
		}
		d, err := strict.ParseDuration(text)
		switch {
		case errors.Is(err, strict.ErrTooLong), d > maxDuration:
			days := maxDuration / (24 * time.Hour)
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("the duration of %s, %q, is longer than %d days", c.Name, text, days), Hint: fmt.Sprintf(`write at most "%dd", e.g. %s`, days, exampleOf(c.Name))}
		case err != nil:
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("%q is no duration", text), Hint: `write a number with a unit (ms, s, m, h, d, w), e.g. "5m"`}
		case !b.l.recorded && !strict.UnitsFall(text):
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("the units of the duration %q are not in order", text), Hint: strict.UnitsHint}
		case d <= 0:
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("the duration of %s, %q, is not positive", c.Name, text), Hint: "e.g. " + exampleOf(c.Name)}
		case d < minDuration:
			return &expression.Error{Offset: args[i].Offset, Msg: fmt.Sprintf("the duration of %s, %q, is shorter than %v", c.Name, text, minDuration), Hint: `write at least "1ms", e.g. ` + exampleOf(c.Name)}
		}
		spec.width = int64(d)
		parts = append(parts, d.String())
		args = slices.Delete(slices.Clone(args), i, i+1)
		return nil
	}
	compile := func(a *expression.Arg, condition bool) *expression.Program {
		p, e := a.Compile(condition)
		errs = append(errs, e...)
		parts = append(parts, a.Source)
		return p
	}
	fn, aggregate := aggregates[c.Name]
	switch {
	case aggregate:
		spec.kind, f.fn = windowKind, fn
		if fn == window.Last || fn == window.First {
			kind = expression.AnyCell
		}
		if fn == window.Quantile {
			q, ok := args[0].Number()
			if !ok || q < 0 || q > 1 {
				return fail(args[0].Offset, "e.g. "+exampleOf(c.Name), "the quantile is not a number between 0 and 1")
			}
			f.q = q
			args = args[1:]
		}
		if fn == window.Predict {
			last := len(args) - 1
			ahead, ok := secondsOf(args[last])
			if !ok {
				return fail(args[last].Offset, "e.g. "+exampleOf(c.Name), "how far ahead is not a number of seconds, or a duration in quotes")
			}
			f.q = ahead
			args = args[:last]
		}
		if frame := b.rule.frame; frame != nil {
			if len(args) != 1 {
				return fail(c.Offset, "the rule's window is the duration: leave it out here, or remove window", "%s takes one expression in a rule with a window", c.Name)
			}
			spec.frame, spec.window = frame, frame.window()
			spec.width = spec.window.Width
			parts = append(parts, frame.text(), b.rule.id)
		} else {
			if len(args) != 2 {
				also := ""
				if fn == window.Predict {
					also = ", and how far ahead"
				}
				return fail(c.Offset, "e.g. "+exampleOf(c.Name), "%s takes an expression and a duration%s", c.Name, also)
			}
			if err := takeWidth(1); err != nil {
				return expression.CellRef{}, append(errs, err)
			}
			spec.window = window.Spec{Mode: window.Sliding, Width: spec.width}
		}
		spec.arg = compile(&args[0], false)
	case b.rule.frame != nil:
		return fail(c.Offset, "put it into a rule of its own", "%s cannot be used in a rule with a window", c.Name)
	case c.Name == "absent":
		spec.kind, kind = absentKind, expression.BoolCell
		if len(args) > 2 {
			return fail(c.Offset, "e.g. "+exampleOf(c.Name), "absent takes a duration, or an expression and a duration")
		}
		if err := takeWidth(len(args) - 1); err != nil {
			return expression.CellRef{}, append(errs, err)
		}
		if len(args) == 1 {
			spec.arg = compile(&args[0], false)
		}
	case c.Name == "in_state", c.Name == "time_in_state":
		spec.kind, kind = stateKind, expression.BoolCell
		if c.Name == "time_in_state" {
			spec.kind, kind = durationKind, expression.NumberCell
		}
		if len(args) != 2 {
			return fail(c.Offset, "e.g. "+exampleOf(c.Name), "%s takes a condition and a duration", c.Name)
		}
		if err := takeWidth(1); err != nil {
			return expression.CellRef{}, append(errs, err)
		}
		spec.arg = compile(&args[0], true)
	default: // sequence
		spec.kind, kind = sequenceKind, expression.BoolCell
		if err := takeWidth(0); err != nil {
			return expression.CellRef{}, append(errs, err)
		}
		if len(args) < 2 || len(args) > maxSteps {
			return fail(c.Offset, "e.g. "+exampleOf(c.Name), "sequence takes a duration and 2 to %d conditions", maxSteps)
		}
		for i := range args {
			a := &args[i]
			if inner, ok := a.Negated(); ok {
				if i < len(args)-1 {
					return fail(a.Offset, "write it as a comparison, e.g. door != \"open\"", "only the last condition of a sequence may be what must not come")
				}
				spec.without = true
				parts = append(parts, "not")
				a = inner
			}
			spec.steps = append(spec.steps, compile(a, true))
		}
	}
	if len(errs) > 0 {
		return expression.CellRef{}, errs
	}
	spec.identity = fmt.Sprintf("%d %s %s %d", spec.kind, b.scope(), strings.Join(parts, "\x00"), b.rule.lateness)
	number, known := b.l.calls[spec.identity+"\x00"+c.Name+strconv.FormatFloat(f.q, 'g', -1, 64)]
	if !known {
		if first, ok := b.l.cells[spec.identity]; ok {
			spec, f.cell = first, first
		} else {
			b.l.cells[spec.identity] = spec
		}
		if spec.kind == windowKind {
			spec.window.Needs |= window.NeedsOf(fn)
		}
		number = int32(len(b.l.set.functions))
		b.l.set.functions = append(b.l.set.functions, f)
		f.cell.numbers = append(f.cell.numbers, number)
		b.l.calls[spec.identity+"\x00"+c.Name+strconv.FormatFloat(f.q, 'g', -1, 64)] = number
	}
	b.rule.use(b.l.set.functions[number].cell)
	return expression.CellRef{Identity: strconv.Itoa(int(number)), Number: number, Kind: kind}, nil
}

// tokens find names in expressions: those that are words, and those that
// field("...") asks for.
var tokens = []*regexp.Regexp{regexp.MustCompile(`[\pL_][\pL\pN_.]*`), regexp.MustCompile(`[\pL_][\pL\pN_.:]*`)}

// readsRecordings reports whether a text names a recording. Rules that do are
// on clocks of their own, and share nothing with others.
func (b *builder) readsRecordings() bool {
	for _, text := range b.texts {
		for _, t := range tokens {
			for _, name := range t.FindAllString(text, -1) {
				if b.l.records[name] && name != b.rule.name {
					return true
				}
			}
		}
	}
	return false
}

// scope is what says which events reach the rule, and by what they are told apart.
func (b *builder) scope() string {
	m := b.rule.match
	if b.readsRecordings() {
		return b.rule.id
	}
	return fmt.Sprintf("%q %q %q %q %q %v", m.source, m.measurement, m.device, m.tags, b.rule.by, m.attributes)
}

// secondsOf returns the seconds that an argument says, as a number or a duration.
func secondsOf(a expression.Arg) (float64, bool) {
	if n, ok := a.Number(); ok {
		return n, true
	}
	text, ok := a.Literal()
	if !ok {
		return 0, false
	}
	d, err := strict.ParseDuration(text)
	return d.Seconds(), err == nil
}

func exampleOf(name string) string {
	switch name {
	case "quantile_over_time":
		return `quantile_over_time(0.95, temperature, "5m")`
	case "predict_linear":
		return `predict_linear(free_bytes, "6h", "4h")`
	case "absent":
		return `absent("10m")`
	case "sequence":
		return `sequence("5m", door == "open", temperature > -10)`
	case "in_state", "time_in_state":
		return name + `(door == "open", "5m")`
	}
	return name + `(temperature, "5m")`
}

// limitsOf finds the numbers that durations are compared with, so that they are
// looked at just when they reach them.
func (r *rule) limitsOf() {
	for _, p := range []*expression.Program{r.expr, r.clear} {
		if p == nil {
			continue
		}
		for _, cmp := range p.Comparisons() {
			if f := r.set.functions[cmp.Cell]; f.cell.kind == durationKind && !slices.Contains(f.cell.limits, cmp.Number) {
				f.cell.limits = append(f.cell.limits, cmp.Number)
				slices.Sort(f.cell.limits)
			}
		}
	}
}
