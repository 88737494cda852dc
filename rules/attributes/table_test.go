package attributes_test

import (
	"bytes"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules/attributes"
)

const freezers = `devices:
  f1: {site: oslo, limits: {max: -15, min: -30}, critical: true}
  f3: {limits.max: -18.50, serial: 9007199254740993}
  f2:
    site: "12"
    since: 2024-01-02
  spare:
`

func parse(t testing.TB, name, text string) *attributes.Table {
	t.Helper()
	table, err := attributes.Parse(name, []byte(text))
	if err != nil {
		t.Fatalf("parse %s: %v", name, err)
	}
	return table
}

// dump writes a table as lines: device name=kind:text ...
func dump(t *attributes.Table) string {
	var b strings.Builder
	for id := range t.Devices() {
		row, ok := t.Get(id)
		if !ok || row.Device() != id {
			fmt.Fprintf(&b, "%s is not found\n", id)
		}
		b.WriteString(id)
		for i, name := range t.Columns() {
			if v := row.Value(i); v.Kind() != event.Null {
				s, _ := row.Text(i)
				fmt.Fprintf(&b, " %s=%s:%s", name, v.Kind(), s)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestYAMLGivesDottedNamesAndTypedValues(t *testing.T) {
	got := dump(parse(t, "devices.yaml", freezers))
	want := `f1 critical=boolean:true limits.max=float:-15 limits.min=float:-30 site=string:oslo
f2 since=string:2024-01-02 site=string:12
f3 limits.max=float:-18.5 serial=integer:9007199254740993
spare
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestCSVSaysTheSameAsYAML(t *testing.T) {
	csv := "\xef\xbb\xbfdevice, site ,limits.max,limits.min,critical\r\n" +
		"f1,oslo,-15,-30,TRUE\r\n" +
		"\"f2\", \"a, \"\"b\"\"\", -15.0, ,\r\n"
	a := parse(t, "d.csv", csv)
	b := parse(t, "d.yml", `{devices: {f2: {limits: {max: -15.0}, site: 'a, "b"'}, f1: {critical: true, site: oslo, limits.max: -15, limits: {min: -30}}}}`)
	if dump(a) != dump(b) || a.Hash() != b.Hash() {
		t.Errorf("CSV gave %s\n%sYAML gave %s\n%s", a.Hash(), dump(a), b.Hash(), dump(b))
	}
}

func TestCellsAreNumbersOnlyIfTheyAreDecimal(t *testing.T) {
	for _, tt := range []struct{ cell, want string }{
		{"0", "float:0"}, {"-0", "float:0"}, {"1.50", "float:1.5"}, {"-0.025", "float:-0.025"},
		{"0.0000001", "float:1e-07"}, {"1000000", "float:1000000"}, {"9007199254740993", "integer:9007199254740993"},
		{"18446744073709551615", "unsigned:18446744073709551615"}, {"18446744073709551616", "string:18446744073709551616"},
		{"007", "string:007"}, {".5", "string:.5"}, {"5.", "string:5."}, {"+5", "string:+5"}, {"1e3", "string:1e3"}, {"12e99999", "string:12e99999"}, {"-1.", "string:-1."}, {"0x10", "string:0x10"},
		{"NaN", "string:NaN"}, {"-", "string:-"}, {"1_000", "string:1_000"}, {"yes", "string:yes"}, {"False", "boolean:false"}, {"  oslo ", "string:oslo"},
	} {
		if got := strings.TrimSpace(dump(parse(t, "d.csv", "device,x\nf1,"+tt.cell+"\n"))); got != "f1 x="+tt.want {
			t.Errorf("cell %q gave %s, want %s", tt.cell, got, tt.want)
		}
	}
}

func TestGetFindsWhatIsThereAndNothingElse(t *testing.T) {
	table := parse(t, "devices.yaml", freezers)
	if _, ok := table.Get("f"); ok {
		t.Errorf("a device that is not there was found")
	}
	if n := table.Len(); n != 4 {
		t.Errorf("4 devices are %d", n)
	}
	if got := slices.Collect(table.Devices()); !slices.Equal(got, []string{"f1", "f2", "f3", "spare"}) {
		t.Errorf("devices are %q", got)
	}
	if _, ok := table.Column("limits"); ok {
		t.Errorf("a column limits was found, there is only limits.max")
	}
	if i, ok := table.Column("limits.max"); !ok || table.Columns()[i] != "limits.max" {
		t.Errorf("limits.max is column %d, %t of %q", i, ok, table.Columns())
	}
}

func TestANilTableKnowsNothing(t *testing.T) {
	var table *attributes.Table
	row, ok := table.Get("f1")
	if _, is := table.Column("site"); ok || is || table.Len() != 0 || table.Columns() != nil || table.Hash() != "" || dump(table) != "" {
		t.Errorf("it knows something")
	}
	if v := row.Value(3); v.Kind() != event.Null {
		t.Errorf("a row of it has %v", v)
	}
}

func TestHashIsOfWhatATableSays(t *testing.T) {
	base := parse(t, "a.yaml", "devices: {a: {x: 1}, b: {x: 2}}")
	if other := parse(t, "b.yaml", "# a comment\ndevices:\n  b: {x: 2.0}\n  a: {x: 1, y: }\n"); other.Hash() != base.Hash() {
		t.Errorf("the same content has hashes %s and %s", base.Hash(), other.Hash())
	}
	for _, text := range []string{"{a: {x: 1}}", "{a: {x: 1}, b: {x: '2'}}", "{a: {x: 1}, b: {y: 2}}", "{a: {x: 2}, b: {x: 1}}", "{a: {x: 1}, c: {x: 2}}", "{a: {x: 1}, b: {x: true}}"} {
		if parse(t, "b.yaml", "devices: "+text).Hash() == base.Hash() {
			t.Errorf("%s has the same hash as another table", text)
		}
	}
}

func TestEncodedTablesComeBackEqual(t *testing.T) {
	for _, size := range []int{1, 3, 300, 70_000} {
		table := parse(t, "d.csv", fleet(size))
		packed := table.Encode()
		got, err := attributes.Decode(table.Hash(), packed)
		if err != nil {
			t.Fatalf("decode %d devices: %v", size, err)
		}
		if got == table || got.Hash() != table.Hash() || dump(got) != dump(table) {
			t.Errorf("%d devices came back as another table", size)
		}
		if again, err := attributes.Decode(table.Hash(), packed); err != nil || again != got {
			t.Errorf("decoded again while in use, %d devices take room twice (%v)", size, err)
		}
		runtime.KeepAlive(got)
	}
}

func TestDamagedEncodingsAreRefused(t *testing.T) {
	table := parse(t, "d.csv", fleet(50))
	packed := table.Encode()
	if _, err := attributes.Decode("another", packed); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("decode with another hash: %v", err)
	}
	for i := range packed {
		if _, err := attributes.Decode(table.Hash(), packed[:i]); err == nil {
			t.Fatalf("cut off after %d bytes it was taken", i)
		}
	}
	for i := range packed {
		bad := bytes.Clone(packed)
		bad[i] ^= 0x10
		got, err := attributes.Decode(table.Hash(), bad)
		if err != nil {
			continue
		}
		if dump(got) != dump(table) { // gzip has bits that do not matter
			t.Errorf("with byte %d changed another table came back", i)
		}
		got = nil
		runtime.GC() // nobody holds it any more, so that the next one is decoded
	}
}

// fleet returns a CSV table of n devices with three attributes.
func fleet(n int) string {
	var b strings.Builder
	b.WriteString("device,site,limits.max,serial\n")
	for i := range n {
		fmt.Fprintf(&b, "sensor-%07d,site-%d,%v,%08x\n", i, i%500, float64(i%400)/10-30, uint32(i)*2654435761)
	}
	return b.String()
}

func TestAMillionDevicesAreHeldInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const n = 1_000_000
	text := []byte(fleet(n))
	before := heap()
	table, err := attributes.Parse("d.csv", text)
	if err != nil {
		t.Fatal(err)
	}
	if table, err = attributes.Merge(table); err != nil {
		t.Fatal(err)
	}
	used := heap() - before
	packed := table.Encode()
	t.Logf("%d devices with 3 attributes: %d MB of CSV, %d MB in memory, %.1f MB encoded", n, len(text)>>20, used>>20, float64(len(packed))/(1<<20))
	if used > 150<<20 {
		t.Errorf("the table takes %d MB", used>>20)
	}
	if row, ok := table.Get("sensor-0999999"); !ok || row.Value(1).String() != "site-499" && row.Value(2).String() != "site-499" {
		t.Errorf("the last device is not found as it is")
	}
	runtime.KeepAlive(text)
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestLookupAllocatesNothing(t *testing.T) {
	table := parse(t, "d.csv", fleet(1000))
	column, _ := table.Column("limits.max")
	n := testing.AllocsPerRun(100, func() {
		row, ok := table.Get("sensor-0000500")
		if f, is := row.Value(column).Float(); !ok || !is || math.IsNaN(f) {
			t.Fatal("not found")
		}
		if s, ok := row.Text(column); !ok || s != "-20" {
			t.Fatalf("as text it is %q", s)
		}
	})
	if n != 0 {
		t.Errorf("allocations per lookup = %v, want 0", n)
	}
}

func BenchmarkGet(b *testing.B) {
	for _, size := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprintf("devices=%d", size), func(b *testing.B) {
			table := parse(b, "d.csv", fleet(size))
			ids := slices.Collect(table.Devices())
			i := 0
			for b.Loop() {
				i = (i + 7919) % len(ids)
				if _, ok := table.Get(ids[i]); !ok {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, format := range []string{"csv", "yaml"} {
		b.Run("format="+format+"/devices=10000", func(b *testing.B) {
			text := []byte(fleet(10_000))
			if format == "yaml" {
				var y strings.Builder
				y.WriteString("devices:\n")
				for line := range strings.Lines(fleet(10_000)) {
					if c := strings.Split(strings.TrimSpace(line), ","); c[0] != "device" {
						fmt.Fprintf(&y, "  %s: {site: %s, limits: {max: %s}, serial: %q}\n", c[0], c[1], c[2], c[3])
					}
				}
				text = []byte(y.String())
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := attributes.Parse("d."+format, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
