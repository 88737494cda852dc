package backtest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"weir/configs/strict"
	"weir/rules/backtest"
)

// day fills a log with two devices: a is hot from 100 to 200 s and from 400 to
// 460 s, b from 300 s on.
func day(t testing.TB, partitions int) *bench {
	t.Helper()
	b := openLog(t, t.TempDir(), partitions)
	for s := 0.0; s <= 600; s += 10 {
		temp := 20.0
		switch {
		case s >= 100 && s < 110 || s >= 190 && s < 200:
			temp = 32
		case s >= 100 && s < 200:
			temp = 40
		case s >= 400 && s < 460:
			temp = 31
		}
		b.put(0, reading(s, "a", temp))
		b.put(0, tick(s+1))
		temp = 20
		if s >= 300 {
			temp = 50
		}
		b.put(partitions-1, reading(s+2, "b", temp))
		b.put(partitions-1, tick(s+3))
	}
	return b
}

func TestTheReportSaysWhatDiffers(t *testing.T) {
	logs := map[int]*bench{1: day(t, 1), 2: day(t, 2)}
	for _, tt := range []struct {
		name                  string
		rules, old            []backtest.Text
		added, removed, moved []string
		unchanged             int
	}{
		{"nothing, if the rules are the same", hot("temperature > 30", ""), hot("temperature > 30", ""), nil, nil, nil, 3},
		{"text makes no difference", hot("temperature > 30", ", labels: {severity: page}"), hot("not (temperature <= 30)", ""), nil, nil, nil, 3},
		{"a threshold", hot("temperature > 35", ""), hot("temperature > 30", ""),
			nil, []string{"g/Hot a 400-460"}, []string{"g/Hot a 100-200 -> g/Hot a 110-190 (10s -10s )"}, 1},
		{"a threshold, the other way round", hot("temperature > 30", ""), hot("temperature > 35", ""),
			[]string{"g/Hot a 400-460"}, nil, []string{"g/Hot a 110-190 -> g/Hot a 100-200 (-10s 10s )"}, 1},
		{"a hold", hot("temperature > 30", ", for: 65s"), hot("temperature > 30", ""),
			nil, []string{"g/Hot a 400-460"}, []string{"g/Hot a 100-200 -> g/Hot a 165-200 (1m5s 0s )", "g/Hot b 302-open -> g/Hot b 367-open (1m5s 0s )"}, 0},
		{"what keeps it firing", hot("temperature > 30", ", keep_firing_for: 250s"), hot("temperature > 30", ""),
			nil, []string{"g/Hot a 400-460"}, []string{"g/Hot a 100-200 -> g/Hot a 100-open (0s 0s new)"}, 1},
		{"another name is another rule", []backtest.Text{{Name: "x.yaml", Text: "groups: [{name: g, rules: [{alert: Warm, expr: temperature > 45}]}]"}}, hot("temperature > 45", ""),
			[]string{"g/Warm b 302-open"}, []string{"g/Hot b 302-open"}, nil, 0},
		{"no old rules", hot("temperature > 45", ""), nil, []string{"g/Hot b 302-open"}, nil, nil, 0},
	} {
		for _, partitions := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d partitions", tt.name, partitions), func(t *testing.T) {
				req := backtest.Request{Rules: tt.rules, Old: tt.old}
				if tt.old == nil {
					req.Against = backtest.AgainstNone
				}
				logs[partitions].t = t
				r := logs[partitions].must(req)
				expect(t, "added", spans(r.Added), tt.added)
				expect(t, "removed", spans(r.Removed), tt.removed)
				expect(t, "moved", moves(r.Moved), tt.moved)
				expect(t, "counts", []int{r.Total.Added, r.Total.Removed, r.Total.Moved, r.Total.Unchanged}, []int{len(tt.added), len(tt.removed), len(tt.moved), tt.unchanged})
				if r.Changed() != (len(tt.added)+len(tt.removed)+len(tt.moved) > 0) {
					t.Errorf("Changed() = %v", r.Changed())
				}
				if r.Records != 244 || r.Events != 122 {
					t.Errorf("%d records and %d events were read, want 244 and 122", r.Records, r.Events)
				}
			})
		}
	}
}

