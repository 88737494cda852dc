package strict

import (
	"bytes"
	"sort"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// source is the text of a file and where its lines begin. Immutable.
type source struct {
	file  string
	text  []byte // without a byte order mark
	lines []int  // offset of the first byte of each line; never empty
}

func newSource(file string, text []byte) *source {
	s := &source{file: file, text: bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), lines: []int{0}}
	for i := 0; i < len(s.text); {
		if n := s.lineBreak(i); n > 0 {
			i += n
			s.lines = append(s.lines, i)
		} else {
			i++
		}
	}
	return s
}

// lineBreak returns the length of the line break at offset i, 0 if there is
// none. Which characters break a line is as yaml.v3 counts them.
func (s *source) lineBreak(i int) int {
	if i >= len(s.text) {
		return 0
	}
	rest := s.text[i:]
	switch {
	case bytes.HasPrefix(rest, []byte("\r\n")), bytes.HasPrefix(rest, []byte("\u0085")):
		return 2
	case rest[0] == '\n', rest[0] == '\r':
		return 1
	case bytes.HasPrefix(rest, []byte("\u2028")), bytes.HasPrefix(rest, []byte("\u2029")):
		return 3
	}
	return 0
}

// line returns the offsets of a line's text, without its break.
func (s *source) line(n int) (from, to int) {
	from = s.lines[n-1]
	for to = from; to < len(s.text) && s.lineBreak(to) == 0; to++ {
	}
	return from, to
}

// offset returns where p is in the text, or the nearest place that exists.
func (s *source) offset(p Pos) int {
	from, to := s.line(min(max(p.Line, 1), len(s.lines)))
	for col := 1; col < p.Col && from < to; col++ {
		_, n := utf8.DecodeRune(s.text[from:to])
		from += n
	}
	return from
}

// pos returns the line and column of an offset.
func (s *source) pos(offset int) Pos {
	n := sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset })
	from := s.lines[n-1]
	return Pos{n, utf8.RuneCount(s.text[from:offset]) + 1}
}

// clamp returns p if it is in the file, else the nearest place that is.
func (s *source) clamp(p Pos) Pos {
	switch {
	case p.Line < 1:
		return Pos{1, 1}
	case p.Line > len(s.lines):
		return s.pos(len(s.text))
	}
	return s.pos(s.offset(p))
}

// firstText returns the first place of a line that is not blank.
func (s *source) firstText(line int) Pos {
	line = min(max(line, 1), len(s.lines))
	from, to := s.line(line)
	for from < to && s.blank(from) {
		from++
	}
	return s.pos(from)
}

func (s *source) blank(i int) bool {
	return i < len(s.text) && (s.text[i] == ' ' || s.text[i] == '\t')
}

func (s *source) has(i int, b byte) bool { return i < len(s.text) && s.text[i] == b }

// locate returns where byte off of a scalar's value stands in the file.
func (s *source) locate(n *yaml.Node, off int) Pos {
	j := s.skipProperties(s.offset(Pos{n.Line, n.Column}), n)
	off = min(max(off, 0), len(n.Value))
	switch {
	case n.Style&yaml.LiteralStyle != 0:
		return s.locateLiteral(n, s.nextLine(j), off)
	case n.Style&yaml.FoldedStyle != 0:
		j = s.nextLine(j)
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 && j < len(s.text):
		j++
	}
	return s.pos(s.align(n, j, off))
}

// skipProperties steps over an anchor and a tag, which yaml.v3 counts as part
// of the node.
func (s *source) skipProperties(j int, n *yaml.Node) int {
	if n.Anchor == "" && n.Style&yaml.TaggedStyle == 0 {
		return j
	}
	for s.has(j, '&') || s.has(j, '!') {
		j = s.word(j)
		for s.blank(j) || s.lineBreak(j) > 0 {
			j += max(1, s.lineBreak(j))
		}
	}
	return j
}

// word returns the end of the word at offset j.
func (s *source) word(j int) int {
	for j < len(s.text) && !s.blank(j) && s.lineBreak(j) == 0 {
		j++
	}
	return j
}

// tab returns the first tab in the indentation of the line at p or of one below
// it, or p. yaml.v3 names the line above.
func (s *source) tab(p Pos) Pos {
	for n := p.Line; n <= len(s.lines); n++ {
		for from, to := s.line(n); from < to && s.blank(from); from++ {
			if s.has(from, '\t') {
				return s.pos(from)
			}
		}
	}
	return p
}

