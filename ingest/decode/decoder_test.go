package decode

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/ingest/event"
)

func tagsOf(e *event.Event) map[string]string {
	m := map[string]string{}
	for _, t := range e.Tags {
		m[t.Key] = t.Value
	}
	return m
}

// TestMapping: what a source's keys make of a document.
func TestMapping(t *testing.T) {
	for _, tt := range []struct {
		name           string
		source         Source
		topic, payload string
		device         string // "": no event; "reject: ...": one with that text
		measurement    string
		tags           map[string]string
		fields         map[string]any
	}{
		{"the device is captured by default", Source{Topic: "s/{device}/t"}, "s/f3/t", `{"a":1}`, "f3", "src", nil, map[string]any{"a": 1.0}},
		{"without a capture it is the topic", Source{Topic: "s/+/t"}, "s/f3/t", `{"a":1}`, "s/f3/t", "src", nil, map[string]any{"a": 1.0}},
		{"an empty device is rejected", Source{Topic: "s/{device}/t"}, "s//t", `{"a":1}`, "reject: no device: {device} is empty", "", nil, nil},
		{"a device of several captures", Source{Topic: "N/{p}/{s}/x", Device: []DeviceRef{{Text: "{p}:{s}"}}}, "N/a/b/x", `{"a":1}`, "a:b", "src", nil, map[string]any{"a": 1.0}},
		{"a device from the payload stays a field", Source{Topic: "rpc", Device: []DeviceRef{{Field: "id.name"}}}, "rpc", `{"id":{"name":"d7"}}`, "d7", "src", nil, map[string]any{"id.name": "d7"}},
		{"a numeric device is as it arrived", Source{Topic: "rpc", Device: []DeviceRef{{Field: "id"}}}, "rpc", `{"id":11824}`, "11824", "src", nil, map[string]any{"id": 11824.0}},
		{"a big numeric device", Source{Topic: "rpc", Device: []DeviceRef{{Field: "id"}}}, "rpc", `{"id":18446744073709551615}`, "18446744073709551615", "src", nil, map[string]any{"id": uint64(18446744073709551615)}},
		{"the first device that is there", Source{Topic: "g/{mac}", Device: []DeviceRef{{Field: "id"}, {Field: "addr"}, {Text: "{mac}"}}}, "g/m1", `{"id":"","addr":null,"a":1}`, "m1", "src", nil, map[string]any{"id": "", "a": 1.0}},
		{"no device is a reject with the remedy", Source{Topic: "rpc", Device: []DeviceRef{{Field: "src"}}}, "rpc", `{"a":1}`, `reject: no device: no field "src"; add a fallback`, "", nil, nil},
		{"a device in hexadecimal", Source{Topic: "m", Device: []DeviceRef{{Field: "from", Format: "!%08x"}}, Include: []string{"v"}}, "m", `{"from":3121468972,"v":1}`, "!ba0dd62c", "src", nil, map[string]any{"v": 1.0}},
		{"a negative device in hexadecimal has 32 bits", Source{Topic: "m", Device: []DeviceRef{{Field: "from", Format: "!%08x"}}, Include: []string{"v"}}, "m", `{"from":-2022641152,"v":1}`, "!8770f200", "src", nil, map[string]any{"v": 1.0}},
		{"a text in a device's format", Source{Topic: "m", Device: []DeviceRef{{Field: "from", Format: "n%04d"}}, Include: []string{"v"}}, "m", `{"from":"x","v":1}`, "nx", "src", nil, map[string]any{"v": 1.0}},
		{"a measurement from the topic", Source{Topic: "s/{device}/{kind}", Measurement: "m_{kind}"}, "s/f3/air", `{"a":1}`, "f3", "m_air", nil, map[string]any{"a": 1.0}},
		{"tags from topic and payload, by key", Source{Topic: "s/{site}/{device}", Tags: []string{"unit", "site", "meta.room", "n", "ok", "gone"}}, "s/north/f3", `{"unit":"C","meta":{"room":"k1"},"n":5.50,"ok":true,"gone":null,"a":1}`,
			"f3", "src", map[string]string{"site": "north", "unit": "C", "meta.room": "k1", "n": "5.50", "ok": "true"}, map[string]any{"a": 1.0}},
		{"an empty tag is left out", Source{Topic: "s/{site}/{device}", Tags: []string{"site", "x"}}, "s//f3", `{"x":"","a":1}`, "f3", "src", nil, map[string]any{"a": 1.0}},
		{"rename of fields and tags", Source{Topic: "s/{site}/{device}", Tags: []string{"site"}, Rename: map[string]string{"site": "plant", "t": "temperature", "b.c": "deep"}}, "s/n/f3", `{"t":1,"b":{"c":2},"x":3}`,
			"f3", "src", map[string]string{"plant": "n"}, map[string]any{"temperature": 1.0, "deep": 2.0, "x": 3.0}},
		{"a rename onto another field: the last counts", Source{Topic: "s/{device}", Rename: map[string]string{"t": "temp"}}, "s/f3", `{"t":1,"temp":2}`, "f3", "src", nil, map[string]any{"temp": 2.0}},
		{"a root", Source{Topic: "s/{device}", Root: []string{"a.b"}}, "s/f3", `{"x":1,"a":{"y":2,"b":{"z":3,"d":[4]}}}`, "f3", "src", nil, map[string]any{"z": 3.0, "d.0": 4.0}},
		{"two roots", Source{Topic: "s/{device}", Root: []string{"up", "up.payload"}, Include: []string{"up.payload", "f_cnt"}}, "s/f3", `{"up":{"f_cnt":7,"rssi":-3,"payload":{"t":1}}}`, "f3", "src", nil, map[string]any{"f_cnt": 7.0, "t": 1.0}},
		{"a root that is not there", Source{Topic: "s/{device}", Root: []string{"state.reported"}}, "s/f3", `{"state":{"desired":{"a":1}}}`, "", "", nil, nil},
		{"a root that is a scalar has the field's name", Source{Topic: "N/{device}/{path...}", Root: []string{"value"}, Field: "{path}"}, "N/d/Ac/Power", `{"max":5,"value":936}`, "d", "src", nil, map[string]any{"Ac.Power": 936.0}},
		{"a root that is a scalar, without a field's name", Source{Topic: "N/{device}", Root: []string{"a.value"}}, "N/d", `{"a":{"value":936}}`, "d", "src", nil, map[string]any{"value": 936.0}},
		{"a field's name is the prefix of a document", Source{Topic: "{device}/status/{c}", Field: "{c}"}, "d/status/switch:0", `{"id":0,"t":{"tC":1}}`, "d", "src", nil, map[string]any{"switch:0.id": 0.0, "switch:0.t.tC": 1.0}},
		{"include", Source{Topic: "s/{device}", Include: []string{"a", "b.*"}}, "s/f3", `{"a":{"x":1},"b":{"y":2},"c":3,"ab":4}`, "f3", "src", nil, map[string]any{"a.x": 1.0, "b.y": 2.0}},
		{"exclude", Source{Topic: "s/{device}", Exclude: []string{"a", "*.y"}}, "s/f3", `{"a":{"x":1},"b":{"y":2,"z":3},"c":3}`, "f3", "src", nil, map[string]any{"b.z": 3.0, "c": 3.0}},
		{"what has a role is found in what is excluded", Source{Topic: "s", Exclude: []string{"meta"}, Device: []DeviceRef{{Field: "meta.id"}}}, "s", `{"meta":{"id":"d","x":1},"a":1}`, "d", "src", nil, map[string]any{"a": 1.0}},
		{"numbers in texts", Source{Topic: "s/{device}", Numbers: []string{"hum", "t*"}}, "s/f3", `{"hum":"52.6","temp":" 7","txt":"x","id":"12","t0":"012"}`, "f3", "src", nil, map[string]any{"hum": 52.6, "temp": 7.0, "txt": "x", "id": "12", "t0": "012"}},
		{"words", Source{Topic: "s/{device}", Words: map[string]any{"ON": true, "low": 1.0, "x": "y"}}, "s/f3", `{"a":"ON","b":"low","c":"x","d":"on"}`, "f3", "src", nil, map[string]any{"a": true, "b": 1.0, "c": "y", "d": "on"}},
		{"no value by name", Source{Topic: "s/{device}", NoValue: map[string][]string{"hum": {"127.5"}, "*": {"n/a", "true"}}}, "s/f3", `{"hum":127.50,"temp":127.5,"x":"n/a","y":true,"z":"127.5"}`, "f3", "src", nil, map[string]any{"temp": 127.5, "z": "127.5"}},
		{"a condition that is met", Source{Topic: "s/{device}", When: map[string][]string{"type": {"a", "b"}, "n": {"1"}}}, "s/f3", `{"type":"b","n":1,"v":2}`, "f3", "src", nil, map[string]any{"type": "b", "n": 1.0, "v": 2.0}},
		{"a condition that is not met", Source{Topic: "s/{device}", When: map[string][]string{"type": {"a"}}}, "s/f3", `{"type":"c","v":2}`, "", "", nil, nil},
		{"a condition on a field that is not there", Source{Topic: "s/{device}", When: map[string][]string{"type": {"a"}}}, "s/f3", `{"v":2}`, "", "", nil, nil},
		{"a whole path counts before one below a root", Source{Topic: "s", Root: []string{"in"}, Device: []DeviceRef{{Field: "id"}}}, "s", `{"id":"outer","in":{"id":"inner","v":1}}`, "outer", "src", nil, map[string]any{"id": "inner", "v": 1.0}},
		{"a later duplicate takes a role back", Source{Topic: "s/{d}", Device: []DeviceRef{{Field: "m.id"}, {Text: "{d}"}}}, "s/x", `{"m":{"id":"a"},"m":{"v":1}}`, "x", "src", nil, map[string]any{"m.v": 1.0}},
		{"a later null takes a role back", Source{Topic: "s/{d}", Device: []DeviceRef{{Field: "id"}, {Text: "{d}"}}}, "s/x", `{"id":"a","v":1,"id":null}`, "x", "src", nil, map[string]any{"v": 1.0}},
		{"an object where a text is expected", Source{Topic: "s/{d}", Device: []DeviceRef{{Field: "id"}, {Text: "{d}"}}}, "s/x", `{"id":{"a":1}}`, "x", "src", nil, map[string]any{"id.a": 1.0}},
		{"an empty name can be renamed", Source{Topic: "s/{device}", Rename: map[string]string{"": "none"}}, "s/x", `{"":1}`, "x", "src", nil, map[string]any{"none": 1.0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.source.Name = "src"
			d := compile(t, tt.source).NewDecoder()
			for range 2 { // the second time all is known
				b := batchOf(tt.topic, tt.payload)
				d.Decode(b)
				if text, ok := strings.CutPrefix(tt.device, "reject: "); ok {
					if len(b.Rejects) != 1 || !strings.Contains(b.Rejects[0].Err.Error(), text) {
						t.Fatalf("rejects %v, events %v; want a reject with %q", b.Rejects, b.Events, text)
					}
					continue
				}
				if len(b.Rejects) > 0 || tt.device == "" && len(b.Events) > 0 {
					t.Fatalf("rejects %v, events %v", b.Rejects, b.Events)
				}
				if tt.device == "" {
					continue
				}
				e := &b.Events[0]
				if e.Source != "src" || e.Device != tt.device || e.Measurement != tt.measurement || e.Time != received || e.Received != received {
					t.Errorf("event %+v", e)
				}
				if got := tagsOf(e); len(got) != len(tt.tags) || len(got) > 0 && !reflect.DeepEqual(got, tt.tags) {
					t.Errorf("tags %v, want %v", e.Tags, tt.tags)
				}
				for i := 1; i < len(e.Tags); i++ {
					if e.Tags[i-1].Key >= e.Tags[i].Key {
						t.Errorf("tags %v are not in the order of their keys", e.Tags)
					}
				}
				if got := fieldsOf(e); !reflect.DeepEqual(got, tt.fields) {
					t.Errorf("fields %v, want %v", got, tt.fields)
				}
			}
		})
	}
}

