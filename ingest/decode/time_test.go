package decode

import (
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
)

func TestTimesInEveryForm(t *testing.T) {
	for _, tt := range []struct {
		name, unit, zone, ts string
		want                 string // RFC 3339; "": the receive time; "!...": rejected with that text
	}{
		{"seconds", "s", "", `1763545627`, "2025-11-19T09:47:07Z"},
		{"milliseconds", "ms", "", `1656470510619`, "2022-06-29T02:41:50.619Z"},
		{"microseconds", "us", "", `1700000000123456`, "2023-11-14T22:13:20.123456Z"},
		{"nanoseconds beyond 2^53", "ns", "", `1700000000123456789`, "2023-11-14T22:13:20.123456789Z"},
		{"fractional seconds are exact", "s", "", `1698999954.77`, "2023-11-03T08:25:54.77Z"},
		{"more digits than a float holds", "s", "", `1607123962.082975123`, "2020-12-04T23:19:22.082975123Z"},
		{"more digits than ns", "s", "", `1607123962.0829751239999999999`, "2020-12-04T23:19:22.082975123Z"},
		{"fractional milliseconds", "ms", "", `1656470510619.25`, "2022-06-29T02:41:50.61925Z"},
		{"an exponent", "s", "", `1.763545627e9`, "2025-11-19T09:47:07Z"},
		{"a text of seconds", "s", "", `"1653668027"`, "2022-05-27T16:13:47Z"},
		{"a text of seconds with a fraction", "s", "", `"1591045440.0"`, "2020-06-01T21:04:00Z"},
		{"a text with blanks", "s", "", `" 1653668027\n"`, "2022-05-27T16:13:47Z"},
		{"auto tells seconds", "", "", `1763545627`, "2025-11-19T09:47:07Z"},
		{"auto tells milliseconds", "auto", "", `1763545627123`, "2025-11-19T09:47:07.123Z"},
		{"auto tells microseconds", "auto", "", `1763545627123456`, "2025-11-19T09:47:07.123456Z"},
		{"auto tells nanoseconds", "auto", "", `1763545627123456789`, "2025-11-19T09:47:07.123456789Z"},
		{"auto tells fractional seconds", "auto", "", `1607123962.082975`, "2020-12-04T23:19:22.082975Z"},
		{"auto tells a text of milliseconds", "auto", "", `"1763545627123"`, "2025-11-19T09:47:07.123Z"},
		{"auto reads RFC 3339", "auto", "", `"2022-07-18T09:34:15.775023242+00:00"`, "2022-07-18T09:34:15.775023242Z"},
		{"auto reads an offset", "auto", "", `"2022-10-11T21:42:50+01:00"`, "2022-10-11T20:42:50Z"},
		{"auto reads a negative offset without a colon", "auto", "", `"2022-10-11T21:42:50-0330"`, "2022-10-12T01:12:50Z"},
		{"auto reads an offset of hours", "auto", "", `"2022-10-11 21:42:50+02"`, "2022-10-11T19:42:50Z"},
		{"auto reads a blank for T", "auto", "", `"2019-03-04 18:37:57"`, "2019-03-04T18:37:57Z"},
		{"auto reads a comma", "auto", "", `"2019-03-04T18:37:57,25Z"`, "2019-03-04T18:37:57.25Z"},
		{"auto takes no zone as UTC", "auto", "", `"2019-10-31T18:55:09"`, "2019-10-31T18:55:09Z"},
		{"a zone in winter", "auto", "Europe/Berlin", `"2019-12-31T18:55:09"`, "2019-12-31T17:55:09Z"},
		{"a zone in summer", "auto", "Europe/Berlin", `"2019-07-31T18:55:09"`, "2019-07-31T16:55:09Z"},
		{"an hour that summer time skips", "auto", "Europe/Berlin", `"2024-03-31T02:30:00"`, "2024-03-31T01:30:00Z"},
		{"an offset counts before the zone", "auto", "Europe/Berlin", `"2019-07-31T18:55:09Z"`, "2019-07-31T18:55:09Z"},
		{"rfc3339", "rfc3339", "", `"2018-01-01T00:00:00Z"`, "2018-01-01T00:00:00Z"},
		{"rfc3339 in small letters", "rfc3339", "", `"2018-01-01t00:00:00z"`, "2018-01-01T00:00:00Z"},
		{"rfc3339 wants an offset", "rfc3339", "", `"2018-01-01T00:00:00"`, `!says no offset; set time.zone`},
		{"rfc3339 with a zone wants none", "rfc3339", "Asia/Kolkata", `"2018-01-01T05:30:00"`, "2018-01-01T00:00:00Z"},
		{"rfc3339 is no number", "rfc3339", "", `1763545627`, `!a number, where a text`},
		{"a layout", "02.01.2006 15:04", "", `"03.09.2025 14:05"`, "2025-09-03T14:05:00Z"},
		{"a layout with a zone", "02.01.2006 15:04", "Europe/Berlin", `"03.09.2025 14:05"`, "2025-09-03T12:05:00Z"},
		{"a layout that is not met", "02.01.2006 15:04", "", `"2025-09-03"`, `!is not in the layout`},
		{"a leap day", "auto", "", `"2024-02-29T00:00:00Z"`, "2024-02-29T00:00:00Z"},
		{"no leap day", "auto", "", `"2023-02-29T00:00:00Z"`, `!is no time in RFC 3339`},
		{"month 13", "auto", "", `"2023-13-01T00:00:00Z"`, `!is no time`},
		{"an hour of one digit", "auto", "", `"2023-12-01T3:00:00Z"`, `!is no time`},
		{"hour 24", "auto", "", `"2023-12-01T24:00:00Z"`, `!is no time`},
		{"an offset of letters", "auto", "", `"2023-12-01T23:00:00+ab:cd"`, `!is no time`},
		{"text after the time", "auto", "", `"2023-12-01T23:00:00Zulu"`, `!is no time`},
		{"a fraction without digits", "auto", "", `"2023-12-01T23:00:00.Z"`, `!is no time`},
		{"a text that is no time", "auto", "", `"yesterday"`, `!"yesterday" is no time in RFC 3339, e.g. "2006`},
		{"a text that is no number", "s", "", `"soon"`, `!is no number of s`},
		{"a boolean", "auto", "", `true`, `!true is no time`},
		{"a number beyond 64 bits of ns", "s", "", `99999999999`, `!out of range`},
		{"a fraction beyond 64 bits of ns", "s", "", `99999999999.5`, `!in range`},
		{"an unsigned number", "ns", "", `18446744073709551615`, `!out of range`},
		{"the year 9999", "auto", "", `"9999-12-31T23:59:59Z"`, `!out of the range`},
		{"zero is a clock that is not set", "s", "", `0`, ""},
		{"zero as text", "s", "", `"0"`, ""},
		{"zero with a fraction", "s", "", `0.0`, ""},
		{"null", "s", "", `null`, ""},
		{"an empty text", "rfc3339", "", `""`, ""},
		{"None", "auto", "", `"None"`, ""},
		{"1973 is implausible", "s", "", `120000000`, ""},
		{"1970 as text is implausible", "auto", "", `"1970-01-01T00:00:12Z"`, ""},
		{"negative is implausible", "s", "", `-5.5`, ""},
		{"a day and more ahead is implausible", "auto", "", `"2026-03-02T12:00:01Z"`, ""},
		{"a day ahead is plausible", "auto", "", `"2026-03-02T12:00:00Z"`, "2026-03-02T12:00:00Z"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := compile(t, Source{Topic: "t/{device}", Time: TimeSpec{Fields: []string{"ts"}, Unit: tt.unit, Zone: tt.zone}}).NewDecoder()
			b := batchOf("t/dev", `{"ts":`+tt.ts+`,"temp":21.5}`)
			d.Decode(b)
			if text, ok := strings.CutPrefix(tt.want, "!"); ok {
				if len(b.Rejects) != 1 || !strings.Contains(b.Rejects[0].Err.Error(), text) {
					t.Fatalf("%s: rejects %v, events %v, want a reject with %q", tt.ts, b.Rejects, b.Events, text)
				}
				return
			}
			if len(b.Events) != 1 {
				t.Fatalf("%s: rejects %v", tt.ts, b.Rejects)
			}
			want := received
			if tt.want != "" {
				at, err := time.Parse(time.RFC3339Nano, tt.want)
				if err != nil {
					t.Fatal(err)
				}
				want = at.UnixNano()
			}
			if got := b.Events[0].Time; got != want {
				t.Errorf("%s: %v, want %v", tt.ts, time.Unix(0, got).UTC(), time.Unix(0, want).UTC())
			}
			if _, ok := b.Events[0].Field("ts"); ok {
				t.Error("the time is a field too")
			}
		})
	}
}

