// Package choice says which alerts a sink is to deliver, by the keys that sinks
// have in common: its name, which a rule's "send" gives, all, and on.
//
//	c := choice.Choice{Name: cfg.Name, All: cfg.All, On: cfg.On}
//	err := c.Validate()             // every problem, naming keys and remedies
//	a, err := choice.Parse(payload) // of a record event.AlertFact
//	if c.Takes(a) { ... }
package choice
