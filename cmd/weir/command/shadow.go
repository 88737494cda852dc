package command

import (
	"context"
	"flag"
	"net/url"
	"strconv"
	"time"

	"weir/rules/backtest"
)

func rulesShadow(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("shadow", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print the report as JSON")
	since := fs.String("since", "", "read what was received since this `time`: RFC 3339, a day, or back from now such as -24h; default: all of the log")
	limit := fs.Int("limit", backtest.DefaultLimit, "list at most `n` incidents of each kind; 0 lists all")
	at := placeFlags(fs)
	if err := c.onlyFlags(fs, "Say what the rules with mode: shadow have decided, and how that differs from the rules that they are to replace.", "weir rules shadow -c weir.yaml --since -7d"); err != nil {
		return err
	}
	q := url.Values{"limit": {strconv.Itoa(*limit)}}
	if *since != "" {
		t, err := backtest.ParseTime(*since, time.Now())
		if err != nil {
			return &usageError{c.name + ": --since " + err.Error(), ""}
		}
		q.Set("since", t.Format(time.RFC3339Nano))
	}
	cl, err := at.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/rules/shadow", q, *asJSON, func(r *backtest.ShadowReport) error {
		return backtest.WriteShadows(c.stdout, r)
	})
}