func TestTimeFallsBackAndIsBounded(t *testing.T) {
	early := time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)
	d := compile(t, Source{Topic: "t/{device}", Time: TimeSpec{Fields: []string{"Epoch", "sub.Time"}, Earliest: early, MaxAhead: time.Hour}}).NewDecoder()
	for _, tt := range []struct {
		doc      string
		want     int64
		replaced uint64
	}{
		{`{"Epoch":1567595328,"sub":{"Time":"2019-09-04T13:08:48"},"v":1}`, 1567595328e9, 0},
		{`{"Epoch":0,"sub":{"Time":"2019-09-04T13:08:48"},"v":1}`, 1567602528e9, 0},
		{`{"sub":{"Time":"2019-09-04T13:08:48"},"v":1}`, 1567602528e9, 0},
		{`{"v":1}`, received, 0},
		{`{"Epoch":100000000,"v":1}`, 100000000e9, 0},
		{`{"Epoch":10000000,"v":1}`, received, 1},
		{`{"Epoch":1772369999,"v":1}`, 1772369999e9, 0},
		{`{"Epoch":1772370001,"v":1}`, received, 1},
	} {
		before := d.Counts().TimeReplaced
		b := batchOf("t/dev", tt.doc)
		d.Decode(b)
		if len(b.Events) != 1 || b.Events[0].Time != tt.want || d.Counts().TimeReplaced-before != tt.replaced {
			t.Errorf("%s: events %v, rejects %v, replaced %d; want the time %d, replaced %d",
				tt.doc, b.Events, b.Rejects, d.Counts().TimeReplaced-before, tt.want, tt.replaced)
		}
	}
}

