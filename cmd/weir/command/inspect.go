package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"

	"weir/console"
	"weir/devices"
)

// query parses the flags of a command that looks at data, lets check judge what
// is left of the arguments, and connects: what is wrong with a call is said
// before anything is opened.
func (c *call) query(ctx context.Context, fs *flag.FlagSet, about, example string, check func(rest []string) error) (*client, []string, error) {
	at := placeFlags(fs)
	rest, err := c.flags(fs, about, example)
	if err != nil {
		return nil, nil, err
	}
	if err := check(rest); err != nil {
		return nil, nil, err
	}
	cl, err := at.connect(ctx)
	return cl, rest, err
}

func runAudit(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, _, err := c.query(ctx, fs, "Balance the books of every consumer: received = delivered + filtered + dead-lettered + lost + pending.", "weir audit -c weir.yaml", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	var a console.Audit
	raw, err := cl.get(ctx, "/api/v1/audit", nil, &a)
	if err != nil {
		return err
	}
	if *asJSON {
		if err := c.print(raw); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "consumer\tpartition\treceived\tdelivered\tfiltered\tdead-lettered\tlost\tpending\tbalanced\t")
		for _, e := range a.Entries {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", e.Consumer, e.Partition, e.Received, e.Delivered, e.Filtered, e.Dead, e.Lost, e.Pending, yesNo(e.Balanced))
		}
		w.Flush()
		for _, p := range a.Partitions {
			fmt.Fprintf(c.stdout, "partition %d: %d records, batches %d to %d\n", p.Partition, p.Records, p.First, p.Head)
		}
		fmt.Fprintf(c.stdout, "dead letters stored: %d\n", a.DeadLetters)
	}
	if !a.Balanced {
		return fmt.Errorf("the books do not balance: this is a defect of weir; please report it with the output above")
	}
	return nil
}

// print writes an answer as it came.
func (c *call) print(raw []byte) error {
	if _, err := c.stdout.Write(raw); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// one checks that there is one argument.
func (c *call) one(want, hint string) func(rest []string) error {
	return func(rest []string) error {
		if len(rest) != 1 {
			return &usageError{c.name + ": " + want, hint}
		}
		return nil
	}
}

func runDevices(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"list", devicesList},
		verb{"show", devicesShow},
	)
}

func devicesList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	prefix := fs.String("prefix", "", "only ids that begin with `text`")
	source := fs.String("source", "", "only devices of the source `name`")
	online := fs.String("online", "", "only those online (`true`) or offline (false)")
	limit := fs.Int("limit", 0, "at most `n` devices; 0 is all")
	cl, _, err := c.query(ctx, fs, "List the devices that have been heard of.", "weir devices list -c weir.yaml --online false", func(rest []string) error {
		if _, err := strconv.ParseBool(*online); *online != "" && err != nil {
			return &usageError{fmt.Sprintf("%s: --online %q is neither true nor false", c.name, *online), ""}
		}
		return c.noArgs(rest)
	})
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{"limit": {"1000"}}
	for k, v := range map[string]string{"prefix": *prefix, "source": *source, "online": *online} {
		if v != "" {
			q.Set(k, v)
		}
	}
	if *asJSON {
		all, err := pages[json.RawMessage](ctx, cl, q, *limit)
		if err != nil {
			return err
		}
		for _, d := range all {
			if err := c.print(append(d, '\n')); err != nil {
				return err
			}
		}
		return nil
	}
	all, err := pages[devices.Device](ctx, cl, q, *limit)
	if err != nil {
		return err
	}
	return devices.WriteTable(c.stdout, all)
}

// pages returns the devices of every page, at most limit; 0 is all.
func pages[D any](ctx context.Context, cl *client, q url.Values, limit int) ([]D, error) {
	var all []D
	for {
		var p struct {
			Devices []D
			Next    string
		}
		if _, err := cl.get(ctx, "/api/v1/devices", q, &p); err != nil {
			return nil, err
		}
		all = append(all, p.Devices...)
		if limit > 0 && len(all) >= limit {
			return all[:limit], nil
		}
		if p.Next == "" {
			return all, nil
		}
		q.Set("after", p.Next)
	}
}

func devicesShow(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("show", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, rest, err := c.query(ctx, fs, "Show everything that is known of one device.", "weir devices show -c weir.yaml freezer-01", c.one("want one device id", "weir devices list shows the ids"))
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/devices/"+escapePath(rest[0]), nil, *asJSON, func(d *devices.Device) error {
		return devices.WriteDevice(c.stdout, *d)
	})
}

// escapePath escapes an id for the path, and leaves its slashes.
func escapePath(id string) string {
	parts := strings.Split(id, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}
