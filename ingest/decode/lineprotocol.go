package decode

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"weir/ingest/event"
)

// lineFormat decodes InfluxDB line protocol, one event a line. It accepts what
// InfluxData's own decoder accepts, but for hexadecimal floats, which InfluxDB
// itself refuses.
type lineFormat struct{}

func (lineFormat) decode(d *Decoder, t *topic, payload []byte) (reason, error) {
	l := lineScanner{d: d, t: t, b: payload}
	why := isNoValue
	for {
		if !l.nextLine() {
			break
		}
		r, err := l.line()
		if err != nil {
			return "", err
		}
		if l.err != nil {
			break
		}
		if r != isNoValue && why != hasEvent {
			why = r
		}
	}
	if l.err != nil {
		return "", l.err
	}
	return why, nil
}

// lineScanner reads line protocol. Its methods read from b[i] on; false means
// that err is set.
type lineScanner struct {
	d   *Decoder
	t   *topic
	b   []byte
	i   int
	err *PayloadError
}

func (l *lineScanner) fail(at int, what string) bool {
	l.err = payloadError("line protocol", l.b, at, what)
	return false
}

func (l *lineScanner) more() bool { return l.i < len(l.b) }

// is reports whether the next byte is c.
func (l *lineScanner) is(c byte) bool { return l.i < len(l.b) && l.b[l.i] == c }

func (l *lineScanner) space() {
	for l.is(' ') {
		l.i++
	}
}

// endOfLine reads the end of the line, if it is there.
func (l *lineScanner) endOfLine() bool {
	switch {
	case !l.more():
		return true
	case l.b[l.i] == '\n':
		l.i++
		return true
	case l.b[l.i] != '\r':
		return false
	case l.i+1 == len(l.b):
		l.i++
		return true
	case l.b[l.i+1] == '\n':
		l.i += 2
		return true
	}
	return false
}

// nextLine skips empty lines and comments and reports whether a line follows.
func (l *lineScanner) nextLine() bool {
	for {
		l.space()
		if !l.more() {
			return false
		}
		switch l.b[l.i] {
		case '#':
			for l.more() && l.b[l.i] >= ' ' && l.b[l.i] != 0x7f {
				l.i++
			}
			if !l.endOfLine() {
				return l.fail(l.i, fmt.Sprintf("the control character 0x%02x stands in a comment", l.b[l.i]))
			}
		case '\n', '\r':
			if !l.endOfLine() {
				return l.fail(l.i, "a carriage return without a newline")
			}
		default:
			return true
		}
	}
}

// What a byte below 0x80 ends, by class.
const (
	endMeasure = 1 << iota // a measurement: a comma, a blank or a control character
	endKey                 // a key or tag value: these or =
	endWord                // a number or boolean: a comma, a blank or the end of the line
)

// classes are the classes of the bytes below 0x80.
const classes = "\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x07\x03\x03\x07\x03\x03" + // 0x0_, \n, \r
	"\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03\x03" + // 0x1_
	"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00" + // 0x2_, blank and comma
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00" + // 0x3_, =
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03" // 0x7_, DEL

// ends reports whether c is of a class.
func ends(c, class byte) bool { return c < 0x80 && classes[c&0x7f]&class != 0 }

// escapes reports whether a backslash before c, in a token that class ends,
// stands for c alone.
func escapes(c, class byte) bool { return c == ',' || c == ' ' || c == '=' && class == endKey }

// token reads up to what ends it, and undoes its escapes.
func (l *lineScanner) token(class byte) (string, bool) {
	b, start := l.b, l.i
	i := start
	var or byte
	for ; i < len(b); i++ {
		c := b[i]
		if ends(c, class) {
			break
		}
		if c == '\\' && i+1 < len(b) && escapes(b[i+1], class) {
			return l.escapedToken(class, i)
		}
		or |= c
	}
	l.i = i
	if i == start {
		return "", true
	}
	text := unsafe.String(&b[start], i-start)
	if or < utf8.RuneSelf {
		return text, true
	}
	return l.checked(text, start)
}

// escapedToken goes on with a token whose first escape is at b[i].
func (l *lineScanner) escapedToken(class byte, i int) (string, bool) {
	b, start, slab := l.b, l.i, l.d.b.TextSlab
	from := len(slab)
	slab = append(slab, b[start:i]...)
	for ; i < len(b); i++ {
		c := b[i]
		if ends(c, class) {
			break
		}
		if c == '\\' && i+1 < len(b) && escapes(b[i+1], class) {
			i++
			c = b[i]
		}
		slab = append(slab, c)
	}
	l.i = i
	return l.checked(l.d.slabText(slab, from), start)
}

// expects reads the key of n and the = after it, if that is what comes next.
func (l *lineScanner) expects(n *node) bool {
	if n == nil || !n.plain {
		return false
	}
	end := l.i + len(n.key)
	if end >= len(l.b) || l.b[end] != '=' || string(l.b[l.i:end]) != n.key {
		return false
	}
	l.i = end + 1
	return true
}

// plainKey reports whether a key stands in line protocol as it is.
func plainKey(key string) bool {
	for i := 0; i < len(key); i++ {
		if key[i] == '\\' || ends(key[i], endKey) {
			return false
		}
	}
	return key != ""
}

func (l *lineScanner) checked(s string, at int) (string, bool) {
	if !utf8.ValidString(s) {
		return "", l.fail(at, fmt.Sprintf("%.64q is not UTF-8", s))
	}
	return s, true
}

