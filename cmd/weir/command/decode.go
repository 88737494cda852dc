package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"weir/cmd/weir/app"
	"weir/ingest/event"
)

// decoded is a line of weir decode.
type decoded struct {
	Source      string            `json:"source"`
	Measurement string            `json:"measurement"`
	Device      string            `json:"device"`
	Time        time.Time         `json:"time"`
	Tags        map[string]string `json:"tags,omitempty"`
	Fields      map[string]any    `json:"fields"`
}

func runDecode(_ context.Context, c *call) error {
	fs := flag.NewFlagSet("decode", flag.ContinueOnError)
	file := configFlag(fs)
	topic := fs.String("topic", "", "the `topic` that the payload was published to")
	from := fs.String("payload", "-", "the `file` that holds the payload; - is standard input")
	received := fs.String("received", "", "the receive `time` (RFC 3339); default: now")
	rest, err := c.flags(fs, "Print the events that a payload becomes, as JSON lines, or why there are none.", `echo '{"t":21.5}' | weir decode -c weir.yaml --topic sensors/a/telemetry`)
	if err != nil {
		return err
	}
	if err := c.noArgs(rest); err != nil {
		return err
	}
	if *topic == "" || strings.ContainsAny(*topic, "+#\x00") {
		return &usageError{fmt.Sprintf("weir decode: --topic %q is not a topic to publish to", *topic), `write the whole topic, without + and #: --topic sensors/a/telemetry`}
	}
	at := time.Now()
	if *received != "" {
		if at, err = time.Parse(time.RFC3339Nano, *received); err != nil {
			return &usageError{fmt.Sprintf("weir decode: --received %q is not an RFC 3339 time", *received), "for example 2026-01-31T12:00:00Z"}
		}
	}
	cfg, err := loadConfig(*file)
	if err != nil {
		return err
	}
	set, err := app.Sources(cfg)
	if err != nil {
		return err
	}
	var payload []byte
	if *from == "-" {
		payload, err = io.ReadAll(c.stdin)
	} else {
		payload, err = os.ReadFile(*from)
	}
	if err != nil {
		return &usageError{fmt.Sprintf("weir decode: read the payload: %v", err), ""}
	}
	x, err := set.Explain(*topic, payload, at.UnixNano())
	if err != nil {
		return fmt.Errorf("topic %s: %w", *topic, err)
	}
	if len(x.Events) == 0 {
		by := "no event"
		if x.Source != "" {
			by = "source " + x.Source + ": no event"
		}
		fmt.Fprintf(c.stderr, "weir: %s: %s\n", by, x.Reason)
	}
	enc := json.NewEncoder(c.stdout)
	for i := range x.Events {
		if err := enc.Encode(asDecoded(&x.Events[i])); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

func asDecoded(e *event.Event) decoded {
	d := decoded{Source: e.Source, Measurement: e.Measurement, Device: e.Device, Time: time.Unix(0, e.Time).UTC(), Fields: map[string]any{}}
	for _, f := range e.Fields {
		d.Fields[f.Name] = f.Value.Any()
	}
	for _, t := range e.Tags {
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		d.Tags[t.Key] = t.Value
	}
	return d
}
