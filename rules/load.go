package rules

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"weir/configs/strict"
	"weir/rules/expression"
)

const (
	maxName     = 200                  // bytes of a group's or a rule's name: both become topic levels
	maxDuration = 366 * 24 * time.Hour // of for and keep_firing_for
	minDuration = time.Millisecond
	maxBy       = 8 // names
)

var (
	labelName  = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	recordName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_:.]*$`)
)

type place struct {
	file string
	pos  strict.Pos
}

// in says where the place is, to a reader of file: "line 3", or "other.yaml:3".
func (p place) in(file string) string {
	if p.file == file {
		return fmt.Sprintf("line %d", p.pos.Line)
	}
	return fmt.Sprintf("%s:%d", p.file, p.pos.Line)
}

// loader compiles what the files say into a set and collects what is wrong.
type loader struct {
	set      *Set
	options  *Options
	recorded bool // an earlier version took the files: what only newer ones refuse is let pass
	groups   map[string]place
	records  map[string]bool      // names of all records
	targets  []target             // of all inhibits
	shadowed []shadowing          // of all shadows
	cells    map[string]*cellSpec // by identity
	calls    map[string]int32     // numbers of functions, by identity
	errs     strict.Errors

	// The file and the group that are being loaded.
	name  string
	group *groupSpec
}

func (l *loader) addDecoded(file string, err error) {
	var errs strict.Errors
	if errors.As(err, &errs) {
		l.errs = append(l.errs, errs...)
		return
	}
	l.errs.Addf(file, strict.Pos{}, "", "%v", err)
}

func (l *loader) addf(at strict.Pos, hint, format string, args ...any) {
	l.errs.Addf(l.name, at, hint, format, args...)
}

func (l *loader) file(name string, spec *fileSpec) {
	l.name = name
	for i := range spec.Groups {
		g := &spec.Groups[i]
		if g.Pos == (strict.Pos{}) { // no mapping, which is reported already
			continue
		}
		l.group = g
		l.checkGroup(g)
		for j := range g.Rules {
			l.rule(&g.Rules[j])
		}
	}
}

func (l *loader) checkGroup(g *groupSpec) {
	if has(g.Keys, "interval") {
		l.addf(g.Keys["interval"], "remove it: rules are evaluated on every event", "groups have no interval")
	}
	if g.Name.Value == "" {
		l.addf(keyOr(g.Keys, "name", g.Pos), "write name: NAME", "the group has no name")
	} else {
		l.checkName("group", g.Name)
		if first, ok := l.groups[g.Name.Value]; ok {
			l.addf(g.Name.Pos, "give it another name, or put the rules into one group",
				"a second group %q, the first is at %s", g.Name.Value, first.in(l.name))
		} else {
			l.groups[g.Name.Value] = place{l.name, g.Name.Pos}
		}
	}
	if _, ok := g.Keys["rules"]; !ok {
		l.addf(g.Pos, "write rules: and a list of them", "group %q has no rules", g.Name.Value)
	}
	l.checkMatch(g.Match)
	l.limit(g)
	for _, e := range g.Labels { // templates are compiled for each rule, which reports what is wrong with them
		l.checkLabelName(e)
	}
}

// checkName checks a name that becomes a part of ids and a level of topics.
func (l *loader) checkName(what string, name strict.String) {
	v := name.Value
	bad := strings.IndexFunc(v, func(r rune) bool { return strings.ContainsRune("/+#", r) || unicode.IsControl(r) })
	switch {
	case len(v) > maxName:
		l.addf(name.Pos, "", "the %s's name has %d bytes, more than %d", what, len(v), maxName)
	case bad >= 0:
		l.addf(name.At(bad), "names become levels of MQTT topics", "a %s's name can't hold %q", what, []rune(v[bad:])[0])
	case strings.TrimSpace(v) != v:
		l.addf(name.Pos, "", "the %s's name %q begins or ends with a space", what, v)
	}
}

// keyOr returns where a key is, or the place of what should have it.
func keyOr(keys map[string]strict.Pos, key string, pos strict.Pos) strict.Pos {
	if at, ok := keys[key]; ok {
		return at
	}
	return pos
}

// rule loads one rule. It goes on after an error, to find the others.
func (l *loader) rule(spec *ruleSpec) {
	if spec.Pos == (strict.Pos{}) { // no mapping, which is reported already
		return
	}
	r := &rule{file: l.name, pos: spec.Pos, group: l.group.Name.Value, set: l.set}
	before := len(l.errs)
	l.identify(r, spec)
	l.refuse(r, spec)
	l.mode(r, spec)
	l.bounds(r, spec)
	r.match = newMatch(l.group.Match, spec.Match)
	r.match.know(l.set.attributes)
	l.checkMatch(spec.Match)
	r.by = l.by(spec)
	l.lateness(r, spec)
	switch {
	case spec.Window == nil:
	case spec.Window.Pos == (strict.Pos{}): // no mapping, which is reported already
		r.frame = &frameSpec{size: 1, every: 1}
	default:
		if every := spec.Window.Every.Value; !l.recorded && !strict.UnitsFall(every) {
			l.addf(spec.Window.Keys["every"], strict.UnitsHint, "the units of the duration %q are not in order", every)
		}
		if r.frame = l.frame(spec.Window); r.frame == nil { // reported; that there is one is known all the same
			r.frame = &frameSpec{size: 1, every: 1}
		}
	}
	r.expr = l.expression(r, spec, spec.Expr, "expr", r.kind == KindAlert)
	if r.frame != nil && r.expr != nil {
		l.ends(r, spec)
	}
	if r.kind == KindAlert {
		l.alert(r, spec)
	}
	if len(l.errs) == before {
		r.limitsOf()
		l.set.rules = append(l.set.rules, r)
	}
}

// identify finds out what the rule is and what it is called.
func (l *loader) identify(r *rule, spec *ruleSpec) {
	_, alert := spec.Keys["alert"]
	_, record := spec.Keys["record"]
	name := spec.Alert
	switch {
	case alert && record:
		l.addf(spec.Keys["record"], "make two rules of it", "a rule is an alert or a record, not both")
		return
	case record:
		r.kind, name = KindRecord, spec.Record
	case !alert:
		l.addf(spec.Pos, "begin it with alert: Name, or record: name", "the rule is neither an alert nor a record")
		return
	}
	if !record {
		r.kind = KindAlert
	}
	r.name = name.Value
	if r.name == "" {
		l.addf(spec.Keys[string(r.kind)], fmt.Sprintf("write %s: NAME", r.kind), "the rule has no name")
		return
	}
	l.checkName("rule", name)
	if r.kind == KindRecord && !recordName.MatchString(r.name) {
		l.addf(name.Pos, "it becomes a measurement: begin with a letter, go on with letters, digits, _ . or :", "%q is no name for a recording", r.name)
	}
	r.id = r.group + "/" + r.name
	if first, ok := l.set.byID[r.id]; ok {
		l.addf(name.Pos, "give it another name: group and name identify a rule",
			"a second rule %q in group %q, the first is at %s", r.name, r.group, place{first.file, first.pos}.in(l.name))
		return
	}
	l.set.byID[r.id] = r
}

// refuse reports keys that do not exist yet or do not fit the kind of rule.
func (l *loader) refuse(r *rule, spec *ruleSpec) {
	if r.kind != KindRecord {
		return
	}
	for _, key := range alertKeys() {
		if key == "backfill" && l.recorded { // earlier versions took it
			continue
		}
		if at, ok := spec.Keys[key]; ok {
			l.addf(at, "remove it, or make the rule an alert", "a record has no %s", key)
		}
	}
}

// expression compiles expr or clear, and reports where in the file it is wrong.
func (l *loader) expression(r *rule, spec *ruleSpec, text strict.String, key string, condition bool) *expression.Program {
	if strings.TrimSpace(text.Value) == "" {
		at := keyOr(spec.Keys, key, spec.Pos)
		hint := "write a condition, e.g. " + key + ": temperature > 30"
		if !condition {
			hint = "write what to record, e.g. expr: temperature * 1.8 + 32"
		}
		l.addf(at, hint, "the rule has no %s", key)
		return nil
	}
	build := builder{l, r, []string{spec.Expr.Value, spec.Clear.Value}}
	p, errs := expression.Compile(text.Value, expression.Options{
		Table: l.set.slots, Condition: condition, Functions: functionNames(), Cell: build.call, Beside: r.expr, BesideName: "expr", Accepted: l.recorded,
	})
	for _, e := range errs {
		l.addf(text.At(e.Offset), e.Hint, "%s: %s", key, e.Msg)
	}
	return p
}

// by returns the names by whose values the rule tells its keys apart.
func (l *loader) by(spec *ruleSpec) []string {
	if _, ok := spec.Keys["by"]; !ok {
		return []string{"device"}
	}
	names := []string{}
	for _, b := range spec.By {
		switch {
		case b.Pos == (strict.Pos{}): // no text, which is reported already
		case b.Value == "":
			l.addf(b.Pos, "", "by has an empty name")
		case slices.Contains(names, b.Value):
			l.addf(b.Pos, "remove one of them", "%q is there twice", b.Value)
		case len(names) == maxBy:
			l.addf(b.Pos, "", "by has more than %d names", maxBy)
		default:
			names = append(names, b.Value)
		}
	}
	return names
}

// lateness takes what the rule, or its group, says about late events.
func (l *loader) lateness(r *rule, spec *ruleSpec) {
	late := spec.AllowedLateness
	if _, ok := spec.Keys["allowed_lateness"]; !ok {
		late = l.group.AllowedLateness
	}
	r.lateness = int64(l.duration("allowed_lateness", late))
	back := spec.Backfill
	if _, ok := spec.Keys["backfill"]; !ok {
		back = l.group.Backfill
	}
	switch back.Value {
	case "", "silent":
	case "notify":
		r.past = true
	default:
		l.addf(back.Pos, suggestion(back.Value, []string{"silent", "notify"}), "unknown backfill %q", back.Value)
	}
}

// ends makes the cell that knows when the rule's window ends.
func (l *loader) ends(r *rule, spec *ruleSpec) {
	if !slices.ContainsFunc(r.cells, func(c *cellSpec) bool { return c.kind == windowKind }) {
		l.addf(spec.Keys["window"], "e.g. avg_over_time(temperature) > 30", "the rule has a window, but no function over it")
		return
	}
	b := builder{l, r, []string{spec.Expr.Value, spec.Clear.Value}}
	r.ends = &cellSpec{kind: frameKind, frame: r.frame, identity: "frame " + b.scope() + r.frame.text() + "\x00" + r.id}
	r.use(r.ends)
}

// alert loads what only alerts have.
func (l *loader) alert(r *rule, spec *ruleSpec) {
	r.hold = l.duration("for", spec.For)
	r.keep = l.duration("keep_firing_for", spec.KeepFiring)
	if _, ok := spec.Keys["clear"]; ok {
		r.clear = l.expression(r, spec, spec.Clear, "clear", true)
	}
	for _, e := range spec.Labels {
		l.checkLabelName(e)
	}
	for _, e := range spec.Annotations {
		if !labelName.MatchString(e.key) {
			l.addf(e.pos, "begin with a letter, go on with letters, digits and _", "%q is no name for an annotation", e.key)
		}
	}
	r.labels = l.texts(mergeTexts(l.group.Labels, spec.Labels), inLabel, nil)
	names := make([]string, len(r.labels))
	for i, t := range r.labels {
		names[i] = t.key
	}
	r.annotations = l.texts(spec.Annotations, inAnnotation, names)
	for i := range spec.Actions {
		if a, ok := l.action(&spec.Actions[i], names); ok {
			r.actions = append(r.actions, a)
		}
	}
	l.notices(r, spec, names)
}

func (l *loader) duration(key string, d duration) time.Duration {
	switch {
	case d.Duration < 0:
		l.addf(d.pos, "write a positive duration, e.g. 10m", "%s can't be negative", key)
	case d.Duration > maxDuration:
		l.addf(d.pos, fmt.Sprintf("write at most %dd", maxDuration/(24*time.Hour)), "%s is longer than %d days", key, maxDuration/(24*time.Hour))
	case d.Duration > 0 && d.Duration < minDuration:
		l.addf(d.pos, "leave it out for none", "%s is shorter than %v", key, minDuration)
	}
	return d.Duration
}

func (l *loader) checkLabelName(e textEntry) {
	switch {
	case !labelName.MatchString(e.key):
		l.addf(e.pos, "begin with a letter, go on with letters, digits and _", "%q is no name for a label", e.key)
	case e.key == "alertname" || strings.HasPrefix(e.key, "__"):
		l.addf(e.pos, "give it another name", "the label %q is set by receivers of alerts", e.key)
	}
}

// mergeTexts returns the entries of both, b's where both have one.
func mergeTexts(a, b textMap) textMap {
	all := slices.Clone(b)
	for _, e := range a {
		if !slices.ContainsFunc(b, func(o textEntry) bool { return o.key == e.key }) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y textEntry) int { return strings.Compare(x.key, y.key) })
	return all
}