// TestTheReceiveTimeIsTakenToTheNanosecond: what is received a nanosecond apart
// stays apart, whether the payload says no time, an empty one or an implausible one.
func TestTheReceiveTimeIsTakenToTheNanosecond(t *testing.T) {
	const at = received + 123_456_789
	for _, tt := range []struct {
		name, payload string
		src           Source
		replaced      uint64
	}{
		{"a flat document without a time", `{"v":1}`, Source{}, 0},
		{"a nested document without a time", `{"a":{"v":1}}`, Source{}, 0},
		{"a document without the field that is the time", `{"v":1}`, Source{Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitSecond}}, 0},
		{"a clock that is not set", `{"v":1,"ts":0}`, Source{Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitMilli}}, 0},
		{"a time that is null", `{"v":1,"ts":null}`, Source{Time: TimeSpec{Fields: []string{"ts"}}}, 0},
		{"a time long ago", `{"v":1,"ts":86400}`, Source{Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitSecond}}, 1},
		{"a time far ahead", `{"v":1,"ts":"2100-01-01T00:00:00Z"}`, Source{Time: TimeSpec{Fields: []string{"ts"}}}, 1},
		{"a bare value", `21.5`, Source{Format: Value}, 0},
		{"a line without a time", `m v=1`, Source{Format: LineProtocol, Time: TimeSpec{Unit: UnitSecond}}, 0},
		{"a line of long ago", `m v=1 86400`, Source{Format: LineProtocol, Time: TimeSpec{Unit: UnitSecond}}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.src.Topic = "t/{device}"
			d := compile(t, tt.src).NewDecoder()
			b := event.NewBatch(nil)
			for i := range int64(3) {
				b.Messages = append(b.Messages, event.Message{Topic: "t/d1", Payload: []byte(tt.payload), Received: at + i})
			}
			d.Decode(b)
			if len(b.Events) != 3 {
				t.Fatalf("events %v, rejects %v", b.Events, b.Rejects)
			}
			for i, e := range b.Events {
				if e.Time != at+int64(i) || e.Received != e.Time {
					t.Errorf("event %d: time %d, received %d, want both %d", i, e.Time, e.Received, at+int64(i))
				}
			}
			if got := d.Counts().TimeReplaced; got != 3*tt.replaced {
				t.Errorf("times replaced = %d, want %d", got, 3*tt.replaced)
			}
		})
	}
}

