package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"weir/rules"
	"weir/rules/explain"
)

// Every alert that a running weir raised is explained by the log, over edits of
// the rules and with recordings between.
func TestAlertsOfARunningWeirAreExplained(t *testing.T) {
	text := `{alert: Hot, expr: x > 30}, {record: twice, expr: x * 2}, {alert: Twice, expr: twice > 60}, {alert: Mean, expr: 'avg_over_time(x, "10m") > 25'}`
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": ruledConfig, "rules.yaml": rule(text)})
	c := connect(t, w.mqtt(), "d1", nil)
	c.say("plant/d1/t", `{"x": 10}`)
	c.say("plant/d1/t", `{"x": 41}`)
	w.edit("rules.yaml", rule(strings.Replace(text, "x > 30", "x > 20", 1)))
	until(t, "the rules are reloaded", func() bool { return strings.Contains(w.log.String(), "rules reloaded") })
	c.say("plant/d2/t", `{"x": 25.5}`)
	type alerts struct{ Alerts []rules.Status }
	until(t, "five alerts fire", func() bool { return len(ask[alerts](w, "/api/v1/alerts").Alerts) == 5 })
	for _, a := range ask[alerts](w, "/api/v1/alerts").Alerts {
		r := ask[explain.Report](w, "/api/v1/rules/explain?alert="+a.ID)
		if len(r.Notes) > 0 || len(r.Steps) != 1 || r.Steps[0].State != "firing" || r.Steps[0].Evaluation.Expr.Value != true || r.Transitions[0].RuleSet != r.RuleSet {
			t.Errorf("%s %s: %+v", a.Rule, a.Key, r)
		}
		want := "x > 30"
		if a.Key == "d2" {
			want = "x > 20"
		}
		if a.Rule == "g/Hot" && !strings.Contains(r.Text, want) {
			t.Errorf("the rule of %s was %s, want %s in it", a.Key, r.Text, want)
		}
		if a.Event.Position != r.Steps[0].Evaluation.Event.Position {
			t.Errorf("%s %s rests on %v, want %v", a.Rule, a.Key, r.Steps[0].Evaluation.Event.Position, a.Event.Position)
		}
	}
	for path, want := range map[string]string{
		"?alert=nosuch":                          "no alert with the id",
		"?rule=g/Hot":                            "name the id of an alert",
		"?alrt=1":                                `unknown parameter \"alrt\"`,
		"?rule=g/Nosuch&key=d1&at=now":           "no rule g/Nosuch was in force",
		"?rule=g/Hot&key=d1&at=yesterday-or-so":  "is none of",
		"?rule=g/Hot&key=d1&at=now&until=monday": "is none of",
	} {
		if status, body := w.get("/api/v1/rules/explain" + path); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s is answered %s, want 400 %s", path, fmt.Sprint(status, " ", body), want)
		}
	}
}
