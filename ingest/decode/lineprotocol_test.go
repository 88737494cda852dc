package decode

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"weir/ingest/event"
)

// point is a line as plain Go values.
type point struct {
	measurement string
	tags        [][2]string
	fields      []string // name=value, with the kind
	time        int64    // ns; -1: none
}

// linesTable are payloads; the reference says what they become.
var linesTable = []string{
	"cpu,host=a,region=eu usage=0.5,n=10i,u=7u,ok=t,off=FALSE,s=\"x y\" 1700000000000000000",
	"m v=1", "m v=1\n", "m v=1\r\n", "m v=1\r", "m v=1 5\r\nm v=2 6\n\n\n m v=3", "# comment\nm v=1\n#m v=2\n  # three\n m v=4",
	"m v=1  5  \n", "  m v=1", "m  v=1", "m\\ x,t\\,a\\=g=v\\ al f\\ x=1", "m,t=a\\\\ f=1", `m f="a\"b\\c\nd\te\rf\xg"`, "m f=\"two\nlines\"\nm f=2",
	`m f=""`, "m,a=1,b=2 c=3", "m f=.5", "m f=5.", "m f=-1e-3", "m f=1E5", "m f=-0", "m f=007", "m f=9223372036854775807i", "m f=-9223372036854775808i",
	"m f=18446744073709551615u", "m f=T,g=F,h=True,i=false,j=TRUE", "größe,räum=küche f=1", "a=b,c=d e=1", "\"m\" f=1", "m,t=\"q\" f=1", "m\\n f=1", "m\\ f=1",
	"", "\n\n", "#", "# only a comment", "\r\n", "  ",
	"m", "m ", "m,", "m, f=1", "m,t f=1", "m,t= f=1", "m,=v f=1", "m,t=v", "m,t=v ", "m f", "m f=", "m f=x", "m f=1,", "m f=1, g=2", "m f=1 x", "m f=1 5 6", "m f=1 5x",
	"m f=1 --5", "m f=1 1-2", "m f=1 99999999999999999999", "m f=1x", "m f=1i2", "m f=i", "m f=-", "m f=.", "m f=NaN", "m f=-Inf", "m f=1e999", "m f=9223372036854775808i", "m f=-1u",
	"m f=1u,g=18446744073709551616u", "m f=tru", "m f=yes", "m f=\"abc", "m f=\"abc\\", "m f=\"a\"b", "m f=1\rx", "\rm f=1", "#\tx\nm f=1", "m\tf=1", "m f\x00=1", "m f=1\x00", "m \xff=1", "m f=\"\xff\"",
	"m,t=a=b f=1", "m,t=a,,u=b f=1", ",t=a f=1", "m f=1\n=", "m f=0x10", "m f=1_0", "m f==1", "m =1", "m f=1 \n", "m f=\"a\\\"",
	"m f=1,f=2", "m,t=1,t=2 f=1", "m f=1 -5", "m f=1 -", "m\\",
}

// reference decodes with InfluxData's decoder.
func reference(payload string) ([]point, error) {
	var out []point
	dec := lineprotocol.NewDecoderWithBytes([]byte(payload))
	for dec.Next() {
		var p point
		m, err := dec.Measurement()
		if err != nil {
			return nil, err
		}
		p.measurement = string(m)
		for {
			k, v, err := dec.NextTag()
			if err != nil {
				return nil, err
			}
			if k == nil {
				break
			}
			p.tags = append(p.tags, [2]string{string(k), string(v)})
		}
		for {
			k, v, err := dec.NextField()
			if err != nil {
				return nil, err
			}
			if k == nil {
				break
			}
			p.fields = append(p.fields, fmt.Sprintf("%s=%T %v", k, v.Interface(), v.Interface()))
		}
		at, err := dec.Time(lineprotocol.Nanosecond, time.Unix(0, -1))
		if err != nil {
			return nil, err
		}
		p.time = at.UnixNano()
		out = append(out, p)
	}
	return out, dec.Err()
}

// lastWins keeps the last of equal names, in the place of the first, as an event does.
func lastWins(p *point) {
	tags := map[string]string{}
	for _, t := range p.tags {
		if t[0] != "device" {
			tags[t[0]] = t[1]
		}
	}
	p.tags = nil
	for _, k := range sortedKeys(tags) {
		p.tags = append(p.tags, [2]string{k, tags[k]})
	}
	fields := map[string]string{}
	for _, f := range p.fields {
		name, _, _ := strings.Cut(f, "=")
		fields[name] = f
	}
	p.fields = nil
	for _, k := range sortedKeys(fields) {
		p.fields = append(p.fields, fields[k])
	}
}

// points decodes with the product.
func points(d *Decoder, payload string) ([]point, error) {
	b := event.NewBatch(nil)
	b.Messages = append(b.Messages, event.Message{Topic: "l", Payload: []byte(payload), Received: -1})
	d.Decode(b)
	if len(b.Rejects) > 0 {
		return nil, b.Rejects[0].Err
	}
	var out []point
	for i := range b.Events {
		e := &b.Events[i]
		p := point{measurement: e.Measurement, time: e.Time}
		for _, t := range e.Tags {
			p.tags = append(p.tags, [2]string{t.Key, t.Value})
		}
		for _, f := range e.Fields {
			p.fields = append(p.fields, fmt.Sprintf("%s=%T %v", f.Name, f.Value.Any(), f.Value.Any()))
		}
		out = append(out, p)
	}
	return out, nil
}

