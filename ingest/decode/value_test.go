package decode

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// rejected stands for a payload that is rejected, nothing for one that gives no event.
type rejected struct{}
type nothing struct{}

var valueTable = []struct {
	name, payload string
	want          any
}{
	{"a number", "21.5", 21.5},
	{"a negative number", "-83", -83.0},
	{"a number with blanks and a newline", " 12.05 \r\n", 12.05},
	{"a number with C's NUL", "12.05\x00", 12.05},
	{"an exponent", "1.5e3", 1500.0},
	{"a plus sign", "+5.25", 5.25},
	{"no digit before the point", ".5", 0.5},
	{"no digit after the point", "5.", 5.0},
	{"zero", "0", 0.0},
	{"an integer from 2^53 on", "2882305433497894969", int64(2882305433497894969)},
	{"an identifier with leading zeros stays text", "021528603314", "021528603314"},
	{"hexadecimal stays text", "0x1F", "0x1F"},
	{"hex digits stay text", "4c00", "4c00"},
	{"a number beyond a float", "1e400", rejected{}},
	{"a negative number beyond a float", "-1e999", rejected{}},
	{"a number beyond a float with a plus sign", "+1.5e400", rejected{}},
	{"a number of 400 digits", "1" + strings.Repeat("0", 399), rejected{}},
	{"a number that is nearly nothing", "1e-400", 0.0},
	{"the largest number", "1.7976931348623157e308", 1.7976931348623157e308},
	{"an identifier with leading zeros and an e stays text", "00e999", "00e999"},
	{"a number beyond a float in quotes stays text", `"1e400"`, "1e400"},
	{"a version stays text", "1.2.3", "1.2.3"},
	{"a decimal comma stays text", "21,5", "21,5"},
	{"digits with underscores stay text", "1_000", "1_000"},
	{"a date stays text", "2026-07-27T09:41:41+02:00", "2026-07-27T09:41:41+02:00"},
	{"a duration stays text", "0T18:36:12", "0T18:36:12"},
	{"a number with its unit stays text", "00.496*kW", "00.496*kW"},
	{"two numbers stay text", "60,-98,0", "60,-98,0"},
	{"two signs stay text", "--5", "--5"},
	{"a lone sign stays text", "-", "-"},
	{"a lone point stays text", ".", "."},
	{"ON", "ON", true},
	{"off", "off", false},
	{"True", "True", true},
	{"false", "false", false},
	{"a word stays text", "idle", "idle"},
	{"online stays text", "online", "online"},
	{"a JSON text loses its quotes", `"rgb"`, "rgb"},
	{"a JSON text with escapes", `"a\u00e9\n"`, "aé\n"},
	{"a JSON text that is a word", `"on"`, true},
	{"a JSON text that is a number stays text", `"21.5"`, "21.5"},
	{"an empty JSON text", `""`, ""},
	{"a JSON text without an end", `"abc`, rejected{}},
	{"quotes around parts stay", `"a" and "b"`, `"a" and "b"`},
	{"UTF-8", "°C", "°C"},
	{"an inner blank stays", "got ip", "got ip"},
	{"one NUL is the empty text", "\x00", ""},
	{"nothing", "", nothing{}},
	{"only space", " \n", nothing{}},
	{"nan", "nan", nothing{}},
	{"NaN", "NaN", nothing{}},
	{"None", "None", nothing{}},
	{"null", "null", nothing{}},
	{"unavailable", "unavailable", nothing{}},
	{"unavailable in quotes", `"unavailable"`, nothing{}},
	{"n/a", "N/A", nothing{}},
	{"inf", "-inf", nothing{}},
	{"an object", `{"a":1}`, rejected{}},
	{"an array", ` [1]`, rejected{}},
	{"bytes that are no text", "\xff\xd8\xff\xe0", rejected{}},
}

// outcome decodes a payload and returns the value of the event's only field.
func outcome(t *testing.T, d *Decoder, payload string) any {
	t.Helper()
	got, err := decodeOne(t, d, payload)
	switch {
	case err != nil:
		return rejected{}
	case len(got) == 0:
		return nothing{}
	case len(got) > 1:
		t.Fatalf("%q: fields %v, want one", payload, got)
	}
	for _, v := range got {
		return v
	}
	return nil
}

func TestBareValues(t *testing.T) {
	d := compile(t, Source{Topic: "t/{device}", Format: Value}).NewDecoder()
	for _, tt := range valueTable {
		t.Run(tt.name, func(t *testing.T) {
			if got := outcome(t, d, tt.payload); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q: %T %v, want %T %v", tt.payload, got, got, tt.want, tt.want)
			}
		})
	}
}

