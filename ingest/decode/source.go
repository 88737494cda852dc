package decode

import (
	"fmt"
	"time"
)

// The formats of a payload.
const (
	JSON         = "json"          // an RFC 8259 document; nested names are joined by dots, array elements by their index
	Value        = "value"         // one bare number, boolean, ON/OFF word or text
	Auto         = "auto"          // json where the payload begins with { or [, else value
	LineProtocol = "line-protocol" // InfluxDB line protocol, any number of lines
)

// Units of a time besides a Go layout.
const (
	UnitAuto    = "auto" // a number by its magnitude, a text as RFC 3339 with or without T and offset
	UnitSecond  = "s"
	UnitMilli   = "ms"
	UnitMicro   = "us"
	UnitNano    = "ns"
	UnitRFC3339 = "rfc3339"
)

// Source says how the messages of some topics become events. The first source
// in the list whose topic template stands for a topic, and that does not
// ignore it, takes the message.
//
// Where a key names a field of a document, it is a dotted path: either the
// whole path in the document or the name below Root. Patterns of field names
// are such a path, which stands for all that is below it too, and may hold *
// for any run of characters.
type Source struct {
	Name string // of the source; unique, needed

	// Topic is the topic template: levels as in an MQTT filter (+, # at the
	// end), {name} for a level that is captured, {name...} for one or more
	// levels, at the start, in the middle or at the end, once a template ({...}
	// if it needs no name). In a level, captures and * stand for one character or more: "{kind}toMQTT".
	Topic string

	Format string // JSON if empty

	// Device says what the events are about: the first reference that is
	// there and not empty. Default: the capture {device}; without one, for line
	// protocol its tag "device", else the whole topic.
	Device []DeviceRef

	Time TimeSpec

	// Measurement is a text with captures. Default: Name; for line protocol
	// the measurement of the line.
	Measurement string

	// Tags are captures, and fields of the payload, that are tags of the event
	// instead of fields. A tag without a value is left out. For line protocol:
	// captures to add, and fields to turn into tags.
	Tags []string

	// Rename gives fields and tags other names: from the name that they would
	// have. It comes after Field, Include and Exclude.
	Rename map[string]string

	// Field is a text with captures: the name of a bare value ("value" if
	// empty), and the prefix of the names of a document's fields. Slashes in a
	// capture become dots: "{metric...}" of a/b/c is a.b.c.
	Field string

	// Root are the parts of a document that hold fields; the names of fields
	// begin below them. "" is the document itself. The longest that fits
	// counts. Default: the document.
	Root []string

	Include []string // patterns of the fields to keep; all if empty
	Exclude []string // patterns of the fields to leave out

	// When are conditions on fields of a document: for each, the texts that it
	// may have. A message that meets not all of them is filtered.
	When map[string][]string

	// Ignore are topic templates of messages that are no readings, such as
	// commands. They are as if the source's own template did not stand for them.
	Ignore []string

	// Numbers are patterns of fields whose texts are turned into numbers where
	// they are one in JSON's grammar: "21.5", not "021" or "4c00".
	Numbers []string

	// Words gives texts a value: a bool, a float64, or another string. For bare
	// values these come before the built-in words ON, on, On, true, True, TRUE
	// and their opposites; nothing is built in for documents.
	Words map[string]any

	// NoValue says, by pattern of field name, which values stand for "no
	// reading", as text: {"humidity": {"127.5"}}. For bare values "", nan,
	// null, none, n/a, unavailable and unknown are built in, in any case.
	NoValue map[string][]string
}

// DeviceRef is one way to find the device. Exactly one of Text and Field is set.
type DeviceRef struct {
	Text  string // a text with captures: "{portal}/{instance}"
	Field string // a field of the payload; for line protocol a tag or field of the line

	// Format renders a numeric Field as fmt does, with one verb of s, d, x or
	// X: "!%08x". Negative numbers with x are taken as 32 bits. Default: as it stands.
	Format string
}

// TimeSpec says where the time of an event is. The zero value: the receive time.
type TimeSpec struct {
	// Fields of the payload; the first that is there, and neither null, "" nor
	// 0, counts. Not for line protocol, which has its own.
	Fields []string

	// Unit of the time: UnitAuto (the default; for line protocol UnitNano), one
	// of the other units, or a Go layout. Numbers may be fractions, and texts.
	Unit string

	// Zone is the IANA name of the zone of times that say none, e.g.
	// "Europe/Berlin". Default: UTC; for UnitRFC3339 they are an error.
	Zone string

	// A time before Earliest (default 2000-01-01) or more than MaxAhead (default
	// 24 h) after the receive time is taken for a clock that is not set: the
	// receive time is used, and counted.
	Earliest time.Time
	MaxAhead time.Duration
}

// SourceError says what is wrong with a source.
type SourceError struct {
	Index int    // of the source in the list
	Name  string // of the source
	Key   string // of the configuration, e.g. "topic" or "time.unit"
	Err   error
	Hint  string // what would be right; may be empty
}

// Error returns the place and what is wrong, without the hint.
func (e *SourceError) Error() string {
	return fmt.Sprintf("sources[%d] %q: %s: %v", e.Index, e.Name, e.Key, e.Err)
}

func (e *SourceError) Unwrap() error { return e.Err }