// line reads one line and adds its event, if it has one.
func (l *lineScanner) line() (reason, error) {
	root := l.d.begin(l.t)
	tags := len(l.d.b.TagSlab)
	start := l.i
	measure, ok := l.token(endMeasure)
	switch {
	case !ok:
		return "", nil
	case measure == "":
		l.fail(start, "expected a measurement, found "+l.found())
		return "", nil
	}
	if !l.tags() || !l.fields(root) {
		return "", nil
	}
	if l.d.doc.full {
		l.fail(start, l.d.tooBig().Error())
		return "", nil
	}
	at, ok := l.time()
	if !ok {
		return "", nil
	}
	if l.t.src.ownName {
		measure = l.t.measure
	}
	return l.emit(measure, at, tags)
}

// found describes what stands at the scanner's place.
func (l *lineScanner) found() string {
	if !l.more() {
		return "the end of the payload"
	}
	if l.b[l.i] == '\n' || l.b[l.i] == '\r' {
		return "the end of the line"
	}
	r, size := utf8.DecodeRune(l.b[l.i:])
	if r == utf8.RuneError && size <= 1 {
		return fmt.Sprintf("the byte 0x%02x", l.b[l.i])
	}
	return strconv.QuoteRune(r)
}

// tags reads the tags and the space after them.
func (l *lineScanner) tags() bool {
	d := l.d
	from := len(d.b.TagSlab)
	next := &d.doc.sh.tags.first // where the tag that comes next is guessed and learnt
	for l.is(',') {
		l.i++
		start, n := l.i, *next
		if !l.expects(n) {
			key, ok := l.key("tag")
			if !ok {
				return false
			}
			n = d.tagNode(key)
			*next = n
			if d.doc.full {
				return l.fail(start, d.tooBig().Error())
			}
		}
		next = &n.next
		at := l.i
		value, ok := l.token(endKey)
		if !ok {
			return false
		}
		if value == "" {
			return l.fail(at, fmt.Sprintf("the tag %.64q has no value", n.key))
		}
		for _, r := range n.roles {
			d.doc.found = append(d.doc.found, found{r, n, event.StringValue(value)})
		}
		if n.name != "" {
			d.b.TagSlab = append(d.b.TagSlab, event.Tag{Key: n.name, Value: value})
		}
		if len(d.b.TagSlab)-from > maxTags {
			return l.fail(start, fmt.Sprintf("more than %d tags", maxTags))
		}
	}
	if !l.is(' ') {
		return l.fail(l.i, "expected a blank and fields, found "+l.found())
	}
	l.space()
	return true
}

// key reads the key of a tag or field, and the = after it.
func (l *lineScanner) key(of string) (string, bool) {
	start := l.i
	key, ok := l.token(endKey)
	switch {
	case !ok:
		return "", false
	case key == "":
		return "", l.fail(start, fmt.Sprintf("expected a %s key, found %s", of, l.found()))
	case !l.is('='):
		return "", l.fail(l.i, fmt.Sprintf("expected = after the %s key %.64q, found %s", of, key, l.found()))
	}
	l.i++
	return key, true
}

// fields reads the fields and the space after them.
func (l *lineScanner) fields(root *node) bool {
	next := &root.first // where the field that comes next is guessed and learnt
	for {
		start, n := l.i, *next
		if !l.expects(n) {
			key, ok := l.key("field")
			if !ok {
				return false
			}
			n = l.d.child(root, unsafe.Slice(unsafe.StringData(key), len(key)))
			*next = n
		}
		next = &n.next
		v, ok := l.value(n.key)
		if !ok {
			return false
		}
		l.d.seen(n)
		l.d.leaf(n, v)
		if l.d.doc.full {
			return l.fail(start, l.d.tooBig().Error())
		}
		switch {
		case l.is(','):
			l.i++
			continue
		case l.is(' '):
			l.space()
		case l.more() && l.b[l.i] != '\n' && l.b[l.i] != '\r':
			return l.fail(l.i, "expected a comma, a blank or the end of the line after a field, found "+l.found())
		}
		return true
	}
}

// time reads the timestamp, if there is one, and the end of the line. It
// returns the receive time if there is none.
func (l *lineScanner) time() (int64, bool) {
	ts, received := &l.t.src.time, l.d.b.Messages[l.d.m].Received
	if l.endOfLine() {
		return received, true
	}
	start := l.i
	for l.more() && (l.b[l.i] == '-' || l.b[l.i]-'0' <= 9) {
		l.i++
	}
	at, err := int64(0), strconv.ErrSyntax
	if l.i > start && (!l.more() || l.b[l.i] != ',' && ends(l.b[l.i], endWord)) {
		at, err = parseInt(unsafe.String(&l.b[start], l.i-start))
	}
	p := int64(pow10[ts.scale])
	if err != nil || at > math.MaxInt64/p || at < math.MinInt64/p {
		for l.more() && (l.b[l.i] == ',' || !ends(l.b[l.i], endWord)) {
			l.i++
		}
		return 0, l.fail(start, fmt.Sprintf("%.64q is no time in %s in range", l.b[start:l.i], ts.unit))
	}
	l.space()
	if !l.endOfLine() {
		return 0, l.fail(l.i, "expected the end of the line after the time, found "+l.found())
	}
	return l.d.plausible(ts, at*p, received), true
}
