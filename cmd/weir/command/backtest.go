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
	"os"
	"path/filepath"
	"strings"
	"time"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/configs/strict"
	"weir/console"
	"weir/rules/backtest"
)

// errChanged is what --fail-on-change makes of a difference.
var errChanged = errors.New("the rules would have decided otherwise (--fail-on-change)")

func rulesBacktest(ctx context.Context, c *call) error {
	fs := flag.NewFlagSet("backtest", flag.ContinueOnError)
	at := placeFlags(fs)
	asJSON := fs.Bool("json", false, "print the report as JSON")
	from := fs.String("from", "", "the first `time`: RFC 3339, a day, or back from now such as 24h; default: where the log begins")
	to := fs.String("to", "", "the first `time` that is left out; default: the end of the log")
	var against []string
	fs.Func("against", "`what` to compare with: rule files (again for more; quote *), log: what was decided live, none; default: the rules in force", func(s string) error {
		against = append(against, s)
		return nil
	})
	warmUp := fs.String("warm-up", "", "begin to evaluate this `long` before --from; default: as far back as the rules look")
	limit := fs.Int("limit", backtest.DefaultLimit, "list at most `n` incidents of each kind; 0 lists all")
	failOnChange := fs.Bool("fail-on-change", false, "exit with 1 if an incident differs")
	names, err := c.flags(fs, "Say what rule files would have done with what is in the log, and how that differs from the rules in force. Without files: those of the config.",
		"weir rules backtest -c weir.yaml --from 7d rules/cold-room.yaml")
	if err != nil {
		return err
	}
	cfg, err := loadConfig(*at.config)
	if err != nil {
		return err
	}
	req := backtest.Request{From: *from, To: *to, WarmUp: *warmUp, Limit: *limit}
	if err := c.backtestFiles(&req, cfg, names, against); err != nil {
		return err
	}
	now := time.Now()
	var input *backtest.InputError
	if err := app.CheckBacktest(&req, cfg, now); errors.As(err, &input) {
		return &usageError{c.name + ": " + input.Msg, ""}
	} else if err != nil {
		return err
	}
	for _, t := range []*string{&req.From, &req.To} { // now is when the command was given
		if *t != "" {
			v, err := backtest.ParseTime(*t, now)
			if err != nil {
				return &usageError{c.name + ": " + err.Error(), ""}
			}
			*t = v.Format(time.RFC3339Nano)
		}
	}
	cl, err := at.connect(ctx)
	if err != nil {
		return err
	}
	defer cl.close()
	report, raw, err := c.backtest(ctx, cl, &req)
	if err != nil {
		return err
	}
	if *asJSON {
		err = c.print(raw)
	} else {
		err = backtest.WriteText(c.stdout, report)
	}
	if err == nil && *failOnChange && report.Compared() && report.Changed() {
		err = errChanged
	}
	return err
}

// backtestFiles reads the rule files of both sides.
func (c *call) backtestFiles(req *backtest.Request, cfg *configs.Config, names, against []string) error {
	var err error
	if len(names) == 0 {
		if names, err = cfg.RuleFiles(); err != nil {
			return err
		}
		req.Rules, err = texts(names, cfg.ReadFile)
	} else {
		req.Rules, err = texts(names, os.ReadFile)
	}
	if err != nil {
		return err
	}
	if len(against) == 1 {
		switch a := against[0]; a {
		case backtest.AgainstLog, backtest.AgainstNone, backtest.AgainstInForce:
			req.Against = a
			return nil
		}
	}
	var old []string
	for _, a := range against {
		switch a {
		case backtest.AgainstLog, backtest.AgainstNone, backtest.AgainstInForce:
			return &usageError{fmt.Sprintf("%s: --against %s stands alone; a file of that name is ./%s", c.name, a, a), ""}
		}
		found := []string{a}
		if strings.ContainsAny(a, "*?[") {
			if found, err = filepath.Glob(a); err != nil || len(found) == 0 {
				return &usageError{fmt.Sprintf("%s: no file is like --against %q", c.name, a), ""}
			}
		}
		old = append(old, found...)
	}
	req.Old, err = texts(old, os.ReadFile)
	return err
}

func texts(names []string, read func(string) ([]byte, error)) ([]backtest.Text, error) {
	var all []backtest.Text
	for _, name := range names {
		b, err := read(name)
		if err != nil {
			return nil, strict.Errors{{File: name, Msg: fmt.Sprintf("read rules: %v", err)}}
		}
		all = append(all, backtest.Text{Name: name, Text: string(b)})
	}
	return all, nil
}

// backtest has a backtest run, tells its progress if a person looks on, and
// returns the report and its line.
func (c *call) backtest(ctx context.Context, cl *client, req *backtest.Request) (*backtest.Report, []byte, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, nil, fmt.Errorf("write the request: %w", err)
	}
	if len(body) > console.MaxBacktest {
		return nil, nil, fmt.Errorf("the rules and their tables of devices take %d bytes in a request, more than the %d that weir reads: leave out attributes that no rule reads", len(body), console.MaxBacktest)
	}
	tell := newProgress(c.stderr)
	defer tell.clear()
	var report *backtest.Report
	var raw []byte
	err = cl.eachOf(ctx, http.MethodPost, "/api/v1/rules/backtest", body, func(line []byte) error {
		var l console.BacktestLine
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("read weir's answer: %w", err)
		}
		switch {
		case l.Progress != nil:
			tell.show(l.Progress)
		case l.Report != nil:
			report = l.Report
			var inner struct{ Report json.RawMessage }
			if err := json.Unmarshal(line, &inner); err != nil {
				return fmt.Errorf("read weir's answer: %w", err)
			}
			raw = append(bytes.Clone(inner.Report), '\n')
		}
		return nil
	})
	if err == nil && report == nil {
		err = errors.New("weir's answer ended before the report: is it stopping?")
	}
	return report, raw, err
}

// progress is a line that changes, on a terminal.
type progress struct {
	w     io.Writer // nil: nobody looks on
	shown bool
}

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return &progress{w: w}
		}
	}
	return &progress{}
}

func (p *progress) show(at *backtest.Progress) {
	if p.w == nil {
		return
	}
	p.shown = true
	fmt.Fprintf(p.w, "\r\x1b[K%s", at)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
