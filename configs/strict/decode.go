package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Unmarshaler is a type that decodes itself. UnmarshalStrict reports what is
// wrong with d.Errorf; n is never an alias and never null.
type Unmarshaler interface {
	UnmarshalStrict(d *Decoder, n *yaml.Node)
}

// Decoder decodes one file. It is handed to Unmarshalers and is not safe for
// use by several goroutines.
type Decoder struct {
	src      *source
	anyOrder bool // of the units of durations
	errs     Errors
	expanded map[*yaml.Node]string // scalars whose value was expanded, and what the file says
}

// Refused is the type of a key that is known only to be refused with a reason
// of its own: hints do not name it.
type Refused struct{}

// UnmarshalStrict takes anything.
func (*Refused) UnmarshalStrict(*Decoder, *yaml.Node) {}

// Expand returns what a text stands for, e.g. with variables replaced.
type Expand func(text string) (string, error)

// Decode decodes src, which was read from file, into out, a pointer to a
// struct. It fills what it can and returns Errors, in order, or nil.
func Decode(file string, src []byte, out any) error {
	return decode(file, src, out, nil, false)
}

// DecodeRecorded is Decode for a file that an earlier version took: the units of
// its durations may stand in any order.
func DecodeRecorded(file string, src []byte, out any) error {
	return decode(file, src, out, nil, true)
}

// DecodeExpanded is Decode with every scalar value (not key) replaced by what
// expand returns for it; an error of expand is reported at the scalar. As it is
// done after parsing, what is put in is always one text, number or boolean and
// can't change the document's structure. Messages show the text before
// expansion, so that they don't give secrets away.
func DecodeExpanded(file string, src []byte, out any, expand Expand) error {
	return decode(file, src, out, expand, false)
}

func decode(file string, src []byte, out any, expand Expand, anyOrder bool) error {
	v := reflect.ValueOf(out)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("decode %s: want a pointer to a struct, got %T", file, out)
	}
	d := &Decoder{src: newSource(file, src), anyOrder: anyOrder, expanded: map[*yaml.Node]string{}}
	root, ok := d.parse(src)
	if !ok {
		return d.errs.Err()
	}
	if root == nil { // nothing but blanks and comments
		return nil
	}
	if expand != nil {
		d.expand(root, expand, map[*yaml.Node]bool{})
	}
	d.value(root, v.Elem())
	return d.errs.Err()
}

// File returns the name of the file that is decoded.
func (d *Decoder) File() string { return d.src.file }

// Errorf reports a problem at a node.
func (d *Decoder) Errorf(n *yaml.Node, hint, format string, args ...any) {
	d.ErrorAt(Pos{n.Line, n.Column}, hint, format, args...)
}

// ErrorAt reports a problem at a position.
func (d *Decoder) ErrorAt(at Pos, hint, format string, args ...any) {
	d.errs.Addf(d.src.file, d.src.clamp(at), hint, format, args...)
}

// PosOf returns where a node begins.
func (d *Decoder) PosOf(n *yaml.Node) Pos { return d.src.clamp(Pos{n.Line, n.Column}) }

// Decode decodes a node into out, a pointer, and reports whether it found no problem.
func (d *Decoder) Decode(n *yaml.Node, out any) bool {
	before := len(d.errs)
	if v := reflect.ValueOf(out); v.Kind() == reflect.Pointer && !v.IsNil() {
		d.value(n, v.Elem())
	} else {
		d.Errorf(n, "", "cannot decode into %T", out)
	}
	return len(d.errs) == before
}

// expand replaces the scalars below n. seen holds the nodes that aliases share.
func (d *Decoder) expand(n *yaml.Node, expand Expand, seen map[*yaml.Node]bool) {
	if seen[n] {
		return
	}
	seen[n] = true
	switch n.Kind {
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			d.expand(n.Content[i], expand, seen)
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			d.expand(c, expand, seen)
		}
	case yaml.AliasNode:
		d.expand(n.Alias, expand, seen)
	case yaml.ScalarNode:
		text, err := expand(n.Value)
		if err != nil {
			var hinted *Error
			if errors.As(err, &hinted) {
				d.ErrorAt(d.src.locate(n, 0), hinted.Hint, "%s", hinted.Msg)
			} else {
				d.ErrorAt(d.src.locate(n, 0), "", "%v", err)
			}
			d.expanded[n], n.Tag = n.Value, "!!str"
			return
		}
		if text != n.Value {
			d.expanded[n], n.Value, n.Tag = n.Value, text, "!!str"
		}
	}
}