func TestEachRuleIsCounted(t *testing.T) {
	text := `groups:
  - name: g
    limit: 100
    rules:
      - {alert: Hot, expr: temperature > 30}
      - {alert: Broken, expr: temperature > nosuch}
      - {alert: Never, expr: pressure > 3}
      - {record: kelvin, expr: temperature + 273}
      - {alert: Chain, expr: kelvin > 320}
`
	r := day(t, 1).must(backtest.Request{Rules: []backtest.Text{{Name: "g.yaml", Text: text}}, Old: hot("temperature > 35", ""), From: clock(150), WarmUp: "60s"})
	got := map[string]string{}
	for _, x := range r.Rules {
		side := func(s *backtest.Side) string {
			if s == nil {
				return "none"
			}
			return fmt.Sprintf("%d incidents, %d open, %d pages, %.0f s, %d recordings", s.Incidents, s.Open, s.Pages, s.Firing, s.Recordings)
		}
		got[x.Rule] = side(x.New) + "; " + side(x.Old)
	}
	// The range ends with the last record, at 603 s.
	expect(t, "rules", got, map[string]string{
		"g/Hot":    "3 incidents, 1 open, 2 pages, 411 s, 0 recordings; 2 incidents, 1 open, 1 pages, 341 s, 0 recordings",
		"g/Broken": "0 incidents, 0 open, 0 pages, 0 s, 0 recordings; none",
		"g/Never":  "0 incidents, 0 open, 0 pages, 0 s, 0 recordings; none",
		"g/kelvin": "0 incidents, 0 open, 0 pages, 0 s, 92 recordings; none",
		"g/Chain":  "1 incidents, 1 open, 1 pages, 301 s, 0 recordings; none",
	})
	days := (603.0 - 150) / 86400
	if got, want := r.Total.New.PerDay, 3/days; got < want*0.999 || got > want*1.001 {
		t.Errorf("%v pages a day, want %v", got, want)
	}
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"rule g/Broken failed on", "rule g/Never was not evaluated once"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes don't say %q:\n%s", want, notes)
		}
	}
	if strings.Contains(notes, "g/limit") {
		t.Errorf("the notes speak of the limit as of a rule:\n%s", notes)
	}
}

func TestTheWarmUpFillsTimersAndCountsForNothingElse(t *testing.T) {
	b := day(t, 2)
	for _, tt := range []struct {
		name, from, to, warm string
		want                 []string
	}{
		{"it has seen the begin", clock(150), "", "120s", []string{"g/Hot a 125-200", "g/Hot b 327-open", "g/Hot a 425-460"}},
		{"it has not", clock(150), "", "0", []string{"g/Hot a 175-200", "g/Hot b 327-open", "g/Hot a 425-460"}},
		{"what ended before the range", clock(250), "", "200s", []string{"g/Hot b 327-open", "g/Hot a 425-460"}},
		{"the end is left out", "", clock(327), "", []string{"g/Hot a 125-200"}},
		{"what is under way at the end is open", clock(200), clock(450), "120s", []string{"g/Hot a 125-200", "g/Hot b 327-open", "g/Hot a 425-open"}},
		{"times may be relative", "-58m20s", "55m ago", "", []string{"g/Hot a 125-200"}}, // now is an hour after epoch
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			r := b.must(backtest.Request{Rules: hot("temperature > 30", ", for: 25s"), Against: backtest.AgainstNone, From: tt.from, To: tt.to, WarmUp: tt.warm})
			expect(t, "incidents", spans(r.Added), tt.want)
			if r.Total.New.Incidents != len(tt.want) {
				t.Errorf("%d incidents are counted, want %d", r.Total.New.Incidents, len(tt.want))
			}
		})
	}
}

