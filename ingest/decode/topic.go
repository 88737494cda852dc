package decode

import (
	"errors"
	"fmt"
	"strings"
)

// maxCaptures bounds the captures of one template, so that a match needs no
// memory of its own.
const maxCaptures = 16

// captures holds what the captures of a template stood for, by index.
type captures [maxCaptures]string

// template is a compiled topic template. It has at most one part that stands
// for several levels, so a match is a walk from both ends and never backtracks.
type template struct {
	text     string
	head     []level // the levels before the multi-level part, or all of them
	tail     []level // the levels after it
	multi    multi
	multiCap int      // capture of the multi-level part, or -1
	names    []string // names of the captures, by index
	open     bool     // begins with a wildcard, so topics beginning with $ are not for it
}

type multi uint8

const (
	noMulti  multi = iota
	hash           // #: any number of levels, none too
	oneLevel       // {name...}: one level or more
)

type levelKind uint8

const (
	literal levelKind = iota
	whole             // + or {name}
	glob              // text around captures or *
)

// level is one level of a template.
type level struct {
	kind  levelKind
	text  string // of a literal; of a glob what follows its last wildcard
	cap   int    // of a whole level: its capture, or -1
	parts []part // of a glob
}

// part is a wildcard inside a level: at least one character, after the text before.
type part struct {
	before string
	cap    int // or -1
}

// parseTemplate compiles a topic template.
func parseTemplate(text string) (*template, error) {
	if text == "" {
		return nil, errors.New("is empty")
	}
	if len(text) > 65535 {
		return nil, errors.New("is longer than an MQTT topic can be (65535 bytes)")
	}
	if strings.HasPrefix(text, "$share/") {
		return nil, errors.New("is a shared subscription; a source is no subscriber, give the topic alone")
	}
	t := &template{text: text, multiCap: -1}
	levels := splitLevels(text)
	for i, s := range levels {
		m, name, err := multiLevel(s)
		if err != nil {
			return nil, err
		}
		if m == noMulti {
			l, err := t.parseLevel(s)
			if err != nil {
				return nil, err
			}
			if i == 0 {
				t.open = l.kind == whole || l.kind == glob && l.parts[0].before == ""
			}
			if t.multi == noMulti {
				t.head = append(t.head, l)
			} else {
				t.tail = append(t.tail, l)
			}
			continue
		}
		if t.multi != noMulti {
			return nil, errors.New("has two parts that stand for several levels, so where one ends is open")
		}
		if m == hash && i != len(levels)-1 {
			return nil, errors.New("# stands for the rest of a topic, so it can only be the last level; {name...} can stand anywhere")
		}
		if name != "" {
			if t.multiCap, err = t.capture(name); err != nil {
				return nil, err
			}
		}
		t.multi, t.open = m, t.open || i == 0
	}
	return t, nil
}

// splitLevels cuts a template at the slashes that are not inside braces.
func splitLevels(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '/':
			if depth <= 0 {
				out = append(out, s[from:i])
				from = i + 1
			}
		}
	}
	return append(out, s[from:])
}

// multiLevel says whether a level of a template stands for several levels, and
// the name of its capture.
func multiLevel(s string) (multi, string, error) {
	if s == "#" {
		return hash, "", nil
	}
	inner, ok := strings.CutPrefix(s, "{")
	if ok {
		inner, ok = strings.CutSuffix(inner, "...}")
	}
	if ok && !strings.ContainsAny(inner, "{}") {
		return oneLevel, inner, nil
	}
	if strings.Contains(s, "...}") {
		return noMulti, "", fmt.Errorf("%q: a capture of several levels must stand alone between slashes", s)
	}
	if strings.Contains(s, "#") {
		return noMulti, "", fmt.Errorf("%q: # must stand alone as the last level", s)
	}
	return noMulti, "", nil
}

