package backtest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
	"weir/rules/backtest"
)

// decided is a transition that was written when the rules evaluated live.
func decided(s float64, a event.Alert) []byte {
	payload, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return eventlog.AppendRecord(nil, &event.Message{Record: event.AlertFact, ID: a.ID + "/" + a.State, Received: at(s), Payload: payload})
}

// live evaluates rules over readings as a weir would and writes all of it.
func (b *bench) live(t testing.TB, text string, from, to float64, temperature func(s float64) float64) {
	t.Helper()
	b.put(0, ruleSet(from, setOf(t, []backtest.Text{{Name: "r.yaml", Text: text}})))
	rd := b.Partition(0).NewReader(0, 0)
	defer rd.Close()
	e := rules.NewEngine(0)
	for s := from; s <= to; s += 10 {
		b.put(0, reading(s, "a", temperature(s)), tick(s+1))
		for {
			batch, err := rd.TryNext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if batch == nil {
				break
			}
			var facts [][]byte
			e.Process(batch, func(d rules.Derived) {
				if d.Alert != nil && batch.Seq > 1 {
					facts = append(facts, decided(float64(d.Time-at(0))/1e9, *d.Alert))
				}
			})
			batch.Release()
			if len(facts) > 0 {
				b.put(0, facts...)
			}
		}
	}
}

func (b *bench) shadows(t testing.TB, req backtest.ShadowRequest) (*backtest.ShadowReport, string) {
	t.Helper()
	r, err := backtest.Shadow(t.Context(), backtest.Deps{Log: b.Log, Now: func() time.Time { return epoch.Add(time.Hour) }}, req)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := backtest.WriteShadows(&text, r); err != nil {
		t.Fatal(err)
	}
	return r, text.String()
}

func TestShadowsAreComparedWithWhatTheyAreToReplace(t *testing.T) {
	const text = `groups:
  - name: g
    rules:
      - {alert: Hot, expr: temperature > 30}
      - {alert: Hotter, expr: temperature > 35, mode: shadow, shadows: Hot}
      - {alert: Same, expr: temperature > 30, mode: shadow, shadows: g/Hot}
      - {alert: Alone, expr: temperature > 45, mode: shadow}
`
	b := openLog(t, t.TempDir(), 1)
	// Hot from 100 to 200 s, only just from 300 to 350 s, very from 500 s on.
	b.live(t, text, 0, 600, func(s float64) float64 {
		switch {
		case s >= 100 && s < 120 || s >= 300 && s < 350:
			return 32
		case s >= 120 && s < 200:
			return 40
		case s >= 500:
			return 50
		}
		return 20
	})
	r, shown := b.shadows(t, backtest.ShadowRequest{})
	var got []string
	for _, x := range r.Rules {
		got = append(got, fmt.Sprintf("%s of %q: %d (%d open), %d (%d open), +%v -%v ~%v =%d", x.Rule, x.Shadows, x.Incidents, x.Open, x.Live, x.LiveOpen, spans(x.Added), spans(x.Removed), moves(x.Moved), x.Unchanged))
	}
	expect(t, "shadows", strings.Join(got, "\n"), strings.Join([]string{
		`g/Alone of "": 1 (1 open), 0 (0 open), +[g/Alone a 500-open] -[] ~[] =0`,
		`g/Hotter of "g/Hot": 2 (1 open), 3 (1 open), +[] -[g/Hot a 300-350] ~[g/Hot a 100-200 -> g/Hotter a 120-200 (20s 0s )] =1`,
		`g/Same of "g/Hot": 3 (1 open), 3 (1 open), +[] -[] ~[] =3`,
	}, "\n"))
	for _, want := range []string{"SHADOW", "g/Hotter  2          1     g/Hot", "-  2026-01-31T12:05:00Z  50s    g/Hot     a", "starts 20s later"} {
		if !strings.Contains(shown, want) {
			t.Errorf("the text lacks %q:\n%s", want, shown)
		}
	}
	if r, _ := b.shadows(t, backtest.ShadowRequest{Since: clock(250), Limit: 1}); r.Rules[2].Incidents != 2 || r.Rules[2].Live != 2 || r.Rules[2].Since.Before(epoch.Add(249*time.Second)) {
		t.Errorf("since 250 s: %+v", r.Rules[2])
	}
}

func TestWithoutShadowsThereIsNothingToCompare(t *testing.T) {
	b := openLog(t, t.TempDir(), 2)
	b.put(0, ruleSet(0, setOf(t, hot("temperature > 3", ""))))
	if r, shown := b.shadows(t, backtest.ShadowRequest{}); len(r.Rules) != 0 || shown != "no rule in force has mode: shadow\n" {
		t.Errorf("got %+v\n%s", r, shown)
	}
	if _, err := backtest.Shadow(t.Context(), backtest.Deps{Log: b.Log}, backtest.ShadowRequest{Since: "noon"}); err == nil || !strings.Contains(err.Error(), `since "noon" is none of`) {
		t.Errorf("a bad time: %v", err)
	}
}

func TestWhatWasOverBeforeTheShadowWasThereIsLeftOut(t *testing.T) {
	b := openLog(t, t.TempDir(), 1)
	old := setOf(t, hot("temperature > 30", ""))
	with := setOf(t, []backtest.Text{{Name: "r.yaml", Text: "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30}, {alert: Next, expr: temperature > 30, mode: shadow, shadows: Hot}]}]"}})
	fact := func(s float64, rule, id, state string, from, to float64) []byte {
		a := event.Alert{ID: id, State: state, Rule: rule, Key: "a", StartsAt: time.Unix(0, at(from)).UTC()}
		if state == event.Resolved {
			end := time.Unix(0, at(to)).UTC()
			a.EndsAt = &end
		}
		return decided(s, a)
	}
	b.put(0, ruleSet(0, old), fact(10, "g/Hot", "1", event.Firing, 10, 0), fact(20, "g/Hot", "1", event.Resolved, 10, 20), fact(30, "g/Hot", "2", event.Firing, 30, 0))
	b.put(0, ruleSet(40, with), fact(50, "g/Next", "3", event.Firing, 50, 0), fact(60, "g/Hot", "2", event.Resolved, 30, 60), fact(60, "g/Next", "3", event.Resolved, 50, 60))
	r, _ := b.shadows(t, backtest.ShadowRequest{})
	x := r.Rules[0]
	expect(t, "compared", fmt.Sprint(x.Incidents, x.Live, moves(x.Moved), spans(x.Removed)), "1 1 [g/Hot a 30-60 -> g/Next a 50-60 (20s 0s )] []")
	if !x.Since.Equal(epoch.Add(40 * time.Second)) {
		t.Errorf("the shadow is there since %v", x.Since)
	}
}