// resolve follows aliases. shape has made sure that they end.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

var (
	nodeType     = reflect.TypeFor[yaml.Node]()
	durationType = reflect.TypeFor[time.Duration]()
	posType      = reflect.TypeFor[Pos]()
	refusedType  = reflect.TypeFor[Refused]()
	keysType     = reflect.TypeFor[map[string]Pos]()
)

// value decodes n into out, which is settable.
func (d *Decoder) value(n *yaml.Node, out reflect.Value) {
	n = resolve(n)
	switch out.Type() {
	case nodeType:
		out.Set(reflect.ValueOf(*n))
		return
	case reflect.PointerTo(nodeType):
		out.Set(reflect.ValueOf(n))
		return
	}
	if _, ok := d.expanded[n]; !ok && n.Kind == yaml.ScalarNode && n.Style&yaml.TaggedStyle != 0 {
		if _, err := scalarOf(n); err != nil { // "!!int x" is wrong whatever it is decoded into
			d.Errorf(n, "leave out the tag", "%v", err)
			return
		}
	}
	if isNull(n) { // "key:" with nothing behind it says nothing
		return
	}
	if out.Kind() == reflect.Pointer {
		if out.IsNil() {
			out.Set(reflect.New(out.Type().Elem()))
		}
		d.value(n, out.Elem())
		return
	}
	if u, ok := out.Addr().Interface().(Unmarshaler); ok {
		u.UnmarshalStrict(d, n)
		return
	}
	if out.Type() == durationType {
		d.duration(n, out)
		return
	}
	switch out.Kind() {
	case reflect.Struct:
		d.structure(n, out)
	case reflect.Map:
		d.mapping(n, out)
	case reflect.Slice:
		d.slice(n, out)
	case reflect.Interface:
		if out.NumMethod() == 0 {
			if v := d.free(n); v != nil {
				out.Set(reflect.ValueOf(v))
			}
			return
		}
		fallthrough
	default:
		d.scalar(n, out)
	}
}

// pair is a key and its value, with merges ("<<") resolved.
type pair struct{ key, value *yaml.Node }

// pairs returns the pairs of a mapping in file order, merged ones last. Keys
// are scalars, each once: shape has made sure of it.
func (d *Decoder) pairs(n *yaml.Node) []pair {
	var own, merged []pair
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := resolve(n.Content[i])
		if isMerge(k) {
			continue
		}
		seen[k.Value] = true
		own = append(own, pair{k, n.Content[i+1]})
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isMerge(resolve(n.Content[i])) {
			continue
		}
		from := resolve(n.Content[i+1])
		list := []*yaml.Node{from}
		if from.Kind == yaml.SequenceNode {
			list = from.Content
		}
		for _, m := range list {
			if m = resolve(m); m.Kind != yaml.MappingNode {
				d.Errorf(n.Content[i+1], "", `"<<" takes a mapping or a list of mappings, got %s`, d.describe(m))
				continue
			}
			for _, p := range d.pairs(m) {
				if !seen[p.key.Value] {
					seen[p.key.Value] = true
					merged = append(merged, p)
				}
			}
		}
	}
	return append(own, merged...)
}

func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Value == "<<" && k.ShortTag() == "!!merge"
}

// fields collects the fields of a struct by their keys, and its Pos and Keys.
func fields(out reflect.Value, known map[string]reflect.Value, special func(reflect.Value)) {
	t := out.Type()
	for i := range t.NumField() {
		f, v := t.Field(i), out.Field(i)
		if !f.IsExported() {
			continue
		}
		name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case f.Name == "Pos" && f.Type == posType, f.Name == "Keys" && f.Type == keysType:
			special(v)
		case name == "-":
		case opts == "inline" && v.Kind() == reflect.Struct:
			fields(v, known, special)
		case name != "":
			known[name] = v
		default:
			known[strings.ToLower(f.Name)] = v
		}
	}
}

