package command

import (
	"bufio"
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
	"time"

	"weir/cmd/weir/app"
	"weir/configs"
	"weir/ingest/eventlog"
)

// client asks the API of a running weir or, if none has the data directory
// open, answers from the directory itself by the same API.
type client struct {
	http  *http.Client
	base  string
	close func()
}

// place is where a command looks: its flags -c and --data-dir.
type place struct{ config, dataDir *string }

func placeFlags(fs *flag.FlagSet) place { return place{configFlag(fs), dataDirFlag(fs)} }

// connect loads the config and returns a client for the weir of it.
func (p place) connect(ctx context.Context) (*client, error) {
	cfg, err := loadConfig(*p.config)
	if err != nil {
		return nil, err
	}
	useDataDir(cfg, *p.dataDir)
	if !cfg.Log.Embedded() {
		// No lock says whether weir runs on a cluster: ask it.
		if c, err := online(cfg); err == nil && c.answers(ctx) {
			return c, nil
		}
	}
	offline, err := app.OpenOffline(ctx, cfg)
	if errors.Is(err, eventlog.ErrLocked) {
		return online(cfg)
	}
	if err != nil {
		return nil, err
	}
	return &client{http: &http.Client{Transport: direct{offline.Handler}}, base: "http://offline", close: func() { offline.Close() }}, nil
}

// online returns a client of the API that a running weir serves.
func online(cfg *configs.Config) (*client, error) {
	addr, err := app.APIAddr(cfg)
	if err != nil {
		return nil, err
	}
	if addr == "" {
		return nil, fmt.Errorf("weir runs on %s without an HTTP listener: set http.listen, or stop it to look at its data", cfg.DataDir.Value)
	}
	return &client{http: &http.Client{Transport: &http.Transport{}}, base: "http://" + addr, close: func() {}}, nil
}

// answers reports whether weir is there.
func (c *client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	body, err := c.do(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return false
	}
	body.Close()
	return true
}

// do sends a request and returns the answer's body, which the caller closes.
func (c *client) do(ctx context.Context, method, path string, q url.Values) (io.ReadCloser, error) {
	return c.send(ctx, method, path, q, nil)
}

// send is do for a request with a body.
func (c *client) send(ctx context.Context, method, path string, q url.Values, content []byte) (io.ReadCloser, error) {
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("the data directory is in use, and weir does not answer at %s: %w", c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return nil, fmt.Errorf("read weir's answer: %w", err)
		}
		var e struct{ Error string }
		if json.Unmarshal(b, &e) == nil && e.Error != "" {
			// What was asked for is wrong: a value, or the name of a consumer.
			if s := resp.StatusCode; s == http.StatusBadRequest || s == http.StatusNotFound && strings.HasPrefix(path, "/api/v1/consumers/") {
				return nil, &usageError{msg: e.Error}
			}
			return nil, errors.New(e.Error)
		}
		return nil, fmt.Errorf("weir at %s answered %s to %s %s: is that address weir's?", c.base, resp.Status, method, path)
	}
	return resp.Body, nil
}

// get decodes the JSON answer to a GET into v and returns its bytes.
func (c *client) get(ctx context.Context, path string, q url.Values, v any) ([]byte, error) {
	return c.tell(ctx, http.MethodGet, path, q, nil, v)
}

// tell is get for another method, and with a body.
func (c *client) tell(ctx context.Context, method, path string, q url.Values, content []byte, v any) ([]byte, error) {
	body, err := c.send(ctx, method, path, q, content)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber() // numbers are shown as they were sent
	if err := dec.Decode(v); err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	return b, nil
}

// each calls f with every line of a newline-delimited answer. A line that is
// nothing but an error ends it: the status had been sent when that happened.
func (c *client) each(ctx context.Context, method, path string, q url.Values, f func(line []byte) error) error {
	body, err := c.do(ctx, method, path, q)
	if err != nil {
		return err
	}
	return eachLine(ctx, body, f)
}

// eachOf is each for a request with a body.
func (c *client) eachOf(ctx context.Context, method, path string, content []byte, f func(line []byte) error) error {
	body, err := c.send(ctx, method, path, nil, content)
	if err != nil {
		return err
	}
	return eachLine(ctx, body, f)
}

func eachLine(ctx context.Context, body io.ReadCloser, f func(line []byte) error) error {
	defer body.Close()
	r := bufio.NewReaderSize(body, 64<<10)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			if err := lastWord(line); err != nil {
				return err
			}
			if err := f(bytes.TrimRight(line, "\n")); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("read weir's answer: %w", err)
		}
	}
}

// lastWord returns the error that a line is, if it has no other content.
func lastWord(line []byte) error {
	var fields map[string]json.RawMessage
	if !bytes.HasPrefix(line, []byte(`{"error":`)) || json.Unmarshal(line, &fields) != nil || len(fields) != 1 {
		return nil
	}
	var text string
	if err := json.Unmarshal(fields["error"], &text); err != nil {
		return nil
	}
	return errors.New(text)
}
