package decode

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
)

// corpusCase is one payload of the corpus and what it should become.
type corpusCase struct {
	ID, Family, Topic string
	Payload           *string
	PayloadBase64     string `json:"payload_base64"`
	Repeat            int
	Expect            struct {
		Kind   string
		Device *string
		Time   *string
		Fields map[string]any
		Accept map[string][]any
		Absent []string
		AlsoOK []string `json:"also_ok"`
		Events []struct {
			Measurement string
			Tags        map[string]string
			Fields      map[string]any
			Types       map[string]string
			Time        *string
		}
	}
}

func (c *corpusCase) payload(t *testing.T) []byte {
	if c.Payload != nil {
		return []byte(*c.Payload)
	}
	b, err := base64.StdEncoding.DecodeString(c.PayloadBase64)
	if err != nil {
		t.Fatalf("%s: %v", c.ID, err)
	}
	return b
}

// TestCorpus decodes every payload of the corpus in the folder that
// WEIR_PAYLOADS names with sources as a user would configure them, and
// compares with what is expected. The table of results is asserted exactly.
func TestCorpus(t *testing.T) {
	dir := os.Getenv("WEIR_PAYLOADS")
	if dir == "" {
		t.Skip("WEIR_PAYLOADS names no folder with the corpus")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no corpus in %s: %v", dir, err)
	}
	got, other, misses := map[string]string{}, 0, map[string]string{}
	for _, file := range files {
		family := strings.TrimSuffix(filepath.Base(file), ".json")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cases []corpusCase
		dec := json.NewDecoder(strings.NewReader(string(text)))
		dec.UseNumber()
		if err := dec.Decode(&cases); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if slices.Contains(notInTheseFormats, family) {
			other += len(cases)
			continue
		}
		pass := 0
		for i := range cases {
			c := &cases[i]
			err := grade(c, corpusSet(t, c), c.payload(t))
			if want, ok := alsoRight[c.ID]; ok {
				if len(c.Expect.AlsoOK) == 0 || err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want what the corpus calls right too: %s", c.ID, err, want)
				}
				err = nil
			}
			if err != nil {
				misses[c.ID] = err.Error()
			} else {
				pass++
			}
		}
		got[family] = fmt.Sprintf("%d/%d", pass, len(cases))
	}
	for _, family := range slices.Sorted(maps.Keys(got)) {
		if got[family] != wantCorpus[family] {
			t.Errorf("%s: %s as expected, the table says %q", family, got[family], wantCorpus[family])
		}
	}
	for family := range wantCorpus {
		if _, ok := got[family]; !ok {
			t.Errorf("%s: in the table, but not in the corpus", family)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(misses)) {
		known, ok := knownMisses[id]
		if !ok || strings.Contains(misses[id], "\n") || !strings.Contains(misses[id], known.differs) {
			t.Errorf("%s: %s", id, misses[id])
		} else {
			t.Logf("%s: known miss (%s): %s", id, known.why, misses[id])
		}
	}
	for id := range knownMisses {
		if _, ok := misses[id]; !ok {
			t.Errorf("%s: listed as a known miss, but as expected", id)
		}
	}
	if other != wantOther {
		t.Errorf("%d cases are in other formats, want %d", other, wantOther)
	}
}

// corpusSet returns the sources that the case's site would be configured with.
func corpusSet(t *testing.T, c *corpusCase) *Set {
	for _, s := range corpusSites {
		if s.family == c.Family && (len(s.only) == 0 || slices.Contains(s.only, c.ID)) {
			sources := slices.Clone(s.sources)
			for i := range sources {
				sources[i].Name = c.Family + itoa(i)
			}
			return compile(t, sources...)
		}
	}
	t.Fatalf("%s: no sources for family %q", c.ID, c.Family)
	return nil
}

