package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

func TestOutagesOfWeirItself(t *testing.T) {
	starts := func(at float64) line { return line{at: at, starts: true} }
	held := func(at, time float64, d string) line { // a message that the device kept until it could send it
		l := temp(at, d, 20)
		l.time = time
		return l
	}
	missing := group("alert: Gone\nexpr: absent(temperature, \"60s\")")
	for _, tt := range []struct {
		name  string
		rules string
		log   []line
		want  []string
	}{
		{
			"in a short outage a device is missed to the moment, once weir has listened for a while",
			missing,
			[]line{temp(0, "a", 20), temp(50, "b", 20), tick(51), starts(70), tick(74), tick(76), temp(77, "a", 20), temp(78, "b", 20)},
			[]string{"75 firing g/Gone a @60", "77 resolved g/Gone a @60"},
		},
		{
			"a device that reports right after a short outage was missed all the same",
			missing,
			[]line{temp(0, "a", 20), tick(50), starts(70), temp(72, "a", 20), tick(80)},
			[]string{"72 firing g/Gone a @60", "72 resolved g/Gone a @60"},
		},
		{
			"after a long outage a device that reports right after it is not missed",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), tick(603), temp(604, "a", 20), tick(606), tick(660), temp(661, "a", 20)},
			nil,
		},
		{
			"nor if it delivers what it measured meanwhile, in part",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), held(601, 5, "a"), held(602, 400, "a"), temp(604, "a", 20), tick(606), tick(660)},
			nil,
		},
		{
			"a device that stays away is missed as of the end of the settling time",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), tick(604), tick(605.5), temp(700, "a", 20)},
			[]string{"605 firing g/Gone a @605", "700 resolved g/Gone a @605"},
		},
		{
			"a device that goes away right after it reported is missed in time",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), temp(604, "a", 20), tick(663), tick(665)},
			[]string{"664 firing g/Gone a @664"},
		},
		{
			"who was missed before the outage is so until he reports, and is excused like the others then",
			missing,
			[]line{temp(0, "a", 20), tick(100), starts(600), tick(601), held(602, 420, "a"), temp(604, "a", 20), tick(606)},
			[]string{"60 firing g/Gone a @60", "602 resolved g/Gone a @60"},
		},
		{
			"a restart while devices settle gives them the time again",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), starts(603), tick(607), temp(607.5, "a", 20), tick(610)},
			nil,
		},
		{
			"other fields that the device reports are no sign of the one that is missed",
			missing,
			[]line{temp(0, "a", 20), tick(1), starts(600), {at: 602, device: "a", fields: []event.Field{f("humidity", 1.0)}}, tick(606)},
			[]string{"605 firing g/Gone a @605"},
		},
		{
			"other timers are exact, however long the outage",
			group("alert: Hot\nexpr: temperature > 10\nfor: 60s"),
			[]line{temp(0, "a", 20), tick(1), starts(600), tick(604), tick(606)},
			[]string{"605 firing g/Hot a @60"},
		},
		{
			"a condition that ended while weir did not listen did not fire",
			group("alert: Hot\nexpr: temperature > 10\nfor: 60s"),
			[]line{temp(0, "a", 20), tick(1), starts(600), {at: 602, time: 30, device: "a", fields: []event.Field{f("temperature", 1.0)}}, tick(606)},
			nil,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := append([]line{setRecord(0, tt.rules)}, tt.log...)
			var got []string
			whole := play(t, rules.NewEngine(0), log)
			for i, text := range story(whole) {
				got = append(got, fmt.Sprintf("%s @%g", text, float64(whole[i].Alert.StartsAt.UnixNano()-epoch)/1e9))
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("derived\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
			for cut := range log {
				first := rules.NewEngine(0)
				out := play(t, first, log[:cut])
				state, err := first.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				second := rules.NewEngine(0)
				if err := second.Restore(state); err != nil {
					t.Fatal(err)
				}
				for i := cut; i < len(log); i++ {
					second.Process(batch(t, uint64(i+1), log[i]), func(d rules.Derived) { out = append(out, d) })
				}
				if err := same(out, whole); err != nil {
					t.Fatalf("restarted before record %d: %v", cut, err)
				}
			}
		})
	}
}
