package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"weir/configs/strict"
	"weir/console"
	"weir/ingest/event"
)

func runSilences(ctx context.Context, c *call) error {
	return c.sub(map[string]func() error{
		"list":   func() error { return silenceList(ctx, c) },
		"add":    func() error { return silenceAdd(ctx, c) },
		"expire": func() error { return silenceExpire(ctx, c) },
	}, "list", "add", "expire")
}

// tell sends a request with a body and decodes the JSON answer into v.
func (c *client) tell(ctx context.Context, method, path string, content []byte, v any) ([]byte, error) {
	body, err := c.send(ctx, method, path, nil, content)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	return b, nil
}

func silenceList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, _, err := c.query(ctx, fs, "List the silences that have not ended.", "weir silences list -c weir.yaml", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	var answer struct{ Silences []console.Silence }
	raw, err := cl.get(ctx, "/api/v1/silences", nil, &answer)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.print(raw)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tUNTIL\tBY\tMATCHERS\tCOMMENT")
	for _, s := range answer.Silences {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", oneLine(s.ID), s.State, s.Until.Format(time.RFC3339), dash(s.By), matchersText(s.Matchers), dash(s.Comment))
	}
	return w.Flush()
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
	raw, err := cl.tell(ctx, http.MethodPost, "/api/v1/silences", body, &d)
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
	cl, ids, err := c.query(ctx, fs, "End silences now. Alerts that fire still are told then.", "weir silences expire -c weir.yaml 5f0c2b1a9e8d7c6b", func(ids []string) error {
		if len(ids) == 0 {
			return &usageError{c.name + ": want ids of silences", "weir silences list shows the ids"}
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer cl.close()
	bad := 0
	for _, id := range ids {
		var d event.Decision
		raw, err := cl.tell(ctx, http.MethodDelete, "/api/v1/silences/"+url.PathEscape(id)+"?"+url.Values{"by": {*by}}.Encode(), nil, &d)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && len(ids) == 1:
			return err
		case err != nil:
			bad++
			fmt.Fprintf(c.stderr, "weir: %s: %s\n", oneLine(id), oneLine(err.Error()))
		case *asJSON:
			if err := c.print(raw); err != nil {
				return err
			}
		default:
			fmt.Fprintf(c.stdout, "expired %s\n", oneLine(id))
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d silences: it could not be done", bad, len(ids))
	}
	return nil
}
