package decode

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"weir/ingest/event"
)

// jsonTable are documents and the fields they become; nil: they are rejected.
var jsonTable = []struct {
	name, doc string
	want      map[string]any
}{
	{"a flat document", `{"temperature":-18.25,"door":"closed","ok":true}`, map[string]any{"temperature": -18.25, "door": "closed", "ok": true}},
	{"space anywhere", " \t\r\n{ \"a\" :\n1 , \"b\"\t: 2 } ", map[string]any{"a": 1.0, "b": 2.0}},
	{"nested names are joined by dots", `{"a":{"b":{"c":1}},"d":2}`, map[string]any{"a.b.c": 1.0, "d": 2.0}},
	{"array elements are named by index", `{"a":[1,"x",[2,{"y":3}]]}`, map[string]any{"a.0": 1.0, "a.1": "x", "a.2.0": 2.0, "a.2.1.y": 3.0}},
	{"an array is a document", `[1,{"a":2}]`, map[string]any{"0": 1.0, "1.a": 2.0}},
	{"a scalar is a document", `42`, map[string]any{"value": 42.0}},
	{"a text is a document", `"x"`, map[string]any{"value": "x"}},
	{"null, {} and [] are no fields", `{"a":null,"b":{},"c":[],"d":{"e":null},"f":0}`, map[string]any{"f": 0.0}},
	{"a dot in a key stays", `{"PM2.5":12,"a.b":{"c.d":1}}`, map[string]any{"PM2.5": 12.0, "a.b.c.d": 1.0}},
	{"keys keep their case and characters", `{"switch:0":1,"temperature°C":2,"A B":3}`, map[string]any{"switch:0": 1.0, "temperature°C": 2.0, "A B": 3.0}},
	{"escapes in keys and texts", `{"a\"\u0041\n":"\b\f\n\r\t\/\\\"\u00e9\ud83d\ude00"}`, map[string]any{"a\"A\n": "\b\f\n\r\t/\\\"é😀"}},
	{"half a surrogate pair", `{"a":"\ud83dx","b":"\udc00\ud83d\n","c":"\ud83d\u0041"}`, map[string]any{"a": "\uFFFDx", "b": "\uFFFD\uFFFD\n", "c": "\uFFFDA"}},
	{"UTF-8 in texts", `{"unit":"m³","b":"Ω ok"}`, map[string]any{"unit": "m³", "b": "Ω ok"}},
	{"an empty text", `{"a":""}`, map[string]any{"a": ""}},
	{"a byte order mark", "\xEF\xBB\xBF{\"a\":1}", map[string]any{"a": 1.0}},
	{"the last of equal keys counts", `{"a":1,"b":2,"a":3}`, map[string]any{"a": 3.0, "b": 2.0}},
	{"a later null takes back", `{"a":1,"b":2,"a":null}`, map[string]any{"b": 2.0}},
	{"a later object replaces all of the earlier", `{"a":{"x":1,"y":{"z":2}},"b":3,"a":{"x":4}}`, map[string]any{"a.x": 4.0, "b": 3.0}},
	{"a later scalar replaces an object", `{"a":{"x":1},"a":2}`, map[string]any{"a": 2.0}},
	{"a later array replaces an array", `{"a":[1,2,3],"a":[4]}`, map[string]any{"a.0": 4.0}},
	{"equal keys in a duplicate", `{"a":{"x":1,"x":2},"a":{"y":3,"y":4}}`, map[string]any{"a.y": 4.0}},
	{"two paths with one name: the last counts", `{"a.b":1,"c":0,"a":{"b":2}}`, map[string]any{"a.b": 2.0, "c": 0.0}},
	{"numbers", `{"a":0,"b":-0,"c":1e3,"d":1E-3,"e":1.5e+2,"f":0.1,"g":123456789.123456789}`,
		map[string]any{"a": 0.0, "b": math.Copysign(0, -1), "c": 1000.0, "d": 0.001, "e": 150.0, "f": 0.1, "g": 123456789.123456789}},
	{"integers below 2^53 are floats", `{"a":9007199254740991,"b":-9007199254740991}`, map[string]any{"a": 9007199254740991.0, "b": -9007199254740991.0}},
	{"integers from 2^53 on are exact", `{"a":9007199254740993,"b":-9007199254740993,"c":18446744073709551615,"d":-9223372036854775808,"e":9223372036854775807}`,
		map[string]any{"a": int64(9007199254740993), "b": int64(-9007199254740993), "c": uint64(math.MaxUint64), "d": int64(math.MinInt64), "e": int64(math.MaxInt64)}},
	{"integers beyond 64 bits are floats", `{"a":18446744073709551616,"b":-9223372036854775809,"c":100000000000000000000}`,
		map[string]any{"a": 18446744073709551616.0, "b": -9223372036854775809.0, "c": 1e20}},
	{"tiny numbers", `{"a":-0.000000000000000000000000000000000000000001,"b":1e-400}`, map[string]any{"a": -1e-42, "b": 0.0}},
	{"a number beyond a float", `{"a":1e400}`, nil},
	{"64 levels", strings.Repeat("[", 64) + "1" + strings.Repeat("]", 64), map[string]any{strings.TrimSuffix(strings.Repeat("0.", 64), "."): 1.0}},
	{"65 levels", strings.Repeat("[", 65) + strings.Repeat("]", 65), nil},
	{"a bomb of brackets", strings.Repeat("[", 100_000), nil},
	{"an empty key", `{"":1}`, nil},
	{"nothing but space", "  ", nil},
	{"no end", `{"a":1`, nil},
	{"no value", `{"a":}`, nil},
	{"a comma too many", `{"a":1,}`, nil},
	{"a comma too many in an array", `[1,]`, nil},
	{"text after the document", `{"a":1}x`, nil},
	{"two documents", `{"a":1}{"b":2}`, nil},
	{"a comment", `{"a":1}/**/`, nil},
	{"single quotes", `{'a':1}`, nil},
	{"a key without quotes", `{a:1}`, nil},
	{"nan", `{"a":nan}`, nil},
	{"NaN", `[NaN]`, nil},
	{"True", `[True]`, nil},
	{"a leading zero", `[012]`, nil},
	{"a leading plus", `[+1]`, nil},
	{"no digit after the point", `[1.]`, nil},
	{"no digit before the point", `[.5]`, nil},
	{"no digit in the exponent", `[1e]`, nil},
	{"a lone minus", `[-]`, nil},
	{"half a literal", `[tru]`, nil},
	{"a bare newline in a text", "[\"a\nb\"]", nil},
	{"a bare control character in a key", "{\"a\x01\":1}", nil},
	{"an unknown escape", `["\x41"]`, nil},
	{"half an escape", `["\u00"]`, nil},
	{"an escape at the end", `["\`, nil},
	{"a text without an end", `["abc`, nil},
	{"Latin-1", "[\"\xe9\"]", nil},
	{"Latin-1 in a key", "{\"\xb0C\":1}", nil},
	{"an overlong form", "[\"\xc0\x80\"]", nil},
	{"UTF-16", "\xff\xfe[\x00]\x00", nil},
	{"a NUL after the document", "{\"a\":1}\x00", nil},
}

// decodeOne decodes a payload with one source for topic "t/dev" and returns
// the fields of its event, or the reject's error.
func decodeOne(t testing.TB, d *Decoder, payload string) (map[string]any, error) {
	t.Helper()
	b := batchOf("t/dev", payload)
	d.Decode(b)
	if len(b.Rejects) > 0 {
		if len(b.Events) > 0 || len(b.FieldSlab) > 0 || len(b.TagSlab) > 0 {
			t.Fatalf("%q: rejected, but there is something left of it: %v %v %v", payload, b.Events, b.FieldSlab, b.TagSlab)
		}
		return nil, b.Rejects[0].Err
	}
	if len(b.Events) == 0 {
		return map[string]any{}, nil
	}
	if n := len(fieldsOf(&b.Events[0])); n != len(b.Events[0].Fields) {
		t.Fatalf("%q: two fields have one name: %v", payload, b.Events[0].Fields)
	}
	return fieldsOf(&b.Events[0]), nil
}

func TestJSONDocuments(t *testing.T) {
	shared := compile(t, Source{Topic: "t/{device}"}).NewDecoder()
	for _, tt := range jsonTable {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range []*Decoder{compile(t, Source{Topic: "t/{device}"}).NewDecoder(), shared, shared} {
				got, err := decodeOne(t, d, tt.doc)
				if (err == nil) != (tt.want != nil) {
					t.Fatalf("%q: error %v, want fields %v", tt.doc, err, tt.want)
				}
				if err == nil && !reflect.DeepEqual(got, tt.want) {
					t.Errorf("%q: fields %v, want %v", tt.doc, got, tt.want)
				}
			}
		})
	}
}

