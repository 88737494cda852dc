package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"weir/console"
)

func runEvents(ctx context.Context, c *call) error {
	return c.sub(map[string]func() error{
		"tail":   func() error { return eventsTail(ctx, c) },
		"replay": func() error { return eventsReplay(ctx, c) },
	}, "tail", "replay")
}

func eventsTail(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("tail", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	from := fs.String("from", "new", "where to begin: all, new, a time (RFC 3339), a duration back such as 10m, or partition/seq `place`")
	follow := fs.Bool("follow", false, "go on with what arrives (default with --from new)")
	once := fs.Bool("no-follow", false, "end at the head of the log")
	limit := fs.Int("limit", 0, "at most `n` lines; 0 is no limit")
	partition := fs.Int("partition", -1, "only the partition `n`")
	topic := fs.String("topic", "", "only the `topic`, or those under a/b/#")
	device := fs.String("device", "", "only the device `id`")
	raw := fs.Bool("raw", false, "messages as they arrived, not decoded")
	ticks := fs.Bool("ticks", false, "with --raw: ticks too")
	cl, rest, err := c.open(ctx, fs, "Print what is in the log, and what arrives.", "weir events tail -c weir.yaml --from 10m --device freezer-01")
	if err != nil {
		return err
	}
	defer cl.close()
	if err := c.noArgs(rest); err != nil {
		return err
	}
	if _, err := console.ParseFrom(*from); err != nil {
		return &usageError{c.name + ": --" + err.Error(), ""}
	}
	q := url.Values{"from": {*from}, "limit": {strconv.Itoa(*limit)}, "topic": {*topic}, "device": {*device},
		"raw": {strconv.FormatBool(*raw)}, "ticks": {strconv.FormatBool(*ticks)}}
	if (*follow || *from == "new") && !*once {
		q.Set("follow", "true")
	}
	if *partition >= 0 {
		q.Set("partition", strconv.Itoa(*partition))
	}
	return cl.each(ctx, "/api/v1/events", q, func(line []byte) error {
		if *asJSON {
			_, err := fmt.Fprintf(c.stdout, "%s\n", line)
			return err
		}
		var l console.Line
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("read weir's answer: %w", err)
		}
		return printLine(c.stdout, l)
	})
}

// printLine prints a line of the log for people.
func printLine(w io.Writer, l console.Line) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s %s %-9s", l.Position, l.Received.Format(time.RFC3339Nano), l.Kind)
	if l.Device != "" {
		fmt.Fprintf(&b, " %s device=%s", l.Measurement, l.Device)
		for _, k := range sorted(l.Tags) {
			fmt.Fprintf(&b, " %s=%s", k, l.Tags[k])
		}
		for _, k := range sorted(l.Fields) {
			fmt.Fprintf(&b, " %s=%v", k, l.Fields[k])
		}
	} else {
		fmt.Fprintf(&b, " %s %s", l.Topic, l.Payload)
	}
	if l.Error != "" {
		fmt.Fprintf(&b, " error: %s", l.Error)
	}
	_, err := fmt.Fprintln(w, oneLine(b.String()))
	return err
}

func sorted[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func eventsReplay(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("replay", flag.ContinueOnError)
	consumer := fs.String("consumer", "", "the consumer `name`: rules, devices, or a sink's")
	from := fs.String("from", "", "where it reads from: all, a time (RFC 3339), a duration back such as 10m, or partition/seq `place`")
	cl, rest, err := c.open(ctx, fs, "Make a consumer of a running weir read the log again from a place. What it does has fixed identities, so what was done counts once.", "weir events replay -c weir.yaml --consumer influx --from 2h")
	if err != nil {
		return err
	}
	defer cl.close()
	if err := c.noArgs(rest); err != nil {
		return err
	}
	if *consumer == "" || *from == "" {
		return &usageError{c.name + ": --consumer and --from are needed", "weir events replay --consumer influx --from 2h"}
	}
	if _, err := console.ParseFrom(*from); err != nil {
		return &usageError{c.name + ": --" + err.Error(), ""}
	}
	body, err := cl.do(ctx, http.MethodPost, "/api/v1/consumers/"+url.PathEscape(*consumer)+"/replay", url.Values{"from": {*from}})
	if err != nil {
		return err
	}
	body.Close()
	fmt.Fprintf(c.stdout, "consumer %s reads again from %s; weir audit shows how far it is\n", *consumer, *from)
	return nil
}
