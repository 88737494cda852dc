package expression

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/file"

	"weir/configs/strict"
)

// resolver replaces the names in a syntax tree by references, and refuses what
// is not known: functions, variables, $env.
type resolver struct {
	source   string
	tree     file.Source
	options  *Options
	refs     []Ref
	seen     map[Ref]bool
	locals   []string // names declared by let
	tolerant bool
	cells    map[*ast.CallNode]ast.Node // what calls of cells became
	kinds    map[string]kind            // of cells, by key
	visits   int
	errs     []*Error
}

// maxVisits bounds how many nodes are walked. The parser shares the middle of
// a < b < c between two comparisons, so that a short text can spell a huge tree.
const maxVisits = 20_000

// maxErrors bounds what is reported of one expression.
const maxErrors = 20

func (r *resolver) fail(n ast.Node, hint, format string, args ...any) {
	r.failAt(byteOffset(r.source, n.Location().From), hint, format, args...)
}

func (r *resolver) failAt(offset int, hint, format string, args ...any) {
	if len(r.errs) == maxErrors {
		return
	}
	r.errs = append(r.errs, &Error{Offset: offset, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// ref returns the node that stands for a reference.
func (r *resolver) ref(at ast.Node, ref Ref) ast.Node {
	if !r.seen[ref] {
		r.seen[ref] = true
		r.refs = append(r.refs, ref)
	}
	n := &ast.IdentifierNode{Value: ref.key()}
	n.SetLocation(at.Location())
	return n
}

func (r *resolver) all(nodes []ast.Node) {
	for i := range nodes {
		nodes[i] = r.resolve(nodes[i])
	}
}

// resolve returns what n becomes. A node may be met twice (in a < b < c the b
// is), so what is resolved already is left alone.
func (r *resolver) resolve(n ast.Node) ast.Node {
	if r.visits++; r.visits >= maxVisits {
		if r.visits == maxVisits {
			r.fail(n, "split the rule", "the expression is too complex")
		}
		return n
	}
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return r.identifier(n)
	case *ast.MemberNode:
		return r.member(n)
	case *ast.ChainNode:
		n.Node = r.resolve(n.Node)
		if _, flat := n.Node.(*ast.IdentifierNode); flat { // a?.b became the name a.b
			r.tolerant = true
			return n.Node
		}
	case *ast.NilNode:
		r.tolerant = true
	case *ast.UnaryNode:
		n.Node = r.resolve(n.Node)
	case *ast.BinaryNode:
		return r.binary(n)
	case *ast.CallNode:
		return r.call(n)
	case *ast.BuiltinNode:
		r.all(n.Arguments)
		r.zone(n)
	case *ast.SliceNode:
		n.Node = r.resolve(n.Node)
		if n.From != nil {
			n.From = r.resolve(n.From)
		}
		if n.To != nil {
			n.To = r.resolve(n.To)
		}
	case *ast.PredicateNode:
		n.Node = r.resolve(n.Node)
	case *ast.VariableDeclaratorNode:
		n.Value = r.resolve(n.Value)
		r.locals = append(r.locals, n.Name)
		n.Expr = r.resolve(n.Expr)
		r.locals = r.locals[:len(r.locals)-1]
	case *ast.SequenceNode:
		r.all(n.Nodes)
	case *ast.ConditionalNode:
		n.Cond, n.Exp1, n.Exp2 = r.resolve(n.Cond), r.resolve(n.Exp1), r.resolve(n.Exp2)
	case *ast.ArrayNode:
		r.all(n.Nodes)
	case *ast.MapNode:
		r.all(n.Pairs)
	case *ast.PairNode:
		n.Key, n.Value = r.resolve(n.Key), r.resolve(n.Value)
	}
	return n
}

func (r *resolver) binary(n *ast.BinaryNode) ast.Node {
	n.Left, n.Right = r.resolve(n.Left), r.resolve(n.Right)
	switch n.Operator {
	case "??":
		r.tolerant = true
	case "%": // expr's takes integers only, but JSON's numbers are all floats
		call := &ast.CallNode{
			Callee:    &ast.IdentifierNode{Value: moduloName},
			Arguments: []ast.Node{n.Left, n.Right},
		}
		call.Callee.SetLocation(n.Location())
		call.SetLocation(n.Location())
		return call
	}
	return n
}

func (r *resolver) identifier(n *ast.IdentifierNode) ast.Node {
	name := n.Value
	switch {
	case name[0] == mark, slices.Contains(r.locals, name):
		return n
	case name[0] == '$':
		hint := "names stand for themselves: write " + strings.TrimPrefix(name, "$")
		if name == "$labels" { // of Prometheus: what follows is the name
			hint = "names stand for themselves: write {{ device }} or {{ site }} for {{ $labels.device }} or {{ $labels.site }}"
		}
		if name == "$env" {
			hint = `to read a name that is not a word, write field("the-name")`
		}
		r.fail(n, hint, "%s is not available here", name)
		return n
	}
	return r.name(n, name)
}

// name resolves a bare or dotted name.
func (r *resolver) name(n ast.Node, name string) ast.Node {
	if slices.Contains(r.options.Variables, name) {
		return r.ref(n, Ref{Origin: Variable, Name: name})
	}
	if root, _, _ := strings.Cut(name, "."); slices.Contains(r.options.Roots, root) {
		hint := "there are " + strings.Join(r.options.Variables, ", ")
		if near := strict.Suggest(name, r.options.Variables); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		r.fail(n, hint, "there is no %s", name)
		return n
	}
	if ref, ok := eventRef(name); ok {
		return r.ref(n, ref)
	}
	return r.ref(n, Ref{Origin: Open, Name: name})
}

// member resolves a.b.c, a["b"], a[0] and a?.b below a name to the dotted name
// that such a field has.
func (r *resolver) member(n *ast.MemberNode) ast.Node {
	if name, root, ok := r.dotted(n); ok {
		if n.Optional {
			r.tolerant = true
		}
		return r.name(root, name)
	}
	n.Node = r.resolve(n.Node)
	if _, static := n.Property.(*ast.StringNode); !static {
		n.Property = r.resolve(n.Property)
	}
	if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value[0] == mark {
		r.fail(n, `fields have fixed names: write values[0], values.max or field("name")`,
			"%s cannot be indexed by an expression", strings.TrimPrefix(id.Value, string(mark)))
	}
	return n
}

// dotted returns the dotted name that a chain of members spells, if it begins
// at a name that is not a local variable.
func (r *resolver) dotted(n ast.Node) (name string, root ast.Node, ok bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if n.Value[0] == mark || n.Value[0] == '$' || slices.Contains(r.locals, n.Value) {
			return "", nil, false
		}
		return n.Value, n, true
	case *ast.ChainNode:
		r.tolerant = true
		return r.dotted(n.Node)
	case *ast.MemberNode:
		name, root, ok = r.dotted(n.Node)
		if !ok {
			return "", nil, false
		}
		if n.Optional {
			r.tolerant = true
		}
		switch p := n.Property.(type) {
		case *ast.StringNode:
			return name + "." + p.Value, root, true
		case *ast.IntegerNode:
			return name + "." + strconv.Itoa(p.Value), root, true
		}
	}
	return "", nil, false
}

// call resolves field("x"), tag("x") and method calls, and refuses functions
// that do not exist.
func (r *resolver) call(n *ast.CallNode) ast.Node {
	if m, ok := n.Callee.(*ast.MemberNode); ok {
		return r.method(n, m)
	}
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		r.fail(n, "", "this is not a function")
		return n
	}
	switch id.Value {
	case "field", "tag":
		if len(n.Arguments) == 1 {
			if s, ok := n.Arguments[0].(*ast.StringNode); ok && s.Value != "" {
				origin := Field
				if id.Value == "tag" {
					origin = Tag
				}
				return r.ref(n, Ref{Origin: origin, Name: s.Value})
			}
		}
		r.fail(n, fmt.Sprintf(`e.g. %s("outside-temp")`, id.Value), "%s takes one name in quotes", id.Value)
		return n
	case "attribute":
		return r.attribute(n)
	case moduloName:
		return n
	}
	if slices.Contains(r.options.Functions, id.Value) {
		return r.cell(n, id.Value)
	}
	r.all(n.Arguments)
	if why, ok := withheld()[id.Value]; ok {
		r.fail(n, why, "%s() cannot be used in rules", id.Value)
		return n
	}
	if why, ok := r.options.Reserved[id.Value]; ok {
		r.fail(n, why, "%s() cannot be used here", id.Value)
		return n
	}
	hint := foreign[id.Value]
	if near := strict.Suggest(id.Value, r.functions()); hint == "" && near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	r.fail(n, hint, "unknown function %s", id.Value)
	return n
}

