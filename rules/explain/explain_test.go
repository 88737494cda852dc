package explain_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/ingest/event"
	"weir/rules/backtest"
	"weir/rules/explain"
)

const freezer = `groups:
  - name: cold
    rules:
      - alert: Warm
        expr: temperature > (limits.max ?? -15)
        for: 2m
        clear: temperature < -17
        keep_firing_for: 1m

      - alert: Mean
        expr: avg_over_time(temperature, "1m") > 0
      - alert: Silent
        expr: absent("5m")
        match: {device: [f1, f2]}
      - alert: Oslo
        expr: temperature > 100
        match: {site: oslo}
      - alert: Plain
        expr: temperature > 500
`

// night is a log in which f1 is warm from 60 to 300 s.
func night(t testing.TB) *plant {
	p := open(t)
	p.put(ruleSet(t, 0, freezer))
	for s := 10.0; s <= 600; s += 10 {
		v := -20.0
		if s >= 60 && s < 300 {
			v = -12
		}
		if s == 300 {
			v = -16 // neither
		}
		p.put(temp(s, "f1", v), tick(s+1), temp(s+2, "f2", -21))
	}
	return p
}

func (p *plant) only(rule string, state string) event.Alert {
	p.t.Helper()
	var found []event.Alert
	for _, a := range p.facts {
		if a.Rule == rule && a.State == state {
			found = append(found, a)
		}
	}
	if len(found) != 1 {
		p.t.Fatalf("%s is %s %d times, want once: %v", rule, state, len(found), p.facts)
	}
	return found[0]
}

func (p *plant) silent(device string) string {
	for _, a := range p.facts {
		if a.Rule == "cold/Silent" && a.Key == device && a.State == event.Firing {
			return a.ID
		}
	}
	return "none"
}

func TestAnAlertIsExplained(t *testing.T) {
	p := night(t)
	a := p.only("cold/Warm", event.Firing)
	r, text := p.ask(explain.Request{Alert: a.ID})
	var states []string
	for _, s := range r.Steps {
		states = append(states, fmt.Sprintf("%s %.0f", s.State, s.At.Sub(epoch).Seconds()))
	}
	if got, want := strings.Join(states, ", "), "pending 60, firing 180, clearing 310, resolved 370"; got != want {
		t.Errorf("steps are %s, want %s", got, want)
	}
	mentions(t, text,
		"cold/Warm fired for f1 at 2026-01-31T12:03:00Z, on the event 0/", "; it was resolved at 2026-01-31T12:06:10Z",
		"rule of g.yaml:4, rule set", "    - alert: Warm\n      expr: temperature > (limits.max ?? -15)\n", "keep_firing_for: 1m\n\nin the log",
		"firing", "resolved",
		"expr became true at 2026-01-31T12:01:00Z: pending for 2m0s, due at 2026-01-31T12:03:00Z",
		"of 2026-01-31T12:01:00Z temperature=-12",
		"temperature > (limits.max ?? -15) = true\n      temperature = -12\n      limits.max ?? -15 = -15\n        limits.max = nil, which the event does not have\n",
		"fired at 2026-01-31T12:03:00Z", "temperature = -12",
		"cleared at 2026-01-31T12:05:10Z: firing goes on for 1m0s", "clear:\n    temperature < -17 = true",
		"resolved at 2026-01-31T12:06:10Z: keep_firing_for 1m0s was over",
	)
	if len(r.Notes) > 0 {
		t.Errorf("notes: %v", r.Notes)
	}
	if r.Steps[0].Evaluation == nil || r.Steps[0].Evaluation.Event.Position.Seq == 0 {
		t.Errorf("the event that it began with is not told: %+v", r.Steps[0])
	}
}

func TestWindowsTellTheirSamples(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, freezer))
	for s := 0.0; s < 100; s++ {
		p.put(temp(s, "f1", s-60))
	}
	r, text := p.ask(explain.Request{Alert: p.only("cold/Mean", event.Firing).ID})
	w := r.Steps[0].Evaluation.Windows
	if len(w) != 1 || w[0].Count != 60 || len(w[0].Samples) != 20 || w[0].Omitted != 40 {
		t.Fatalf("the window has %+v", w)
	}
	fired := r.Steps[0].At.Sub(epoch).Seconds()
	if first, last := w[0].Samples[0].Time.Sub(epoch).Seconds(), w[0].Samples[19].Time.Sub(epoch).Seconds(); last != fired || first != fired-59 {
		t.Errorf("samples are from %v to %v, want the minute up to %v", first, last, fired)
	}
	sum := 0.0
	for s := fired - 59; s <= fired; s++ {
		sum += s - 60
	}
	if v := r.Steps[0].Evaluation.Expr.Of[0]; v.Text != `avg_over_time(temperature, "1m")` || v.Value != sum/60 {
		t.Errorf("the aggregate is %+v, want %v", v, sum/60)
	}
	mentions(t, text, `avg_over_time(temperature, "1m") = 0.5`, `avg_over_time(temperature, "1m"): 60 samples`, "... and 40 more")
}