func TestDecodeOfABatch(t *testing.T) {
	set := compile(t, Source{Name: "json", Topic: "j/{device}", Ignore: []string{"j/cmd"}}, Source{Name: "lines", Topic: "l", Format: LineProtocol})
	d := set.NewDecoder()
	b := event.NewBatch(nil)
	b.Partition, b.Seq = 2, 7
	alert, _ := json.Marshal(event.Alert{ID: "x"})
	recorded, _ := json.Marshal(event.Recorded{Rule: "g/r", Name: "room_temperature", Device: "f3", Tags: map[string]string{"site": "north", "a\"b": "é", "device": "no"},
		Time: time.Unix(1772366000, 5).UTC(), Value: 21.25, Cause: event.Position{Partition: 1, Seq: 2}})
	add := func(m event.Message) { m.Received = received; b.Messages = append(b.Messages, m) }
	add(event.Message{Topic: "j/a", Payload: []byte(`{"t":1}`), Retain: true})
	add(event.Message{Record: event.Tick})
	add(event.Message{Topic: "j/b", Payload: []byte(`{"t":`)})
	add(event.Message{Topic: "gone", Payload: []byte(`{"t":1}`)})
	add(event.Message{Topic: "j/c", Payload: nil})
	add(event.Message{Record: event.AlertFact, Payload: alert})
	add(event.Message{Topic: "l", Payload: []byte("m,device=x a=1\nm,device=y a=2\n\nm,device=z a=3")})
	add(event.Message{Topic: "l", Payload: []byte("m,device=x a=1\nm,device=y a=\n")})
	add(event.Message{Record: event.Recording, Payload: recorded})
	add(event.Message{Record: event.RuleSet, Payload: []byte("groups: []")})
	add(event.Message{Topic: "j/cmd", Payload: []byte(`{"t":1}`)})
	add(event.Message{Record: event.Recording, Payload: []byte(`{"rule":"g/r","name":"n","time":"2026-03-01T00:00:00Z","value":null}`)})
	add(event.Message{Record: event.Recording, Payload: []byte(`{"rule":"g/r","name":"n","time":"soon","value":1}`)})
	d.Decode(b)

	var got []string
	for i := range b.Events {
		e := &b.Events[i]
		got = append(got, b.Position(e).String()+" "+e.Source+" "+e.Device)
	}
	want := []string{"2/7/0/0 json a", "2/7/6/0 lines x", "2/7/6/1 lines y", "2/7/6/2 lines z", "2/7/8/0  f3"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if !b.Events[0].Retained || b.Events[1].Retained {
		t.Error("RETAIN is not taken over")
	}
	if n := len(b.EventsOf(6)); n != 3 {
		t.Errorf("message 6 has %d events", n)
	}
	var rejects []string
	for _, r := range b.Rejects {
		rejects = append(rejects, itoa(int(r.Message))+" "+r.Err.Error())
	}
	for i, text := range []string{`2 source json: not JSON`, `3 no source takes the topic "gone" any more`, `7 source lines: not line protocol: line 2, column 14`, `12 recording of g/r: time: "soon"`} {
		if i >= len(rejects) || !strings.HasPrefix(rejects[i], text) {
			t.Errorf("rejects %q, want %q at %d", rejects, text, i)
		}
	}
	if want := (Counts{Messages: 13, Events: 5, Rejected: 4, Filtered: 2}); len(rejects) != 4 || d.Counts() != want {
		t.Errorf("counts %+v, want %+v", d.Counts(), want)
	}
	r := &b.Events[4]
	if r.Rule != "g/r" || r.Measurement != "room_temperature" || r.Source != "" || r.Time != 1772366000e9+5 || r.Received != received ||
		!reflect.DeepEqual(tagsOf(r), map[string]string{"site": "north", "a\"b": "é"}) || !reflect.DeepEqual(fieldsOf(r), map[string]any{"value": 21.25}) {
		t.Errorf("recording %+v", r)
	}
}

func TestRecordingsOfEveryKindOfValue(t *testing.T) {
	d := compile(t, Source{Topic: "x"}).NewDecoder()
	for _, v := range []any{1.5, true, "text", int64(1) << 60, uint64(1) << 63} {
		payload, err := json.Marshal(event.Recorded{Rule: "g/r", Name: "n", Time: time.Unix(0, received), Value: v})
		if err != nil {
			t.Fatal(err)
		}
		b := event.NewBatch(nil)
		b.Messages = append(b.Messages, event.Message{Record: event.Recording, Payload: payload, Received: received})
		d.Decode(b)
		if len(b.Events) != 1 || b.Events[0].Fields[0].Value.Any() != v || b.Events[0].Time != received {
			t.Errorf("%v: events %v, rejects %v", v, b.Events, b.Rejects)
		}
	}
}

func TestCachesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1000)
	most := func(n int, topic, doc func(i int) string) (topics, nodes, bytes int) {
		d := compile(t, Source{Topic: "t/{device...}"}).NewDecoder()
		for i := range n {
			b := batchOf(topic(i), doc(i))
			d.Decode(b)
			if len(b.Events) != 1 {
				t.Fatalf("message %d: %v", i, b.Rejects)
			}
			topics, nodes, bytes = max(topics, len(d.topics)+len(d.older)), max(nodes, d.nodes), max(bytes, d.names)
		}
		return topics, nodes, bytes
	}
	fixed := func(s string) func(int) string { return func(int) string { return s } }
	if topics, _, _ := most(3*maxTopics, func(i int) string { return "t/" + itoa(i) }, fixed(`{"a":1}`)); topics > 2*maxTopics+1 {
		t.Errorf("%d topics are kept", topics)
	}
	if topics, _, _ := most(10000, func(i int) string { return "t/" + long + itoa(i) }, fixed(`{"a":1}`)); topics > 2*(maxTopicBytes/1000+2) {
		t.Errorf("%d long topics are kept", topics)
	}
	if _, nodes, _ := most(3*maxNodes, fixed("t/d"), func(i int) string { return `{"pid` + itoa(i) + `":1}` }); nodes > maxNodes+2 {
		t.Errorf("%d names are kept", nodes)
	}
	if _, _, bytes := most(10000, fixed("t/d"), func(i int) string { return `{"` + long + itoa(i) + `":1}` }); bytes > maxNames+10000 {
		t.Errorf("%d bytes of names are kept", bytes)
	}
}

