package command

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
)

// Commands that look at data answer in two forms: JSON as the API gives it, and
// text for people.

// show asks for one thing and prints it: as it came, or as text says it.
func show[T any](ctx context.Context, c *call, cl *client, path string, q url.Values, asJSON bool, text func(*T) error) error {
	var v T
	raw, err := cl.get(ctx, path, q, &v)
	if err != nil {
		return err
	}
	if asJSON {
		return c.print(raw)
	}
	return text(&v)
}

// showEach asks for many things and prints each as it comes, like show.
func showEach[T any](ctx context.Context, c *call, cl *client, path string, q url.Values, asJSON bool, text func(*T) error) error {
	return cl.each(ctx, http.MethodGet, path, q, func(line []byte) error {
		if asJSON {
			_, err := fmt.Fprintf(c.stdout, "%s\n", line)
			return err
		}
		var v T
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber() // numbers are shown as they were sent
		if err := dec.Decode(&v); err != nil {
			return fmt.Errorf("read weir's answer: %w", err)
		}
		return text(&v)
	})
}

// table returns a table on stdout, which appears when it is flushed.
func (c *call) table(columns ...string) *tabwriter.Writer { return c.tableUnless(false, columns...) }

// tableUnless is table for what may be printed as JSON instead: it stays empty
// then.
func (c *call) tableUnless(asJSON bool, columns ...string) *tabwriter.Writer {
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, strings.Join(columns, "\t"))
	}
	return w
}

// some checks that there are arguments: ids of things.
func (c *call) some(things, hint string) func(ids []string) error {
	return func(ids []string) error {
		if len(ids) == 0 {
			return &usageError{c.name + ": want ids of " + things, hint}
		}
		return nil
	}
}

// forEach does something to each of the things with these ids, and says that it
// is done. One that fails does not keep the others from it.
func (c *call) forEach(ctx context.Context, things, done string, ids []string, asJSON bool, act func(id string) ([]byte, error)) error {
	bad := 0
	for _, id := range ids {
		raw, err := act(id)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && len(ids) == 1:
			return err
		case err != nil:
			bad++
			fmt.Fprintf(c.stderr, "weir: %s: %s\n", oneLine(id), oneLine(err.Error()))
		case asJSON:
			if err := c.print(raw); err != nil {
				return err
			}
		default:
			fmt.Fprintf(c.stdout, "%s %s\n", done, oneLine(id))
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d %s: it could not be done", bad, len(ids), things)
	}
	return nil
}