// TestDevicesNeverHeardOfAreMissedFromTheSameTimeAsLive holds backtests against
// a log as weir begins it: its start, and then its rules.
func TestDevicesNeverHeardOfAreMissedFromTheSameTimeAsLive(t *testing.T) {
	texts := hot(`absent("30s")`, ", match: {device: [a, ghost]}")
	for name, begin := range map[string][][]byte{
		"start and rules":        {started(0), ruleSet(4, setOf(t, texts))},
		"rules of another time":  {started(0), tick(2), ruleSet(4, setOf(t, hot("temperature > 1", "")))},
		"readings are no begin":  {reading(4, "a", 1), ruleSet(6, setOf(t, texts))},
		"the log begins with it": {ruleSet(4, setOf(t, texts))},
	} {
		t.Run(name, func(t *testing.T) {
			b := openLog(t, t.TempDir(), 1)
			b.put(0, begin...)
			for s := 10; s < 60; s += 10 {
				b.put(0, reading(float64(s), "a", 20))
			}
			r := b.must(backtest.Request{Rules: texts, Against: backtest.AgainstNone})
			expect(t, "incidents", spans(r.Added), []string{"g/Hot ghost 34-open"})
		})
	}
}

func TestARequestThatCannotBeMetIsRefusedWithTheReason(t *testing.T) {
	b := day(t, 2)
	for _, tt := range []struct {
		name string
		req  backtest.Request
		want string
	}{
		{"a wrong time", backtest.Request{Rules: hot("temperature > 30", ""), From: "yesterday"}, `from "yesterday" is none of: a time such as`},
		{"the end before the begin", backtest.Request{Rules: hot("temperature > 30", ""), From: "-1h", To: "-2h"}, "is not before to"},
		{"a wrong warm-up", backtest.Request{Rules: hot("temperature > 30", ""), WarmUp: "10"}, `warm-up "10"`},
		{"no rules", backtest.Request{}, "there are no rules to test"},
		{"an unknown other side", backtest.Request{Rules: hot("temperature > 30", ""), Against: "nothing"}, `against "nothing" is none of`},
		{"two other sides", backtest.Request{Rules: hot("temperature > 30", ""), Against: "log", Old: hot("temperature > 30", "")}, "there can be no old rule files"},
		{"a range behind the log", backtest.Request{Rules: hot("temperature > 30", ""), From: clock(700)}, "is empty: the log holds what was received from 2026-01-31T12:00:00Z to 2026-01-31T12:10:03Z"},
		{"a range before the log", backtest.Request{Rules: hot("temperature > 30", ""), To: clock(0)}, "is empty: the log holds"},
		{"a limit", backtest.Request{Rules: hot("temperature > 30", ""), Limit: -1}, "limit -1 is negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.t = t
			_, err := b.run(tt.req)
			var in *backtest.InputError
			if !errors.As(err, &in) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an InputError with %q", err, tt.want)
			}
		})
	}
	for _, req := range []backtest.Request{{Rules: hot("temperature >", "")}, {Rules: hot("temperature > 30", ""), Old: hot("temperature >", "")}} {
		_, err := b.run(req)
		var list strict.Errors
		if !errors.As(err, &list) || !strings.HasPrefix(err.Error(), "hot.yaml:4:") {
			t.Errorf("broken rules: %v, want located errors", err)
		}
	}
}

func TestAnEmptyLogIsSaidToBe(t *testing.T) {
	_, err := openLog(t, t.TempDir(), 2).run(backtest.Request{Rules: hot("temperature > 30", "")})
	if err == nil || err.Error() != "the log holds nothing yet" {
		t.Errorf("got %v", err)
	}
}

func TestARangeThatReachesBeyondTheLogIsNoted(t *testing.T) {
	r := day(t, 1).must(backtest.Request{Rules: hot("temperature > 30", ""), Against: backtest.AgainstNone, From: "-2h", To: "now"})
	notes := strings.Join(r.Notes, "\n")
	for _, want := range []string{"the log ends at 2026-01-31T12:10:03Z", "the log has nothing of the range before 2026-01-31T12:00:00Z"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes don't say %q:\n%s", want, notes)
		}
	}
}

func TestListsAreCutAndCountsAreNot(t *testing.T) {
	r := day(t, 2).must(backtest.Request{Rules: hot("temperature > 30", ""), Against: backtest.AgainstNone, Limit: 1})
	expect(t, "added", spans(r.Added), []string{"g/Hot a 100-200"})
	if r.Total.Added != 3 {
		t.Errorf("%d are counted, want 3", r.Total.Added)
	}
}
