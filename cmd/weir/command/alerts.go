package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"weir/console"
	"weir/ingest/event"
	"weir/rules"
)

func runAlerts(ctx context.Context, c *call) error {
	return c.sub(ctx,
		verb{"list", alertList},
		verb{"history", alertHistory},
		verb{"ack", func(ctx context.Context, c *call) error {
			return alertAck(ctx, c, http.MethodPost, "acknowledged", "Say that you look after alerts: they are not repeated and not escalated any more.")
		}},
		verb{"unack", func(ctx context.Context, c *call) error {
			return alertAck(ctx, c, http.MethodDelete, "no longer acknowledged", "Take an acknowledgement back: repeats and escalations go on.")
		}},
	)
}

func alertList(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	cl, _, err := c.query(ctx, fs, "List the alerts that are pending or firing, and whether people were told.", "weir alerts list -c weir.yaml", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	return show(ctx, c, cl, "/api/v1/alerts", nil, *asJSON, func(answer *struct{ Alerts []rules.Status }) error {
		w := c.table("STATE", "RULE", "KEY", "SINCE", "TOLD", "ACKNOWLEDGED", "ID")
		for _, a := range answer.Alerts {
			since := a.StartsAt
			if since.IsZero() {
				since = a.Active
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", a.State, oneLine(a.Rule), oneLine(a.Key), since.Format(time.RFC3339), toldText(&a), ackText(a.Acked), dash(a.ID))
		}
		return w.Flush()
	})
}

// toldText says whether people were told of an alert, and if not why.
func toldText(a *rules.Status) string {
	why := strings.TrimSpace(a.Suppressed + " " + oneLine(a.Reason))
	if why == "" && len(a.Silences) > 0 {
		why = "silence " + oneLine(strings.Join(a.Silences, ","))
	}
	switch {
	case a.State == event.Pending:
		return "-"
	case a.Told && why != "":
		return "yes (" + why + ")"
	case a.Told:
		return "yes"
	}
	return "no (" + why + ")"
}

func ackText(a *rules.Acknowledgement) string {
	if a == nil {
		return "-"
	}
	text := a.At.Format(time.RFC3339)
	if a.By != "" {
		text = oneLine(a.By) + " " + text
	}
	if a.Comment != "" {
		text += " " + strconv.Quote(a.Comment)
	}
	return text
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return oneLine(s)
}

func alertHistory(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("history", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	since := fs.String("since", "24h", "from this `time` on: a time, a duration back such as 24h or 7d, or all")
	rule := fs.String("rule", "", "only the rule `group/name`; cold-room/* is all of a group")
	key := fs.String("key", "", "only the alerts about the `key`, e.g. a device")
	id := fs.String("id", "", "only the incident of the `id`")
	limit := fs.Int("limit", 100, "at most the newest `n`")
	cl, _, err := c.query(ctx, fs, "Show what became of alerts and what operators decided, as the log has it.", "weir alerts history -c weir.yaml --since 7d --rule 'cold-room/*'", c.noArgs)
	if err != nil {
		return err
	}
	defer cl.close()
	q := url.Values{"since": {*since}, "rule": {*rule}, "key": {*key}, "id": {*id}, "limit": {strconv.Itoa(*limit)}}
	w := c.tableUnless(*asJSON, "TIME", "WHAT", "ABOUT", "KEY", "TOLD", "ID")
	err = showEach(ctx, c, cl, "/api/v1/alerts/history", q, *asJSON, func(l *console.HistoryLine) error {
		at := l.At.Format(time.RFC3339)
		switch {
		case l.Alert != nil:
			what, told := l.Alert.State, "yes"
			if l.Alert.Notice != "" {
				what += " (" + oneLine(l.Alert.Notice) + ")"
			}
			if !l.Alert.Told() {
				told = "no (" + strings.TrimSpace(oneLine(l.Alert.Suppressed)+" "+oneLine(l.Alert.Reason)) + ")"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", at, what, oneLine(l.Alert.Rule), oneLine(l.Alert.Key), told, oneLine(l.Alert.ID))
		case l.Decision != nil:
			d := l.Decision
			about := matchersText(d.Matchers)
			if d.Until != nil {
				about += " until " + d.Until.Format(time.RFC3339)
			}
			if d.Comment != "" {
				about = strings.TrimSpace(about + " " + strconv.Quote(d.Comment))
			}
			id := d.ID
			if d.Alert != "" {
				id = d.Alert
			}
			what := oneLine(d.Kind)
			if d.By != "" {
				what += " by " + oneLine(d.By)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t-\t-\t%s\n", at, what, dash(about), oneLine(id))
		}
		return nil
	})
	return errors.Join(err, w.Flush())
}

func alertAck(ctx context.Context, c *call, method, done, about string) error {
	fs := flag.NewFlagSet("ack", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print a JSON object a line")
	by := fs.String("by", whoAmI(), "`who` decides this")
	comment := fs.String("comment", "", "a `text` for others")
	cl, ids, err := c.query(ctx, fs, about, c.name+" -c weir.yaml 0c94f5a53b9d4ee5b9b1c1a2f6a7d111", c.some("alerts", "weir alerts list shows the ids"))
	if err != nil {
		return err
	}
	defer cl.close()
	body, err := json.Marshal(map[string]string{"by": *by, "comment": *comment})
	if err != nil {
		return fmt.Errorf("encode the request: %w", err)
	}
	return c.forEach(ctx, "alerts", done, ids, *asJSON, func(id string) ([]byte, error) {
		return cl.tell(ctx, method, "/api/v1/alerts/"+url.PathEscape(id)+"/ack", nil, body, &event.Decision{})
	})
}

// whoAmI returns the name of the user, "" if it is not known.
func whoAmI() string {
	if name := os.Getenv("USER"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
