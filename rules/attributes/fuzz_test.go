package attributes_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"weir/configs/strict"
	"weir/rules/attributes"
)

// check holds a parser to what it promises: an error has a place in the file,
// and a table comes back from its encoding as it was.
func check(t *testing.T, file string, data []byte) *attributes.Table {
	table, err := attributes.Parse(file, data)
	if err != nil {
		var errs strict.Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("%q: an error without a place: %v", data, err)
		}
		for _, e := range errs {
			if e.Line < 1 || e.Col < 1 || e.Line > bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r"))+strings.Count(string(data), "\u0085")+
				strings.Count(string(data), "\u2028")+strings.Count(string(data), "\u2029")+1 {
				t.Fatalf("%q: %v is not in the file", data, e)
			}
		}
		return nil
	}
	if table.Len() == 0 {
		t.Fatalf("%q: a table without devices was taken", data)
	}
	text := dump(table)
	if strings.Contains(text, "is not found") {
		t.Fatalf("%q: %s", data, text)
	}
	back, err := attributes.Decode(table.Hash(), table.Encode())
	if err != nil || dump(back) != text {
		t.Fatalf("%q: it came back as another table, %v\n%s\n%s", data, err, text, dump(back))
	}
	return table
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte(freezers))
	for _, s := range []string{
		"devices: {f1: {a: [1]}}", "devices: {f1: &x {a: 1}, f2: {<<: *x, b: 0x10}}", "devices: {f1: {a: {b: {c: .5}}, a.b.c: 1}}",
		"devices: {1: {2: 3}, true: {null: ~}}", "devices: {f1: {a: 1e400, b: 010, c: 1_0, d: -0.0, e: !!binary aGk=}}", "devices:\n  ? [a]\n  : {b: 1}\n",
		"devices: {a: {<<: [{b: 1}, {b: 2}]}}", "devices: {a: {b: \"x\\ny\", c: |\n  z}}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, "d.yaml", data) })
}

func FuzzParseCSV(f *testing.F) {
	f.Add([]byte(fleet(5)))
	for _, s := range []string{
		"device\nf1\n\nf2\n", "device,a\nf1,\"x\ny\"\nf2,TRUE\n", "device,a,b\r\nf1,1e5,-0\r\n", "device;a\nf1;1\n", "\xef\xbb\xbfdevice,limits.max\nå,0.1\n",
		"device,a\nf1,\"\n", "device,time\nf,1\n", "device,a\nf1,18446744073709551616\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) { check(t, "d.csv", data) })
}

func FuzzDecode(f *testing.F) {
	for _, n := range []int{1, 3, 300} {
		table := parse(f, "d.csv", fleet(n))
		f.Add(table.Hash(), table.Encode())
	}
	f.Fuzz(func(t *testing.T, hash string, packed []byte) {
		table, err := attributes.Decode(hash, packed)
		if err != nil {
			return
		}
		if table.Hash() != hash {
			t.Fatalf("asked for %s it gave %s", hash, table.Hash())
		}
	})
}
