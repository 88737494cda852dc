package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"weir/console"
	"weir/devices"
	"weir/ingest/eventlog"
)

// open parses the flags, loads the config and connects.
func (c *call) open(ctx context.Context, fs *flag.FlagSet, about, example string) (*client, []string, error) {
	file := configFlag(fs)
	rest, err := c.flags(fs, about, example)
	if err != nil {
		return nil, nil, err
	}
	cfg, err := loadConfig(*file)
	if err != nil {
		return nil, nil, err
	}
	cl, err := connect(ctx, cfg)
	return cl, rest, err
}

func runAudit(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, rest, err := c.open(ctx, fs, "Balance the books of every consumer: received = delivered + filtered + dead-lettered + lost + pending.", "weir audit -c weir.yaml")
	if err != nil {
		return err
	}
	defer cl.close()
	if err := c.noArgs(rest); err != nil {
		return err
	}
	var a console.Audit
	raw, err := cl.get(ctx, "/api/v1/audit", nil, &a)
	if err != nil {
		return err
	}
	if *asJSON {
		c.stdout.Write(raw)
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

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

func runDevices(ctx context.Context, c *call) error {
	return c.sub(map[string]func() error{
		"list": func() error { return devicesList(ctx, c) },
		"show": func() error { return devicesShow(ctx, c) },
	}, "list", "show")
}

func devicesList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	prefix := fs.String("prefix", "", "only ids that begin with `text`")
	source := fs.String("source", "", "only devices of the source `name`")
	online := fs.String("online", "", "only those online (`true`) or offline (false)")
	limit := fs.Int("limit", 0, "at most `n` devices; 0 is all")
	cl, rest, err := c.open(ctx, fs, "List the devices that have been heard of.", "weir devices list -c weir.yaml --online false")
	if err != nil {
		return err
	}
	defer cl.close()
	if err := c.noArgs(rest); err != nil {
		return err
	}
	q := url.Values{"limit": {"1000"}}
	for k, v := range map[string]string{"prefix": *prefix, "source": *source, "online": *online} {
		if v != "" {
			q.Set(k, v)
		}
	}
	var all []devices.Device
	for {
		var p devices.Page
		if _, err := cl.get(ctx, "/api/v1/devices", q, &p); err != nil {
			return err
		}
		all = append(all, p.Devices...)
		if *limit > 0 && len(all) >= *limit {
			all = all[:*limit]
			break
		}
		if p.Next == "" {
			break
		}
		q.Set("after", p.Next)
	}
	if !*asJSON {
		return devices.WriteTable(c.stdout, all)
	}
	enc := json.NewEncoder(c.stdout)
	for _, d := range all {
		if err := enc.Encode(d); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func devicesShow(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("show", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, rest, err := c.open(ctx, fs, "Show everything that is known of one device.", "weir devices show -c weir.yaml freezer-01")
	if err != nil {
		return err
	}
	defer cl.close()
	if len(rest) != 1 {
		return &usageError{c.name + ": want one device id", "weir devices list shows the ids"}
	}
	var d devices.Device
	raw, err := cl.get(ctx, "/api/v1/devices/"+escapePath(rest[0]), nil, &d)
	if err != nil {
		return err
	}
	if *asJSON {
		c.stdout.Write(raw)
		return nil
	}
	return devices.WriteDevice(c.stdout, d)
}

// escapePath escapes an id for the path, and leaves its slashes.
func escapePath(id string) string {
	parts := strings.Split(id, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

func runDeadLetters(ctx context.Context, c *call) error {
	return c.sub(map[string]func() error{
		"list": func() error { return deadList(ctx, c) },
		"show": func() error { return deadShow(ctx, c) },
		"replay": func() error {
			return deadAct(ctx, c, "replay", http.MethodPost, "Give dead letters to their consumer again; those that it takes are dead letters no more.")
		},
		"drop": func() error { return deadAct(ctx, c, "drop", http.MethodDelete, "Remove dead letters for good.") },
	}, "list", "show", "replay", "drop")
}

func deadList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	consumer := fs.String("consumer", "", "only those of the consumer `name`")
	limit := fs.Int("limit", 0, "at most `n`; 0 is all")
	cl, rest, err := c.open(ctx, fs, "List the messages that a consumer could not deliver, and why.", "weir dead-letters list -c weir.yaml --consumer decode")
	if err != nil {
		return err
	}
	defer cl.close()
	if err := c.noArgs(rest); err != nil {
		return err
	}
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	if !*asJSON {
		fmt.Fprintln(w, "ID\tRECEIVED\tTOPIC\tCAUSE")
	}
	err = cl.each(ctx, "/api/v1/dead-letters", url.Values{"consumer": {*consumer}, "limit": {strconv.Itoa(*limit)}}, func(line []byte) error {
		if *asJSON {
			_, err := fmt.Fprintf(c.stdout, "%s\n", line)
			return err
		}
		var d eventlog.DeadLetter
		if err := json.Unmarshal(line, &d); err != nil {
			return fmt.Errorf("read weir's answer: %w", err)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.ID, d.Received.Format(time.RFC3339), oneLine(d.Topic), oneLine(d.Cause))
		return nil
	})
	w.Flush()
	return err
}

// oneLine makes text from devices safe for a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}

func deadShow(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("show", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON, the payload in base64")
	cl, rest, err := c.open(ctx, fs, "Show one dead letter with its original bytes.", "weir dead-letters show -c weir.yaml decode/0/1207/3")
	if err != nil {
		return err
	}
	defer cl.close()
	if len(rest) != 1 {
		return &usageError{c.name + ": want one id", "weir dead-letters list shows the ids"}
	}
	var d eventlog.DeadLetter
	raw, err := cl.get(ctx, "/api/v1/dead-letters/"+escapePath(rest[0]), nil, &d)
	if err != nil {
		return err
	}
	if *asJSON {
		c.stdout.Write(raw)
		return nil
	}
	fmt.Fprintf(c.stdout, "id        %s\nconsumer  %s\nposition  %s\ncause     %s\nput aside %s\nreceived  %s\ntopic     %s\nclient    %s\npayload   %d bytes\n%q\n",
		d.ID, d.Consumer, d.Position, oneLine(d.Cause), d.At.Format(time.RFC3339Nano), d.Received.Format(time.RFC3339Nano), oneLine(d.Topic), oneLine(d.Client), len(d.Payload), d.Payload)
	return nil
}

func deadAct(ctx context.Context, c *call, verb, method, about string) error {
	fs := flag.NewFlagSet(verb, flag.ContinueOnError)
	all := fs.Bool("all", false, "all of them, or all of --consumer")
	consumer := fs.String("consumer", "", "with --all: only those of the consumer `name`")
	cl, ids, err := c.open(ctx, fs, about, "weir dead-letters "+verb+" -c weir.yaml decode/0/1207/3")
	if err != nil {
		return err
	}
	defer cl.close()
	if *all == (len(ids) > 0) {
		return &usageError{c.name + ": want ids, or --all", "weir dead-letters list shows the ids"}
	}
	if *all {
		err := cl.each(ctx, "/api/v1/dead-letters", url.Values{"consumer": {*consumer}}, func(line []byte) error {
			var d eventlog.DeadLetter
			if err := json.Unmarshal(line, &d); err != nil {
				return fmt.Errorf("read weir's answer: %w", err)
			}
			ids = append(ids, d.ID)
			return nil
		})
		if err != nil {
			return err
		}
	}
	bad := 0
	for _, id := range ids {
		body, err := cl.do(ctx, method, "/api/v1/dead-letters/"+escapePath(id), nil)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			bad++
			fmt.Fprintf(c.stderr, "weir: %s: %v\n", id, err)
			continue
		}
		body.Close()
		fmt.Fprintf(c.stdout, "%s %s\n", map[string]string{"replay": "replayed", "drop": "dropped"}[verb], id)
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d dead letters could not be %s", bad, len(ids), map[string]string{"replay": "replayed", "drop": "dropped"}[verb])
	}
	return nil
}
