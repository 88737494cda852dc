package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a file: line and column from 1, the column in characters.
// The zero Pos means unknown.
type Pos struct{ Line, Col int }

// Error is one problem and where it is.
type Error struct {
	File string
	Pos
	Msg  string // what is wrong
	Hint string // what would be right; may be empty
	Key  Pos    // the key whose value is refused; zero if it is not that
}

// Error returns "file:line:col: msg", without what is unknown. The hint is not
// part of it: commands print it on a line of its own.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	for _, n := range []int{e.Line, e.Col} {
		if n == 0 {
			break
		}
		if b.Len() > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%d", n)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Errors is a list of problems, in the order of their files and positions.
type Errors []*Error

// Error returns one line a problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one, for errors.Is and errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, p := range e {
		all[i] = p
	}
	return all
}

// Addf appends a problem.
func (e *Errors) Addf(file string, at Pos, hint, format string, args ...any) {
	*e = append(*e, &Error{File: file, Pos: at, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// Lead drops problems that others bring about: where the value of a key is
// refused, what more there is at the key or at the value says that it is not
// there.
func (e Errors) Lead() Errors {
	type at struct {
		file string
		pos  Pos
	}
	refused := map[at]bool{}
	for _, p := range e {
		if p.Key != (Pos{}) {
			refused[at{p.File, p.Key}], refused[at{p.File, p.Pos}] = true, true
		}
	}
	return slices.DeleteFunc(slices.Clone(e), func(p *Error) bool { return p.Key == (Pos{}) && refused[at{p.File, p.Pos}] })
}

// Err returns the problems in order of file and position, or nil if there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return e
}

// Suggest returns the known name nearest to name, or "" if none is near. Case
// does not count, nor whether words are joined by "_" or "-".
func Suggest(name string, known []string) string {
	plain := func(s string) []rune { return []rune(strings.ReplaceAll(strings.ToLower(s), "-", "_")) }
	a := plain(name)
	best, bestAt := "", 1+len(a)/3
	if len(a) < 2 || len(a) > 100 {
		bestAt = 0 // one letter is near to everything, and a paragraph is no name
	}
	for _, k := range known {
		if d := distance(a, plain(k)); d < bestAt+1 && (best == "" || d < bestAt) && d < len([]rune(k)) {
			best, bestAt = k, d
		}
	}
	return best
}

// Slip reports whether a name is another one but for one letter, or two that are
// swapped, and case.
func Slip(name, known string) bool {
	return name != known && distance([]rune(strings.ToLower(name)), []rune(strings.ToLower(known))) <= 1
}

// distance is how many letters must be inserted, deleted, replaced or swapped
// with their neighbour to make b of a.
func distance(a, b []rune) int {
	prev, cur, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range cur {
		cur[j] = j
	}
	for i := range a {
		next[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			d := min(next[j]+1, cur[j+1]+1, cur[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				d = min(d, prev[j-1]+1)
			}
			next[j+1] = d
		}
		prev, cur, next = cur, next, prev
	}
	return cur[len(b)]
}

// orList writes names as text for a hint: `a, b, c`.
func orList(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, ", ")
}
