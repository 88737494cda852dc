package influxdb

import (
	"encoding/binary"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir/ingest/event"
)

// written returns the text that a reader gets for a name: what the encoder
// promises for what the format can't hold. It is the slow, obvious twin of the
// encoder's escaping.
func written(s, special string, measurement bool) string {
	if s == "" {
		return "(empty)"
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteByte('?')
		case strings.ContainsRune("\n\r\t\f", r):
			b.WriteString(map[rune]string{'\n': `\n`, '\r': `\r`, '\t': `\t`, '\f': `\f`}[r])
		case r < ' ' || r == 0x7f:
			b.WriteByte('?')
		case r == '\\' && escapesWhatFollows(s[i+1:], special):
			b.WriteByte('/')
		default:
			b.WriteRune(r)
		}
		i += n
	}
	out := b.String()
	if measurement && s[0] == '#' {
		out = `\` + out
	}
	return out
}

func escapesWhatFollows(rest, special string) bool {
	rest = strings.TrimLeft(rest, `\`)
	return rest == "" || strings.ContainsRune(special, rune(rest[0])) || rest[0] < ' ' || rest[0] == 0x7f
}

func FuzzLineRoundTrip(f *testing.F) {
	f.Add("telemetry", "d1", "site", "north", "temperature", "text", []byte{1, 0, 0, 0, 0, 0, 0, 0x35, 0x40}, int64(1_700_000_000_000_000_000))
	f.Add("#m ,=", `C:\`, "a,b", `x\ y`, `f\=`, "a \"quoted\"\n\\ text", []byte{2, 255, 255, 255, 255, 255, 255, 255, 255}, int64(-1))
	f.Add("", "", "", "", "", "", []byte{3, 255, 255, 255, 255, 255, 255, 255, 255}, int64(math.MinInt64))
	f.Add("\x00m\x7f", "\xff\xfe", "device", "Ωº\u2028", "time", "\xc3", []byte{4, 1}, int64(math.MaxInt64))
	f.Add(`\\server\share`, `a\\ b`, "z", `\#`, `"`, `\`, []byte{1, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f}, int64(0))
	f.Fuzz(func(t *testing.T, measurement, device, tagKey, tagValue, field, text string, number []byte, at int64) {
		in := event.Event{Measurement: measurement, Device: device, Time: at,
			Tags:   []event.Tag{{Key: tagKey, Value: tagValue}},
			Fields: []event.Field{{Name: "text", Value: event.StringValue(text)}, {Name: field, Value: fuzzValue(number)}}}
		if field == "text" || tagKey == "device" {
			t.Skip() // would be the name of two values; tested in TestAnEventIsOneLine
		}
		for _, f := range in.Fields {
			if f.Value.String() == tagValue && f.Name == tagKey || f.Value.String() == device && f.Name == "device" {
				t.Skip() // repeats a tag; tested there too
			}
		}
		e := testEncoder()
		lines, err := e.addEvents(0, 0, []event.Event{in, in})
		if measurement == "" {
			if !errors.Is(err, errNoMeasurement) {
				t.Fatalf("an event without measurement: %v", err)
			}
			return
		}
		if err != nil || lines != 2 {
			t.Fatalf("%d lines, %v", lines, err)
		}
		dec := lineprotocol.NewDecoderWithBytes(e.body)
		for n := 0; n < 2; n++ {
			if !dec.Next() {
				t.Fatalf("the decoder sees %d lines in %q, want 2", n, e.body)
			}
			checkLine(t, dec, e.body, &in)
		}
		if dec.Next() {
			t.Fatalf("the decoder sees more than 2 lines in %q", e.body)
		}
	})
}

func fuzzValue(b []byte) event.Value {
	var n [9]byte
	copy(n[:], b)
	bits := binary.LittleEndian.Uint64(n[1:])
	switch n[0] % 5 {
	case 1:
		return event.FloatValue(math.Float64frombits(bits))
	case 2:
		return event.IntValue(int64(bits))
	case 3:
		return event.UintValue(bits)
	case 4:
		return event.BoolValue(bits&1 == 1)
	}
	return event.Value{}
}

// checkLine reads the next line and compares it with the event it was made of.
func checkLine(t *testing.T, dec *lineprotocol.Decoder, body []byte, in *event.Event) {
	t.Helper()
	m, err := dec.Measurement()
	if want := written(in.Measurement, " ,", true); err != nil || string(m) != want {
		t.Fatalf("measurement %q, %v; want %q in %q", m, err, want, body)
	}
	want := map[string]string{}
	if in.Tags[0].Key != "" && in.Tags[0].Value != "" {
		want[written(unreserved(in.Tags[0].Key, isTime), " ,=", false)] = written(in.Tags[0].Value, " ,=", false)
	}
	if in.Device != "" {
		want["device"] = written(in.Device, " ,=", false)
	}
	for {
		k, v, err := dec.NextTag()
		if err != nil {
			t.Fatalf("tag: %v in %q", err, body)
		}
		if k == nil {
			break
		}
		if w, ok := want[string(k)]; !ok || w != string(v) {
			t.Fatalf("tag %q=%q, want %q in %q", k, v, want, body)
		}
		delete(want, string(k))
	}
	if len(want) != 0 {
		t.Fatalf("tags %q are missing in %q", want, body)
	}
	checkFields(t, dec, body, in)
	at, err := dec.Time(lineprotocol.Nanosecond, time.Time{})
	if err != nil || at.UnixNano() != in.Time {
		t.Fatalf("time %v, %v; want %d in %q", at, err, in.Time, body)
	}
}

