package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"weir/configs/strict"
	"weir/console"
	"weir/ingest/event"
)

func runSilences(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"list", silenceList},
		verb{"add", silenceAdd},
		verb{"expire", silenceExpire},
	)
}

func silenceList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, _, err := c.query(ctx, fs, "List the silences that have not ended.", "weir silences list -c weir.yaml", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/silences", nil, *asJSON, func(answer *struct{ Silences []console.Silence }) error {
		w := c.table("ID", "STATE", "UNTIL", "BY", "MATCHERS", "COMMENT")
		for _, s := range answer.Silences {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(s.ID), s.State, s.Until.Format(time.RFC3339), dash(s.By), matchersText(s.Matchers), dash(s.Comment))
		}
		return w.Flush()
	})
}

func matchersText(all []event.Matcher) string {
	var texts []string
	for _, m := range all {
		texts = append(texts, oneLine(m.String()))
	}
	return strings.Join(texts, " ")
}

func silenceAdd(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("add", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	length := fs.String("for", "", "how long: a `duration` such as 2h or 3d")
	until := fs.String("until", "", "when it ends instead: a `time` such as 2026-01-31T12:00:00Z")
	from := fs.String("from", "", "when it starts: a `time`; without it at once")
	by := fs.String("by", whoAmI(), "`who` decides this")
	comment := fs.String("comment", "", "a `text` for others")
	request := map[string]any{}
	cl, _, err := c.query(ctx, fs, "Tell nobody of the alerts that all matchers match: NAME=VALUE, !=, =~ and !~ with a regular expression.\n"+
		"NAME is alertname, group, rule, key, device, a label, a name of by, a tag of the event, or an attribute of its device.", "weir silences add -c weir.yaml --for 2h --comment defrosting alertname=FreezerWarm site=~'oslo|bergen'", func(rest []string) error {
		for _, text := range rest {
			if _, err := event.ParseMatcher(text); err != nil {
				return &usageError{c.name + ": " + err.Error(), "quote what the shell would take"}
			}
		}
		switch {
		case len(rest) == 0:
			return &usageError{c.name + ": want matchers", "e.g. alertname=FreezerWarm"}
		case *length != "" && *until != "":
			return &usageError{c.name + ": --for and --until both say when it ends", "leave one of them out"}
		case *length == "" && *until == "":
			return &usageError{c.name + ": want --for or --until", "e.g. --for 2h"}
		}
		if *length != "" {
			if _, err := strict.ParseDuration(*length); err != nil {
				return &usageError{fmt.Sprintf("%s: --for: %v", c.name, err), "e.g. --for 2h"}
			}
			request["for"] = *length
		}
		for _, t := range []struct{ flag, name, text string }{{"--until", "ends_at", *until}, {"--from", "starts_at", *from}} {
			if t.text == "" {
				continue
			}
			at, err := time.Parse(time.RFC3339, t.text)
			if err != nil {
				return &usageError{fmt.Sprintf("%s: %s: %q is no time", c.name, t.flag, t.text), "write it as 2026-01-31T12:00:00Z"}
			}
			request[t.name] = at
		}
		request["matchers"], request["by"], request["comment"] = rest, *by, *comment
		return nil
	})
	if err != nil {
		return err
	}
	defer cl.close()
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	var d event.Decision
	raw, err := cl.tell(ctx, http.MethodPost, "/api/v1/silences", nil, body, &d)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.print(raw)
	}
	if d.Until == nil {
		return errors.New("read weir's answer: it has no end of the silence")
	}
	_, err = fmt.Fprintf(c.stdout, "silence %s until %s\n", oneLine(d.ID), d.Until.Format(time.RFC3339))
	return err
}

func silenceExpire(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("expire", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	by := fs.String("by", whoAmI(), "`who` decides this")
	cl, ids, err := c.query(ctx, fs, "End silences now. Alerts that fire still are told then.", "weir silences expire -c weir.yaml 5f0c2b1a9e8d7c6b", c.some("silences", "weir silences list shows the ids"))
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{"by": {*by}}
	return c.forEach(ctx, "silences", "expired", ids, *asJSON, func(id string) ([]byte, error) {
		return cl.tell(ctx, http.MethodDelete, "/api/v1/silences/"+url.PathEscape(id), q, nil, &event.Decision{})
	})
}
