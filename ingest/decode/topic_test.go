package decode

import (
	"regexp"
	"strings"
	"testing"
)

var topicTable = []struct {
	name, template, topic string
	want                  []string // captures; nil: no match
}{
	{"a literal stands for itself", "a/b", "a/b", []string{}},
	{"a literal is not its parent", "a/b", "a", nil},
	{"a literal is not its child", "a", "a/b", nil},
	{"topics are case-sensitive", "a/B", "a/b", nil},
	{"a capture takes one level", "sensors/{device}/telemetry", "sensors/f3/telemetry", []string{"f3"}},
	{"a capture takes no slash", "sensors/{device}/telemetry", "sensors/a/b/telemetry", nil},
	{"a capture takes an empty level as + does", "sensors/{device}/telemetry", "sensors//telemetry", []string{""}},
	{"plus takes one level", "a/+/c", "a/b/c", []string{}},
	{"hash takes the rest", "a/#", "a/b/c", []string{}},
	{"hash takes the parent too", "a/#", "a", []string{}},
	{"hash is not for a longer first level", "a/#", "ab", nil},
	{"hash alone takes every topic", "#", "a/b", []string{}},
	{"hash alone takes no $ topic", "#", "$SYS/x", nil},
	{"plus takes no $ topic", "+/x", "$SYS/x", nil},
	{"a capture takes no $ topic", "{a}/x", "$SYS/x", nil},
	{"a capture of several levels takes no $ topic", "{a...}/x", "$SYS/x", nil},
	{"a literal $ level is taken", "$aws/things/{device}/shadow/update", "$aws/things/t1/shadow/update", []string{"t1"}},
	{"several levels at the end", "zigbee2mqtt/{device...}", "zigbee2mqtt/living/climate", []string{"living/climate"}},
	{"several levels are at least one", "zigbee2mqtt/{device...}", "zigbee2mqtt", nil},
	{"several levels at the start", "{device...}/tele/SENSOR", "emoncms/ch2i/denky/tele/SENSOR", []string{"emoncms/ch2i/denky"}},
	{"several levels at the start are at least one", "{device...}/tele/SENSOR", "tele/SENSOR", nil},
	{"several levels in the middle", "a/{x...}/b/{y}", "a/1/2/b/3", []string{"1/2", "3"}},
	{"the levels around several may not overlap", "a/{x...}/a", "a", nil},
	{"several levels may be one empty one", "a/{x...}/b", "a//b", []string{""}},
	{"several levels without a name", "{...}/set", "z/a/set", []string{}},
	{"a leading slash is an empty level", "/devices/{device}/x", "/devices/d/x", []string{"d"}},
	{"a leading slash is needed", "/devices/{device}/x", "devices/d/x", nil},
	{"a trailing slash is an empty level", "devices/{device}/", "devices/d/", []string{"d"}},
	{"a trailing slash is not nothing", "devices/{device}", "devices/d/", nil},
	{"UTF-8 and blanks are plain text", "{site}/räume/{device}", "b 1/räume/küche", []string{"b 1", "küche"}},
	{"captures within a level", "v3/{app}@{tenant}/up", "v3/a1@t1/up", []string{"a1", "t1"}},
	{"a capture within a level is not empty", "v3/{app}@{tenant}/up", "v3/@t1/up", nil},
	{"the first of two captures is the shortest", "{a}-{b}", "x-y-z", []string{"x", "y-z"}},
	{"a suffix within a level", "home/{kind}toMQTT", "home/BTtoMQTT", []string{"BT"}},
	{"a suffix alone is not enough", "home/{kind}toMQTT", "home/toMQTT", nil},
	{"a star within a level", "homie/{device}/$*", "homie/d/$state", []string{"d"}},
	{"a star is at least one character", "homie/{device}/$*", "homie/d/$", nil},
	{"a star takes no slash", "a*/b", "ax/y/b", nil},
	{"a star alone stands for a level that is not empty", "a/*", "a/", nil},
}