func TestACountTellsItsSamples(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, "groups: [{name: g, rules: [{alert: Moist, expr: max_over_time(temperature) < 30 and max_over_time(humidity) > 80, window: {count: 3}}]}]"))
	for s, fields := range []string{`{"temperature":20}`, `{"humidity":85}`, `{"temperature":40}`, `{"temperature":22}`, `{"temperature":21}`, `{"humidity":90}`} {
		p.put(reading(float64(10+s), "f1", fields))
	}
	p.put(tick(20))
	r, _ := p.ask(explain.Request{Alert: p.only("g/Moist", event.Firing).ID})
	var got []string
	for _, w := range r.Steps[len(r.Steps)-1].Evaluation.Windows {
		for _, s := range w.Samples {
			got = append(got, fmt.Sprint(s.Value))
		}
	}
	if strings.Join(got, " ") != "22 21 90" {
		t.Errorf("samples %v", got)
	}
}

func TestTheRulesOfThenExplain(t *testing.T) {
	p := open(t)
	old := "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30, for: 30s}]}]"
	p.put(ruleSet(t, 0, old), temp(10, "d", 40), temp(20, "d", 40))
	p.put(ruleSet(t, 25, strings.Replace(old, "30,", "35,", 1))) // goes on
	p.put(temp(45, "d", 41), temp(50, "d", 20))
	p.put(ruleSet(t, 60, strings.Replace(old, "30,", "99,", 1)))
	p.put(tick(70))
	r, text := p.ask(explain.Request{Alert: p.only("g/Hot", event.Firing).ID})
	mentions(t, text, "expr: temperature > 35", "expr became true at 2026-01-31T12:00:10Z", "temperature > 30 = true", "fired at 2026-01-31T12:00:40Z: expr had held for 30s", "resolved", "temperature > 35 = false")
	if r.RuleSet != p.only("g/Hot", event.Firing).RuleSet {
		t.Errorf("the rule set is %s", r.RuleSet)
	}
}

func TestHistoryIsExplainedThoughItStandsElsewhere(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30, for: 10m}]}]"))
	for i := range 40 { // an hour's history in a few seconds, of yesterday
		v := 20
		if i >= 10 && i < 30 {
			v = 40
		}
		p.put(reading(1000+float64(i)/10, "d", fmt.Sprintf(`{"temperature":%d,"ts":%d}`, v, at(float64(i)*60-86400))))
	}
	a := p.only("g/Hot", event.Firing)
	_, text := p.ask(explain.Request{Alert: a.ID})
	mentions(t, text, "nobody was told: it happened in history", "expr became true at 2026-01-30T12:10:00Z", "fired at 2026-01-30T12:20:00Z", "resolved at 2026-01-30T12:30:00Z")
	if strings.Contains(text, "note:") {
		t.Error(text)
	}
	_, text = p.ask(explain.Request{Rule: "g/Hot", Key: "d", At: "2026-01-30T12:15:00Z", Until: clock(2000)})
	mentions(t, text, "its expression was true since 2026-01-30T12:10:00Z, and for was not over before 2026-01-30T12:20:00Z")
}

func TestAnEventThatWasDelayedByHoursIsFound(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30, for: 10m}]}]"))
	// Each is received later than the one before: the times between events tell little of those between receipts.
	for i := range 12 {
		p.put(reading(float64(i*i)*60, "d", fmt.Sprintf(`{"temperature":40,"ts":%d}`, at(float64(i)*60))))
	}
	p.put(tick(200*60), tick(201*60))
	r, text := p.ask(explain.Request{Alert: p.only("g/Hot", event.Firing).ID})
	if len(r.Steps) < 2 || r.Steps[0].State != event.Pending || len(r.Notes) > 0 {
		t.Errorf("its beginning was not found:\n%s", text)
	}
}