// grade returns how the outcome differs from what the case expects.
func grade(c *corpusCase, set *Set, payload []byte) error {
	d := set.NewDecoder()
	b := event.NewBatch(nil)
	n := max(1, c.Repeat)
	for range n {
		b.Messages = append(b.Messages, event.Message{Topic: c.Topic, Payload: payload, Received: received})
	}
	d.Decode(b)
	_, routed := set.Route(c.Topic)
	switch c.Expect.Kind {
	case "telemetry", "status":
	case "reject":
		if len(b.Rejects) != n || len(b.Events) > 0 {
			return fmt.Errorf("is to be rejected; events %v", describe(b.Events))
		}
		return nil
	default: // no reading
		if len(b.Events) > 0 {
			return fmt.Errorf("kind %s gives the events %v", c.Expect.Kind, describe(b.Events))
		}
		if routed && len(b.Rejects) > 0 && c.Expect.Kind != "binary" {
			return fmt.Errorf("kind %s is rejected: %v", c.Expect.Kind, b.Rejects[0].Err)
		}
		return nil
	}
	if len(b.Rejects) > 0 {
		return fmt.Errorf("rejected: %v", b.Rejects[0].Err)
	}
	want := max(1, len(c.Expect.Events)) * n
	if len(b.Events) != want {
		return fmt.Errorf("%d events, want %d", len(b.Events), want)
	}
	for i := range b.Events {
		e := &b.Events[i]
		if len(c.Expect.Events) == 0 {
			if err := gradeEvent(c, e); err != nil {
				return err
			}
			continue
		}
		w := c.Expect.Events[i%len(c.Expect.Events)]
		if e.Measurement != w.Measurement {
			return fmt.Errorf("event %d: measurement %q, want %q", i, e.Measurement, w.Measurement)
		}
		tags := map[string]string{}
		for _, t := range e.Tags {
			tags[t.Key] = t.Value
		}
		if !maps.Equal(tags, w.Tags) {
			return fmt.Errorf("event %d: tags %v, want %v", i, tags, w.Tags)
		}
		if err := gradeTime(e, w.Time); err != nil {
			return err
		}
		if err := gradeFields(e, w.Fields, nil); err != nil {
			return err
		}
		for name, kind := range w.Types {
			v, _ := e.Field(name)
			is := map[event.Kind]string{event.Float: "float", event.Int: "int", event.Uint: "uint", event.Bool: "bool", event.String: "string"}[v.Kind()]
			if is != kind {
				return fmt.Errorf("event %d: field %q is %s, want %s", i, name, is, kind)
			}
		}
	}
	return nil
}

func describe(events []event.Event) string {
	var out []string
	for i := range events {
		out = append(out, fmt.Sprint(events[i].Device, fieldsOf(&events[i])))
	}
	return strings.Join(out, "; ")
}

func gradeEvent(c *corpusCase, e *event.Event) error {
	var errs []error
	if c.Expect.Device != nil && e.Device != *c.Expect.Device {
		errs = append(errs, fmt.Errorf("device %q, want %q", e.Device, *c.Expect.Device))
	}
	errs = append(errs, gradeTime(e, c.Expect.Time))
	for _, name := range c.Expect.Absent {
		if v, ok := e.Field(name); ok {
			errs = append(errs, fmt.Errorf("field %q is to be absent, is %v", name, v))
		}
	}
	return errors.Join(append(errs, gradeFields(e, c.Expect.Fields, c.Expect.Accept))...)
}

func gradeTime(e *event.Event, want *string) error {
	at := received
	if want != nil {
		t, err := time.Parse(time.RFC3339Nano, *want)
		if err != nil {
			return err
		}
		at = t.UnixNano()
	}
	if e.Time != at {
		return fmt.Errorf("time %v, want %v", time.Unix(0, e.Time).UTC(), time.Unix(0, at).UTC())
	}
	return nil
}

func gradeFields(e *event.Event, want map[string]any, accept map[string][]any) error {
	var errs []error
	for name, w := range want {
		v, ok := e.Field(name)
		if !ok {
			errs = append(errs, fmt.Errorf("field %q is missing; got %v", name, fieldsOf(e)))
			continue
		}
		if !sameValue(v, w) && !slices.ContainsFunc(accept[name], func(a any) bool { return sameValue(v, a) }) {
			errs = append(errs, fmt.Errorf("field %q is %v (%v), want %v", name, v, v.Kind(), w))
		}
	}
	return errors.Join(errs...)
}

// sameValue compares by the corpus's rules: numbers to 1e-6, integers of 2^53
// and more exactly.
func sameValue(v event.Value, want any) bool {
	switch w := want.(type) {
	case bool:
		return v.Kind() == event.Bool && v.Bool() == w
	case string:
		return v.Kind() == event.String && v.Text() == w
	case json.Number:
		f, ok := v.Float()
		if !ok {
			return false
		}
		if k := v.Kind(); k == event.Int || k == event.Uint {
			return v.String() == w.String()
		}
		g, _ := w.Float64()
		if !strings.ContainsAny(w.String(), ".eE") && math.Abs(g) >= 1<<53 {
			return v.Literal() == w.String()
		}
		return f == g || math.Abs(f-g) <= 1e-6*max(math.Abs(f), math.Abs(g))
	}
	return false
}
