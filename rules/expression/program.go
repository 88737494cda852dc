package expression

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// MaxLength is how many bytes an expression may have. It bounds how deep the
// parser can recurse.
const MaxLength = 16 << 10

// Error is one problem of an expression.
type Error struct {
	Offset int    // byte of the source that it is about
	Msg    string // what is wrong
	Hint   string // what would be right; may be empty
}

// Error returns the message.
func (e *Error) Error() string { return e.Msg }

// Options say how an expression is compiled.
type Options struct {
	// Table holds the slots of the names that programs read.
	Table *Table
	// Condition wants an expression that is true or false.
	Condition bool
	// Variables are names that Scope.Variables answers for, e.g.
	// "labels.severity"; they shadow fields.
	Variables []string
	// Roots are first parts of Variables, e.g. "labels": another name below
	// one of them is an error, and no field.
	Roots []string
	// Reserved are functions that exist elsewhere, and why they can't be used.
	Reserved map[string]string
	// Functions are the calls that Cell knows: what they give depends on more
	// than the current event.
	Functions []string
	// Cell checks a call of one of Functions and says what stands for it.
	Cell func(c *Call) (CellRef, []*Error)

	// Beside is another expression over the same names, and BesideName what it
	// is called: a name that is a number there can't be a text here. It may be nil.
	Beside     *Program
	BesideName string
	// Accepted says that an earlier version may have taken the expression: what
	// only newer versions refuse is let pass, so that a log is evaluated as it was.
	Accepted bool

	lax bool // do not infer types, for tests of what happens at run time
}

// Program is a compiled expression. It is immutable: any number of goroutines
// may evaluate it, each with a Scope of its own.
type Program struct {
	source    string
	node      ast.Node
	refs      []Ref   // what it reads, left-most first, each once
	slots     []int32 // slots of refs in the table
	env       []string
	tolerant  bool
	wantsBool bool // it is a condition
	uses      uses // what it says about the kinds of names

	tests     []test // thresholds that cond begins with, see tested
	testsOnly bool   // there is nothing else in it

	cond condition // nil if the VM must do it
	val  operand   // nil if the VM must do it
	vm   *vm.Program
}

// Source returns the text the program was compiled from.
func (p *Program) Source() string { return p.source }

// Node returns the checked syntax tree, with positions in characters of the
// source. What the expression reads are IdentifierNodes that RefOf knows.
func (p *Program) Node() ast.Node { return p.node }

// RefOf returns what a node of the syntax tree reads, if it is a name.
func (p *Program) RefOf(n ast.Node) (Ref, bool) {
	id, ok := n.(*ast.IdentifierNode)
	if !ok {
		return Ref{}, false
	}
	for _, r := range p.refs {
		if r.key() == id.Value {
			return r, true
		}
	}
	return Ref{}, false
}

// Refs returns the names that the expression reads, in the order in which they
// appear, each once.
func (p *Program) Refs() []Ref { return p.refs }

// Compiled reports whether the program runs as closures, without expr's VM.
func (p *Program) Compiled() bool { return p.val != nil }

// Tolerant reports whether the expression deals with missing names itself (by
// ??, ?. or a comparison with nil).
func (p *Program) Tolerant() bool { return p.tolerant }

// Compile checks and compiles an expression. It returns every problem found,
// in the order of the source.
func Compile(source string, o Options) (p *Program, errs []*Error) {
	if err := checkText(source); err != nil {
		return nil, []*Error{err}
	}
	defer func() { // a panic would be a defect of the parser or checker; a rule file must not end the process
		if r := recover(); r != nil {
			p, errs = nil, []*Error{{Msg: fmt.Sprintf("the expression cannot be compiled: %v", r)}}
		}
	}()
	config := newConfig()
	tree, err := parser.ParseWithConfig(source, config)
	if err != nil {
		return nil, []*Error{parseError(source, err)}
	}
	return compile(source, tree, config, &o)
}