func checkFields(t *testing.T, dec *lineprotocol.Decoder, body []byte, in *event.Event) {
	t.Helper()
	tag := unreserved(in.Tags[0].Key, isTime)
	reserved := func(name string) bool {
		return name != "" && (name == "time" || name == "device" || name == tag)
	}
	fields := map[string]any{unreserved("text", reserved): validText(in.Fields[0].Value.Text())}
	v := in.Fields[1].Value
	if x, ok := v.Float(); v.Kind() != event.Null && (!ok || !math.IsNaN(x) && !math.IsInf(x, 0)) {
		fields[written(unreserved(in.Fields[1].Name, reserved), " ,=", false)] = v.Any()
	}
	n := 0
	for {
		k, got, err := dec.NextField()
		if err != nil {
			t.Fatalf("field: %v in %q", err, body)
		}
		if k == nil {
			break
		}
		n++
		if w, ok := fields[string(k)]; !ok || w != got.Interface() {
			t.Fatalf("field %q = %#v, want %#v in %q", k, got.Interface(), fields, body)
		}
	}
	if n != len(fields) {
		t.Fatalf("%d fields, want %d in %q", n, len(fields), body)
	}
}

// validText is s with "?" for each byte that is no UTF-8.
func validText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b.WriteByte('?')
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

func FuzzCoerceKeepsWhatAValueSays(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0x35, 0x40}, "52.6", uint8(1))
	f.Add([]byte{2, 255, 255, 255, 255, 255, 255, 255, 127}, "-0", uint8(2))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0xe0, 0x43}, "9223372036854775808", uint8(2))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0xf0, 0x43}, "1e3", uint8(3))
	f.Fuzz(func(t *testing.T, number []byte, text string, want uint8) {
		kind := event.Kind(want%5) + event.Float
		for _, v := range []event.Value{fuzzValue(number), event.StringValue(text)} {
			if v.Kind() == event.Null {
				continue
			}
			got, ok := coerce(v, kind)
			if !ok {
				continue
			}
			if got.Kind() != kind {
				t.Fatalf("%v %q as %v is %v", v.Kind(), v, kind, got.Kind())
			}
			// The way back gives the same, but for integers beyond what a float holds exactly.
			back, ok := coerce(got, v.Kind())
			if x, _ := v.Float(); math.Abs(x) >= 1<<53 || v.Kind() == event.String || v.Kind() == event.Bool {
				continue
			}
			if !ok || !back.Equal(v) && !(back.String() == "0" && v.String() == "-0") {
				t.Fatalf("%v %q as %v is %q, and back %q (%v)", v.Kind(), v, kind, got, back, ok)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(400, `{"error":"partial write: field type conflict: input field \"a b\" on measurement \"m\" is type string, already exists as type float dropped=1"}`)
	f.Add(400, `{"error":"partial write: unable to parse 'm f=': missing field value\nunable to parse 'x': missing fields dropped=0"}`)
	f.Add(400, `{"error":"unable to parse 'm f=\"': \nunable to parse '': x"}`)
	f.Add(422, `{"code":"unprocessable entity","message":"m"}`)
	f.Add(400, `{"error":"e","data":[{"error_message":"x","line_number":1}]}`)
	f.Add(413, "<html>")
	f.Fuzz(func(t *testing.T, status int, body string) {
		a := newAnswer(&http.Response{StatusCode: status, Header: http.Header{}}, []byte(body))
		if len(a.cause()) > 510 {
			t.Errorf("a cause of %d bytes", len(a.cause()))
		}
		if c, ok := a.conflict(); ok && (!strings.Contains(a.text, c.field) || !strings.Contains(a.text, c.measurement) || c.exists == event.Null) {
			t.Errorf("conflict %+v is not in %q", c, a.text)
		}
		a.unparsable(func(line, reason string) {
			if !strings.Contains(a.text, "unable to parse '"+line+"': "+reason) {
				t.Errorf("line %q with %q is not in %q", line, reason, a.text)
			}
		})
		_ = a.operatorFault() || a.beyondRetention() || a.knowsNoUnsigned()
	})
}

func FuzzTypesDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"types":{"m":{"a":"float?","b":"string"}}}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"types":{"m":{"a":"nothing"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		one := newTypes(100)
		if one.decode(b) != nil {
			return
		}
		saved, _, err := one.encode()
		if err != nil {
			t.Fatal(err)
		}
		two := newTypes(100)
		if err := two.decode(saved); err != nil {
			t.Fatalf("what was saved can't be read: %v in %s", err, saved)
		}
		for m, of := range one.fields {
			for name, f := range of {
				g := two.fields[m][name]
				if f.load() != event.Null && (g == nil || g.load() != f.load() || g.disputed() != f.disputed()) {
					t.Fatalf("%q.%q was %v, is %v", m, name, f, g)
				}
			}
		}
	})
}