// attribute resolves attribute("x"). Unlike fields, attributes are known when
// rules are loaded.
func (r *resolver) attribute(n *ast.CallNode) ast.Node {
	var name string
	if len(n.Arguments) == 1 {
		if s, ok := n.Arguments[0].(*ast.StringNode); ok {
			name = s.Value
		}
	}
	known := r.options.Table.attributes.Columns()
	if _, ok := slices.BinarySearch(known, name); ok {
		return r.ref(n, Ref{Origin: Attribute, Name: name})
	}
	near := strict.Suggest(name, known)
	switch {
	case name == "":
		r.fail(n, `e.g. attribute("limits.max")`, "attribute takes one name in quotes")
	case len(known) == 0:
		r.fail(n, "name a table of devices in the rule file: attributes: devices.yaml", "no attributes of devices are known")
	case near != "":
		r.fail(n, fmt.Sprintf("did you mean %q?", near), "no device has an attribute %q", name)
	default:
		shown := strings.Join(known[:min(len(known), 12)], ", ")
		if len(known) > 12 {
			shown += ", …"
		}
		r.fail(n, "there are "+shown, "no device has an attribute %q", name)
	}
	return n
}

// method resolves the call of a method, which points in time and what
// functions return may have.
func (r *resolver) method(n *ast.CallNode, m *ast.MemberNode) ast.Node {
	r.all(n.Arguments)
	name, _, dotted := r.dotted(m.Node)
	m.Node = r.resolve(m.Node)
	if ref, known := eventRef(name); dotted && (!known || ref.Origin != Time && ref.Origin != Received) {
		property := ""
		if s, ok := m.Property.(*ast.StringNode); ok {
			property = s.Value
		}
		r.fail(n, "", "%s has no function %s", name, property)
	}
	return n
}