func TestErrorsDontRepeatThePayload(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	set := compile(t, Source{Topic: "l", Format: LineProtocol}, Source{Topic: "j/{device}", Time: TimeSpec{Fields: []string{"ts"}}},
		Source{Topic: "v/{device}", Format: Value})
	for _, m := range [][2]string{
		{"l", "m " + long + " "}, {"l", "m a=t" + long}, {"l", "m a=1" + long}, {"l", "m a=1i" + long + "i"}, {"l", "m a=1 5" + long},
		{"l", "m," + long + "= a=1"}, {"l", "m " + long + "=\xff"}, {"l", "m a=\"\xff" + long + "\""},
		{"j/d", `{"ts":"` + long + `","a":1}`}, {"j/d", `{"` + long}, {"j/d", long}, {"v/d", "\xff" + long}, {"v/d", `"` + long},
	} {
		b := batchOf(m[0], m[1])
		set.NewDecoder().Decode(b)
		if len(b.Rejects) != 1 || len(b.Rejects[0].Err.Error()) > 400 {
			t.Errorf("%s %.20q: %d rejects, %.500v", m[0], m[1], len(b.Rejects), b.Rejects)
		}
	}
}

// TestDecodersShareASet decodes the same messages in several goroutines, whole
// and one by one, and compares.
func TestDecodersShareASet(t *testing.T) {
	set := compile(t, Source{Topic: "j/{device}/+", Tags: []string{"unit"}, Numbers: []string{"n*"}},
		Source{Topic: "v/{device}/{m...}", Format: Auto, Field: "{m}"}, Source{Topic: "l", Format: LineProtocol})
	payloads := append([]string{`{"unit":"m³","a":{"b":[1,2]},"n":"5"}`, `{"a":1,"unit":null,"a":{"c":2}}`}, linesTable...)
	var msgs []event.Message
	for i, p := range payloads {
		for j, topic := range []string{"j/d" + itoa(i%7) + "/x", "v/d" + itoa(i%3) + "/a/b", "l"} {
			msgs = append(msgs, event.Message{Topic: topic, Payload: []byte(p), Received: received + int64(j)})
		}
	}
	text := func(b *event.Batch) (out []string) {
		for i := range b.Events {
			e := b.Events[i]
			e.Message = 0
			out = append(out, fmt.Sprint(e))
		}
		for _, r := range b.Rejects {
			out = append(out, "reject: "+r.Err.Error())
		}
		return out
	}
	var singly []string
	for _, m := range msgs {
		b := event.NewBatch(nil)
		b.Messages = []event.Message{m}
		set.NewDecoder().Decode(b)
		singly = append(singly, text(b)...)
	}
	slices.Sort(singly)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			d := set.NewDecoder()
			for range 3 {
				b := event.NewBatch(nil)
				b.Messages = slices.Clone(msgs)
				d.Decode(b)
				got := text(b)
				slices.Sort(got)
				if !slices.Equal(got, singly) {
					t.Errorf("the batch gives %q, its messages singly %q", got, singly)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestExplainSaysWhatAPayloadBecomes(t *testing.T) {
	set := compile(t, Source{Name: "plant", Topic: "s/{device}", Ignore: []string{"s/cmd"}})
	x, err := set.Explain("s/f3", []byte(`{"a":1}`), received)
	if err != nil || x.Source != "plant" || x.Key != "f3" || len(x.Events) != 1 || x.Reason != "" {
		t.Errorf("%+v, %v", x, err)
	}
	if x, err = set.Explain("s/f3", nil, received); err != nil || x.Reason == "" || len(x.Events) > 0 {
		t.Errorf("an empty payload: %+v, %v", x, err)
	}
	if x, err = set.Explain("s/cmd", []byte("1"), received); err != nil || x.Reason == "" {
		t.Errorf("an ignored topic: %+v, %v", x, err)
	}
	if x, err = set.Explain("s/f3", []byte(`{`), received); err == nil || x.Source != "plant" {
		t.Errorf("a bad payload: %+v, %v", x, err)
	}
	if _, err = set.Explain("other", []byte(`1`), received); err == nil || !strings.Contains(err.Error(), `no source takes the topic "other"`) {
		t.Errorf("another topic: %v", err)
	}
}