func linesSource() Source {
	return Source{Topic: "l", Format: LineProtocol, Device: []DeviceRef{{Text: "d"}},
		Time: TimeSpec{Earliest: time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC), MaxAhead: 1<<63 - 1}}
}

func checkLines(t *testing.T, d *Decoder, payload string) {
	t.Helper()
	want, wantErr := reference(payload)
	got, err := points(d, payload)
	if strings.ContainsAny(payload, "xX_") && (err == nil) != (wantErr == nil) {
		return // hexadecimal floats, which InfluxDB refuses
	}
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("%q: error %v, the reference says %v", payload, err, wantErr)
	}
	if err != nil {
		return
	}
	if len(got) != len(want) {
		t.Fatalf("%q: %d points, the reference has %d", payload, len(got), len(want))
	}
	for i := range want {
		if at := time.Unix(0, want[i].time); at.Year() <= 1678 || want[i].time > 1<<62 {
			want[i].time = got[i].time // beyond what is plausible for any source
		}
		for _, f := range want[i].fields {
			if name, _, _ := strings.Cut(f, "="); strings.Contains(f, "==") || name == "" {
				return // names with = in them are ambiguous in this comparison
			}
		}
		lastWins(&want[i])
		lastWins(&got[i])
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Fatalf("%q: point %d is %v, the reference says %v", payload, i, got[i], want[i])
		}
	}
}

func TestLineProtocolIsReadAsInfluxDataReadsIt(t *testing.T) {
	shared := compile(t, linesSource()).NewDecoder()
	for _, payload := range linesTable {
		checkLines(t, compile(t, linesSource()).NewDecoder(), payload)
		checkLines(t, shared, payload)
	}
	if _, err := points(shared, "m f=0x10"); err == nil {
		t.Error("a hexadecimal float is taken")
	}
}

func FuzzLineProtocol(f *testing.F) {
	for _, payload := range linesTable {
		f.Add(payload)
	}
	shared := compile(f, linesSource()).NewDecoder()
	f.Fuzz(func(t *testing.T, payload string) { checkLines(t, shared, payload) })
}

func TestLineProtocolErrorsNamePlaceAndCause(t *testing.T) {
	d := compile(t, Source{Name: "lines", Topic: "l", Format: LineProtocol}).NewDecoder()
	for _, tt := range []struct{ payload, want string }{
		{"cpu v=1\ncpu v=x\n", "line 2, column 7: field \"v\": expected a number, a boolean or a text in double quotes, found 'x'"},
		{"cpu,host v=1", `column 9: expected = after the tag key "host", found ' '`},
		{"cpu,a= v=1", `column 7: the tag "a" has no value`},
		{"cpu", "column 4: expected a blank and fields, found the end of the payload"},
		{"cpu,a=b\n", "column 8: expected a blank and fields, found the end of the line"},
		{"cpu v=\"a\nb", "line 1, column 7: the text has no closing quote"},
		{"m v=1i x", `column 8: "x" is no time in ns in range`},
		{"m v=99999999999999999999i", `column 5: field "v": "99999999999999999999i" is no integer of 64 bits`},
		{"m v=1\n,a=b v=2", "line 2, column 1: expected a measurement, found ','"},
		{"m a=\"x\ny\",b=z", "line 2, column 6: field \"b\""},
		{"m v=\"\xff\"", "column 6: \"\\xff\" is not UTF-8"},
		{"m v=1 5 6", "column 9: expected the end of the line after the time, found '6'"},
	} {
		_, err := points(d, tt.payload)
		if err == nil || !strings.HasPrefix(err.Error(), "source lines: not line protocol: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: %v, want an error with %q", tt.payload, err, tt.want)
		}
	}
}

func TestBoundsOfOneLine(t *testing.T) {
	d := compile(t, linesSource()).NewDecoder()
	var tags, fields strings.Builder
	for i := range 2 * maxFields {
		if i < maxTags+1 {
			fmt.Fprintf(&tags, ",t%d=v", i)
		}
		fmt.Fprintf(&fields, ",f%d=1", i)
	}
	if _, err := points(d, "m"+tags.String()+" f=1"); err == nil || !strings.Contains(err.Error(), "more than 256 tags") {
		t.Errorf("too many tags: %v", err)
	}
	if _, err := points(d, "m f=1"+fields.String()); err == nil || !strings.Contains(err.Error(), "more than 4096 fields") {
		t.Errorf("too many fields: %v", err)
	}
}

