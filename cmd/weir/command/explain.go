package command

import (
	"context"
	"flag"
	"net/url"
	"time"

	"weir/rules/backtest"
	"weir/rules/explain"
)

func rulesExplain(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print the explanation as JSON")
	whyNot := fs.Bool("why-not", false, "say what a rule made of a device up to a time")
	until := fs.String("until", "", "with --why-not: read what was received until this `time`; default: 10 minutes after TIME")
	at := placeFlags(fs)
	args, err := c.flags(fs, "Say why an alert fired (ALERT-ID), or why a rule said nothing about a device (--why-not GROUP/RULE DEVICE-OR-KEY TIME): the rules and the events of then, evaluated again.",
		"weir rules explain -c weir.yaml --why-not cold-room/FreezerWarm f1 -10m")
	if err != nil {
		return err
	}
	q := url.Values{}
	switch {
	case !*whyNot && len(args) == 1:
		if *until != "" {
			return &usageError{c.name + ": --until goes with --why-not", ""}
		}
		q.Set("alert", args[0])
	case *whyNot && len(args) == 3:
		q.Set("rule", args[0])
		q.Set("key", args[1])
		now := time.Now() // when the command was given
		for name, text := range map[string]string{"at": args[2], "until": *until} {
			if text == "" && name == "until" {
				continue
			}
			t, err := backtest.ParseTime(text, now)
			if err != nil {
				return &usageError{c.name + ": " + err.Error(), ""}
			}
			q.Set(name, t.Format(time.RFC3339Nano))
		}
	case *whyNot:
		return &usageError{c.name + ": --why-not takes a rule, a device or other key, and a time", "e.g. " + c.name + " --why-not cold-room/FreezerWarm f1 -10m"}
	default:
		return &usageError{c.name + ": name the id of one alert, or use --why-not", "ids are in the alerts themselves, in GET /api/v1/alerts and in weir events tail"}
	}
	cl, err := at.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/rules/explain", q, *asJSON, func(r *explain.Report) error {
		return explain.WriteText(c.stdout, r)
	})
}
