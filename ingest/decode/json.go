package decode

import (
	"unicode/utf8"
	"unsafe"

	"weir/ingest/event"
)

// jsonFormat decodes one RFC 8259 document a message.
type jsonFormat struct{}

func (jsonFormat) decode(d *Decoder, t *topic, payload []byte) (reason, error) {
	if err := d.document(t, payload); err != nil {
		return "", err
	}
	return d.finish(t)
}

// document reads a JSON document.
func (d *Decoder) document(t *topic, payload []byte) error {
	b := payload
	if len(b) >= 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF { // a UTF-8 byte order mark
		b = b[3:]
	}
	root := d.begin(t)
	s := &d.scan
	s.d, s.b, s.err = d, b, nil
	i := s.value(root, skipSpace(b, 0), 0)
	if i >= 0 {
		if i = skipSpace(b, i); i < len(b) {
			i = s.fail(i, "the end of the document")
		}
	}
	s.b = nil
	if i < 0 {
		s.err.move(payload, len(payload)-len(b))
		return s.err
	}
	return nil
}

// scanner reads JSON in one pass, checking all of it. Its methods take the
// index to go on at and return the index after what they read, or -1 when err
// is set.
type scanner struct {
	d   *Decoder
	b   []byte
	err *PayloadError
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// value reads the value at b[i] for n; space before it has been read.
func (s *scanner) value(n *node, i, depth int) int {
	b := s.b
	if i >= len(b) {
		return s.fail(i, "a value")
	}
	switch c := b[i]; {
	case c == '"':
		text, next := s.str(i + 1)
		if next >= 0 && !n.dead {
			s.d.leaf(n, event.StringValue(text))
		}
		return next
	case c-'0' <= 9 || c == '-':
		v, next := scanNumber(b, i)
		if v.Kind() == event.Null {
			return s.failNumber(i, next)
		}
		if !n.dead {
			s.d.leaf(n, v)
		}
		return next
	case c == '{':
		return s.object(n, i+1, depth+1)
	case c == '[':
		return s.array(n, i+1, depth+1)
	case c == 't' && len(b)-i >= 4 && string(b[i:i+4]) == "true":
		if !n.dead {
			s.d.leaf(n, event.BoolValue(true))
		}
		return i + 4
	case c == 'f' && len(b)-i >= 5 && string(b[i:i+5]) == "false":
		if !n.dead {
			s.d.leaf(n, event.BoolValue(false))
		}
		return i + 5
	case c == 'n' && len(b)-i >= 4 && string(b[i:i+4]) == "null":
		return i + 4
	}
	return s.fail(i, "a value")
}

// object reads the members of an object; its brace has been read.
func (s *scanner) object(n *node, i, depth int) int {
	if depth > maxDepth {
		return s.failDepth(i - 1)
	}
	b, d := s.b, s.d
	i = skipSpace(b, i)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	var before, guess *node
	if !n.dead {
		guess = n.first
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return s.failKey(i)
		}
		i++
		var c *node
		if guess != nil && len(b)-i >= len(guess.quoted) && string(b[i:i+len(guess.quoted)]) == guess.quoted {
			c = guess
			i += len(guess.quoted)
		} else {
			if c, i = s.key(n, i); i < 0 {
				return -1
			}
			switch {
			case n.dead: // then c is n, and nothing is learnt
			case before != nil:
				before.next = c
			default:
				n.first = c
			}
		}
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if !n.dead {
			d.seen(c)
		}
		if i = s.value(c, i, depth); i < 0 {
			return -1
		}
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if i >= len(b) {
			return s.fail(i, "a comma or }")
		}
		if b[i] == '}' {
			return i + 1
		}
		if b[i] != ',' {
			return s.fail(i, "a comma or }")
		}
		if i++; i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if !n.dead {
			before, guess = c, c.next
		}
	}
}

// array reads the elements of an array; its bracket has been read.
func (s *scanner) array(n *node, i, depth int) int {
	if depth > maxDepth {
		return s.failDepth(i - 1)
	}
	b := s.b
	i = skipSpace(b, i)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for at := 0; ; at++ {
		c := n
		if !n.dead {
			if c = s.d.item(n, at); s.d.doc.full {
				return s.failFull(i)
			}
		}
		if i = s.value(c, i, depth); i < 0 {
			return -1
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return s.fail(i, "a comma or ]")
		}
		if b[i] == ']' {
			return i + 1
		}
		if b[i] != ',' {
			return s.fail(i, "a comma or ]")
		}
		i = skipSpace(b, i+1)
	}
}

// key reads a key of the object n, after its first quote, and the colon.
func (s *scanner) key(n *node, i int) (*node, int) {
	b, d := s.b, s.d
	start := i
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i]-' ' < 0x60 {
		i++
	}
	key := b[start:min(i, len(b))]
	if i < len(b) && b[i] == '"' {
		i++
	} else if key, i = s.escaped(d.scratch[:0], start); i < 0 {
		return nil, -1
	} else if cap(key) > cap(d.scratch) {
		d.scratch = key[:0]
	}
	if i = skipSpace(b, i); i >= len(b) || b[i] != ':' {
		return nil, s.fail(i, "a colon after the key")
	}
	if n.dead {
		return n, i + 1
	}
	c := d.child(n, key)
	if d.doc.full {
		return nil, s.failFull(start - 1)
	}
	return c, i + 1
}

// str reads a string, after its first quote. The text aliases the payload, or
// the batch's TextSlab where it holds escapes.
func (s *scanner) str(i int) (string, int) {
	b := s.b
	start := i
	for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i]-' ' < 0x60 {
		i++
	}
	if i < len(b) && b[i] >= utf8.RuneSelf {
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
			i++
		}
		if !utf8.Valid(b[start:i]) {
			i = start // escaped finds the place
		}
	}
	if i < len(b) && b[i] == '"' && i > start {
		return unsafe.String(&b[start], i-start), i + 1
	}
	slab := s.d.b.TextSlab
	from := len(slab)
	slab, end := s.escaped(slab, start)
	if end < 0 {
		return "", -1
	}
	if from == len(slab) {
		return "", end
	}
	s.d.b.TextSlab = slab
	return unsafe.String(&slab[from], len(slab)-from), end
}

// escaped appends the string at b[i], after its first quote, to dst, with its
// escapes undone and its UTF-8 checked.
func (s *scanner) escaped(dst []byte, i int) ([]byte, int) {
	b := s.b
	for i < len(b) {
		c := b[i]
		switch {
		case c == '"':
			return dst, i + 1
		case c == '\\':
			var ok bool
			at := i
			if dst, i, ok = unescape(dst, b, i+1); !ok {
				return nil, s.failEscape(at)
			}
		case c < ' ':
			return nil, s.failControl(i)
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			_, size := utf8.DecodeRune(b[i:])
			if size == 1 {
				return nil, s.failUTF8(i)
			}
			dst = append(dst, b[i:i+size]...)
			i += size
		}
	}
	return nil, s.fail(i, `a closing "`)
}
