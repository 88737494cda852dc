package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"weir/ingest/event"
	"weir/sinks/exchange"
)

const (
	maxAnswer    = 64 << 10 // bytes that are read of an answer
	maxRedirects = 5
)

// verdict is what an attempt came to.
type verdict int

const (
	away      verdict = iota // the receiver can't be reached or has no time: later
	delivered                // it took the alert
	refused                  // it will never take it
	failed                   // it failed at it: perhaps later
)

func newClient(cfg Config) (*http.Client, string) {
	u, _ := url.Parse(cfg.URL) // Validate has parsed it
	client := &http.Client{
		Timeout:   cfg.Timeout,
		Transport: exchange.Transport(cfg.TLS, cfg.Concurrency),
		// Alerts and the headers that authorise them stay with the host that was
		// configured, and a POST that has become a GET delivers nothing.
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || req.Method != cfg.Method || req.URL.Host != u.Host ||
				u.Scheme == "https" && req.URL.Scheme != "https" {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	return client, u.Scheme + "://" + u.Host
}

// post makes one attempt. The error says why it came to anything but delivered;
// for away it is a *event.RetryError.
func (s *Sink) post(ctx context.Context, l *letter) (verdict, error) {
	body, err := l.body(s.cfg.Source)
	if err != nil {
		return refused, err
	}
	req, err := http.NewRequestWithContext(ctx, s.cfg.Method, s.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return away, s.later(0, err)
	}
	req.Header.Set("User-Agent", "weir")
	exchange.SetHeaders(req, s.cfg.Headers)
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	req.Header.Set("Idempotency-Key", l.id())
	if s.cfg.Secret != "" {
		mac := hmac.New(sha256.New, []byte(s.cfg.Secret))
		mac.Write(body)
		req.Header.Set("X-Weir-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	s.metrics.Requests.Add(1)
	resp, err := s.http.Do(req)
	if err != nil {
		return away, s.later(0, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status has decided; the text is for people
	return s.judge(resp, text)
}

func (s *Sink) judge(resp *http.Response, text []byte) (verdict, error) {
	status := resp.StatusCode
	if status/100 == 2 {
		return delivered, nil
	}
	said := exchange.Said(resp, text, 200)
	err := fmt.Errorf("deliver the alert to %s: %s", s.where, said)
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return away, s.later(exchange.RetryAfter(resp.Header), errors.New(said))
	case status == http.StatusRequestTimeout || status >= 500:
		return failed, err
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return refused, fmt.Errorf("%w; check the sink's headers and secret, then replay the dead letter", err)
	case status/100 == 3:
		return refused, fmt.Errorf("%w; a redirect to another host or method is not followed: correct the sink's url, then replay the dead letter", err)
	}
	return refused, err
}

func (s *Sink) later(after time.Duration, err error) error {
	return &event.RetryError{After: after, Err: fmt.Errorf("deliver alerts to %s: %w", s.where, exchange.WithoutAddress(err))}
}