func TestBareValuesAsConfigured(t *testing.T) {
	d := compile(t, Source{Topic: "t/{device}", Format: Value,
		Words:   map[string]any{"online": true, "offline": false, "ON": "ON", "1": true, "high": 2.0, "nan": "not a number"},
		NoValue: map[string][]string{"value": {"127.5", "err", "18446744073709551615"}},
		Numbers: []string{"*"},
	}).NewDecoder()
	for _, tt := range []struct {
		payload string
		want    any
	}{
		{"online", true}, {"offline", false}, {"ON", "ON"}, {"OFF", false}, {"1", true}, {"1.0", 1.0}, {"high", 2.0}, {"nan", "not a number"},
		{"127.5", nothing{}}, {"127.50", nothing{}}, {"err", nothing{}}, {`"err"`, nothing{}}, {"127.51", 127.51},
		{"18446744073709551615", nothing{}}, {"18446744073709551614", uint64(math.MaxUint64 - 1)}, {`"21.5"`, 21.5}, {`" 7 "`, 7.0}, {`"007"`, "007"},
	} {
		if got := outcome(t, d, tt.payload); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %T %v, want %T %v", tt.payload, got, got, tt.want, tt.want)
		}
	}
}

// TestANumberBeyondAFloatIsRefusedAlike has the same number as a document's value
// and alone: the cause is the same, and who wants it as a text or as no reading
// can say so.
func TestANumberBeyondAFloatIsRefusedAlike(t *testing.T) {
	for _, tt := range []struct{ format, payload string }{{JSON, `{"a":1e400}`}, {Value, "1e400"}, {Auto, "1e400"}, {Auto, `[1e400]`}, {Value, " -1e400\n"}} {
		_, err := decodeOne(t, compile(t, Source{Topic: "t/{device}", Format: tt.format}).NewDecoder(), tt.payload)
		if err == nil || !strings.Contains(err.Error(), "beyond the range of a 64-bit float") {
			t.Errorf("%s %q: error %v", tt.format, tt.payload, err)
		}
	}
	d := compile(t, Source{Topic: "t/{device}", Format: Value, Words: map[string]any{"12e456": "12e456"}, NoValue: map[string][]string{"value": {"1e999"}}}).NewDecoder()
	if got := outcome(t, d, "12e456"); got != "12e456" {
		t.Errorf("a word: %v", got)
	}
	if got := outcome(t, d, "1e999"); got != (nothing{}) {
		t.Errorf("what stands for no reading: %v", got)
	}
}

func TestAutoReadsDocumentsAndBareValues(t *testing.T) {
	d := compile(t, Source{Topic: "shellies/{device}/{metric...}", Format: Auto, Field: "{metric}"}).NewDecoder()
	for _, tt := range []struct {
		topic, payload string
		want           map[string]any
	}{
		{"shellies/s1/relay/0", "on", map[string]any{"relay.0": true}},
		{"shellies/s1/light/0/status", `{"ison":false,"b":{"c":1}}`, map[string]any{"light.0.status.ison": false, "light.0.status.b.c": 1.0}},
		{"shellies/s1/light/0/status", `[5]`, map[string]any{"light.0.status.0": 5.0}},
		{"shellies/s1/relay/1", "\xEF\xBB\xBF{\"a\":1}", map[string]any{"relay.1.a": 1.0}},
	} {
		b := batchOf(tt.topic, tt.payload)
		d.Decode(b)
		if len(b.Events) != 1 || !reflect.DeepEqual(fieldsOf(&b.Events[0]), tt.want) {
			t.Errorf("%s %q: events %v, rejects %v, want %v", tt.topic, tt.payload, b.Events, b.Rejects, tt.want)
		}
	}
}

// FuzzBareValue: whatever arrives gives one field of the kind that a plain
// reading of the text gives, or nothing, or a reject.
func FuzzBareValue(f *testing.F) {
	for _, tt := range valueTable {
		f.Add(tt.payload)
	}
	d := compile(f, Source{Topic: "t/{device}", Format: Value}).NewDecoder()
	f.Fuzz(func(t *testing.T, payload string) {
		got := outcome(t, d, payload)
		trimmed := strings.TrimLeft(payload, " \t\r\n")
		for len(trimmed) > 1 && strings.ContainsRune(" \t\r\n\x00", rune(trimmed[len(trimmed)-1])) {
			trimmed = trimmed[:len(trimmed)-1]
		}
		switch v := got.(type) {
		case float64:
			if want, err := strconv.ParseFloat(trimmed, 64); err != nil || want != v {
				t.Fatalf("%q is %v, strconv says %v, %v", payload, v, want, err)
			}
		case int64, uint64:
			if s := strings.TrimPrefix(trimmed, "+"); s != asText(v) {
				t.Fatalf("%q is %v", payload, v)
			}
		case string:
			if !strings.HasPrefix(trimmed, `"`) && v != trimmed && trimmed != "\x00" {
				t.Fatalf("%q is the text %q", payload, v)
			}
			if !utf8.ValidString(v) {
				t.Fatalf("%q is the text %q, which is not UTF-8", payload, v)
			}
		case rejected:
			if _, err := strconv.ParseFloat(trimmed, 64); errors.Is(err, strconv.ErrRange) {
				return
			}
			if utf8.ValidString(payload) && !strings.ContainsAny(trimmed[:1], "{[\"") && !strings.HasPrefix(payload, "\ufeff") {
				t.Fatalf("%q is rejected", payload)
			}
		}
	})
}

func asText(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	}
	return ""
}