func TestTemplateMatchesTopics(t *testing.T) {
	for _, tt := range topicTable {
		t.Run(tt.name, func(t *testing.T) {
			tpl, err := parseTemplate(tt.template)
			if err != nil {
				t.Fatalf("parse %q: %v", tt.template, err)
			}
			var caps captures
			ok := tpl.match(tt.topic, &caps)
			if ok != (tt.want != nil) {
				t.Fatalf("%q on %q: match %v, want captures %q", tt.template, tt.topic, ok, tt.want)
			}
			for i, w := range tt.want {
				if caps[i] != w {
					t.Errorf("%q on %q: {%s} = %q, want %q", tt.template, tt.topic, tpl.names[i], caps[i], w)
				}
			}
		})
	}
}

func TestTemplateErrorsSayWhatIsWrong(t *testing.T) {
	for _, tt := range []struct{ template, want string }{
		{"", "is empty"},
		{"a/#/b", "only be the last level"},
		{"a/b#", "# must stand alone"},
		{"a/b+", "+ must stand alone"},
		{"a/{x}+", "+ must stand alone"},
		{"{a...}/{b...}", "two parts that stand for several levels"},
		{"{a...}/#", "two parts that stand for several levels"},
		{"x{a...}", "must stand alone between slashes"},
		{"{a}/{a}", "stands there twice"},
		{"{a}{b}", "two wildcards side by side"},
		{"{}/x", "the name of a capture"},
		{"{a b}/x", "the name of a capture"},
		{"{a", "{ without }"},
		{"a}", "} without {"},
		{"a\x00b", "NUL"},
		{"$share/g/a", "shared subscription"},
		{strings.Repeat("a", 70000), "longer than an MQTT topic"},
		{strings.Repeat("{a}/", 3), "stands there twice"},
		{"{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i}/{j}/{k}/{l}/{m}/{n}/{o}/{p}/{q}", "more than 16 captures"},
	} {
		if _, err := parseTemplate(tt.template); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("parse %.40q: %v, want an error with %q", tt.template, err, tt.want)
		}
	}
}

// slowMatch is the template as a regular expression.
func slowMatch(t *template, topic string) ([]string, bool) {
	if t.open && strings.HasPrefix(topic, "$") {
		return nil, false
	}
	var re strings.Builder
	re.WriteString(`(?s)\A`)
	for i, s := range splitLevels(t.text) {
		if s == "#" {
			if i == 0 {
				re.WriteString(`.*`)
			} else {
				re.WriteString(`(?:/.*)?`)
			}
			continue
		}
		if i > 0 {
			re.WriteString("/")
		}
		switch m, name, _ := multiLevel(s); {
		case m == oneLevel && name == "":
			re.WriteString(`.*`)
		case m == oneLevel:
			re.WriteString(`(.*)`)
		case s == "+":
			re.WriteString(`[^/]*`)
		case len(s) > 1 && s[0] == '{' && strings.IndexByte(s, '}') == len(s)-1:
			re.WriteString(`([^/]*)`)
		default:
			for s != "" {
				at := strings.IndexAny(s, "{*")
				if at < 0 {
					re.WriteString(regexp.QuoteMeta(s))
					break
				}
				re.WriteString(regexp.QuoteMeta(s[:at]))
				if s[at] == '*' {
					re.WriteString(`[^/]+?`)
					s = s[at+1:]
				} else {
					re.WriteString(`([^/]+?)`)
					s = s[at+strings.IndexByte(s[at:], '}')+1:]
				}
			}
		}
	}
	re.WriteString(`\z`)
	m := regexp.MustCompile(re.String()).FindStringSubmatch(topic)
	if m == nil {
		return nil, false
	}
	return m[1:], true
}