// FuzzTimeText holds the reader of RFC 3339 against the standard library's.
func FuzzTimeText(f *testing.F) {
	for _, s := range []string{"2022-07-18T09:34:15.775023242+00:00", "2022-10-11T21:42:50-01:30", "2024-02-29T23:59:59Z", "2023-12-01 23:00:00", "1999-1-1T00:00:00Z"} {
		f.Add(s)
	}
	ts := timeSpec{unit: UnitRFC3339}
	f.Fuzz(func(t *testing.T, s string) {
		var want time.Time
		err := want.UnmarshalText([]byte(s)) // stricter than Parse, which takes an hour of one digit
		got, errGot := ts.parse(s)
		if err == nil && (want.Year() < 1679 || want.Year() > 2260) {
			return // the bounds of 64 bits are exact to the year only
		}
		if err == nil && (errGot != nil || got != want.UnixNano()) {
			t.Fatalf("%q: %d, %v; the standard library says %d", s, got, errGot, want.UnixNano())
		}
		if errGot == nil && err != nil {
			for _, layout := range []string{"2006-01-02T15:04:05.999999999Z0700", "2006-01-02T15:04:05.999999999Z07"} {
				r := strings.NewReplacer(" ", "T", "t", "T", "z", "Z", ",", ".")
				u := r.Replace(s)
				if strings.Count(u, "T") > 1 { // a blank before the offset
					at := strings.LastIndex(u, "T")
					u = u[:at] + u[at+1:]
				}
				if w, err := time.Parse(layout, u); err == nil && w.UnixNano() == got {
					return
				}
			}
			if w, err := time.Parse(time.RFC3339Nano, strings.NewReplacer(" ", "T", "t", "T", "z", "Z", ",", ".").Replace(strings.Replace(s, " ", "", strings.Count(s, " ")-1))); err == nil && w.UnixNano() == got {
				return
			}
			t.Fatalf("%q gives %v, which none of the variants says", s, time.Unix(0, got).UTC())
		}
	})
}

func TestScaledIsExact(t *testing.T) {
	for _, tt := range []struct {
		s     string
		scale int
		want  int64
		ok    bool
	}{
		{"1.5", 9, 1500000000, true}, {"-1.5", 9, -1500000000, true}, {"0.000000001", 9, 1, true}, {"0.0000000019", 9, 1, true},
		{"9223372036.854775807", 9, 9223372036854775807, true}, {"9223372036.854775808", 9, 0, false}, {"1e-9", 9, 1, true},
		{"1e18", 0, 1e18, true}, {"1e19", 0, 0, false}, {"1e", 9, 0, false}, {"e1", 9, 0, false}, {"", 9, 0, false}, {".", 9, 0, false},
		{"1.2.3", 9, 0, false}, {"1 2", 9, 0, false}, {"+5", 0, 5, true}, {"0e99999", 9, 0, false}, {"1e-9999", 9, 0, true},
	} {
		got, _, ok := scaled(tt.s, tt.scale, false)
		if got != tt.want || ok != tt.ok {
			t.Errorf("scaled(%q, %d) = %d, %v; want %d, %v", tt.s, tt.scale, got, ok, tt.want, tt.ok)
		}
	}
	var ts timeSpec
	if _, there, err := ts.of(event.Value{}); there || err != nil {
		t.Errorf("null is a time: %v, %v", there, err)
	}
}
