package backtest_test

import (
	"context"
	"fmt"
	"testing"

	"weir/rules"
	"weir/rules/backtest"
)

// TestTheRulesInForceAreThoseOfTheEndOfTheRange puts three rule sets into
// force, one after the other, and asks at different times and with different
// knowledge of the latest.
func TestTheRulesInForceAreThoseOfTheEndOfTheRange(t *testing.T) {
	b := openLog(t, t.TempDir(), 1)
	sets := []*rules.Set{setOf(t, hot("temperature > 1", "")), setOf(t, hot("temperature > 2", "")), setOf(t, hot("temperature > 3", ""))}
	heads := []uint64{}
	for i, set := range sets {
		for s := range 100 {
			b.put(0, reading(float64(100*i+s), "a", 20))
			if s == 50 {
				b.put(0, ruleSet(float64(100*i+s)+0.5, set))
			}
		}
		heads = append(heads, b.Partition(0).Head().Seq)
	}
	type known func(context.Context, int) (*rules.Set, uint64, error)
	at := func(set *rules.Set, seq uint64) known {
		return func(context.Context, int) (*rules.Set, uint64, error) { return set, seq, nil }
	}
	for _, tt := range []struct {
		name string
		to   float64
		want *rules.Set
	}{
		{"before the first", 40, nil},
		{"before the first", 50, nil},
		{"just after the first", 51, sets[0]},
		{"after the first", 60, sets[0]},
		{"before the second", 150, sets[0]},
		{"after the second", 151, sets[1]},
		{"before the third", 250, sets[1]},
		{"after the third", 251, sets[2]},
		{"at the end", 300, sets[2]},
	} {
		for name, k := range map[string]known{
			"nothing":               nil,
			"what was at the end":   at(sets[2], heads[2]),
			"what was at the first": at(sets[0], heads[0]),
			"what was in between":   at(sets[1], heads[1]),
		} {
			t.Run(fmt.Sprintf("%s, knowing %s", tt.name, name), func(t *testing.T) {
				b.t = t
				r := b.must(backtest.Request{Rules: hot("temperature > 30", ""), To: clock(tt.to)}, func(d *backtest.Deps) { d.InForce = k })
				if tt.want == nil {
					if r.Against != backtest.AgainstNone || r.OldRuleSet != "" {
						t.Errorf("compared with %s %s, want none", r.Against, r.OldRuleSet)
					}
					return
				}
				if r.Against != backtest.AgainstInForce || r.OldRuleSet != tt.want.Hash() {
					t.Errorf("compared with %s %s, want %s", r.Against, r.OldRuleSet, tt.want.Hash())
				}
			})
		}
	}
}
