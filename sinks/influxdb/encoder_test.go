package influxdb

import (
	"fmt"
	"math"
	"testing"
	"time"

	"weir/ingest/event"
)

func testEncoder(change ...func(*Config)) *encoder {
	cfg := Default()
	for _, f := range change {
		f(&cfg)
	}
	return newEncoder(newTypes(cfg.MaxFields), &cfg)
}

func ev(device string, pairs ...any) event.Event {
	e := event.Event{Measurement: "m", Device: device, Time: 1_700_000_000_000_000_001}
	for i := 0; i < len(pairs); i += 2 {
		e.Fields = append(e.Fields, event.Field{Name: pairs[i].(string), Value: pairs[i+1].(event.Value)})
	}
	return e
}

func TestAnEventIsOneLine(t *testing.T) {
	f, s := event.FloatValue, event.StringValue
	for _, tt := range []struct {
		name string
		ev   event.Event
		want string
	}{
		{"the device is a tag", ev("d1", "v", f(21.5)), "m,device=d1 v=21.5 1700000000000000001\n"},
		{"an event without a device has none", ev("", "v", f(21.5)), "m v=21.5 1700000000000000001\n"},
		{"a literal is written as it came", ev("d", "v", event.FloatLiteral(21.5, "21.500")), "m,device=d v=21.500 1700000000000000001\n"},
		{"a literal longer than a float is precise is shortened", ev("d", "v", event.FloatLiteral(0.1, "0.100000000000000000000000000000000001")), "m,device=d v=0.1 1700000000000000001\n"},
		{"each kind has its form", ev("d", "f", f(1e21), "i", event.IntValue(math.MinInt64), "u", event.UintValue(math.MaxUint64), "b", event.BoolValue(false), "s", event.StringValue(`a"\`)),
			`m,device=d f=1e+21,i=-9223372036854775808i,u=18446744073709551615u,b=false,s="a\"\\" 1700000000000000001` + "\n"},
		{"what is no number is left out", ev("d", "a", f(math.NaN()), "b", f(1), "c", f(math.Inf(-1)), "d", event.Value{}), "m,device=d b=1 1700000000000000001\n"},
		{"an event without fields is nothing", ev("d", "a", f(math.NaN()), "d", event.Value{}), ""},
		{"tags and device are in the order of their keys", withTags(ev("d", "v", f(1)), "area", "x", "site", "y"), "m,area=x,device=d,site=y v=1 1700000000000000001\n"},
		{"tags before the device", withTags(ev("d", "v", f(1)), "a", "x", "b", "y"), "m,a=x,b=y,device=d v=1 1700000000000000001\n"},
		{"empty, repeated and nameless tags are left out", withTags(ev("d", "v", f(1)), "", "x", "a", "", "b", "1", "b", "2", "device", "other"), "m,b=1,device=d v=1 1700000000000000001\n"},
		{"a tag is the device where the event has none", withTags(ev("", "v", f(1)), "device", "other"), "m,device=other v=1 1700000000000000001\n"},
		{"special characters are escaped", withTags(ev(`a=b, c\`, "x=y, z", f(1)), "k=, ", "\n\x01\xff"), `m,device=a\=b\,\ c/,k\=\,\ =\n?? x\=y\,\ z=1 1700000000000000001` + "\n"},
		{"reserved names get an underscore", withTags(ev("d", "time", f(1)), "time", "t"), "m,device=d,time_=t time__=1 1700000000000000001\n"},
		{"a field is not named like time, the device or a tag", withTags(ev("d", "time", f(1), "device", s("x"), "site", f(9)), "site", "s1"), `m,device=d,site=s1 time_=1,device_="x",site_=9 1700000000000000001` + "\n"},
		{"nor like the device where the event has none", ev("", "device", s("x")), `m device_="x" 1700000000000000001` + "\n"},
		{"nor like a tag that is empty in this event", withTags(ev("d", "site", f(9)), "site", ""), "m,device=d site_=9 1700000000000000001\n"},
		{"who has the name with an underscore makes way", withTags(ev("d", "site_", f(1), "site", f(2), "site__", f(3)), "site", "s1"), "m,device=d,site=s1 site__=1,site_=2,site___=3 1700000000000000001\n"},
		{"and does so alone too", withTags(ev("d", "site_", f(1)), "site", "s1"), "m,device=d,site=s1 site__=1 1700000000000000001\n"},
		{"a field passes by a tag with an underscore", withTags(ev("d", "site", f(1), "site_", f(2)), "site", "s1", "site_", "s2"), "m,device=d,site=s1,site_=s2 site__=1,site___=2 1700000000000000001\n"},
		{"a tag with an underscore does not touch the name without", withTags(ev("d", "site", f(1), "site_", f(2)), "site_", "s2"), "m,device=d,site_=s2 site=1,site__=2 1700000000000000001\n"},
		{"two tags are not written as one", withTags(ev("d", "v", f(1)), "time", "a", "time_", "b"), "m,device=d,time_=a,time__=b v=1 1700000000000000001\n"},
		{"a name of underscores only is a name", withTags(ev("d", "_", f(1), "__", f(2)), "_", "x"), "m,_=x,device=d __=1,___=2 1700000000000000001\n"},
		{"a field that repeats a tag is left out", withTags(ev("5", "device", event.FloatLiteral(5, "5"), "site", s("north"), "open", s("true"), "v", f(1)), "open", "true", "site", "north"), "m,device=5,open=true,site=north v=1 1700000000000000001\n"},
		{"a field that has another's text stays", withTags(ev("d", "site", s("d"), "other", s("north")), "site", "north"), `m,device=d,site=north site_="d",other="north" 1700000000000000001` + "\n"},
		{"an integer and a truth repeat a tag too", withTags(ev("d", "n", event.IntValue(7), "open", event.BoolValue(true), "v", f(1)), "n", "7", "open", "true"), "m,device=d,n=7,open=true v=1 1700000000000000001\n"},
		{"a field that repeats a tag stays where it is all there is", ev("d", "device", s("d"), "a", f(math.NaN())), `m,device=d device_="d" 1700000000000000001` + "\n"},
		{"nothing is repeated by a tag that is not written", withTags(ev("d", "site", s(""), "v", f(1)), "site", ""), `m,device=d site_="",v=1 1700000000000000001` + "\n"},
		{"a device in a tag is repeated too", withTags(ev("", "device", s("x"), "v", f(1)), "device", "x"), "m,device=x v=1 1700000000000000001\n"},
		{"an empty field name has a name", ev("d", "", f(1)), "m,device=d (empty)=1 1700000000000000001\n"},
		{"time before 1970 is negative", event.Event{Measurement: "m", Time: -5, Fields: []event.Field{{Name: "v", Value: f(1)}}}, "m v=1 -5\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := testEncoder()
			for range 2 { // with nothing known, and with the columns known
				e.reset()
				if _, err := e.addEvents(0, 0, []event.Event{tt.ev}); err != nil {
					t.Fatal(err)
				}
				if got := string(e.body); got != tt.want {
					t.Errorf("\n got %q\nwant %q", got, tt.want)
				}
			}
		})
	}
}

func withTags(e event.Event, pairs ...string) event.Event {
	for i := 0; i < len(pairs); i += 2 {
		e.Tags = append(e.Tags, event.Tag{Key: pairs[i], Value: pairs[i+1]})
	}
	return e
}

func TestAFieldKeepsItsFirstType(t *testing.T) {
	var null event.Kind
	f, i, u, b, s := event.FloatValue, event.IntValue, event.UintValue, event.BoolValue, event.StringValue
	for _, tt := range []struct {
		first event.Value
		then  event.Value
		want  string // value in the line; "" when it can't be written
	}{
		{f(1), i(3), "3"}, {f(1), u(3), "3"}, {f(1), b(true), "1"}, {f(1), s(" 52.60 "), "52.6"}, {f(1), s("-1e3"), "-1000"},
		{f(1), s("warm"), ""}, {f(1), s(""), ""}, {f(1), s("0x10"), ""}, {f(1), s("1_000"), ""}, {f(1), s("nan"), ""}, {f(1), s("1e999"), ""},
		{i(1), f(3), "3i"}, {i(1), f(3.5), ""}, {i(1), f(9.3e18), ""}, {i(1), f(-9223372036854775808), "-9223372036854775808i"}, {i(1), u(math.MaxInt64), "9223372036854775807i"}, {i(1), u(math.MaxUint64), ""},
		{i(1), b(false), "0i"}, {i(1), s("42"), "42i"}, {i(1), s("42.0"), "42i"}, {i(1), s("42.5"), ""}, {i(1), s("9223372036854775807"), "9223372036854775807i"},
		{u(1), i(3), "3u"}, {u(1), i(-3), ""}, {u(1), f(3), "3u"}, {u(1), f(-1), ""}, {u(1), s("18446744073709551615"), "18446744073709551615u"}, {u(1), b(true), "1u"},
		{b(true), f(0), "false"}, {b(true), i(1), "true"}, {b(true), f(2), ""}, {b(true), s("ON"), "true"}, {b(true), s("off"), "false"}, {b(true), s("open"), ""},
		{s("a"), f(1.5), `"1.5"`}, {s("a"), event.FloatLiteral(1.5, "1.50"), `"1.50"`}, {s("a"), i(-2), `"-2"`}, {s("a"), b(true), `"true"`}, {s("a"), u(7), `"7"`},
	} {
		e := testEncoder()
		add := func(v event.Value) error {
			e.reset()
			_, err := e.addEvents(0, 0, []event.Event{ev("d", "v", v)})
			return err
		}
		if err := add(tt.first); err != nil {
			t.Fatal(err)
		}
		err := add(tt.then)
		name := fmt.Sprintf("%v %v, then %v %q", tt.first.Kind(), tt.first, tt.then.Kind(), tt.then)
		if tt.want == "" {
			te, ok := err.(*TypeError)
			if !ok || te.Want != tt.first.Kind() || te.Field != "v" || te.Measurement != "m" || len(e.body) != 0 {
				t.Errorf("%s: error %v, body %q; want a *TypeError and nothing written", name, err, e.body)
			}
			continue
		}
		want := "m,device=d v=" + tt.want + " 1700000000000000001\n"
		if err != nil || string(e.body) != want {
			t.Errorf("%s: %q, %v; want %q", name, e.body, err, want)
		}
		if e.coerced != 1 {
			t.Errorf("%s: counted as coerced %d times", name, e.coerced)
		}
		if e.types.Lookup("m", "v") != tt.first.Kind() || e.types.Lookup("m", "w") != null {
			t.Errorf("%s: learnt %v", name, e.types.Lookup("m", "v"))
		}
	}
}

func TestUnsignedIsWrittenAsWhatTheServerKnows(t *testing.T) {
	e := testEncoder()
	e.unsigned = false
	for _, tt := range []struct {
		field string
		v     uint64
		want  string
	}{
		{"a", 7, "7i"}, {"b", math.MaxUint64, "1.8446744073709552e+19"}, {"b", 7, "7"},
	} {
		e.reset()
		if _, err := e.addEvents(0, 0, []event.Event{ev("d", tt.field, event.UintValue(tt.v))}); err != nil {
			t.Fatal(err)
		}
		if got, want := string(e.body), "m,device=d "+tt.field+"="+tt.want+" 1700000000000000001\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	e.reset()
	if _, err := e.addEvents(0, 0, []event.Event{ev("d", "a", event.UintValue(math.MaxUint64))}); err == nil {
		t.Errorf("a number beyond an integer field was written: %q", e.body)
	}
}

func TestAMessageIsWrittenAsAWholeOrNotAtAll(t *testing.T) {
	e := testEncoder()
	good, bad := ev("d", "v", event.FloatValue(1)), ev("d", "v", event.StringValue("x"))
	if n, err := e.addEvents(0, 0, []event.Event{good, good}); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	before := string(e.body)
	if _, err := e.addEvents(0, 1, []event.Event{good, bad}); err == nil {
		t.Fatal("no error")
	}
	if string(e.body) != before || len(e.units) != 1 || e.lines != 2 {
		t.Errorf("after a bad message: %d units, %d lines, body %q", len(e.units), e.lines, e.body)
	}
	if _, err := e.addEvents(0, 2, []event.Event{{Device: "d", Fields: good.Fields}}); err == nil {
		t.Error("an event without a measurement was written")
	}
}

func TestPrecisionRoundsDown(t *testing.T) {
	for _, tt := range []struct {
		precision string
		at        int64
		want      string
	}{
		{"ns", 1_999_999_999, "1999999999"}, {"us", 1_999_999_999, "1999999"}, {"ms", 1_999_999_999, "1999"}, {"s", 1_999_999_999, "1"}, {"s", -1, "-1"}, {"s", -1_000_000_000, "-1"},
	} {
		e := testEncoder(func(c *Config) { c.Precision = tt.precision })
		one := ev("d", "v", event.FloatValue(1))
		one.Time = tt.at
		e.addEvents(0, 0, []event.Event{one})
		if got, want := string(e.body), "m,device=d v=1 "+tt.want+"\n"; got != want {
			t.Errorf("%d in %s: %q, want %q", tt.at, tt.precision, got, want)
		}
	}
}

func TestTimestampsAreWrittenExactly(t *testing.T) {
	e := testEncoder()
	for _, at := range []int64{0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, 59_999_999_999, 1_700_000_000_000_000_000, 1_700_000_000_000_000_007, 1_700_000_000_987_654_321,
		1_700_000_000_100_000_000, 5, math.MaxInt64, math.MinInt64, -1, 1_000_000_000} {
		if got, want := string(e.appendTime(nil, at)), fmt.Sprint(at); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestNamesWithoutEndDoNotGrowMemory(t *testing.T) {
	e := testEncoder(func(c *Config) { c.MaxFields = 50 })
	for i := range 5000 {
		e.reset()
		one := ev("d", fmt.Sprintf("pid%d", i), event.FloatValue(1), "v", event.FloatValue(1))
		switch i % 3 {
		case 0:
			one.Measurement = fmt.Sprintf("m%d", i)
		case 1:
			one = withTags(one, fmt.Sprintf("tag%d", i), "x")
		}
		if _, err := e.addEvents(0, 0, []event.Event{one}); err != nil || e.lines != 1 {
			t.Fatal(e.lines, err)
		}
	}
	held := len(e.measurements)
	for _, m := range e.measurements {
		for _, s := range m.series {
			held += 1 + len(s.columns)
		}
	}
	if held > 101 || e.types.Len() != 50 || e.types.Overflow() == 0 {
		t.Errorf("held names = %d (want at most 101), learnt = %d (want 50), overflow = %d", held, e.types.Len(), e.types.Overflow())
	}
}

func TestMeasurementsAreChosenByName(t *testing.T) {
	for _, tt := range []struct {
		include, exclude []string
		name             string
		want             bool
	}{
		{nil, nil, "m", true}, {[]string{"plant_*"}, nil, "plant_1", true}, {[]string{"plant_*"}, nil, "m", false},
		{nil, []string{"*debug*"}, "x_debug_y", false}, {nil, []string{"*debug*"}, "x", true},
		{[]string{"*"}, []string{"a*z"}, "abcz", false}, {[]string{"*"}, []string{"a*z"}, "abc", true}, {[]string{"a*b*c"}, nil, "abbc", true}, {[]string{"a*b*c"}, nil, "ac", false},
		{[]string{"aa*aa"}, nil, "aaa", false}, {[]string{"exact"}, nil, "exactly", false},
	} {
		c := Config{Include: tt.include, Exclude: tt.exclude}
		if got := c.wants(tt.name); got != tt.want {
			t.Errorf("include %q, exclude %q: wants %q = %v, want %v", tt.include, tt.exclude, tt.name, got, tt.want)
		}
	}
	e := testEncoder(func(c *Config) { c.Include = []string{"other"} })
	if n, err := e.addEvents(0, 0, []event.Event{ev("d", "v", event.FloatValue(1))}); n != 0 || err != nil {
		t.Errorf("an unwanted measurement: %d lines, %v", n, err)
	}
}

func benchmarkEvents(literal bool) []event.Event {
	evs := make([]event.Event, 1000)
	at := time.Now().UnixNano()
	for i := range evs {
		v := func(x float64, text string) event.Value {
			if literal {
				return event.FloatLiteral(x, text)
			}
			return event.FloatValue(x)
		}
		evs[i] = event.Event{
			Source: "plant", Measurement: "telemetry", Device: fmt.Sprintf("device-%04d", i), Time: at + int64(i),
			Tags: []event.Tag{{Key: "site", Value: "north"}},
			Fields: []event.Field{{Name: "temperature", Value: v(21.57, "21.57")}, {Name: "humidity", Value: v(48.2, "48.2")},
				{Name: "battery", Value: v(3.01, "3.01")}, {Name: "open", Value: event.BoolValue(true)}},
		}
	}
	return evs
}

// TestAFieldsNameIsThatOfItsOwnEvent has events of one measurement with other
// tags in turn: what is known of the one must not be used for the other.
func TestAFieldsNameIsThatOfItsOwnEvent(t *testing.T) {
	e := testEncoder()
	v := event.FloatValue(1)
	for range 3 {
		e.reset()
		_, err := e.addEvents(0, 0, []event.Event{
			ev("d", "site", v, "area", v), withTags(ev("d", "site", v, "area", v), "site", "s"), withTags(ev("d", "site", v, "area", v), "area", "a"),
			withTags(ev("d", "site", v, "area", v), "area", "a", "site", "s"),
		})
		const at = " 1700000000000000001\n"
		want := "m,device=d site=1,area=1" + at + "m,device=d,site=s site_=1,area=1" + at + "m,area=a,device=d site=1,area_=1" + at + "m,area=a,device=d,site=s site_=1,area_=1" + at
		if got := string(e.body); err != nil || got != want {
			t.Fatalf("error %v\n got %q\nwant %q", err, got, want)
		}
	}
}

// TestNoTwoNamesAreWrittenAsOne tries every event with some of these names as
// tags and fields.
func TestNoTwoNamesAreWrittenAsOne(t *testing.T) {
	names := []string{"device", "device_", "time", "time_", "time__", "x", "x_", "x__", "_", "__"}
	e := testEncoder()
	for set := range 1 << len(names) {
		var tags []event.Tag
		for i, name := range names {
			if set&(1<<i) != 0 {
				tags = append(tags, event.Tag{Key: name, Value: "t"})
			}
		}
		s := e.seriesOf(e.measurement("m"), tags)
		taken := map[string]bool{"time": true, "device": true}
		for i, name := range s.names {
			if taken[name] && s.keys[i] != "device" {
				t.Fatalf("tags %v: %q is written as %q, which is taken", tags, s.keys[i], name)
			}
			taken[name] = true
		}
		for _, name := range names {
			out := unreserved(name, s.reserved)
			if taken[out] {
				t.Fatalf("tags %v: field %q is written as %q, which is taken", tags, name, out)
			}
			taken[out] = true
		}
	}
}

func TestEncodingAllocatesNothing(t *testing.T) {
	e := testEncoder()
	evs := benchmarkEvents(true)
	for i := range evs { // other tags in turn, and names of tags
		if i%2 == 0 {
			evs[i].Tags = nil
			evs[i].Fields = append(evs[i].Fields, event.Field{Name: "site", Value: event.StringValue("south")}, event.Field{Name: "device", Value: event.StringValue(evs[i].Device)})
		}
	}
	run := func() {
		e.reset()
		for i := range evs {
			if _, err := e.addEvents(0, uint32(i), evs[i:i+1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	run()
	if n := testing.AllocsPerRun(20, run); n != 0 {
		t.Errorf("allocations for 1,000 lines = %v, want 0", n)
	}
}

// BenchmarkEncode gives the time of a line with 4 fields.
func BenchmarkEncode(b *testing.B) {
	for _, tt := range []struct {
		name    string
		literal bool
	}{{"floats=literal", true}, {"floats=formatted", false}} {
		b.Run(tt.name, func(b *testing.B) {
			e, evs := testEncoder(), benchmarkEvents(tt.literal)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if i == len(evs) {
					b.SetBytes(int64(len(e.body) / len(evs)))
					i = 0
					e.reset()
				}
				e.addEvents(0, uint32(i), evs[i:i+1])
				i++
			}
		})
	}
}