func TestJSONErrorsNamePlaceAndCause(t *testing.T) {
	d := compile(t, Source{Name: "plant", Topic: "t/{device}"}).NewDecoder()
	for _, tt := range []struct{ doc, want string }{
		{`{"a":1,}`, "line 1, column 8: a comma before }"},
		{"{\n  \"a\": nan\n}", "line 2, column 8: expected a value, found nan, which JSON doesn't have"},
		{`{'a':1}`, "column 2: expected a key in double quotes, found ', where JSON wants double quotes"},
		{`{"a":1}/**/`, "column 8: expected the end of the document, found a comment"},
		{`{"a":012}`, "column 6: the number begins with 0"},
		{`{"a":1e999}`, "column 6: the number is beyond the range"},
		{`{"a":-}`, "column 7: expected a digit, found '}'"},
		{`{"a"`, "column 5: expected a colon after the key, found the end of the payload"},
		{"[\"a\xe9\"]", "column 4: the byte 0xe9 is not UTF-8"},
		{"[\"a\x01\"]", "column 4: the control character 0x01"},
		{`["\q"]`, "column 3: unknown escape"},
		{"\xEF\xBB\xBF[x", "column 5: expected a value, found 'x'"},
		{"\xff\xfe{\x00", "UTF-16"},
		{strings.Repeat("[", 65), "column 65: nested deeper than 64 levels"},
		{"{\"MCP\": \"D0\":0}", "column 13: expected a comma or }, found ':'"},
	} {
		_, err := decodeOne(t, d, tt.doc)
		if err == nil || !strings.HasPrefix(err.Error(), "source plant: not JSON: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: %v, want an error with %q", tt.doc, err, tt.want)
		}
	}
}