func FuzzTemplateMatch(f *testing.F) {
	for _, tt := range topicTable {
		f.Add(tt.template, tt.topic)
	}
	f.Fuzz(func(t *testing.T, text, topic string) {
		if strings.ToValidUTF8(text, "") != text || strings.ToValidUTF8(topic, "") != topic {
			return // MQTT topics are UTF-8, and a regular expression reads runes
		}
		tpl, err := parseTemplate(text)
		if err != nil {
			return
		}
		var caps captures
		got := tpl.match(topic, &caps)
		want, ok := slowMatch(tpl, topic)
		if got != ok {
			t.Fatalf("%q on %q: %v, the reference says %v", text, topic, got, ok)
		}
		for i := range want {
			if caps[i] != want[i] {
				t.Fatalf("%q on %q: {%s} = %q, the reference says %q", text, topic, tpl.names[i], caps[i], want[i])
			}
		}
	})
}

func TestRouteNamesTheSourceAndThePartitionKey(t *testing.T) {
	set := compile(t,
		Source{Topic: "sensors/{site}/{device}/telemetry"},
		Source{Topic: "N/{portal}/{service}/{path...}", Device: []DeviceRef{{Text: "{portal}/{service}"}}},
		Source{Topic: "gateway/{device}/events", Device: []DeviceRef{{Field: "id"}, {Text: "{device}"}}},
		Source{Topic: "rpc/{prefix}", Device: []DeviceRef{{Field: "src"}}},
		Source{Topic: "z/{device...}", Ignore: []string{"z/{any...}/set", "z/bridge/#"}},
		Source{Topic: "z/bridge/state"},
		Source{Topic: "const/+", Device: []DeviceRef{{Text: "weather"}}},
	)
	for _, tt := range []struct {
		topic  string
		source int
		key    string
	}{
		{"sensors/north/f3/telemetry", 0, "f3"},
		{"sensors/north//telemetry", 0, "sensors/north//telemetry"},
		{"N/p/s/Ac/Power", 1, "p/s"},
		{"gateway/g1/events", 2, "g1"},
		{"rpc/x", 3, "rpc/x"},
		{"z/a/b", 4, "a/b"},
		{"z/bridge/state", 5, "z/bridge/state"},
		{"const/a", 6, "weather"},
		{"z/a/set", -1, ""},
		{"other", -1, ""},
	} {
		r, ok := set.Route(tt.topic)
		if ok != (tt.source >= 0) || ok && (r.Source != tt.source || r.Key != tt.key) {
			t.Errorf("Route(%q) = %+v, %v; want source %d, key %q", tt.topic, r, ok, tt.source, tt.key)
		}
	}
}

func TestPartitionIsFixedForStoredData(t *testing.T) {
	for _, tt := range []struct {
		key  string
		n    int
		want int
	}{
		{"", 8, 6},
		{"a", 8, 3},
		{"f3", 8, 1},
		{"living room/ä", 16, 10},
		{"f3", 1, 0},
		{"f3", 0, 0},
	} {
		if got := Partition(tt.key, tt.n); got != tt.want {
			t.Errorf("Partition(%q, %d) = %d, want %d", tt.key, tt.n, got, tt.want)
		}
	}
}

func TestPartitionsAreBalancedForRegularKeys(t *testing.T) {
	for _, step := range []int{1, 2, 3, 16, 100} {
		for _, n := range []int{2, 3, 4, 8} {
			count := make([]int, n)
			for i := range 4000 {
				count[Partition("dev"+itoa(i*step), n)]++
			}
			for p, got := range count {
				if fair := 4000 / n; got < fair*4/5 || got > fair*6/5 {
					t.Errorf("every %dth id: partition %d of %d has %d of 4000 keys", step, p, n, got)
				}
			}
		}
	}
}

func TestRouteAllocatesNothing(t *testing.T) {
	set := compile(t, Source{Topic: "a/{x...}/b"}, Source{Topic: "sensors/{site}/{device}/telemetry", Ignore: []string{"sensors/test/#"}})
	if n := testing.AllocsPerRun(100, func() { set.Route("sensors/north/f3/telemetry") }); n != 0 {
		t.Errorf("allocations per Route = %v, want 0", n)
	}
}
