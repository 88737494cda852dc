package expression

import (
	"fmt"

	"github.com/expr-lang/expr/ast"
)

// lists refuses an argument that is one value where a function takes a list. A
// name is never a list, so that it would fail on every event, or, as max(x) does,
// say no more than the name: it is meant to be over a time or over devices.
func (in *inference) lists(n *ast.BuiltinNode, i int, k kind) {
	if in.options.Accepted || !wantsList(n, i) || !single(n.Arguments[i], k) {
		return
	}
	at := n.Arguments[i]
	what, name := "this is one value", "x"
	cell := false
	if id, ok := at.(*ast.IdentifierNode); ok {
		name = nameOf(id.Value)
		if _, cell = in.kinds[id.Value]; cell {
			name = in.cellText(id.Value)
		}
		what = name + " is one value"
	}
	in.failAt(leftmost(in.source, at), listHint(n.Name, name, cell), "%s takes a list, but %s", n.Name, what)
}

// wantsList reports whether argument i of a function is to be a list.
func wantsList(n *ast.BuiltinNode, i int) bool {
	switch n.Name {
	case "concat":
		return true
	case "max", "min", "mean", "median": // of several values too
		return len(n.Arguments) == 1
	case "all", "none", "any", "one", "filter", "map", "find", "findIndex", "findLast", "findLastIndex", "count", "sum", "groupBy", "sortBy", "reduce",
		"first", "last", "take", "reverse", "uniq", "flatten", "sort", "join", "fromPairs":
		return i == 0
	}
	return false
}

// single reports whether a node of kind k is one value, whatever the event.
func single(n ast.Node, k kind) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		return n.Value[0] == mark
	case *ast.ConditionalNode:
		return single(n.Exp1, kAny) && single(n.Exp2, kAny)
	case *ast.BinaryNode:
		if n.Operator == "??" {
			return single(n.Left, kAny) && single(n.Right, kAny)
		}
	case *ast.IntegerNode, *ast.FloatNode, *ast.StringNode, *ast.BoolNode:
		return true
	}
	return k == kNumber || k == kText || k == kBool
}

// listHint says what to write instead of a function of lists.
func listHint(function, name string, cell bool) string {
	over := map[string]string{
		"sum": "sum_over_time(", "count": "count_over_time(", "mean": "avg_over_time(", "median": "quantile_over_time(0.5, ",
		"min": "min_over_time(", "max": "max_over_time(", "first": "first_over_time(", "last": "last_over_time(",
	}[function]
	switch {
	case over == "":
		return fmt.Sprintf("a list is written in brackets: %s([a, b]...); of lists that devices send, a[0] and a[1] are values of their own", function)
	case cell:
		return fmt.Sprintf(`record it under a name, and write over a time: %sNAME, "5m"); over devices: the same, and by: [site] beside expr`, over)
	}
	return fmt.Sprintf(`over a time: %s%s, "5m"); over devices: the same, and by: [site] beside expr`, over, name)
}
