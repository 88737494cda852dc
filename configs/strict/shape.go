package strict

import (
	"bytes"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

const (
	maxDepth   = 100     // of nesting, aliases followed
	maxAliased = 100_000 // nodes that aliases repeat, in all: an alias bomb has millions
)

// characters checks what yaml.v3 would refuse without saying where.
func (d *Decoder) characters(src []byte) bool {
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		d.ErrorAt(Pos{1, 1}, "save the file as UTF-8", "the file is in UTF-16")
		return false
	}
	text := d.src.text
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			d.ErrorAt(d.src.pos(i), "save the file as UTF-8", "byte 0x%02x is not UTF-8", text[i])
			return false
		case r < 0x20 && r != '\t' && r != '\n' && r != '\r', r >= 0x7f && r < 0xa0 && r != 0x85, r == 0xfffe, r == 0xffff:
			d.ErrorAt(d.src.pos(i), "remove it, or write it as an escape in a double-quoted text", "control character %U is not allowed", r)
			return false
		}
		i += n
	}
	return true
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(?s:(.*))$`)

// syntaxError reports an error of yaml.v3's parser at the line that it gives.
func (d *Decoder) syntaxError(err error) {
	msg, line := err.Error(), 1
	if m := yamlError.FindStringSubmatch(msg); m != nil {
		msg = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if strings.HasPrefix(msg, "did not find expected") {
		line = d.misplaced(err.Error(), msg, line)
	}
	at := d.src.firstText(line)
	switch {
	case strings.Contains(msg, "found a tab character"):
		at = d.src.tab(at)
	case strings.HasPrefix(msg, "did not find expected ',' or "):
		at = d.src.openBracket(at)
	case msg == "found unexpected end of stream":
		at = d.src.openQuote(at)
	}
	if name, ok := strings.CutPrefix(msg, "unknown anchor '"); ok { // it names no line, but we can find it
		name, _, _ = strings.Cut(name, "'")
		if i := bytes.Index(d.src.text, []byte("*"+name)); i >= 0 {
			at = d.src.pos(i)
		}
	}
	from, to := d.src.line(at.Line)
	text := string(d.src.text[from:to])
	hint := ""
	switch {
	case strings.HasPrefix(strings.TrimLeft(text, " "), "\t"), strings.Contains(msg, "found a tab character"):
		hint = "indent with spaces, YAML does not allow tabs"
	case strings.Contains(msg, "mapping values are not allowed"):
		hint = `put quotes around text that holds ": ", and check the indentation`
	case strings.Contains(msg, "cannot start any token"):
		hint = "put quotes around text that begins with %, @ or `"
	case msg == "found unexpected end of stream":
		hint = "end the text with the quote that it begins with"
	case strings.HasPrefix(msg, "unknown anchor '"):
		hint = "put quotes around text that begins with *"
	case strings.HasSuffix(msg, "expected comment or line break"), strings.HasPrefix(msg, "did not find expected alphabetic or numeric"):
		hint = "put quotes around text that begins with >, |, !, & or *"
	case msg == "did not find expected key" && d.src.behindText(at) != at:
		at = d.src.behindText(at)
		hint = "put quotes around the whole text: it begins with a quote or a bracket, and goes on behind that"
	case blockError(msg):
		hint = "check the indentation of this line, and the - of lists: it does not go with the lines above"
	case strings.Contains(msg, "expected ',' or") && strings.ContainsAny(text, "?("):
		hint = "inside { } and [ ] put quotes around text that holds a comma, a quote or ?, as expressions do, e.g. expr: 'x > (limit ?? 5)'; and check the brackets"
	case strings.Contains(msg, "did not find expected"):
		hint = "check indentation, brackets and quotes here and in the lines above"
	}
	d.ErrorAt(at, hint, "not valid YAML: %s", msg)
}

// blockError reports whether a message is about the indentation of a mapping's
// or a list's next line.
func blockError(msg string) bool {
	return msg == "did not find expected '-' indicator" || msg == "did not find expected key"
}

