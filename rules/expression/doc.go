// Package expression compiles the expressions of rules, which are written in
// the expr language, and evaluates them over events.
//
//	source ─▶ parse ─▶ resolve ─▶ check ─▶ infer ─┬─▶ closures   the hot subset, no allocation
//	          expr     names to   expr's   what   └─▶ expr's VM  everything else
//	                   slots      types    each name
//	                                       is used as
//
// A name in an expression is a field of the event, or else one of its tags, or
// else an attribute of its device, if Table.SetAttributes said what is known.
// Names with dots are fields of nested documents: limits.max reads the field
// "limits.max", sensors[0].t the field "sensors.0.t". field("DS18B20-1"),
// tag("site") and attribute("floor") read just that, and what can't be written
// as a name. device, source and measurement are text; time and received are
// points in time. What an event does not have is nil.
//
// Names are resolved to slots of a Table once, at compile time. All programs
// that share a Table share its slots, so that an event's field is looked up
// once however many rules read it.
//
// Evaluation is a function of the expression and the event: what would make it
// depend on anything else (the wall clock, the order of a map) is refused.
package expression