// compile checks and compiles a syntax tree of source.
func compile(source string, tree *parser.Tree, config *conf.Config, o *Options) (*Program, []*Error) {
	r := &resolver{source: source, tree: tree.Source, options: o, seen: map[Ref]bool{}}
	tree.Node = r.resolve(tree.Node)
	if len(r.errs) > 0 {
		return nil, ordered(r.errs)
	}
	var err error
	if _, err = checker.Check(tree, config); err != nil {
		return nil, []*Error{checkError(source, err)}
	}
	in := &inference{resolver: r, uses: uses{must: map[string]use{}}}
	if !o.lax {
		in.check(tree.Node, o.Condition)
	}
	if len(r.errs) > 0 {
		return nil, ordered(r.errs)
	}
	p := &Program{source: source, node: tree.Node, refs: r.refs, tolerant: r.tolerant, wantsBool: o.Condition, uses: in.uses}
	for _, ref := range r.refs {
		p.slots = append(p.slots, o.Table.slot(ref))
		p.env = append(p.env, ref.key())
	}
	if p.vm, err = compiler.Compile(tree, config); err != nil {
		return nil, []*Error{checkError(source, err)}
	}
	c := &closures{table: o.Table}
	if p.val = c.operand(tree.Node); p.val != nil {
		p.cond = c.condition(tree.Node)
	}
	if p.cond != nil {
		p.testsOnly = p.addTests(p.node)
	}
	return p, nil
}

func checkText(source string) *Error {
	switch {
	case strings.TrimSpace(source) == "":
		return &Error{Msg: "the expression is empty"}
	case len(source) > MaxLength:
		return &Error{Msg: fmt.Sprintf("the expression has %d bytes, more than %d", len(source), MaxLength)}
	case !utf8.ValidString(source):
		return &Error{Msg: "the expression is not UTF-8"}
	}
	return nil
}

// newConfig returns how expr is set up: names are not known beforehand, its
// optimizer is off because it changes what an expression means (false && x is
// false to it whatever x is, and 5 in ["a"] becomes an error), and what is not
// a function of its arguments alone is gone.
func newConfig() *conf.Config {
	c := conf.CreateNew()
	c.WithEnv(map[string]any{
		Ref{Origin: Device}.key():      "",
		Ref{Origin: Source}.key():      "",
		Ref{Origin: Measurement}.key(): "",
		Ref{Origin: Time}.key():        time.Time{},
		Ref{Origin: Received}.key():    time.Time{},
	})
	c.Strict = false
	c.Optimize = false
	for name := range withheld() {
		c.Disabled[name] = true
		delete(c.Builtins, name)
	}
	c.Functions[moduloName] = &builtin.Function{
		Name:  moduloName,
		Func:  moduloFunc,
		Types: []reflect.Type{reflect.TypeFor[func(any, any) any]()},
	}
	return c
}

// withheld are expr's functions that rules can't use, and why.
func withheld() map[string]string {
	const order = "the order of a map's entries is not fixed, so a replay could decide otherwise"
	return map[string]string{
		"now":     "a replay would decide otherwise: use time (when the device measured) or received",
		"keys":    order,
		"values":  order,
		"toPairs": order,
	}
}

// checkError turns an error of expr's into ours.
func checkError(source string, err error) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		msg, _, _ := strings.Cut(err.Error(), "\n")
		return &Error{Msg: msg}
	}
	if e := literalError(source, at); e != nil {
		return e
	}
	if pattern, ok := strings.CutPrefix(at.Message, "error parsing regexp: "); ok {
		return &Error{
			Offset: byteOffset(source, at.From), Msg: "bad regular expression: " + pattern,
			Hint: `a sign that means itself has two backslashes before it: name matches "\\("; https://github.com/google/re2/wiki/Syntax says what there is`,
		}
	}
	msg := strings.NewReplacer("<nil>", "nil", "interface {}", "any", "time.Time", "time", "time.Duration", "duration", "float64", "number", "int", "number").Replace(at.Message)
	return &Error{Offset: byteOffset(source, at.From), Msg: strings.TrimSpace(msg), Hint: timeHint(msg)}
}

// byteOffset turns expr's offset, which counts characters, into one of bytes.
func byteOffset(source string, runes int) int {
	for i := range source {
		if runes == 0 {
			return i
		}
		runes--
	}
	return len(source)
}

func ordered(errs []*Error) []*Error {
	slices.SortStableFunc(errs, func(a, b *Error) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.CompactFunc(errs, func(a, b *Error) bool { return *a == *b })
}