func TestLineProtocolAsConfigured(t *testing.T) {
	for _, tt := range []struct {
		name    string
		source  Source
		payload string
		want    string // device measurement tags fields time, by event
	}{
		{"the device is the tag device, which is no tag then", Source{}, "m,device=d1,site=n v=1", "d1 m [{site n}] map[v:1] now"},
		{"without one it is the topic", Source{}, "m v=1", "l/n1 m [] map[v:1] now"},
		{"a configured tag is the device, and a tag", Source{Device: []DeviceRef{{Field: "host"}, {Text: "{gw}"}}}, "m,host=h1 v=1\nm v=2", "h1 m [{host h1}] map[v:1] now; n1 m [] map[v:2] now"},
		{"a field is the device", Source{Device: []DeviceRef{{Field: "id"}}}, "m v=1,id=\"x\"", "x m [] map[id:x v:1] now"},
		{"no device", Source{Device: []DeviceRef{{Field: "host"}}}, "m,host=h1 v=1\nm v=2", `! no field "host"`},
		{"seconds", Source{Time: TimeSpec{Unit: UnitSecond}}, "m v=1 1772366000", "l/n1 m [] map[v:1] 1772366000000000000"},
		{"milliseconds", Source{Time: TimeSpec{Unit: UnitMilli}}, "m v=1 1772366000123", "l/n1 m [] map[v:1] 1772366000123000000"},
		{"an implausible time", Source{}, "m v=1 0", "l/n1 m [] map[v:1] now"},
		{"seconds beyond the range", Source{Time: TimeSpec{Unit: UnitSecond}}, "m v=1 1772366000123000000", "! is no time in s in range"},
		{"a measurement of the source's own", Source{Measurement: "x_{gw}"}, "m v=1", "l/n1 x_n1 [] map[v:1] now"},
		{"captures as tags win over the line's", Source{Tags: []string{"gw"}}, "m,gw=other,a=1,z=2 v=1", "l/n1 m [{a 1} {gw n1} {z 2}] map[v:1] now"},
		{"a field as a tag", Source{Tags: []string{"unit", "n"}}, "m,a=1 v=1,unit=\"C\",n=5i", "l/n1 m [{a 1} {n 5} {unit C}] map[v:1] now"},
		{"rename of tags and fields", Source{Rename: map[string]string{"host": "node", "v": "value"}}, "m,host=h v=1", "l/n1 m [{node h}] map[value:1] now"},
		{"exclude of tags and fields", Source{Exclude: []string{"cpu*"}}, "m,cpu=cpu0,host=h cpu_id=1,v=2", "l/n1 m [{host h}] map[v:2] now"},
		{"include of fields", Source{Include: []string{"v"}}, "m,host=h v=1,w=2\nm w=3", "l/n1 m [{host h}] map[v:1] now"},
		{"no value and words", Source{NoValue: map[string][]string{"*": {"-999"}}, Words: map[string]any{"open": true}}, "m a=-999i,b=-999,c=1,d=\"open\"\nm a=-999i", "l/n1 m [] map[c:1 d:true] now"},
		{"a condition on a tag", Source{When: map[string][]string{"kind": {"a"}}}, "m,kind=a v=1\nm,kind=b v=2\nm v=3", "l/n1 m [{kind a}] map[v:1] now"},
		{"the last of equal names counts", Source{}, "m,t=1,t=2 v=1,w=2,v=3", "l/n1 m [{t 2}] map[v:3 w:2] now"},
		{"integers keep their type", Source{}, "m i=5i,u=5u,f=5", "l/n1 m [] map[f:5 i:5 u:5] now"},
		{"one bad line rejects the message", Source{}, "m v=1\nm v=2\nm v", "! line 3, column 4"},
		{"only comments are no reading", Source{}, "# nothing\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.source.Topic, tt.source.Format = "l/{gw}", LineProtocol
			d := compile(t, tt.source).NewDecoder()
			for range 2 {
				b := batchOf("l/n1", tt.payload)
				d.Decode(b)
				if text, ok := strings.CutPrefix(tt.want, "! "); ok {
					if len(b.Rejects) != 1 || len(b.Events) > 0 || !strings.Contains(b.Rejects[0].Err.Error(), text) {
						t.Fatalf("events %v, rejects %v; want a reject with %q", b.Events, b.Rejects, text)
					}
					continue
				}
				var got []string
				for i := range b.Events {
					e := &b.Events[i]
					at := fmt.Sprint(e.Time)
					if e.Time == received {
						at = "now"
					}
					got = append(got, fmt.Sprint(e.Device, " ", e.Measurement, " ", e.Tags, " ", fieldsOf(e), " ", at))
				}
				if s := strings.Join(got, "; "); s != tt.want || len(b.Rejects) > 0 {
					t.Errorf("%q, rejects %v; want %q", s, b.Rejects, tt.want)
				}
			}
		})
	}
	b := batchOf("l/n1", "m i=5i,u=5u,f=5")
	compile(t, Source{Topic: "l/{gw}", Format: LineProtocol}).NewDecoder().Decode(b)
	for i, k := range []event.Kind{event.Int, event.Uint, event.Float} {
		if got := b.Events[0].Fields[i].Value.Kind(); got != k {
			t.Errorf("field %d is %v, want %v", i, got, k)
		}
	}
}
