package e2e

import (
	"fmt"
	"strings"
	"testing"

	"weir/console"
)

// A rule over device ids that are made up is stopped, and says so; others go on.
func TestARuleThatKnowsTooMuchIsStopped(t *testing.T) {
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": ruledConfig, "rules.yaml": rule(`{alert: Hot, expr: 'avg_over_time(x, "1h") > 30', max_keys: 20}, {alert: Other, expr: x > 50}`)})
	c := connect(t, w.mqtt(), "c", nil)
	for i := range 60 {
		c.say(fmt.Sprintf("plant/made-up-%d/t", i), `{"x": 40}`)
	}
	c.say("plant/d1/t", `{"x": 60}`)
	type list struct{ Rules []console.Rule }
	until(t, "the other rule fires, and that one does not", func() bool {
		r := ask[list](w, "/api/v1/rules").Rules
		return r[1].Firing == 1 && r[0].Firing == 0
	})
	if r := ask[list](w, "/api/v1/rules").Rules[0]; r.Stopped != "stopped: it has more than 20 keys (max_keys)" || r.Keys != 0 {
		t.Errorf("the rule is %+v", r)
	}
	until(t, "it is logged", func() bool { return strings.Contains(w.log.String(), `a rule is stopped`) })
	if _, body := w.get("/metrics"); !strings.Contains(body, `weir_rules_stopped{rule="g/Hot"} 1`) || !strings.Contains(body, `weir_rules_stopped{rule="g/Other"} 0`) {
		t.Error("the metric does not say so")
	}
}
