// Package attributes holds what is known about devices beside what they send:
// where a device stands, what limits it has, whose it is. It comes from table
// files, which it parses strictly, and is looked up by rules.
//
//	devices.yaml ─▶ Parse ─┐
//	                       ├─▶ Merge ─▶ Table ─▶ Get(device) ─▶ Row ─▶ Value(column)
//	sites.csv ────▶ Parse ─┘              │
//	                                      └─▶ Encode ─▶ rule set record ─▶ Decode
//
// A YAML table has one mapping a device; nested mappings become dotted names:
//
//	devices:
//	  f1: {site: oslo, limits: {max: -15, min: -30}, critical: true}
//
// A CSV table has one line a device, and names in its first line:
//
//	device,site,limits.max,critical
//	f1,oslo,-15,true
//
// A cell is a number if it is a decimal one (so 007 and 12e4567 are texts), true
// or false, or else text; spaces around it do not count. What is empty or null is
// not there. A device may have no attributes at all: it is known then, and no more.
//
// A Table is immutable, and compact: a column holds each of its values once and
// a number of one to four bytes a device.
package attributes
