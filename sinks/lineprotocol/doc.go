// Package lineprotocol appends the parts of an InfluxDB line to a byte slice.
//
//	measurement,tag=value,tag=value field=value,field="text" 1700000000000000000
//	└ Measurement ┴── Name ──┴ Name ┴ Name ┴ Float, Int ... ┴ String ┘  └ time
//
// It exists because the line is written a million times a second: nothing here
// allocates, and text without special characters is copied in one step.
//
// Not every text can be written as a name. What the format cannot hold is
// replaced by the nearest text that it can, always in the same way, so that one
// name stays one name:
//
//	"" (empty)                                        (empty)
//	newline, carriage return, tab, form feed          \n \r \t \f (two characters)
//	other control characters, bytes that are no UTF-8 ?
//	a backslash at the end or before a character that
//	is escaped (it would escape the escape)           /
//	# at the start of a measurement (a comment)       \#
//
// String values hold any text unchanged, but bytes that are no UTF-8 become "?".
package lineprotocol
