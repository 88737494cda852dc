package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

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

// connect returns a client for the weir of a config.
func connect(ctx context.Context, cfg *configs.Config) (*client, error) {
	offline, err := app.OpenOffline(ctx, cfg)
	if err == nil {
		return &client{http: &http.Client{Transport: direct{offline.Handler}}, base: "http://offline", close: func() { offline.Close() }}, nil
	}
	if !errors.Is(err, eventlog.ErrLocked) {
		return nil, err
	}
	addr := cfg.HTTP.Listen.Value
	if addr == "" {
		return nil, fmt.Errorf("weir runs on %s without an HTTP listener: set http.listen, or stop it to look at its data", cfg.DataDir.Value)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return &client{http: &http.Client{}, base: "http://" + net.JoinHostPort(host, port), close: func() {}}, nil
}

// direct answers requests by calling a handler.
type direct struct{ h http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	pr, pw := io.Pipe()
	w := &pipeWriter{pw: pw, header: http.Header{}, ready: make(chan struct{})}
	go func() {
		d.h.ServeHTTP(w, r)
		w.WriteHeader(http.StatusOK)
		pw.Close()
	}()
	select {
	case <-w.ready:
	case <-r.Context().Done():
		pr.Close()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: w.status, Status: http.StatusText(w.status), Header: w.header, Body: pr, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}, nil
}

// pipeWriter is the http.ResponseWriter of direct.
type pipeWriter struct {
	pw     *io.PipeWriter
	header http.Header
	status int
	ready  chan struct{}
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
		close(w.ready)
	}
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pw.Write(b)
}

func (w *pipeWriter) Flush() {}

// do sends a request and returns the answer's body, which the caller closes.
func (c *client) do(ctx context.Context, method, path string, q url.Values) (io.ReadCloser, error) {
	u := c.base + path
	if len(q) > 0 {
		u += "?" + q.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, nil)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("ask weir at %s: %w", c.base, err)
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return nil, fmt.Errorf("read weir's answer: %w", err)
		}
		var e struct{ Error string }
		if json.Unmarshal(b, &e) == nil && e.Error != "" {
			return nil, errors.New(e.Error)
		}
		return nil, fmt.Errorf("weir at %s answered %s to %s %s: is that address weir's?", c.base, resp.Status, method, path)
	}
	return resp.Body, nil
}

// get decodes the JSON answer to a GET into v and returns its bytes.
func (c *client) get(ctx context.Context, path string, q url.Values, v any) ([]byte, error) {
	body, err := c.do(ctx, http.MethodGet, path, q)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("read weir's answer: %w", err)
	}
	return b, nil
}

// each calls f with every line of a newline-delimited answer.
func (c *client) each(ctx context.Context, path string, q url.Values, f func(line []byte) error) error {
	body, err := c.do(ctx, http.MethodGet, path, q)
	if err != nil {
		return err
	}
	defer body.Close()
	r := bufio.NewReaderSize(body, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			var e struct {
				Error    string
				Kind, ID string
			}
			if json.Unmarshal(line, &e) == nil && e.Error != "" && e.Kind == "" && e.ID == "" {
				return errors.New(e.Error)
			}
			if err := f(bytes.TrimRight(line, "\n")); err != nil {
				return err
			}
		}
		if err == io.EOF || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read weir's answer: %w", err)
		}
	}
}
