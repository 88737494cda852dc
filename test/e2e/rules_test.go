package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const ruledConfig = `
mqtt: {listen: "127.0.0.1:0", anonymous: true}
http: {listen: "127.0.0.1:0"}
log: {partitions: 1, min_free: 1MiB}
sources:
  - {name: plant, topic: "plant/{device}/t"}
rules: ["rules.yaml"]
`

func recordings(w *weir, name string) (values []string) {
	for _, l := range w.lines("") {
		if l.Kind == "recording" && strings.Contains(l.Topic, "/"+name+"/") {
			values = append(values, fmt.Sprint(l.Device, "=", l.Fields["value"]))
		}
	}
	return values
}

// rule returns a file of one rule.
func rule(text string) string { return "groups: [{name: g, rules: [" + text + "]}]\n" }

// A window of a rule that is new holds what the log has of its time.
func TestANewRuleKnowsWhatCameBeforeIt(t *testing.T) {
	hot := `{alert: Hot, expr: "x > 1000"}`
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": ruledConfig, "rules.yaml": rule(hot)})
	c := connect(t, w.mqtt(), "d1", nil)
	for _, x := range []int{10, 20, 30} {
		c.say("plant/d1/t", fmt.Sprintf(`{"x":%d}`, x))
	}
	c.say("plant/d2/t", `{"x": 7}`)
	w.edit("rules.yaml", rule(hot+`, {record: mean, expr: 'avg_over_time(x, "10m")'}`))
	until(t, "the rules are reloaded", func() bool { return strings.Contains(w.log.String(), "rules reloaded") })
	c.say("plant/d1/t", `{"x": 100}`)
	c.say("plant/d2/t", `{"x": 9}`)
	until(t, "both averages are recorded", func() bool { return len(recordings(w, "mean")) == 2 })
	want := "[d1=40 d2=8]" // (10+20+30+100)/4 and (7+9)/2
	if got := fmt.Sprint(recordings(w, "mean")); got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}

	// The whole log again gives the same recordings, which are there already.
	replay(t, w, "rules")
	c.say("plant/d1/t", `{"x": 100}`)
	until(t, "one more average is recorded", func() bool { return len(recordings(w, "mean")) > 2 })
	if got, want := fmt.Sprint(recordings(w, "mean")), "[d1=40 d2=8 d1=52]"; got != want {
		t.Errorf("after a replay of the log there are %s, want %s", got, want)
	}
}

func replay(t *testing.T, w *weir, consumer string) {
	t.Helper()
	resp, err := http.Post(w.url("/api/v1/consumers/"+consumer+"/replay?from=all"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Fatalf("replay of %s: %s", consumer, resp.Status)
	}
}

// So does one that groups devices of several partitions.
func TestANewGroupedRuleKnowsWhatCameBeforeItInAllPartitions(t *testing.T) {
	hot := `{alert: Hot, expr: "x > 1000"}`
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": strings.Replace(ruledConfig, "partitions: 1", "partitions: 3", 1), "rules.yaml": rule(hot)})
	c := connect(t, w.mqtt(), "d1", nil)
	for i := range 12 {
		c.say(fmt.Sprintf("plant/d%d/t", i), `{"x": 10}`)
	}
	w.edit("rules.yaml", rule(hot+`, {record: total, by: [], expr: 'sum_over_time(x, "10m")'}`))
	until(t, "the rules are reloaded", func() bool { return strings.Contains(w.log.String(), "rules reloaded") })
	c.say("plant/d1/t", `{"x": 5}`)
	c.say("plant/d7/t", `{"x": 3}`)
	until(t, "both totals are recorded", func() bool { return len(recordings(w, "total")) == 2 })
	if got, want := fmt.Sprint(recordings(w, "total")), "[=125 =128]"; got != want {
		t.Errorf("recorded %s, want %s", got, want)
	}
	replay(t, w, "rules-groups")
	c.say("plant/d1/t", `{"x": 1}`)
	until(t, "one more total is recorded", func() bool { return len(recordings(w, "total")) > 2 })
	if got, want := fmt.Sprint(recordings(w, "total")), "[=125 =128 =129]"; got != want {
		t.Errorf("after a replay of the log there are %s, want %s", got, want)
	}
}

func TestTheTimesOfEventsAreCounted(t *testing.T) {
	config := strings.Replace(ruledConfig, `"plant/{device}/t"}`, `"plant/{device}/t", time: {field: ts, unit: s, max_ahead: 8760h}}`, 1)
	w := start(t, t.TempDir(), map[string]string{"weir.yaml": config, "rules.yaml": rule(`{alert: Hot, expr: "x > 1000"}`)})
	c := connect(t, w.mqtt(), "d1", nil)
	now := time.Now().Unix()
	for _, ts := range []int64{now, now - 60, now + 300, now - 3600} { // in order, late, from the future, history
		c.say("plant/d1/t", fmt.Sprintf(`{"ts":%d,"x":1}`, ts))
	}
	want := []string{"late_events_total{consumer=\"rules\"} 1", "future_events_total{consumer=\"rules\"} 1", "backfill_events_total{consumer=\"rules\"} 1"}
	until(t, "the events are counted", func() bool {
		_, body := w.get("/metrics")
		for _, m := range want {
			if !strings.Contains(body, "weir_rules_"+m+"\n") {
				return false
			}
		}
		_, ahead, _ := strings.Cut(body, "weir_rules_events_ahead_seconds{consumer=\"rules\"} ")
		var s float64
		_, err := fmt.Sscan(ahead, &s)
		return err == nil && s > 200 && s <= 301
	})
}
