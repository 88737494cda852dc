package decode

import (
	"testing"

	"weir/ingest/event"
)

// received is the receive time of test messages: 2026-03-01T12:00:00Z.
const received = int64(1772366400e9)

func compile(t testing.TB, sources ...Source) *Set {
	t.Helper()
	for i := range sources {
		if sources[i].Name == "" {
			sources[i].Name = "s" + itoa(i)
		}
	}
	set, err := Compile(sources)
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return set
}

// batchOf returns a batch with one publish.
func batchOf(topic, payload string) *event.Batch {
	b := event.NewBatch(nil)
	b.Messages = append(b.Messages, event.Message{Topic: topic, Payload: []byte(payload), Received: received})
	return b
}

// fieldsOf returns an event's fields as plain Go values.
func fieldsOf(e *event.Event) map[string]any {
	m := map[string]any{}
	for _, f := range e.Fields {
		m[f.Name] = f.Value.Any()
	}
	return m
}

func TestFlatDocumentBecomesAnEvent(t *testing.T) {
	set := compile(t, Source{Name: "plant", Topic: "sensors/{site}/{device}/telemetry", Tags: []string{"site"},
		Time: TimeSpec{Fields: []string{"ts"}, Unit: UnitMilli}})
	b := batchOf("sensors/north/f3/telemetry", `{"ts":1772366399123,"temperature":-18.25,"door":"closed","ok":true,"n":null,"p":{"v":[1,2]}}`)
	set.NewDecoder().Decode(b)
	if len(b.Rejects) > 0 || len(b.Events) != 1 {
		t.Fatalf("rejects %v, events %v", b.Rejects, b.Events)
	}
	t.Log(b.Events[0], fieldsOf(&b.Events[0]))
}
