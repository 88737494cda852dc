package configs

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"weir/configs/strict"
)

const (
	maxExpanded = 1 << 20 // bytes that a value may have after expansion
	maxNested   = 8       // levels of ${A:-${B:-...}}
)

// expander replaces ${VAR}, ${VAR:-default}, ${file:name} and $$ in values. A
// dollar before anything else stands for itself, so $SYS/# needs no care.
type expander struct {
	getenv   func(string) string
	readFile func(name string) ([]byte, error)
}

func problem(hint, msg string) error { return &strict.Error{Msg: msg, Hint: hint} }

// expand returns what s stands for. What is put in is not looked at again.
func (x expander) expand(s string) (string, error) {
	if !strings.Contains(s, "$") {
		return s, nil
	}
	return x.expandNested(s, 0)
}

func (x expander) expandNested(s string, depth int) (string, error) {
	if depth > maxNested {
		return "", problem("", "${...} in ${...} in ${...}: nested too deep")
	}
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			out.WriteString(s)
			break
		}
		out.WriteString(s[:i])
		s = s[i:]
		switch s[1] {
		case '$':
			out.WriteByte('$')
			s = s[2:]
		case '{':
			end := closing(s)
			if end < 0 {
				return "", problem(`write ${NAME}, or $${ for a dollar and a brace`, `"${" has no "}"`)
			}
			v, err := x.one(s[2:end], depth)
			if err != nil {
				return "", err
			}
			out.WriteString(v)
			s = s[end+1:]
		default:
			out.WriteByte('$')
			s = s[1:]
		}
		if out.Len() > maxExpanded {
			return "", problem("", "the value is longer than 1 MiB")
		}
	}
	return out.String(), nil
}

// closing returns the index of the brace that closes the "${" at the start of s, or -1.
func closing(s string) int {
	open := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '$':
			i++
		case s[i] == '$' && i+1 < len(s) && s[i+1] == '{':
			open++
			i++
		case s[i] == '}':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// one returns what the text between the braces stands for.
func (x expander) one(ref string, depth int) (string, error) {
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		return x.file(name)
	}
	name, fallback, hasDefault := strings.Cut(ref, ":-")
	if !isName(name) {
		return "", problem(`write ${NAME}, ${NAME:-default} or ${file:name}, and $${ for a dollar and a brace`,
			"${"+ref+"} is not the name of a variable")
	}
	if v := x.getenv(name); v != "" {
		return v, nil
	}
	if !hasDefault {
		return "", problem("set it, or give a default: ${"+name+":-default} (an empty one too: ${"+name+":-})",
			"environment variable "+name+" is not set, or empty")
	}
	return x.expandNested(fallback, depth+1)
}

func (x expander) file(name string) (string, error) {
	b, err := x.readFile(name)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err // the name is said already
		}
		return "", problem("names are relative to the configuration file", "read ${file:"+name+"}: "+err.Error())
	}
	if len(b) > maxExpanded || !utf8.Valid(b) {
		return "", problem("", "${file:"+name+"} is not a text of at most 1 MiB")
	}
	return strings.TrimRight(string(b), "\r\n"), nil // editors end files with a line break, secrets don't
}

func isName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return s != ""
}

// within returns name relative to the folder of file.
func within(file, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(file), name)
}
