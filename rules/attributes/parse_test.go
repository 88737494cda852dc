package attributes_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/configs/strict"
	"weir/rules/attributes"
)

func TestWhatIsWrongIsRefusedWithItsPlace(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for _, tt := range []struct{ name, file, text, want string }{
		{"a file without a known extension", "d.json", "{}", "d.json: a table of devices is YAML or CSV: the file's name does not say which"},
		{"an empty YAML file", "d.yaml", "# nothing\n", "d.yaml:1:1: the table has no devices"},
		{"an empty CSV file", "d.csv", "", "d.csv:1:1: the table has no devices"},
		{"a header alone", "d.csv", "device,site\n", "d.csv:1:1: the table has no devices"},
		{"devices that are a list", "d.yaml", "devices: [f1]", "d.yaml:1:10: devices must be a mapping of a device to its attributes"},
		{"another key", "d.yaml", "device: {}\n", `d.yaml:1:1: unknown key "device"`},
		{"a device twice in YAML", "d.yaml", "devices:\n  f1: {a: 1}\n  f1: {b: 1}\n", `d.yaml:3:3: duplicate key "f1", first on line 2`},
		{"a device twice in CSV", "d.csv", "device,a\nf1,1\nf2,1\n f1,2\n", `d.csv:4:2: a second line for device "f1", the first is line 2`},
		{"an attribute twice in YAML", "d.yaml", "devices:\n  f1: {a.b: 1, a: {b: 2}}\n", "d.yaml:2:20: the device has a.b already, as one name or as a mapping"},
		{"a column twice", "d.csv", "device,a,a\n", `d.csv:1:10: a second column "a"`},
		{"a built-in name in YAML", "d.yaml", "devices: {f1: {time: 1}}", `d.yaml:1:16: no attribute can be called "time": it means something else in rules`},
		{"a built-in name in CSV", "d.csv", "device,source\nf1,1\n", `d.csv:1:8: no attribute can be called "source": it means something else in rules`},
		{"a list", "d.yaml", "devices: {f1: {a: [1, 2]}}", "d.yaml:1:19: a: an attribute is one value, not a list"},
		{"attributes that are no mapping", "d.yaml", "devices: {f1: oslo}", `d.yaml:1:15: the attributes of device "f1" must be a mapping`},
		{"a tag", "d.yaml", "devices: {f1: {a: !!str 1}}", "d.yaml:1:19: a: tags are not possible here"},
		{"infinity", "d.yaml", "devices: {f1: {a: -.inf}}", "d.yaml:1:19: a: the number is not finite"},
		{"a number that begins with 0", "d.yaml", "devices: {f1: {zip: 0150}}", "d.yaml:1:21: zip: a number can't begin with 0"},
		{"a merge of devices", "d.yaml", "x: &x {}\ndevices: {<<: {}}", `d.yaml:1:1: unknown key "x"` + "\n" + `d.yaml:2:11: "<<" is not possible here`},
		{"an empty id in YAML", "d.yaml", "devices: {'': {a: 1}}", "d.yaml:1:11: the device has no id"},
		{"an empty id in CSV", "d.csv", "device,a\n ,1\n", "d.csv:2:2: the device has no id"},
		{"an id with a space before it", "d.yaml", "devices: {' f1': {a: 1}}", `d.yaml:1:11: the device's id " f1" begins or ends with a space`},
		{"an id with a control character", "d.csv", "device,a\nf\x011,1\n", `d.csv:2:1: the device's id "f\x011" holds a control character`},
		{"a long id", "d.csv", "device\n" + long + "\n", "d.csv:2:1: the device's id has 5000 bytes, more than 1024"},
		{"a long name", "d.csv", "device," + long + "\nf1,1\n", "d.csv:1:8: the attribute's name has 5000 bytes, more than 200"},
		{"a long text", "d.csv", "device,a\nf1," + long + "\n", "d.csv:2:4: a: the text has 5000 bytes, more than 4096"},
		{"an empty part of a name", "d.csv", "device,a..b\nf1,1\n", `d.csv:1:8: the attribute's name "a..b" has a part that is empty, or begins or ends with a space`},
		{"an empty name", "d.csv", "device,\nf1,1\n", "d.csv:1:8: the attribute has no name"},
		{"another first column", "d.csv", "id,a\nf1,1\n", `d.csv:1:1: the first column must be called device, not "id"`},
		{"a line that is too short", "d.csv", "device,a,b\nf1,1\n", "d.csv:2:1: the line has 2 cells, the first line 3"},
		{"a line that is too long", "d.csv", "device,a\nf1,1,5\n", "d.csv:2:1: the line has 3 cells, the first line 2"},
		{"a quote in the middle", "d.csv", "device,å\nå,ø\"x\n", `d.csv:2:4: not valid CSV: bare " in non-quoted-field`},
		{"a quote that is not closed", "d.csv", "device,a\nf1,\"x\n", `not valid CSV: extraneous or missing " in quoted-field`},
		{"a blank behind a quote", "d.csv", "device,a\nf1,\"x\" ,\n", `d.csv:2:6: not valid CSV: extraneous or missing " in quoted-field`},
		{"what is not UTF-8", "d.csv", "device,a\nø,\xff\n", "d.csv:2:3: byte 0xff is not UTF-8"},
		{"a YAML file that is too large", "d.yaml", strings.Repeat("#", attributes.MaxYAML+1), "d.yaml: the table has 8388609 bytes, more than 8388608"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := attributes.Parse(tt.file, []byte(tt.text))
			var errs strict.Errors
			if !errors.As(err, &errs) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestEverythingThatIsWrongIsReportedUpToABound(t *testing.T) {
	for _, tt := range []struct{ file, head, line string }{{"d.csv", "device,a\n", "f%d,1,2\n"}, {"d.yaml", "devices:\n", "  f%d: {time: 1}\n"}} {
		for _, lines := range []int{3, 500} {
			text := tt.head
			for i := range lines {
				text += fmt.Sprintf(tt.line, i)
			}
			_, err := attributes.Parse(tt.file, []byte(text))
			var errs strict.Errors
			if errors.As(err, &errs); len(errs) != min(lines, 20) {
				t.Errorf("%s: %d wrong lines gave %d errors", tt.file, lines, len(errs))
			}
		}
	}
}

func TestTooManyAttributesAndCellsAreRefused(t *testing.T) {
	head := "device"
	for i := range attributes.MaxAttributes + 1 {
		head += fmt.Sprintf(",a%d", i)
	}
	if _, err := attributes.Parse("d.csv", []byte(head+"\n")); err == nil || !strings.Contains(err.Error(), "d.csv:1:1: there are more than 200 attributes") {
		t.Errorf("201 columns: %v", err)
	}
	var b strings.Builder
	b.WriteString(head[:strings.LastIndexByte(head, ',')] + "\n")
	cells := strings.Repeat(",", attributes.MaxAttributes)
	for i := range attributes.MaxCells/attributes.MaxAttributes + 1 {
		fmt.Fprintf(&b, "%d%s\n", i, cells)
	}
	if _, err := attributes.Parse("d.csv", []byte(b.String())); err == nil || !strings.Contains(err.Error(), "d.csv:100002:1: 100001 devices with 200 attributes make more than 20000000 cells") {
		t.Errorf("too many cells: %v", err)
	}
}

func TestAnchorsAndMergesSpareRepetition(t *testing.T) {
	table := parse(t, "d.yaml", `devices:
  f1: &cold {site: oslo, limits: {max: -15}}
  f2: *cold
  f3: {<<: *cold, site: bergen}
`)
	want := "f1 limits.max=float:-15 site=string:oslo\nf2 limits.max=float:-15 site=string:oslo\nf3 limits.max=float:-15 site=string:bergen\n"
	if got := dump(table); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTablesMergeByDevice(t *testing.T) {
	a := parse(t, "a.yaml", "devices: {f1: {site: oslo}, f2: {site: bergen}, f4: }")
	b := parse(t, "b.csv", "device,max,site\nf3,1,\nf1,2,\n")
	table, err := attributes.Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := "f1 max=float:2 site=string:oslo\nf2 site=string:bergen\nf3 max=float:1\nf4\n"
	if got := dump(table); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if other, err := attributes.Merge(b, a); err != nil || other.Hash() != table.Hash() {
		t.Errorf("in another order they merge to another table (%v)", err)
	}
}

func TestAnAttributeInTwoTablesIsRefusedWithBothPlaces(t *testing.T) {
	a := parse(t, "a.yaml", "devices:\n  f0: {x: 1}\n  f1: {site: oslo}\n")
	b := parse(t, "b.csv", "device,site,max\nf2,oslo,1\nf1,oslo,2\n")
	_, err := attributes.Merge(a, b)
	if want := `b.csv:3: attribute "site" of device "f1" is there already, at a.yaml:3`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
