package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"weir/cmd/weir/app"
	"weir/rules"
)

func runRules(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"check", rulesCheck},
		verb{"test", rulesTest},
		verb{"list", rulesList},
		verb{"backtest", rulesBacktest},
		verb{"explain", rulesExplain},
		verb{"shadow", rulesShadow},
	)
}

func rulesCheck(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("check", flag.ContinueOnError)
	file := configFlag(fs)
	asJSON := fs.Bool("json", false, "print the rules as JSON")
	names, err := c.flags(fs, "Check rule files. Without files: those of the config. With -c, the names of sources and sinks are checked too.", "weir rules check rules/*.yaml")
	if err != nil {
		return err
	}
	var set *rules.Set
	if len(names) == 0 || *file != "" {
		cfg, err := loadConfig(*file)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			set, err = app.LoadRules(cfg)
		} else {
			set, err = app.LoadRuleFiles(names, cfg)
		}
		if err != nil {
			return err
		}
	} else if set, err = app.LoadRuleFiles(names, nil); err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(c.stdout).Encode(map[string]any{"hash": set.Hash(), "rules": set.Rules()})
	}
	for _, r := range set.Rules() {
		how := "compiled"
		if !r.Compiled {
			how = "by expr's VM"
		}
		fmt.Fprintf(c.stdout, "%s:%d: %s %s: ok, %s\n", r.File, r.Line, r.Kind, r.Rule, how)
	}
	fmt.Fprintf(c.stdout, "%s ok\n", count(set.Len(), "rule"))
	return nil
}