func (d *Decoder) structure(n *yaml.Node, out reflect.Value) {
	if n.Kind != yaml.MappingNode {
		known := map[string]reflect.Value{}
		fields(out, known, func(reflect.Value) {})
		d.Errorf(n, "known keys: "+orList(names(known)), "want a mapping (key: value), got %s", d.describe(n))
		return
	}
	known, keys := map[string]reflect.Value{}, map[string]Pos{}
	fields(out, known, func(v reflect.Value) {
		if v.Type() == posType {
			v.Set(reflect.ValueOf(d.PosOf(n)))
		} else {
			v.Set(reflect.ValueOf(keys))
		}
	})
	for _, p := range d.pairs(n) {
		f, ok := known[p.key.Value]
		if !ok {
			hint := "known keys: " + orList(names(known))
			if near := Suggest(p.key.Value, names(known)); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			if strings.ContainsAny(p.key.Value, "()<>=") { // a comma ended the text that this belongs to
				hint = "inside { } a comma ends text: put quotes around the whole, as in expr: 'sum_over_time(x, \"5m\") > 3'"
			}
			d.Errorf(p.key, hint, "unknown key %q", p.key.Value)
			d.errs[len(d.errs)-1].Key = d.PosOf(p.key)
			continue
		}
		keys[p.key.Value] = d.PosOf(p.key)
		before := len(d.errs)
		d.value(p.value, f)
		for _, e := range d.errs[before:] {
			if e.Key == (Pos{}) { // not within another key
				e.Key = d.PosOf(p.key)
			}
		}
	}
}

func names(known map[string]reflect.Value) []string {
	all := make([]string, 0, len(known))
	for k, v := range known {
		if v.Type() != refusedType {
			all = append(all, k)
		}
	}
	return all
}

func (d *Decoder) mapping(n *yaml.Node, out reflect.Value) {
	if n.Kind != yaml.MappingNode || out.Type().Key().Kind() != reflect.String {
		d.Errorf(n, "", "want a mapping (key: value), got %s", d.describe(n))
		return
	}
	if out.IsNil() {
		out.Set(reflect.MakeMap(out.Type()))
	}
	for _, p := range d.pairs(n) {
		e := reflect.New(out.Type().Elem()).Elem()
		d.value(p.value, e)
		out.SetMapIndex(reflect.ValueOf(p.key.Value).Convert(out.Type().Key()), e)
	}
}

func (d *Decoder) slice(n *yaml.Node, out reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		hint := `write a list: [a, b], or one "- item" a line`
		if n.Kind == yaml.ScalarNode && d.expanded[n] == "" {
			hint = fmt.Sprintf("write [%s]", n.Value)
		}
		d.Errorf(n, hint, "want a list, got %s", d.describe(n))
		return
	}
	list := reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		switch k := list.Index(i).Kind(); {
		case isNull(resolve(c)) && k != reflect.Interface && k != reflect.Pointer && list.Index(i).Type() != nodeType:
			d.Errorf(c, "", "this list item is empty")
		default:
			d.value(c, list.Index(i))
		}
	}
	out.Set(list)
}

// syntax parses with yaml.v3. A panic of it would be a defect of it; a file
// must not be able to end the process through that.
func syntax(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: the parser gave up: %v", r)
		}
	}()
	return dec.Decode(n)
}

// parse returns the root of the only document, nil if there is none.
func (d *Decoder) parse(src []byte) (root *yaml.Node, ok bool) {
	if !d.characters(src) {
		return nil, false
	}
	dec := yaml.NewDecoder(bytes.NewReader(d.src.text))
	var first, second yaml.Node
	switch err := syntax(dec, &first); {
	case errors.Is(err, io.EOF):
		return nil, true
	case err != nil:
		d.syntaxError(err)
		return nil, false
	}
	switch err := syntax(dec, &second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntaxError(err)
		return nil, false
	default:
		d.Errorf(&second, "remove the line ---, or split the file", "a second YAML document begins here; a file holds one")
		return nil, false
	}
	if len(first.Content) == 0 {
		return nil, true
	}
	root = first.Content[0]
	return root, d.shape(root)
}
