package rules

import (
	"slices"
	"strings"

	"weir/configs/strict"
)

// The values of a rule's mode.
const (
	ModeLive   = "live"
	ModeShadow = "shadow" // it evaluates and decides, and acts never
)

// shadowing is a rule that says which one it is to replace.
type shadowing struct {
	from *rule
	name strict.String
	file string
}

// mode loads whether the rule, or its group, acts.
func (l *loader) mode(r *rule, spec *ruleSpec) {
	mode := spec.Mode
	if !has(spec.Keys, "mode") {
		mode = l.group.Mode
	}
	switch mode.Value {
	case "", ModeLive:
	case ModeShadow:
		r.shadow = true
	default:
		l.addf(mode.Pos, suggestion(mode.Value, []string{ModeLive, ModeShadow}), "unknown mode %q", mode.Value)
		return
	}
	if !has(spec.Keys, "shadows") {
		return
	}
	id := spec.Shadows.Value
	if id != "" && !strings.Contains(id, "/") {
		id = r.group + "/" + id
	}
	switch at := spec.Keys["shadows"]; {
	case spec.Shadows.Pos == (strict.Pos{}): // no text, which is reported already
	case id == "":
		l.addf(at, "e.g. shadows: group/Rule", "shadows is empty")
	case r.kind == KindRecord:
		l.addf(at, "remove it: what a record would derive is counted, not compared", "a record shadows no rule")
	case !r.shadow:
		l.addf(at, "add mode: shadow, or remove shadows", "the rule shadows another one, but acts itself")
	case id == r.id:
		l.addf(spec.Shadows.Pos, "name the rule that it is to replace", "a rule can't shadow itself")
	default:
		r.shadows = id
		l.shadowed = append(l.shadowed, shadowing{r, spec.Shadows, l.name})
	}
}

// alertHint says which alert is meant, or which there are.
func alertHint(id string, alerts []string) string {
	if len(alerts) == 0 {
		return "no rule is an alert that acts"
	}
	return suggestion(id, alerts)
}

// shadows refuses shadows of what does not exist or does not act.
func (l *loader) shadows() {
	var alerts []string
	for _, r := range l.set.byID {
		if r.kind == KindAlert && !r.shadow {
			alerts = append(alerts, r.id)
		}
	}
	slices.Sort(alerts)
	for _, s := range l.shadowed {
		switch r := l.set.byID[s.from.shadows]; {
		case r == nil:
			l.errs.Addf(s.file, s.name.Pos, alertHint(s.from.shadows, alerts), "shadows: there is no rule %q", s.from.shadows)
		case r.kind != KindAlert:
			l.errs.Addf(s.file, s.name.Pos, "name an alert", "shadows: %q is a record", r.id)
		case r.shadow:
			l.errs.Addf(s.file, s.name.Pos, "name the rule that acts", "shadows: %q is a shadow itself", r.id)
		}
	}
}
