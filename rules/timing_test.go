package rules_test

import (
	"fmt"
	"testing"

	"weir/ingest/event"
	"weir/rules"
)

func TestSomeEvaluationsAreTimed(t *testing.T) {
	e := rules.NewEngine(0)
	now := int64(0)
	e.SetStopwatch(func() int64 { now += 500; return now })
	log := []line{setRecord(0, "groups: [{name: g, rules: [{alert: Hot, expr: temperature > 30}, {alert: Mean, expr: 'avg_over_time(temperature, \"1m\") > 30'}]}]")}
	for i := range 640 {
		log = append(log, temp(float64(i+1), fmt.Sprint("d", i%5), 20))
	}
	play(t, e, log)
	for _, r := range e.Stats().Rules {
		if r.Timed != 10 || r.Nanos != 5000 {
			t.Errorf("%s: %d evaluations were timed and took %d ns, want 10 and 5000", r.Rule, r.Timed, r.Nanos)
		}
	}
	snapshot, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	untimed := rules.NewEngine(0)
	play(t, untimed, log)
	if other, err := untimed.Snapshot(); err != nil || string(other) != string(snapshot) {
		t.Errorf("timing makes a difference to the state (%v)", err)
	}
}

func TestTheBooksOfStateSayWhatIsKnownForARule(t *testing.T) {
	e := rules.NewEngine(0)
	log := []line{setRecord(0, `groups:
  - name: g
    rules:
      - {alert: Hot, expr: temperature > 30}
      - {alert: Mean, expr: 'avg_over_time(temperature, "1h") > 30'}
      - {record: mean, expr: 'avg_over_time(temperature, "1h")'}
      - {alert: Site, expr: 'count_over_time(temperature, "1h") > 1000', by: [site]}
`)}
	at := 0.0
	states := func() map[string]rules.RuleStats {
		m := map[string]rules.RuleStats{}
		for _, s := range e.Stats().Rules {
			m[s.Rule] = s
			keys, size := e.Recount(s.Rule)
			if s.Pending+s.Firing == 0 && (s.StateKeys != keys || s.StateBytes != size) || s.StateKeys < keys || s.StateBytes < size {
				t.Errorf("%s: %d keys of %d bytes are booked, there are %d of %d", s.Rule, s.StateKeys, s.StateBytes, keys, size)
			}
		}
		return m
	}
	round := func(v float64) {
		log = log[:1]
		if at > 0 {
			log = nil
		}
		for d := range 10 {
			at++
			l := temp(at, fmt.Sprint("d", d), v)
			l.tags = []event.Tag{{Key: "site", Value: fmt.Sprint("s", d%3)}}
			log = append(log, l)
		}
		play(t, e, log)
	}
	round(20)
	first := states()
	for rule, keys := range map[string]int{"g/Hot": 0, "g/Mean": 10, "g/mean": 10, "g/Site": 3} {
		if first[rule].StateKeys != keys || (keys > 0) != (first[rule].StateBytes > 0) {
			t.Errorf("%s: %+v, want %d keys", rule, first[rule], keys)
		}
	}
	if first["g/Mean"].StateKeys != 10 || first["g/Mean"].StateBytes != first["g/mean"].StateBytes {
		t.Errorf("a window that is shared is %+v for one and %+v for the other", first["g/Mean"], first["g/mean"])
	}
	for range 5 {
		round(40)
	}
	then := states()
	if then["g/Hot"].StateKeys != 10 || then["g/Mean"].StateBytes <= first["g/Mean"].StateBytes || then["g/Site"].StateBytes <= first["g/Site"].StateBytes {
		t.Errorf("after 50 events more: %+v", then)
	}
}
