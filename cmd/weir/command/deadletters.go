package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"weir/console"
	"weir/ingest/eventlog"
)

func runDeadLetters(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"list", deadList},
		verb{"show", deadShow},
		verb{"replay", func(ctx context.Context, c *call) error {
			return deadAct(ctx, c, deadVerb{"replay", "replayed", http.MethodPost,
				"Give dead letters to their consumer again; those that it takes are dead letters no more."})
		}},
		verb{"drop", func(ctx context.Context, c *call) error {
			return deadAct(ctx, c, deadVerb{"drop", "dropped", http.MethodDelete, "Remove dead letters for good."})
		}},
	)
}

func deadList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	consumer := fs.String("consumer", "", "only those of the consumer `name`")
	limit := fs.Int("limit", 0, "at most `n`; 0 is all")
	cl, _, err := c.query(ctx, fs, "List the messages that a consumer could not deliver, and why.", "weir dead-letters list -c weir.yaml --consumer decode", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	w := c.tableUnless(*asJSON, "ID", "RECEIVED", "TOPIC", "CAUSE")
	n := 0
	q := url.Values{"consumer": {*consumer}, "limit": {strconv.Itoa(*limit)}}
	err = showEach(ctx, c, cl, "/api/v1/dead-letters", q, *asJSON, func(d *eventlog.DeadLetter) error {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.ID, d.Received.Format(time.RFC3339), oneLine(d.Topic), oneLine(d.Cause))
		if n++; n%500 == 0 {
			return w.Flush() // there may be very many
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

func deadShow(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("show", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON, the payload in base64")
	cl, rest, err := c.query(ctx, fs, "Show one dead letter with its original bytes.", "weir dead-letters show -c weir.yaml decode/0/1207/3", c.one("want one id", "weir dead-letters list shows the ids"))
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/dead-letters/"+escapePath(rest[0]), nil, *asJSON, func(d *eventlog.DeadLetter) error {
		_, err := fmt.Fprintf(c.stdout, "id        %s\nconsumer  %s\nposition  %s\ncause     %s\nput aside %s\nreceived  %s\ntopic     %s\nclient    %s\npayload   %d bytes\n%q\n",
			d.ID, d.Consumer, d.Position, oneLine(d.Cause), d.At.Format(time.RFC3339Nano), d.Received.Format(time.RFC3339Nano), oneLine(d.Topic), oneLine(d.Client), len(d.Payload), d.Payload)
		return err
	})
}

// deadVerb is what can be done to dead letters.
type deadVerb struct{ name, done, method, about string }

// idsAtOnce keeps the address of a request well below what servers take.
const idsAtOnce = 200

func deadAct(ctx context.Context, c *call, v deadVerb) error {
	fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
	all := fs.Bool("all", false, "all of them, or all of --consumer")
	consumer := fs.String("consumer", "", "with --all: only those of the consumer `name`")
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	cl, ids, err := c.query(ctx, fs, v.about, "weir dead-letters "+v.name+" -c weir.yaml decode/0/1207/3", func(ids []string) error {
		switch {
		case *all == (len(ids) > 0):
			return &usageError{c.name + ": want ids, or --all", "weir dead-letters list shows the ids"}
		case *consumer != "" && !*all:
			return &usageError{c.name + ": --consumer goes with --all", ""}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer cl.close()
	asked := []url.Values{{"all": {"true"}, "consumer": {*consumer}}}
	if !*all {
		asked = nil
		for some := range slices.Chunk(ids, idsAtOnce) {
			asked = append(asked, url.Values{"id": some})
		}
	}
	total, bad := 0, 0
	for _, q := range asked {
		err := cl.each(ctx, v.method, "/api/v1/dead-letters", q, func(line []byte) error {
			var d console.DeadDone
			if err := json.Unmarshal(line, &d); err != nil {
				return fmt.Errorf("read weir's answer: %w", err)
			}
			total++
			if d.Error != "" {
				bad++
			}
			var err error
			switch {
			case *asJSON:
				_, err = fmt.Fprintf(c.stdout, "%s\n", line)
			case d.Error != "":
				_, err = fmt.Fprintf(c.stderr, "weir: %s: %s\n", d.ID, oneLine(d.Error))
			default:
				_, err = fmt.Fprintf(c.stdout, "%s %s\n", v.done, d.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d dead letters could not be %s", bad, total, v.done)
	}
	return nil
}