// openBracket returns the first bracket of the line at p that is not closed in
// the rest of the text, or p.
func (s *source) openBracket(p Pos) Pos {
	_, end := s.line(p.Line)
	var open []int
	for j := s.offset(Pos{p.Line, 1}); j < len(s.text); j++ {
		switch s.text[j] {
		case '"', '\'':
			if s.beginsValue(j) {
				j = s.quoteEnd(j)
			}
		case '#':
			if j == 0 || s.blank(j-1) || s.lineBreak(j-1) > 0 {
				_, to := s.line(s.pos(j).Line)
				j = to
			}
		case '[', '{':
			if j < end || len(open) > 0 {
				open = append(open, j)
			}
		case ']', '}':
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
		if j >= end && len(open) == 0 {
			return p
		}
	}
	if len(open) > 0 && open[0] < end {
		return s.pos(open[0])
	}
	return p
}

// openQuote returns the quote on the line at p behind which the text ends before
// the quote is closed, or p.
func (s *source) openQuote(p Pos) Pos {
	from, to := s.line(p.Line)
	for j := from; j < to; j++ {
		if (s.has(j, '"') || s.has(j, '\'')) && s.beginsValue(j) {
			end := s.quoteEnd(j)
			if end >= len(s.text) {
				return s.pos(j)
			}
			j = end
		}
	}
	return p
}

// behindText returns what stands on the line at p behind a value in quotes or
// brackets, or p.
func (s *source) behindText(p Pos) Pos {
	from, to := s.line(p.Line)
	colon := bytes.Index(s.text[from:to], []byte(": "))
	if colon < 0 {
		return p
	}
	j := s.skipBlanks(from + colon + 1)
	switch {
	case s.has(j, '"'), s.has(j, '\''):
		j = s.quoteEnd(j) + 1
	case s.has(j, '['), s.has(j, '{'):
		end := bytes.IndexAny(s.text[j:to], "]}")
		if end < 0 {
			return p
		}
		j += end + 1
	default:
		return p
	}
	if j = s.skipBlanks(min(j, to)); j >= to || s.has(j, '#') {
		return p
	}
	return s.pos(j)
}

// beginsValue reports whether a quote at j begins a text, and does not stand in
// one.
func (s *source) beginsValue(j int) bool {
	return j == 0 || s.blank(j-1) || s.lineBreak(j-1) > 0 || bytes.IndexByte([]byte("[{,:"), s.text[j-1]) >= 0
}

// quoteEnd returns the offset of the quote that closes the one at j, or the end
// of the text.
func (s *source) quoteEnd(j int) int {
	quote := s.text[j]
	for j++; j < len(s.text); j++ {
		switch {
		case quote == '"' && s.text[j] == '\\':
			j++
		case quote == '\'' && s.text[j] == quote && s.has(j+1, quote):
			j++
		case s.text[j] == quote:
			return j
		}
	}
	return len(s.text)
}

func (s *source) nextLine(j int) int {
	for j < len(s.text) {
		if n := s.lineBreak(j); n > 0 {
			return j + n
		}
		j++
	}
	return j
}

// locateLiteral maps a literal block, whose lines are the value's lines behind
// an indentation; j is the first byte of the block's first line.
func (s *source) locateLiteral(n *yaml.Node, j, off int) Pos {
	first := s.pos(j).Line
	lines := bytes.Split([]byte(n.Value), []byte("\n"))
	indent := 0
	for k, l := range lines { // the indentation is what the first line with text has more than its value
		if len(bytes.TrimLeft(l, " ")) > 0 && first+k <= len(s.lines) {
			from, to := s.line(first + k)
			src := s.text[from:to]
			indent = len(src) - len(bytes.TrimLeft(src, " ")) - (len(l) - len(bytes.TrimLeft(l, " ")))
			break
		}
	}
	before := []byte(n.Value[:off])
	start := bytes.LastIndexByte(before, '\n') + 1
	return s.clamp(Pos{first + bytes.Count(before, []byte("\n")), indent + utf8.RuneCount(before[start:]) + 1})
}

// align walks value and source side by side from source offset j until off
// bytes of the value are used, and returns the source offset reached. Where
// folding, indentation or escapes make them differ it steps over the
// difference; where they can't be matched it stops.
func (s *source) align(n *yaml.Node, j, off int) int {
	double, single := n.Style&yaml.DoubleQuotedStyle != 0, n.Style&yaml.SingleQuotedStyle != 0
	i := 0
	for i < off && j < len(s.text) {
		r, w := utf8.DecodeRuneInString(n.Value[i:])
		sr, sw := utf8.DecodeRune(s.text[j:])
		switch brk := s.lineBreak(j); {
		case double && sr == '\\' && s.lineBreak(j+1) > 0: // an escaped line break stands for nothing
			j += 1 + s.lineBreak(j+1)
			j = s.skipBlanks(j)
		case double && sr == '\\':
			i, j = i+w, j+s.escape(j)
		case single && sr == '\'' && s.has(j+1, '\''):
			i, j = i+w, j+2
		case sr == r:
			i, j = i+w, j+sw
		case brk > 0 && r == '\n':
			i, j = i+w, j+brk
		case brk > 0 && r == ' ': // a folded line break
			i, j = i+w, s.skipBlanks(j+brk)
		case brk > 0, s.blank(j): // indentation, or blanks before a fold
			j += max(1, brk)
		default:
			return j
		}
	}
	if off < len(n.Value) && n.Value[off] != ' ' && n.Value[off] != '\n' && n.Value[off] != '\t' {
		for s.blank(j) || s.lineBreak(j) > 0 {
			j += max(1, s.lineBreak(j))
		}
	}
	return min(j, len(s.text))
}

func (s *source) skipBlanks(j int) int {
	for s.blank(j) {
		j++
	}
	return j
}

// escape returns the length of the escape sequence at j, which stands for one
// character of the value.
func (s *source) escape(j int) int {
	if j+1 >= len(s.text) {
		return 1
	}
	switch s.text[j+1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	_, n := utf8.DecodeRune(s.text[j+1:])
	return 1 + n
}
