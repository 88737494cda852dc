package rules

import "slices"

// Scope says which rules of a set an engine evaluates.
type Scope uint8

// The scopes. All events of a device are in one partition of the log, so a rule
// whose by holds the device can be evaluated there. The events of a group are in
// all of them: one engine must be given them merged. It also evaluates the rules
// whose alerts are told, or not, by what others say that may be elsewhere.
const (
	AllRules       Scope = iota
	PartitionRules       // for which one partition is enough
	AcrossRules          // the others
)

// SetScope says which rules the engine evaluates, for an engine that has no rules
// yet. One for rules across partitions goes by the rule sets of partition 0 alone.
func (e *Engine) SetScope(s Scope) { e.scope = s }

// Scope returns which rules the engine evaluates.
func (e *Engine) Scope() Scope { return e.scope }

// covers reports whether an engine evaluates a rule.
func (s Scope) covers(r *rule) bool { return s == AllRules || r.across == (s == AcrossRules) }

// keeps reports whether an engine of a scope evaluates a rule that reads a cell
// of the set.
func (s *Set) keeps(scope Scope, c *cellSpec) bool {
	return slices.ContainsFunc(c.rules, func(id string) bool { return scope.covers(s.byID[id]) })
}

// enacts reports whether the rule sets of a partition are the engine's business.
func (e *Engine) enacts(partition int) bool {
	return !e.scratch && (e.scope != AcrossRules || partition == 0)
}

// AcrossPartitions reports whether the set has a rule that must be evaluated over
// all partitions of the log.
func (s *Set) AcrossPartitions() bool {
	return slices.ContainsFunc(s.rules, func(r *rule) bool { return r.across })
}

// Across reports whether a rule must be evaluated over all partitions of the log.
func (s *Set) Across(rule string) bool {
	r := s.byID[rule]
	return r != nil && r.across
}

// spread finds the rules that must be evaluated over all partitions: those that
// group devices, those of a group with a limit, and those that inhibit, or are
// inhibited by, alerts of other devices or such rules.
func (s *Set) spread() {
	for _, r := range s.rules {
		_, limited := s.limits[r.group]
		r.across = !slices.Contains(r.by, "device") || limited && r.kind == KindAlert
	}
	for changed := true; changed; {
		changed = false
		for _, r := range s.rules {
			for _, in := range r.inhibits {
				for _, id := range in.rules {
					t := s.byID[id]
					if r.across && t.across {
						continue
					}
					if r.across || t.across || !in.withinDevice(r, t) {
						r.across, t.across, changed = true, true, true
					}
				}
			}
		}
	}
}

// withinDevice reports whether alerts are inhibited by those of their own device
// alone.
func (i *inhibition) withinDevice(from, to *rule) bool {
	device := []string{"device"}
	return slices.Contains(i.equal, "device") ||
		slices.Contains(i.equal, "key") && slices.Equal(from.by, device) && slices.Equal(to.by, device)
}
