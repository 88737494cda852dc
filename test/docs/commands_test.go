package docs

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// programs are the ones whose command lines are checked.
func programs() []string { return []string{"weir", "simulator", "firmware-sim"} }

// parents are commands that have commands below them.
func parents() []string {
	return []string{"rules", "events", "dead-letters", "alerts", "silences", "devices", "users"}
}

// command is a call of one of the programs.
type command struct {
	program string
	path    []string // the command and the one below it
	flags   []string // with their dashes
}

func TestEveryCommandLineExistsAndTakesItsFlags(t *testing.T) {
	help, messages := map[string]string{}, logged(t)
	checked := 0
	for _, p := range pages(t) {
		check := func(n int, line string) {
			for _, c := range commandsIn(line) {
				checked++
				key := strings.Join(append([]string{c.program}, c.path...), " ")
				text, ok := help[key]
				if !ok {
					out, err := exec.Command(filepath.Join(binDir, c.program), append(slices.Clone(c.path), "--help")...).CombinedOutput()
					if err != nil {
						t.Errorf("%s:%d: %q: %s --help: %v\n%s", p.name, n, line, key, err, out)
						continue
					}
					text = string(out)
					help[key] = text
				}
				for _, f := range c.flags {
					if !regexp.MustCompile(`(?m)^\s+` + regexp.QuoteMeta(f) + `\b`).MatchString(text) {
						t.Errorf("%s:%d: %q: %s has no flag %s", p.name, n, line, key, f)
					}
				}
			}
		}
		for n, l := range p.prose() {
			for _, s := range spans(l) {
				if _, ok := messages[s]; !ok { // "weir is ready" is no command
					check(n, s)
				}
			}
		}
		for _, b := range p.blocks(t) {
			for i, l := range strings.Split(b.text, "\n") {
				switch {
				case b.info == "sh":
					check(b.line+i, l)
				case b.info == "console" && strings.HasPrefix(l, "$ "):
					check(b.line+i, l[2:])
				}
			}
		}
	}
	if checked < 30 {
		t.Errorf("only %d command lines were found: does the test still read the pages?", checked)
	}
}

// commandsIn finds calls of the programs in a line of shell.
func commandsIn(line string) []command {
	var all []command
	for _, words := range simpleCommands(line) {
		name := strings.TrimPrefix(words[0], "bin/")
		if !slices.Contains(programs(), name) || len(words) == 1 {
			continue
		}
		c := command{program: name}
		rest := words[1:]
		if name != "firmware-sim" {
			if strings.HasPrefix(rest[0], "-") || !isWord(rest[0]) {
				continue
			}
			c.path, rest = rest[:1], rest[1:]
			if name == "weir" && slices.Contains(parents(), c.path[0]) {
				if len(rest) == 0 || !isWord(rest[0]) {
					continue // the family as a whole
				}
				c.path, rest = words[1:3], rest[1:]
			}
		}
		for _, w := range rest {
			if f, _, _ := strings.Cut(w, "="); strings.HasPrefix(w, "-") && len(w) > 1 {
				c.flags = append(c.flags, f)
			}
		}
		all = append(all, c)
	}
	return all
}

func isWord(s string) bool { return regexp.MustCompile(`^[a-z][a-z-]*$`).MatchString(s) }

// simpleCommands splits a line at bars and semicolons and into words. Quotes
// are taken off, comments left out, and variables set before a command too.
func simpleCommands(line string) [][]string {
	var all [][]string
	var words []string
	word, in, quote := "", false, rune(0)
	end := func() {
		if in && !(len(words) == 0 && regexp.MustCompile(`^[A-Z_]+=`).MatchString(word)) {
			words = append(words, word)
		}
		word, in = "", false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word += string(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == '#' && !in:
			end()
			if len(words) > 0 {
				all = append(all, words)
			}
			return all
		case r == '|' || r == ';' || r == '&':
			end()
			if len(words) > 0 {
				all = append(all, words)
			}
			words = nil
		case r == ' ':
			end()
		default:
			word, in = word+string(r), true
		}
	}
	if end(); len(words) > 0 {
		all = append(all, words)
	}
	return all
}