func TestWhyARuleSaidNothing(t *testing.T) {
	p := night(t)
	p.put(reading(610, "f1", `{"humidity":3}`), reading(611, "f3", `{"temperature":"warm"}`), tick(700), tick(1300))
	for _, tt := range []struct {
		name, rule, key, at string
		want                []string
	}{
		{"false", "cold/Warm", "f1", clock(45), []string{"its expression was false", "the last evaluation, as of 2026-01-31T12:00:40Z: false", "temperature = -20", "before:"}},
		{"pending", "cold/Warm", "f1", clock(100), []string{"its expression was true since 2026-01-31T12:01:00Z, and for was not over before 2026-01-31T12:03:00Z", "expr became true"}},
		{"it was firing", "cold/Warm", "f1", clock(200), []string{"it was firing, the incident is ", "in the log:\n", "firing"}},
		{"none of the fields", "cold/Plain", "f1", clock(612), []string{"the last event said nothing about it", "the event has none of the fields"}},
		{"it had been firing for long", "cold/Silent", "f1", clock(1290), []string{"it was firing, the incident is " + p.silent("f1")}},
		{"failed", "cold/Warm", "f3", clock(612), []string{"its expression could not be evaluated", `temperature = "warm"`}},
		{"unknown key", "cold/Warm", "f9", clock(612), []string{"no event of it was received from "}},
		{"before the log", "cold/Warm", "f1", clock(-7200), []string{"the log holds nothing of then"}},
		{"match", "cold/Oslo", "f1", clock(300), []string{"none of its", `the rule's match leaves it out: match.site is "oslo", the event has no such tag`, "the last one: 0/"}},
		{"as time passed", "cold/Silent", "f2", clock(602 + 301), []string{"it was firing"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, text := p.ask(explain.Request{Rule: tt.rule, Key: tt.key, At: tt.at})
			mentions(t, text, tt.want...)
		})
	}
}

func TestAnAlertThatFiresForLongIsTheSameOne(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, freezer), temp(10, "f1", -20))
	for s := 20.0; s < 3600; s += 30 {
		p.put(temp(s, "f1", -12))
	}
	id := p.only("cold/Warm", event.Firing).ID
	r, text := p.ask(explain.Request{Rule: "cold/Warm", Key: "f1", At: clock(3500)})
	mentions(t, text, "it was firing, the incident is "+id, "expr became true at 2026-01-31T12:00:20Z")
	if len(r.Last) != 10 {
		t.Errorf("%d evaluations are listed, want 10", len(r.Last))
	}
}

func TestARecordGaveAValue(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, "groups: [{name: g, rules: [{record: double, expr: temperature * 2}]}]"))
	p.put(temp(10, "d", 20), tick(11))
	_, text := p.ask(explain.Request{Rule: "g/double", Key: "d", At: clock(11)})
	mentions(t, text, "it is a record; its last evaluation gave a value")
}

func TestLateEventsAreTold(t *testing.T) {
	p := open(t)
	p.put(ruleSet(t, 0, "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30}, {alert: Hour, expr: max_over_time(temperature) > 30, window: {tumbling: 1h}}]}]"))
	p.put(temp(100, "d", 20), reading(101, "d", fmt.Sprintf(`{"temperature":50,"ts":%d}`, at(40))), tick(102))
	_, text := p.ask(explain.Request{Rule: "g/Hot", Key: "d", At: clock(60)})
	mentions(t, text, "none of its 1 events was evaluated: it came too late: its time is behind what was evaluated already: the device was at 2026-01-31T12:01:40Z")
	_, text = p.ask(explain.Request{Rule: "g/Hour", Key: "d", At: clock(110)})
	mentions(t, text, "it went into the rule's window, which had not ended")
}

func TestWhatCannotBeExplainedIsRefused(t *testing.T) {
	p := night(t)
	for _, tt := range []struct {
		name string
		req  explain.Request
		want string
	}{
		{"no such alert", explain.Request{Alert: "nosuch"}, `no alert with the id "nosuch" is in the log`},
		{"nothing", explain.Request{}, "name the id of an alert, or else a rule"},
		{"both", explain.Request{Alert: "x", Rule: "g/X"}, "ask about an alert by its id, or about a rule"},
		{"no rule", explain.Request{Rule: "cold/Wram", Key: "f1", At: clock(100)}, "no rule cold/Wram was in force at 2026-01-31T12:01:40Z: there were cold/Mean, cold/Oslo, cold/Plain, cold/Silent, cold/Warm"},
		{"no group", explain.Request{Rule: "Warm", Key: "f1", At: clock(100)}, "rules are named group/name"},
		{"a bad time", explain.Request{Rule: "cold/Warm", Key: "f1", At: "noon"}, `"noon" is none of`},
		{"a bad end", explain.Request{Rule: "cold/Warm", Key: "f1", At: clock(1), Until: "noon"}, `until "noon"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := explain.Run(t.Context(), explain.Deps{Deps: backtest.Deps{Log: p.log}}, tt.req)
			var input *explain.InputError
			if !errors.As(err, &input) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}