// misplaced returns the line that an error of yaml.v3's parser is about. The
// parser names the line above the one at which the mapping or the list begins
// that it was in, or none. What it stumbled over is the last line of the
// shortest piece of the file that has the same error.
func (d *Decoder) misplaced(whole, msg string, line int) int {
	if !blockError(msg) {
		if strings.HasPrefix(whole, "yaml: line ") { // brackets: where they begin
			line = min(line+1, len(d.src.lines))
		}
		for ; line > 1; line-- { // not behind the end of the text
			if from, to := d.src.line(line); len(bytes.TrimSpace(d.src.text[from:to])) > 0 {
				break
			}
		}
		return line
	}
	n := sort.Search(len(d.src.lines)-1, func(i int) bool {
		var n yaml.Node
		err := syntax(yaml.NewDecoder(bytes.NewReader(d.src.text[:d.src.lines[i+1]])), &n)
		return err != nil && err.Error() == whole
	})
	return n + 1
}

// shape checks the whole tree, whatever it is decoded into: keys are scalars
// and stand once, aliases end and don't multiply, nesting is bounded.
func (d *Decoder) shape(root *yaml.Node) bool {
	c := checker{d: d, open: map[*yaml.Node]bool{}}
	c.walk(root, 0, false)
	return len(d.errs) == 0
}

type checker struct {
	d       *Decoder
	open    map[*yaml.Node]bool // anchored nodes that the walk is in
	aliased int
	stopped bool
}

func (c *checker) stop(n *yaml.Node, format string, args ...any) {
	c.stopped = true
	c.d.Errorf(n, "", format, args...)
}

func (c *checker) walk(n *yaml.Node, depth int, aliased bool) {
	if c.stopped {
		return
	}
	if aliased {
		if c.aliased++; c.aliased > maxAliased {
			c.stop(n, "aliases repeat more than %d nodes", maxAliased)
			return
		}
	}
	if depth > maxDepth {
		c.stop(n, "nested deeper than %d levels", maxDepth)
		return
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil || c.open[n.Alias] {
			c.stop(n, "anchor %q contains itself", n.Value)
			return
		}
		c.walk(n.Alias, depth+1, true)
		return
	}
	if n.Anchor != "" {
		c.open[n] = true
		defer delete(c.open, n)
	}
	if !aliased {
		c.tag(n)
	}
	if n.Kind == yaml.MappingNode && !aliased { // what an alias repeats was checked where it stands
		c.keys(n)
	}
	for _, child := range n.Content {
		c.walk(child, depth+1, aliased)
	}
}

func (c *checker) keys(n *yaml.Node) {
	seen := make(map[string]Pos, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			c.d.Errorf(n.Content[i], `put quotes around text that begins with "{" or "["`, "a key must be text, got %s", c.d.describe(k))
			continue
		}
		if first, ok := seen[k.Value]; ok {
			c.d.Errorf(n.Content[i], "remove one of the two", "duplicate key %q, first on line %d", k.Value, first.Line)
			continue
		}
		seen[k.Value] = c.d.PosOf(n.Content[i])
	}
}

// tag refuses tags that are none of YAML's own. They would be dropped, and with
// them the "!" of an expression: "! open" would mean "open".
func (c *checker) tag(n *yaml.Node) {
	src, own := c.d.src, false
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.ShortTag() {
		case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!binary", "!!timestamp", "!!merge", "!!map", "!!seq":
			own = true
		}
	} else if n.Kind != yaml.ScalarNode || n.Style != 0 || isNull(n) { // a lone "!" leaves no other trace than the text
		return
	}
	at := src.offset(Pos{n.Line, n.Column})
	if n.Anchor != "" && src.has(at, '&') {
		at = src.skipBlanks(src.word(at))
	}
	if !own && src.has(at, '!') {
		c.d.ErrorAt(src.pos(at), `put quotes around text that begins with "!", or write not`, "%s is a YAML tag, which means nothing here", src.text[at:src.word(at)])
	}
}
