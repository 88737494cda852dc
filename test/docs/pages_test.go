package docs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository, seen from this package.
const root = "../.."

// binDir is where TestMain has built the programs.
var binDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "weir-docs-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binDir = dir
		cmd := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "./cmd/weir", "./cmd/simulator", "./firmware-sim")
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// page is one Markdown file.
type page struct {
	name  string // from the root of the repository
	lines []string
}

// block is one fenced block of a page.
type block struct {
	page *page
	line int    // of the first line of text, from 1
	info string // what stands behind the opening fence
	text string
}

func (b *block) String() string { return fmt.Sprintf("%s:%d", b.page.name, b.line) }

// pages returns every Markdown page that users read.
func pages(t *testing.T) []*page {
	t.Helper()
	var all []*page
	for _, top := range []string{"README.md", "CHANGELOG.md", "docs", "configs"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".md" {
				return err
			}
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			all = append(all, &page{filepath.ToSlash(name), strings.Split(string(src), "\n")})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func readPage(t *testing.T, name string) *page {
	t.Helper()
	for _, p := range pages(t) {
		if p.name == name {
			return p
		}
	}
	t.Fatalf("there is no page %s", name)
	return nil
}

var fence = regexp.MustCompile("^( *)```(.*)$")

// blocks returns the fenced blocks of a page, in their order.
func (p *page) blocks(t *testing.T) []*block {
	t.Helper()
	var all []*block
	var open *block
	indent := ""
	for i, l := range p.lines {
		m := fence.FindStringSubmatch(l)
		switch {
		case m == nil && open != nil:
			open.text += strings.TrimPrefix(l, indent) + "\n"
		case m != nil && open == nil:
			open, indent = &block{page: p, line: i + 2, info: m[2]}, m[1]
		case m != nil:
			all = append(all, open)
			open = nil
		}
	}
	if open != nil {
		t.Errorf("%v: the block is not closed", open)
	}
	return all
}

// prose returns the lines of a page that stand in no block, by number from 1.
func (p *page) prose() map[int]string {
	out := map[int]string{}
	in := false
	for i, l := range p.lines {
		if fence.MatchString(l) {
			in = !in
		} else if !in {
			out[i+1] = l
		}
	}
	return out
}

// table returns the rows below the header that begins with the cells given.
func (p *page) table(t *testing.T, header ...string) [][]string {
	t.Helper()
	var rows [][]string
	in := false
	for _, l := range p.lines {
		cells := cellsOf(l)
		switch {
		case len(cells) == 0:
			if in {
				return rows[1:] // behind the rule
			}
		case in:
			rows = append(rows, cells)
		case len(cells) >= len(header):
			in = true
			for i, h := range header {
				in = in && cells[i] == h
			}
		}
	}
	t.Fatalf("%s has no table with the columns %q that is followed by an empty line", p.name, header)
	return nil
}

// cellsOf splits a row; a bar in code is no border.
func cellsOf(line string) []string {
	if !strings.HasPrefix(line, "|") {
		return nil
	}
	var cells []string
	cell, code := "", false
	for _, r := range strings.TrimPrefix(line, "|") {
		switch {
		case r == '`':
			code = !code
			cell += "`"
		case r == '|' && !code:
			cells = append(cells, strings.TrimSpace(cell))
			cell = ""
		default:
			cell += string(r)
		}
	}
	return cells
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// spans returns what stands in backquotes.
func spans(s string) []string {
	var out []string
	for _, m := range codeSpan.FindAllStringSubmatch(s, -1) {
		out = append(out, m[1])
	}
	return out
}
