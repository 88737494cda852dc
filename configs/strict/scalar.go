package strict

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"

	"gopkg.in/yaml.v3"
)

// free decodes a node without a type: map[string]any, []any, or what yaml.v3
// makes of a scalar.
func (d *Decoder) free(n *yaml.Node) any {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for _, p := range d.pairs(n) {
			m[p.key.Value] = d.free(p.value)
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, c := range n.Content {
			l[i] = d.free(c)
		}
		return l
	}
	if _, ok := d.expanded[n]; ok {
		return n.Value
	}
	v, err := scalarOf(n)
	if err != nil {
		d.Errorf(n, "", "%v", err)
	}
	return v
}

// scalarOf resolves a scalar as yaml.v3 does.
func scalarOf(n *yaml.Node) (v any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cannot be decoded: %v", r)
		}
	}()
	if err = n.Decode(&v); err != nil {
		return nil, fmt.Errorf("cannot be decoded as %s", n.ShortTag())
	}
	return v, nil
}

// untyped returns a scalar that was expanded as if it had been written in the
// file without quotes, so that ${PORT} may stand for a number.
func (d *Decoder) untyped(n *yaml.Node) *yaml.Node {
	if _, ok := d.expanded[n]; !ok {
		return n
	}
	c := *n
	c.Tag, c.Style = "", 0
	return &c
}

// scalar decodes into text, booleans and numbers.
func (d *Decoder) scalar(n *yaml.Node, out reflect.Value) {
	k := out.Kind()
	want := ""
	switch {
	case k == reflect.String:
		want = "text"
	case k == reflect.Bool:
		want = "true or false"
	case k >= reflect.Int && k <= reflect.Uint64:
		want = "a whole number"
	case k == reflect.Float32 || k == reflect.Float64:
		want = "a number"
	default:
		d.Errorf(n, "", "cannot decode into %s", out.Type())
		return
	}
	hint := ""
	if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && k == reflect.String {
		hint = `put quotes around text that begins with "{"`
	}
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, hint, "want %s, got %s", want, d.describe(n))
		return
	}
	if k == reflect.String && n.ShortTag() != "!!binary" {
		out.SetString(n.Value)
		return
	}
	if k == reflect.Bool {
		var b bool
		if err := d.untyped(n).Decode(&b); err != nil {
			d.Errorf(n, "", "want %s, got %s", want, d.describe(n))
			return
		}
		out.SetBool(b)
		return
	}
	v, err := scalarOf(d.untyped(n))
	if err != nil {
		d.Errorf(n, "", "%v", err)
		return
	}
	if s, ok := v.(string); ok && k == reflect.String {
		out.SetString(s)
		return
	}
	if msg := setNumber(out, v); msg != "" {
		d.Errorf(n, msg, "want %s, got %s", want, d.describe(n))
	}
}

// setNumber sets out to v if v is a number that out can hold; else it returns
// a hint, or a blank one if v is no number at all.
func setNumber(out reflect.Value, v any) (hint string) {
	const none = "write it without quotes"
	var i int64
	switch v := v.(type) {
	case int:
		i = int64(v)
	case int64:
		i = v
	case uint64:
		switch out.Kind() {
		case reflect.Float32, reflect.Float64:
			out.SetFloat(float64(v))
			return ""
		case reflect.Uint, reflect.Uint64:
			out.SetUint(v)
			return ""
		}
		return rangeOf(out)
	case float64:
		if out.Kind() == reflect.Float32 || out.Kind() == reflect.Float64 {
			if !math.IsInf(v, 0) && out.OverflowFloat(v) {
				return rangeOf(out)
			}
			out.SetFloat(v)
			return ""
		}
		if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			return rangeOf(out)
		}
		i = int64(v)
	case string:
		if _, err := strconv.ParseFloat(v, 64); err == nil {
			return none
		}
		return "write a number"
	default:
		return "write a number"
	}
	switch {
	case out.CanFloat():
		out.SetFloat(float64(i))
	case out.CanInt() && !out.OverflowInt(i):
		out.SetInt(i)
	case out.CanUint() && i >= 0 && !out.OverflowUint(uint64(i)):
		out.SetUint(uint64(i))
	default:
		return rangeOf(out)
	}
	return ""
}

func rangeOf(out reflect.Value) string {
	bits := out.Type().Bits()
	switch {
	case out.CanInt():
		return fmt.Sprintf("write a whole number from %d to %d", int64(math.MinInt64)>>(64-bits), int64(math.MaxInt64)>>(64-bits))
	case out.CanUint():
		return fmt.Sprintf("write a whole number from 0 to %d", uint64(math.MaxUint64)>>(64-bits))
	}
	return "write a smaller number"
}

func (d *Decoder) duration(n *yaml.Node, out reflect.Value) {
	const hint = `write a number with a unit (ms, s, m, h, d, w), e.g. "10m"`
	if n.Kind != yaml.ScalarNode {
		d.Errorf(n, hint, "want a duration, got %s", d.describe(n))
		return
	}
	v, err := ParseDuration(n.Value)
	if errors.Is(err, ErrTooLong) {
		d.Errorf(n, `write a shorter one, e.g. "10m" or "7d"`, "the duration %s is %v", d.describe(n), ErrTooLong)
		return
	}
	if err != nil {
		d.Errorf(n, hint, "want a duration, got %s", d.describe(n))
		return
	}
	if !d.anyOrder && !UnitsFall(n.Value) {
		d.Errorf(n, UnitsHint, "the units of the duration %s are not in order", d.describe(n))
		return
	}
	out.Set(reflect.ValueOf(v))
}

// describe says what a node is, in words for a person who wrote YAML. An
// expanded value is shown as the file has it, for it may be a secret.
func (d *Decoder) describe(n *yaml.Node) string {
	n = resolve(n)
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if raw, ok := d.expanded[n]; ok {
		return fmt.Sprintf("what %q stands for", shorten(raw))
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool", "!!int", "!!float":
		return n.Value
	}
	return fmt.Sprintf("%q", shorten(n.Value))
}

func shorten(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
