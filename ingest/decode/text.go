package decode

import (
	"fmt"
	"strings"
)

// text is a compiled text with {captures}, e.g. "{portal}/{service}".
type text struct {
	parts []textPart
}

type textPart struct {
	lit string
	cap int // or -1
}

// parseText compiles s. The captures it may name are those of t.
func parseText(s string, t *template) (text, error) {
	var out text
	for rest := s; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			out.parts = append(out.parts, textPart{rest, -1})
			break
		}
		end := strings.IndexByte(rest[at:], '}')
		if rest[at] == '}' || end < 0 {
			return text{}, fmt.Errorf("%q: { and } don't pair up", s)
		}
		name := strings.TrimSuffix(rest[at+1:at+end], "...")
		capture := -1
		for i, n := range t.names {
			if n == name {
				capture = i
			}
		}
		if capture < 0 {
			return text{}, fmt.Errorf("%q: the topic captures no {%s}; it captures %s", s, name, listCaptures(t.names))
		}
		if at > 0 {
			out.parts = append(out.parts, textPart{rest[:at], -1})
		}
		out.parts = append(out.parts, textPart{"", capture})
		rest = rest[at+end+1:]
	}
	return out, nil
}

func listCaptures(names []string) string {
	if len(names) == 0 {
		return "nothing"
	}
	return "{" + strings.Join(names, "}, {") + "}"
}

// capture returns the index of the capture that the text is, or -1.
func (t text) capture() int {
	if len(t.parts) == 1 {
		return t.parts[0].cap
	}
	return -1
}

// render puts the captures in. It allocates only where the text is more than
// one capture or one literal.
func (t text) render(caps *captures) string {
	switch {
	case len(t.parts) == 0:
		return ""
	case len(t.parts) == 1 && t.parts[0].cap >= 0:
		return caps[t.parts[0].cap]
	case len(t.parts) == 1:
		return t.parts[0].lit
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.cap >= 0 {
			b.WriteString(caps[p.cap])
		} else {
			b.WriteString(p.lit)
		}
	}
	return b.String()
}

// describe returns the text with its captures by name.
func (t text) describe(of *template) string {
	var b strings.Builder
	for _, p := range t.parts {
		if p.cap >= 0 {
			b.WriteString("{" + of.names[p.cap] + "}")
		} else {
			b.WriteString(p.lit)
		}
	}
	return b.String()
}