func TestBoundsOfOneDocument(t *testing.T) {
	set := compile(t, Source{Topic: "t/{device}", Exclude: []string{"skip"}})
	d := set.NewDecoder()
	fields := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("1,", n), ",") + "]" }
	if got, err := decodeOne(t, d, fields(maxFields)); err != nil || len(got) != maxFields {
		t.Errorf("%d fields: %d, %v", maxFields, len(got), err)
	}
	for _, doc := range []string{fields(maxFields + 1), fields(100 * maxFields), strings.ReplaceAll(fields(3*maxFields), "1", "null")} {
		if _, err := decodeOne(t, set.NewDecoder(), doc); err == nil || !strings.Contains(err.Error(), "exclude") {
			t.Errorf("%.20q of %d bytes: error %v, want the bound and the remedy", doc, len(doc), err)
		}
	}
	if got, err := decodeOne(t, d, `{"a":1,"skip":`+fields(100*maxFields)+`}`); err != nil || len(got) != 1 {
		t.Errorf("a large part that is excluded: %v, %v", got, err)
	}
}

// flatten is the slow twin: the fields of a document that encoding/json has read.
func flatten(out map[string]any, name string, v any) {
	join := func(key string) string {
		if name == "" {
			return key
		}
		return name + "." + key
	}
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			flatten(out, join(k), e)
		}
	case []any:
		for i, e := range v {
			flatten(out, join(itoa(i)), e)
		}
	case json.Number:
		f, _ := v.Float64()
		if strings.ContainsAny(v.String(), ".eE") || math.Abs(f) < 1<<53 {
			out[name] = f
			return
		}
		var u uint64
		if i, err := v.Int64(); err == nil {
			out[name] = i
		} else if json.Unmarshal([]byte(v), &u) == nil {
			out[name] = u
		} else {
			out[name] = f
		}
	case string, bool:
		out[name] = v
	}
}

// depthOf returns how deep the brackets of a valid document nest.
func depthOf(b []byte) int {
	depth, most, inText := 0, 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inText && c == '\\':
			i++
		case c == '"':
			inText = !inText
		case inText:
		case c == '{' || c == '[':
			depth++
			most = max(most, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return most
}

func FuzzJSONAgainstEncodingJSON(f *testing.F) {
	for _, tt := range jsonTable {
		if len(tt.doc) < 1000 {
			f.Add([]byte(tt.doc))
		}
	}
	all := Source{Topic: "t/{device}", Rename: map[string]string{"": "(empty)"}}
	some := all
	some.Exclude, some.Name = []string{"a"}, "some"
	shared := compile(f, all).NewDecoder()
	f.Fuzz(func(t *testing.T, doc []byte) {
		if len(doc) == 0 || len(doc) > 4*maxFields {
			return
		}
		plain := []byte(strings.TrimPrefix(string(doc), "\xEF\xBB\xBF"))
		var ref any
		want := json.Unmarshal(plain, &ref) == nil && utf8.Valid(doc) && depthOf(plain) <= maxDepth
		for _, d := range []*Decoder{compile(t, all).NewDecoder(), compile(t, some).NewDecoder(), shared, shared} {
			got, err := decodeOne(t, d, string(doc))
			if (err == nil) != want {
				t.Fatalf("%q: error %v, encoding/json accepts: %v", doc, err, want)
			}
			if !want {
				continue
			}
			dec := json.NewDecoder(strings.NewReader(string(plain)))
			dec.UseNumber()
			if err := dec.Decode(&ref); err != nil {
				t.Fatal(err)
			}
			fields := map[string]any{}
			if _, scalar := ref.(map[string]any); !scalar && reflect.TypeOf(ref) != reflect.TypeFor[[]any]() {
				flatten(fields, "value", ref)
			} else {
				flatten(fields, "", ref)
			}
			compareFields(t, doc, d.set.sources[0].exclude, got, fields)
		}
	})
}

// compareFields compares where no name stands for two paths or an empty key.
func compareFields(t *testing.T, doc []byte, exclude []string, got, want map[string]any) {
	s := string(doc)
	if strings.Contains(s, ".") || strings.Contains(s, `""`) || strings.Contains(s, `\u`) {
		return
	}
	for name := range want {
		if len(exclude) > 0 && matchAny(exclude, name, name) {
			delete(want, name)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q, exclude %q: fields %v, the reference says %v", doc, exclude, got, want)
	}
}

func TestNumbersKeepTheirText(t *testing.T) {
	for _, text := range []string{"21.50", "1e3", "-0", "0.10", "100000000000000000000"} {
		v := numberOf(text)
		if v.Kind() != event.Float || v.Literal() != text {
			t.Errorf("%s: %v with literal %q", text, v.Kind(), v.Literal())
		}
	}
}
