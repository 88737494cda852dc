package command

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"text/tabwriter"

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
	var list struct{ Rules []console.Rule }
	raw, err := cl.get(ctx, "/api/v1/rules", nil, &list)
	if err != nil {
		return err
	}
	if *asJSON {
		return c.print(raw)
	}
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tKIND\tMODE\tPENDING\tFIRING\tEVALUATIONS\tERRORS\tNS EACH\tKEYS\tSTATE")
	for i := range list.Rules {
		r := &list.Rules[i]
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
	for i := range list.Rules {
		if r := &list.Rules[i]; r.Stopped != "" {
			fmt.Fprintf(c.stdout, "%s is %s\n", oneLine(r.Rule), r.Stopped)
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
