package rules_test

import (
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

// TestAnAlertKeepsItsEventWhenOthersFollow lets alerts be pending by an event
// that is the latest of their device, and then is not: in the same batch, and in
// a later one.
func TestAnAlertKeepsItsEventWhenOthersFollow(t *testing.T) {
	const text = "alert: Hot\nexpr: temperature > 20\nfor: 10s\nannotations: {of: '{{mode}} {{temperature}}'}\n" +
		"---\nalert: Many\nexpr: 'count_over_time(humidity, \"1m\") > 100'"
	first, second, _ := strings.Cut(text, "\n---\n")
	set := setRecord(0, group(first)+"      - "+strings.ReplaceAll(second, "\n", "\n        ")+"\n")
	hot := func(at, temperature float64, mode string) line {
		l := temp(at, "a", temperature)
		l.fields = append(l.fields, f("mode", mode))
		return l
	}
	humid := func(at float64) line {
		return line{at: at, device: "a", fields: []event.Field{f("humidity", at)}}
	}
	for _, tt := range []struct {
		name    string
		batches [][]line
		want    string
	}{
		{"it is the latest", [][]line{{set, hot(1, 21, "first"), hot(2, 22, "second")}, {tick(20)}}, "second 22"},
		{"others of its batch follow", [][]line{{set, hot(1, 21, "first"), humid(2), humid(3)}, {tick(20)}}, "first 21"},
		{"others of a later batch follow", [][]line{{set, hot(1, 21, "first")}, {humid(2), humid(3)}, {humid(4)}, {tick(20)}}, "first 21"},
		{"others come before", [][]line{{set, humid(1)}, {humid(2), hot(3, 21, "first")}, {hot(4, 22, "second"), humid(5)}, {tick(20)}}, "second 22"},
		{"it fires within the batch", [][]line{{set, hot(1, 21, "first"), humid(2), tick(20), humid(21)}}, "first 21"},
		{"another rule set comes in between", [][]line{
			{set, hot(1, 21, "first"), setRecord(2, group(first)), humid(3)}, {tick(20)},
		}, "first 21"},
		{"and one after its batch", [][]line{{set, hot(1, 21, "first")}, {setRecord(2, group(first)), humid(3), set}, {humid(4), tick(20)}}, "first 21"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, restart := range []bool{false, true} {
				e := rules.NewEngine(0)
				var got []string
				for i, lines := range tt.batches {
					b := batch(t, uint64(i+1), lines...)
					e.Process(b, func(d rules.Derived) { got = append(got, d.Alert.Annotations["of"]) })
					for j := range b.Events { // the engine has kept nothing of it
						b.Events[j] = event.Event{Device: "nobody", Fields: []event.Field{f("mode", "none")}}
					}
					if !restart {
						continue
					}
					snapshot, err := e.Snapshot()
					if err != nil {
						t.Fatal(err)
					}
					e = rules.NewEngine(0)
					if err := e.Restore(snapshot); err != nil {
						t.Fatal(err)
					}
					if again, _ := e.Snapshot(); string(again) != string(snapshot) {
						t.Errorf("the snapshot of the restored engine is another, from byte %d on", differ(again, snapshot))
					}
				}
				if len(got) != 1 || got[0] != tt.want {
					t.Errorf("restart %v: told of %q, want %q once", restart, got, tt.want)
				}
			}
		})
	}
}
