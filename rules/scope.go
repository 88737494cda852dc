package rules

// Scope says which rules of a set an engine evaluates.
type Scope uint8

// The scopes. All events of a device are in one partition of the log, so a rule
// whose by holds the device can be evaluated there. The events of a group are in
// all of them: one engine must be given them merged.
const (
	AllRules     Scope = iota
	DeviceRules        // whose by holds device
	GroupedRules       // the others
)

// SetScope says which rules the engine evaluates, for an engine that has no rules
// yet. One for grouped rules goes by the rule sets of partition 0 alone.
func (e *Engine) SetScope(s Scope) { e.scope = s }

// Scope returns which rules the engine evaluates.
func (e *Engine) Scope() Scope { return e.scope }

// covers reports whether an engine evaluates the rules of a space.
func (s Scope) covers(sp *spaceSpec) bool {
	return s == AllRules || sp.grouped() == (s == GroupedRules)
}

// enacts reports whether the rule sets of a partition are the engine's business.
func (e *Engine) enacts(partition int) bool {
	return !e.scratch && (e.scope != GroupedRules || partition == 0)
}

// AcrossPartitions reports whether the set has a rule whose keys have events in
// several partitions of the log, for who evaluates it over more than one.
func (s *Set) AcrossPartitions() bool {
	for _, sp := range s.spaces {
		if sp.grouped() {
			return true
		}
	}
	return false
}
