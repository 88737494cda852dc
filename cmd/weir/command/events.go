package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"weir/console"
)

func runEvents(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"tail", eventsTail},
		verb{"replay", eventsReplay},
	)
}

func eventsTail(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("tail", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	from := fs.String("from", "new", "where to begin: all, new, a time (RFC 3339), a duration back such as 10m or 2d, or partition/seq `place`")
	follow := fs.Bool("follow", false, "go on with what arrives (default with --from new)")
	once := fs.Bool("no-follow", false, "end at the head of the log")
	limit := fs.Int("limit", 0, "at most `n` lines; 0 is no limit")
	partition := fs.Int("partition", -1, "only the partition `n`")
	topic := fs.String("topic", "", "only the `topic`, or those under a/b/#")
	device := fs.String("device", "", "only the device `id`")
	raw := fs.Bool("raw", false, "messages as they arrived, not decoded")
	ticks := fs.Bool("ticks", false, "with --raw: ticks too")
	cl, _, err := c.query(ctx, fs, "Print what is in the log, and what arrives.", "weir events tail -c weir.yaml --from 10m --device freezer-01", func(rest []string) error {
		if _, err := console.ParseFrom(*from); err != nil {
			return &usageError{c.name + ": --" + err.Error(), ""}
		}
		if *follow && *once {
			return &usageError{c.name + ": --follow and --no-follow contradict one another", ""}
		}
		if *limit < 0 {
			return &usageError{fmt.Sprintf("%s: --limit %d is negative", c.name, *limit), "0 is no limit"}
		}
		return c.noArgs(rest)
	})
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{"from": {*from}, "limit": {strconv.Itoa(*limit)}, "topic": {*topic}, "device": {*device},
		"raw": {strconv.FormatBool(*raw)}, "ticks": {strconv.FormatBool(*ticks)}}
	if (*follow || *from == "new") && !*once {
		q.Set("follow", "true")
	}
	if *partition >= 0 {
		q.Set("partition", strconv.Itoa(*partition))
	}
	lines := &linePrinter{w: c.stdout}
	err = showEach(ctx, c, cl, "/api/v1/events", q, *asJSON, lines.print)
	if q.Get("follow") == "true" && errors.Is(err, context.Canceled) {
		return nil // that is how following ends
	}
	return err
}

func eventsReplay(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	consumer := fs.String("consumer", "", "the consumer `name`: rules, devices, or a sink's")
	from := fs.String("from", "", "where it reads from: all, a time (RFC 3339), a duration back such as 10m or 2d, or partition/seq `place`")
	cl, _, err := c.query(ctx, fs, "Make a consumer of a running weir read the log again from a place. What it does has fixed identities, so what was done counts once.", "weir events replay -c weir.yaml --consumer influx --from 2h", func(rest []string) error {
		if *consumer == "" || *from == "" {
			return &usageError{c.name + ": --consumer and --from are needed", "weir events replay --consumer influx --from 2h"}
		}
		if _, err := console.ParseFrom(*from); err != nil {
			return &usageError{c.name + ": --" + err.Error(), ""}
		}
		return c.noArgs(rest)
	})
	if err != nil {
		return err
	}
	defer cl.close()
	body, err := cl.do(ctx, http.MethodPost, "/api/v1/consumers/"+url.PathEscape(*consumer)+"/replay", url.Values{"from": {*from}})
	if err != nil {
		return err
	}
	body.Close()
	return c.print([]byte(fmt.Sprintf("consumer %s reads again from %s; weir audit shows how far it is\n", *consumer, *from)))
}
