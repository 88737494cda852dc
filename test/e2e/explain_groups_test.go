package e2e

import (
	"fmt"
	"strings"
	"testing"

	"weir/rules"
	"weir/rules/explain"
)

// A rule over a group of devices is explained though their events stand in
// several partitions.
func TestAnAlertOfAGroupIsExplained(t *testing.T) {
	config := strings.Replace(ruledConfig, "partitions: 1", "partitions: 3", 1)
	if config == ruledConfig {
		config = "log: {partitions: 3}\n" + ruledConfig
	}
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": config, "rules.yaml": rule(`{alert: All, expr: 'sum_over_time(x, "10m") > 100', by: []}`)})
	c := connect(t, w.mqtt(), "c", nil)
	for i := range 6 {
		c.say(fmt.Sprintf("plant/d%d/t", i), `{"x": 20}`)
	}
	type alerts struct{ Alerts []rules.Status }
	until(t, "the alert fires", func() bool { return len(ask[alerts](w, "/api/v1/alerts").Alerts) == 1 })
	a := ask[alerts](w, "/api/v1/alerts").Alerts[0]
	r := ask[explain.Report](w, "/api/v1/rules/explain?alert="+a.ID)
	if len(r.Notes) > 0 || len(r.Steps) != 1 || r.Steps[0].Evaluation.Windows[0].Count != 6 {
		t.Fatalf("%+v", r)
	}
	in := map[uint16]bool{}
	for _, s := range r.Steps[0].Evaluation.Windows[0].Samples {
		in[s.Position.Partition] = true
	}
	if len(in) < 2 {
		t.Errorf("the samples are of partitions %v, want several", in)
	}
	until(t, "the rule is found to fire", func() bool {
		return strings.Contains(ask[explain.Report](w, "/api/v1/rules/explain?rule=g/All&key=all&at=now").Verdict, "it was firing, the incident is "+a.ID)
	})
}