func (t *template) parseLevel(s string) (level, error) {
	if s == "+" {
		return level{kind: whole, cap: -1}, nil
	}
	if strings.Contains(s, "+") {
		return level{}, fmt.Errorf("%q: + must stand alone between slashes; * stands for characters within a level", s)
	}
	if strings.IndexByte(s, 0) >= 0 {
		return level{}, errors.New("holds a NUL, which MQTT forbids")
	}
	l := level{kind: glob, cap: -1}
	rest := s
	for {
		at := strings.IndexAny(rest, "{}*")
		if at < 0 {
			break
		}
		p, end := part{before: rest[:at], cap: -1}, at+1
		switch rest[at] {
		case '}':
			return level{}, fmt.Errorf("%q: } without {", s)
		case '{':
			n := strings.IndexByte(rest[at:], '}')
			if n < 0 {
				return level{}, fmt.Errorf("%q: { without }", s)
			}
			var err error
			if p.cap, err = t.capture(rest[at+1 : at+n]); err != nil {
				return level{}, err
			}
			end = at + n + 1
		}
		if len(l.parts) > 0 && p.before == "" {
			return level{}, fmt.Errorf("%q: two wildcards side by side, so where the first ends is open", s)
		}
		l.parts = append(l.parts, p)
		rest = rest[end:]
	}
	l.text = rest
	switch {
	case len(l.parts) == 0:
		l.kind = literal
	case len(l.parts) == 1 && l.parts[0].before == "" && l.text == "" && l.parts[0].cap >= 0:
		return level{kind: whole, cap: l.parts[0].cap}, nil
	}
	return l, nil
}

func (t *template) capture(name string) (int, error) {
	if !isName(name) {
		return 0, fmt.Errorf("{%s}: the name of a capture is made of letters, digits, _ and -", name)
	}
	for _, n := range t.names {
		if n == name {
			return 0, fmt.Errorf("{%s} stands there twice", name)
		}
	}
	if len(t.names) == maxCaptures {
		return 0, fmt.Errorf("has more than %d captures", maxCaptures)
	}
	t.names = append(t.names, name)
	return len(t.names) - 1, nil
}

func isName(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

// match reports whether the template stands for topic, and fills caps.
func (t *template) match(topic string, caps *captures) bool {
	if t.open && topic != "" && topic[0] == '$' {
		return false
	}
	rest, more := topic, true // more: rest is a level, if an empty one
	for i := range t.head {
		if !more {
			return false
		}
		s := rest
		if at := strings.IndexByte(rest, '/'); at >= 0 {
			s, rest = rest[:at], rest[at+1:]
		} else {
			more = false
		}
		if !t.head[i].match(s, caps) {
			return false
		}
	}
	if t.multi == noMulti {
		return !more
	}
	for i := len(t.tail) - 1; i >= 0; i-- {
		if !more {
			return false
		}
		s := rest
		if at := strings.LastIndexByte(rest, '/'); at >= 0 {
			rest, s = rest[:at], rest[at+1:]
		} else {
			more = false
		}
		if !t.tail[i].match(s, caps) {
			return false
		}
	}
	if t.multiCap >= 0 {
		caps[t.multiCap] = rest
	}
	return more || t.multi == hash
}

func (l *level) match(s string, caps *captures) bool {
	switch l.kind {
	case literal:
		return s == l.text
	case whole:
		if l.cap >= 0 {
			caps[l.cap] = s
		}
		return true
	}
	first := l.parts[0].before
	if !strings.HasPrefix(s, first) {
		return false
	}
	s = s[len(first):]
	for i, p := range l.parts {
		end := 0
		if i == len(l.parts)-1 {
			if end = len(s) - len(l.text); end < 1 || s[end:] != l.text {
				return false
			}
		} else {
			if len(s) < 2 {
				return false
			}
			next := l.parts[i+1].before
			if end = 1 + strings.Index(s[1:], next); end == 0 {
				return false
			}
			if p.cap >= 0 {
				caps[p.cap] = s[:end]
			}
			s = s[end+len(next):]
			continue
		}
		if p.cap >= 0 {
			caps[p.cap] = s[:end]
		}
	}
	return true
}
