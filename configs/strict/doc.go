// Package strict decodes YAML written by people: strictly, with a position for
// every problem, and all problems at once.
//
//	src ─▶ characters ─▶ yaml.v3 nodes ─▶ shape ─▶ (expand) ─▶ Go values
//	       UTF-8 only    syntax           one document,        unknown keys,
//	                                      no duplicate keys,   types, ranges
//	                                      no alias bombs
//
// The first three stages stop at what they find, because nothing behind it can
// be trusted; the last goes on to the end and reports everything.
//
// A struct says what is known: `yaml:"name"` names a key, `yaml:",inline"`
// flattens an embedded struct, a key no field names is an error. A field that
// the document does not mention, or leaves empty, keeps the value it had, so
// decoding into a struct of defaults works.
//
// Two fields are filled in addition, if a struct has them:
//
//	Pos  strict.Pos            `yaml:"-"` // where the mapping begins
//	Keys map[string]strict.Pos `yaml:"-"` // where each key that is present stands
//
// A type that implements Unmarshaler decodes itself. Lines and columns count
// from 1, columns in characters.
package strict
