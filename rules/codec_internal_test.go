package rules

import (
	"math/rand/v2"
	"testing"

	"weir/ingest/event"
)

func TestCheckCauseFindsWhatDecodeCauseDoes(t *testing.T) {
	ev := &event.Event{Source: "s", Measurement: "m", Device: "d", Time: 5, Received: 7, Tags: []event.Tag{{Key: "site", Value: "x"}}}
	for _, v := range []event.Value{event.FloatValue(1.5), event.IntValue(-3), event.UintValue(9), event.BoolValue(true), event.StringValue("on"), {}} {
		ev.Fields = append(ev.Fields, event.Field{Name: "f", Value: v})
	}
	good := appendCause(nil, cause{event.Position{Partition: 1, Seq: 300, Message: 2}, ev})
	r := rand.New(rand.NewPCG(1, 2))
	wrong := 0
	for range 20_000 {
		b := append([]byte(nil), good[:r.IntN(len(good)+1)]...)
		for range r.IntN(3) {
			if len(b) > 0 {
				b[r.IntN(len(b))] = byte(r.IntN(256))
			}
		}
		_, _, want := decodeCause(b)
		if got := checkCause(b); (got == nil) != (want == nil) {
			t.Fatalf("%q: checkCause says %v, decodeCause %v", b, got, want)
		}
		if want != nil {
			wrong++
		}
	}
	if wrong < 1000 || wrong == 20_000 {
		t.Errorf("%d of 20000 texts were wrong", wrong)
	}
}
