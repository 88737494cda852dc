package app

import (
	"context"
	"errors"
	"time"

	"weir/configs"
	"weir/console"
	"weir/ingest/eventlog"
	"weir/rules"
	"weir/rules/backtest"
	"weir/rules/explain"
)

// backtests returns what runs backtests on a log.
func backtests(d backtest.Deps) console.Backtest {
	return func(ctx context.Context, r backtest.Request, progress func(backtest.Progress)) (*backtest.Report, error) {
		return backtest.Run(ctx, d, r, progress)
	}
}

// explanations returns what says why an alert fired, by a log.
func explanations(d backtest.Deps) console.Explain {
	return func(ctx context.Context, r explain.Request) (*explain.Report, error) {
		return explain.Run(ctx, explain.Deps{Deps: d}, r)
	}
}

// shadows returns what compares shadow rules with those that they are to replace.
func shadows(d backtest.Deps) console.Shadow {
	return func(ctx context.Context, r backtest.ShadowRequest) (*backtest.ShadowReport, error) {
		return backtest.Shadow(ctx, d, r)
	}
}

// past is what looks at the log beside the work that the App does start from.
func (a *App) past() backtest.Deps {
	return backtest.Deps{
		Log: a.events, Consumer: consumerRules, Options: ruleOptions(a.cfg), Gentle: true,
		InForce: func(_ context.Context, partition int) (*rules.Set, uint64, error) {
			for _, r := range a.runners {
				if r.Name() == consumerRules && r.Partition() == partition {
					seq := r.Status().Cursor.Seq // before the set: what comes in between is looked for in the log
					return a.rulers[partition].set(), seq, nil
				}
			}
			return nil, 0, nil
		},
	}
}

// set returns the rule set in force.
func (c *ruleConsumer) set() *rules.Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Set()
}

// offlinePast is past for a log that nothing works on.
func offlinePast(l *eventlog.Log, cfg *configs.Config) backtest.Deps {
	return backtest.Deps{
		Log: l, Consumer: consumerRules, Options: ruleOptions(cfg),
		InForce: func(ctx context.Context, partition int) (*rules.Set, uint64, error) {
			c, state, err := l.LoadState(ctx, consumerRules, partition)
			if errors.Is(err, eventlog.ErrNoCursor) || errors.Is(err, eventlog.ErrDamagedState) {
				return nil, 0, nil // the log has it
			}
			if err != nil {
				return nil, 0, err
			}
			e := rules.NewEngine(partition)
			if e.Restore(state) != nil {
				return nil, 0, nil // weir would derive it anew
			}
			return e.Set(), c.Seq, nil
		},
	}
}

// CheckBacktest returns what is wrong with a request for a backtest, by the
// names that a config has. It reads the tables of devices that the rule files
// name into the request.
func CheckBacktest(r *backtest.Request, cfg *configs.Config, now time.Time) error {
	o := ruleOptions(cfg)
	o.ReadFile = cfg.ReadFile
	return r.Check(o, now)
}
