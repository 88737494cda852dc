package rules

import (
	"slices"
	"strconv"
	"strings"

	"weir/ingest/event"
)

// inhibition is one item of a rule's inhibit: while an alert of the rule fires,
// nobody is told of the alerts of others that are equal in some names.
type inhibition struct {
	rules []string // ids
	equal []string // names, sorted
	rule  *rule    // that inhibits
	index int      // in its inhibits
}

// inhibitKey says which alerts an alert inhibits by one clause.
type inhibitKey struct {
	clause *inhibition
	values string
}

// equals returns what an alert has for the names that must be equal; "" if it
// lacks one of them, and so is equal to none.
func (i *inhibition) equals(n *facets) string {
	var b strings.Builder
	b.WriteByte('=')
	for _, name := range i.equal {
		v, ok := n.lookup(name)
		if !ok || v == "" {
			return ""
		}
		b.WriteString(strconv.Itoa(len(v)))
		b.WriteByte(':')
		b.WriteString(v)
	}
	return b.String()
}

// inhibiting returns an alert that inhibits another, nil if none does.
func (e *Engine) inhibiting(a *alert, n *facets) *alert {
	for _, clause := range e.set.inhibited[a.rs.rule.id] {
		values := clause.equals(n)
		if values == "" {
			continue
		}
		for _, by := range e.desk.sources[inhibitKey{clause, values}] {
			if by != a && !by.past && !by.rs.rule.shadow {
				return by
			}
		}
	}
	return nil
}

// inhibit lets an alert that fires inhibit others. What it must have in common
// with them is as of when it began to fire.
func (e *Engine) inhibit(a *alert) {
	clauses := a.rs.rule.inhibits
	if len(clauses) == 0 {
		a.notice.equals = nil
		return
	}
	if len(a.notice.equals) != len(clauses) {
		n := e.facets(a)
		a.notice.equals = nil
		for _, clause := range clauses {
			a.notice.equals = append(a.notice.equals, clause.equals(n))
		}
	}
	for i, clause := range clauses {
		if values := a.notice.equals[i]; values != "" {
			k := inhibitKey{clause, values}
			all := e.desk.sources[k]
			at, _ := slices.BinarySearchFunc(all, a, compareAlerts)
			e.desk.sources[k] = slices.Insert(all, at, a)
		}
	}
}

// uninhibit ends that, and tells of those that it inhibited.
func (e *Engine) uninhibit(a *alert) {
	for i, clause := range a.rs.rule.inhibits {
		if i >= len(a.notice.equals) || a.notice.equals[i] == "" {
			continue
		}
		k := inhibitKey{clause, a.notice.equals[i]}
		all := slices.DeleteFunc(e.desk.sources[k], func(b *alert) bool { return a == b })
		if e.desk.sources[k] = all; len(all) == 0 {
			delete(e.desk.sources, k)
		}
	}
	m := mute{event.SuppressedInhibit, a.notice.id}
	if len(e.desk.muted[m]) > 0 {
		e.desk.end(m)
	}
}
