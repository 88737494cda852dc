package alertmanager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/ingest/event"
	"weir/sinks/exchange"
)

const maxAnswer = 64 << 10 // bytes that are read of an answer

// errRefused is wrapped by the error of a request that Alertmanager refuses for
// what is in it.
var errRefused = errors.New("refused")

// member is one Alertmanager of the cluster.
type member struct {
	url   string // of the API's alerts
	where string // the address without what may be secret in it
	away  atomic.Bool
}

func newMembers(urls []string) []*member {
	var out []*member
	for _, s := range urls {
		u, _ := url.Parse(s) // Validate has parsed it
		out = append(out, &member{url: strings.TrimRight(s, "/") + "/api/v2/alerts", where: u.Scheme + "://" + u.Host})
	}
	return out
}

func newClient(cfg Config) *http.Client {
	return &http.Client{
		Timeout:       cfg.Timeout,
		Transport:     exchange.Transport(cfg.TLS, 8),
		CheckRedirect: exchange.NoRedirects,
	}
}

// post tells every member of the alerts, and returns nil when one has taken
// them: the others are told again with the next resend. The error wraps
// errRefused when a member answers that it won't have them, and is a
// *event.RetryError when none has time for them.
func (s *Sink) post(ctx context.Context, alerts []wire) error {
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("%w: encode the alerts: %w", errRefused, err)
	}
	errs := make([]error, len(s.members))
	var wg sync.WaitGroup
	for i, m := range s.members {
		wg.Go(func() { errs[i] = s.tell(ctx, m, body) }) // ends with its request, which ends with ctx or its timeout
	}
	wg.Wait()
	if ctx.Err() != nil {
		return &event.RetryError{Err: fmt.Errorf("tell Alertmanager: %w", ctx.Err())}
	}
	s.note(errs)
	var outage *event.RetryError
	var refusal error
	for _, err := range errs {
		var re *event.RetryError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &re):
			if outage == nil || re.After < outage.After {
				outage = re
			}
		case refusal == nil:
			refusal = err
		}
	}
	if refusal != nil {
		return refusal
	}
	s.metrics.Outages.Add(1)
	return outage
}

// note says in the log which member is away while others are not.
func (s *Sink) note(errs []error) {
	if len(errs) == 1 {
		return // the consumer says it
	}
	for i, err := range errs {
		var re *event.RetryError
		away := errors.As(err, &re)
		if m := s.members[i]; m.away.Swap(away) != away {
			if away {
				s.log.Warn("an Alertmanager of the cluster does not take alerts", "sink", s.cfg.Name, "url", m.where, "err", err)
			} else {
				s.log.Info("an Alertmanager of the cluster takes alerts again", "sink", s.cfg.Name, "url", m.where)
			}
		}
	}
}

// tell makes one attempt at one member.
func (s *Sink) tell(ctx context.Context, m *member, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err != nil {
		return m.later(0, err)
	}
	req.Header.Set("User-Agent", "weir")
	if s.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+s.cfg.Token)
	}
	if s.cfg.Username != "" {
		req.SetBasicAuth(s.cfg.Username, s.cfg.Password)
	}
	exchange.SetHeaders(req, s.cfg.Headers)
	req.Header.Set("Content-Type", "application/json")
	s.metrics.Requests.Add(1)
	resp, err := s.http.Do(req)
	if err != nil {
		return m.later(0, err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // the status has decided; the text is for people
	if resp.StatusCode/100 == 2 {
		return nil
	}
	said := exchange.Said(resp, text, 300)
	switch status := resp.StatusCode; {
	case status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge || status == http.StatusUnprocessableEntity:
		return fmt.Errorf("tell Alertmanager at %s: %w: %s", m.where, errRefused, said)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		said += "; check username and password, token or headers of the sink"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status/100 == 3:
		said += "; is url the address of an Alertmanager (0.16 or newer)?"
	}
	return m.later(exchange.RetryAfter(resp.Header), errors.New(said))
}

func (m *member) later(after time.Duration, err error) error {
	return &event.RetryError{After: after, Err: fmt.Errorf("tell Alertmanager at %s: %w", m.where, exchange.WithoutAddress(err))}
}