// zone checks the time zone that a function is given. That of the machine is
// refused, because another machine would decide otherwise.
func (r *resolver) zone(n *ast.BuiltinNode) {
	if n.Name != "timezone" && n.Name != "date" || len(n.Arguments) == 0 {
		return
	}
	at := n.Arguments[len(n.Arguments)-1]
	s, ok := at.(*ast.StringNode)
	switch {
	case !ok || n.Name == "date" && len(n.Arguments) != 3:
	case s.Value == "Local":
		r.fail(at, `name the zone, e.g. "Europe/Berlin"`, "the machine's time zone cannot be used in rules")
	default:
		if _, err := time.LoadLocation(s.Value); err != nil {
			r.fail(at, `e.g. "Europe/Berlin" or "UTC"`, "unknown time zone %q", s.Value)
		}
	}
}

// functions returns the names of all functions, for suggestions.
func (r *resolver) functions() []string {
	known := []string{"attribute", "field", "tag"}
	no := withheld()
	for _, f := range builtin.Builtins {
		if _, ok := no[f.Name]; !ok {
			known = append(known, f.Name)
		}
	}
	known = append(known, r.options.Functions...)
	return append(known, slices.Sorted(maps.Keys(r.options.Reserved))...)
}

// foreign are functions of Prometheus, which people will try, and what to write.
var foreign = map[string]string{
	"avg": `over a time: avg_over_time(x, "5m"); over devices: the same, and by: [site] beside expr`, "stddev": `write stddev_over_time(x, "5m")`, "stdvar": `write stdvar_over_time(x, "5m")`,
	"quantile": `write quantile_over_time(0.95, x, "5m")`, "histogram_quantile": `there are no histograms: write quantile_over_time(0.95, x, "5m")`,
	"absent_over_time": `write absent(x, "5m")`,
	"time":             "write time, without brackets: it is a point in time; time.Unix() is in seconds",
	"hour":             "write time.Hour()", "minute": "write time.Minute()", "day_of_week": "write int(time.Weekday())",
	"clamp_max": "write min(x, 5)", "clamp_min": "write max(x, 5)", "clamp": "write min(max(x, 0), 5)", "vector": "write the number", "scalar": "write the name",
}
