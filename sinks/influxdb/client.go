package influxdb

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"

	"weir/ingest/event"
	"weir/sinks/exchange"
)

// maxAnswer is how many bytes are read of an answer: 1.8 repeats every line that
// it can't parse.
const maxAnswer = 8 << 20

// client posts bodies of lines.
type client struct {
	service   influxhttp.Service
	http      *http.Client
	transport *http.Transport
	writeURL  string
	pingURL   string
	name      string // of the destination, for messages
	timeout   time.Duration
	gzip      bool
}

func newClient(cfg Config, deps Deps) *client {
	transport := exchange.Transport(deps.TLS, 64) // one a partition
	transport.MaxIdleConns, transport.WriteBufferSize, transport.ForceAttemptHTTP2 = 64, 64<<10, false
	hc := &http.Client{Transport: transport, CheckRedirect: exchange.NoRedirects}
	bucket := cfg.Bucket
	name := fmt.Sprintf("%s bucket %q", cfg.URL, bucket)
	if cfg.Database != "" {
		bucket = cfg.Database + "/" + cfg.RetentionPolicy
		name = fmt.Sprintf("%s database %q", cfg.URL, cfg.Database)
	}
	opts := influxdb2.DefaultOptions().SetHTTPClient(hc).SetApplicationName("weir")
	service := influxdb2.NewClientWithOptions(cfg.URL, cfg.Token, opts).HTTPService()
	if cfg.Username != "" {
		// 1.8 also takes "Token user:password", but none with a space in it.
		pair := base64.StdEncoding.EncodeToString([]byte(cfg.Username + ":" + cfg.Password))
		service.SetAuthorization("Basic " + pair)
	}
	query := url.Values{"bucket": {bucket}, "precision": {cfg.Precision}}
	if cfg.Org != "" {
		query.Set("org", cfg.Org)
	}
	return &client{
		service: service, http: hc, transport: transport, name: name,
		writeURL: service.ServerAPIURL() + "write?" + query.Encode(),
		pingURL:  service.ServerURL() + "ping",
		timeout:  cfg.Timeout, gzip: cfg.Gzip,
	}
}

// answer is what the server said to a body that it did not take.
type answer struct {
	status  int
	text    string // its message, as it came
	body    []byte // all of the answer, for what the message does not show
	version string // of the server, e.g. "1.8.10"; "" if it does not say
	influx  bool   // it was given in InfluxDB's way, not by a proxy or another server
}

// post sends one body. The answer is nil when it was taken, and not nil when the
// server refused it for what it holds (400, 413, 422). Every other failure is an
// error, to be tried again: a *event.RetryError.
func (c *client) post(ctx context.Context, body []byte, zip *zipper) (*answer, error) {
	encoding := ""
	if c.gzip {
		var err error
		if body, err = zip.compress(body); err != nil {
			return nil, fmt.Errorf("compress a request for %s: %w", c.name, err)
		}
		encoding = "gzip"
	}
	rctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	// The transport may go on reading the body after it has returned, so the
	// body is taken from it before the buffer is used again.
	taken := &bodies{data: body}
	defer taken.close()
	req, err := http.NewRequestWithContext(rctx, http.MethodPost, c.writeURL, taken.open())
	if err != nil {
		return nil, c.retry(0, err)
	}
	req.ContentLength = int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return taken.open(), nil }
	req.Header.Set("Content-Type", "text/plain; charset=utf-8")
	req.Header.Set("Accept", "application/json")
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	resp, err := c.service.DoHTTPRequestWithResponse(req, nil)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, c.retry(0, err)
	}
	defer resp.Body.Close()
	return c.judge(resp)
}

// judge reads the answer and says what it means.
func (c *client) judge(resp *http.Response) (*answer, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	status := resp.StatusCode
	if status/100 == 2 {
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			return nil, c.retry(0, fmt.Errorf("%s, but with a web page: this is not InfluxDB's write API, check url", resp.Status))
		}
		return nil, nil
	}
	if err != nil {
		return nil, c.retry(0, fmt.Errorf("read the answer (%s): %w", resp.Status, err))
	}
	a := newAnswer(resp, text)
	said := exchange.Clip(a.text, 300)
	switch {
	case status == http.StatusBadRequest && !a.operatorFault(), status == http.StatusUnprocessableEntity,
		status == http.StatusRequestEntityTooLarge, status == http.StatusInternalServerError && a.partial():
		return a, nil
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusRequestTimeout:
		return nil, c.retry(exchange.RetryAfter(resp.Header), fmt.Errorf("%s: %s", resp.Status, said))
	case status == http.StatusUnauthorized:
		return nil, c.retry(0, fmt.Errorf("%s: %s; check token, or username and password", resp.Status, said))
	case status == http.StatusForbidden:
		return nil, c.retry(0, fmt.Errorf("%s: %s; give the user or token the right to write there", resp.Status, said))
	case status == http.StatusNotFound:
		return nil, c.retry(0, fmt.Errorf("%s: %s; create the bucket or database, or check url, org and bucket", resp.Status, said))
	case status/100 == 3:
		return nil, c.retry(0, fmt.Errorf("%s to %s; put the address that it redirects to into url", resp.Status, resp.Header.Get("Location")))
	}
	return nil, c.retry(0, fmt.Errorf("%s: %s; check url, org and bucket", resp.Status, said))
}

func (c *client) retry(after time.Duration, err error) error {
	return &event.RetryError{After: after, Err: fmt.Errorf("write to InfluxDB at %s: %w", c.name, exchange.WithoutAddress(err))}
}

// ping reports whether the server answers.
func (c *client) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.pingURL, nil)
	if err != nil {
		return fmt.Errorf("ping InfluxDB at %s: %w", c.name, err)
	}
	resp, err := c.service.DoHTTPRequestWithResponse(req, nil)
	if err != nil {
		return fmt.Errorf("ping InfluxDB at %s: %w", c.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 500 {
		return fmt.Errorf("ping InfluxDB at %s: %s", c.name, resp.Status)
	}
	return nil
}

// bodies hands out readers of one body, and ends them all at once.
type bodies struct {
	mu   sync.Mutex
	data []byte // nil once closed
}

func (b *bodies) open() io.ReadCloser { return &bodyReader{of: b} }

func (b *bodies) close() {
	b.mu.Lock()
	b.data = nil
	b.mu.Unlock()
}

type bodyReader struct {
	of *bodies
	at int
}

func (r *bodyReader) Read(p []byte) (int, error) {
	r.of.mu.Lock()
	defer r.of.mu.Unlock()
	if r.at >= len(r.of.data) {
		return 0, io.EOF
	}
	n := copy(p, r.of.data[r.at:])
	r.at += n
	return n, nil
}

func (r *bodyReader) Close() error { return nil }

// zipper compresses into a buffer that is used again.
type zipper struct {
	buf bytes.Buffer
	w   *gzip.Writer
}

func (z *zipper) compress(body []byte) ([]byte, error) {
	z.buf.Reset()
	if z.w == nil {
		z.w, _ = gzip.NewWriterLevel(&z.buf, gzip.BestSpeed) // errs on a wrong level only
	} else {
		z.w.Reset(&z.buf)
	}
	if _, err := z.w.Write(body); err != nil {
		return nil, err
	}
	if err := z.w.Close(); err != nil {
		return nil, err
	}
	return z.buf.Bytes(), nil
}
