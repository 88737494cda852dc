package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"time"

	"weir/console"
)

func rulesList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print the rules as JSON")
	cl, _, err := c.query(ctx, fs, "List the rules in force of a running weir, what they do, and what they cost.", "weir rules list -c weir.yaml", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/rules", nil, *asJSON, func(list *console.RuleList) error {
		return errors.Join(c.writeRules(list.Rules), c.writeRefused(list.Refused))
	})
}

func (c *call) writeRules(list []console.Rule) error {
	w := c.table("RULE", "KIND", "MODE", "PENDING", "FIRING", "EVALUATIONS", "ERRORS", "NS EACH", "KEYS", "STATE")
	for i := range list {
		r := &list[i]
		mode, each, pending, firing := "live", "-", "-", "-"
		if r.Mode != "" {
			mode = r.Mode
		}
		if r.Stopped != "" {
			mode = "stopped"
		}
		if r.Nanos > 0 {
			each = strconv.FormatFloat(r.Nanos, 'f', 0, 64)
		}
		if r.Kind == "alert" {
			pending, firing = strconv.Itoa(r.Pending), strconv.Itoa(r.Firing)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\n", oneLine(r.Rule), r.Kind, mode, pending, firing, r.Evaluations, r.Errors, each, r.Keys, byteCount(r.StateBytes))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for i := range list {
		if r := &list[i]; r.Stopped != "" {
			fmt.Fprintf(c.stdout, "%s is %s\n", oneLine(r.Rule), r.Stopped)
		}
	}
	return nil
}

// writeRefused says that the rule files are not what is in force.
func (c *call) writeRefused(r *console.Refused) error {
	if r == nil {
		return nil
	}
	fmt.Fprintf(c.stdout, "the rule files are refused since %s, these rules stay in force:\n", r.Since.Format(time.RFC3339))
	for _, e := range r.Errors {
		fmt.Fprintln(c.stdout, " ", oneLine(e.Error))
		if e.Hint != "" {
			fmt.Fprintln(c.stdout, "    hint:", oneLine(e.Hint))
		}
	}
	return nil
}

// byteCount writes a number of bytes with three digits.
func byteCount(n int) string {
	f, unit := float64(n), "B"
	for _, next := range []string{"KiB", "MiB", "GiB"} {
		if f < 1024 {
			break
		}
		f, unit = f/1024, next
	}
	if unit == "B" {
		return strconv.Itoa(n) + " B"
	}
	return strconv.FormatFloat(f, 'f', 1, 64) + " " + unit
}
