package webhook

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"weir/ingest/event"
	"weir/sinks/choice"
	"weir/sinks/progress"
)

// Metrics counts what a Sink did since it was made. All are totals.
type Metrics struct {
	Delivered atomic.Uint64 // alerts that the receiver took
	Requests  atomic.Uint64 // whatever became of them
	Outages   atomic.Uint64 // requests that failed as the receiver was away or overloaded
	Refused   atomic.Uint64 // requests that failed in another way
	Dead      atomic.Uint64 // alerts dead-lettered
}

// Sink delivers alerts to one address. It is safe for concurrent use.
type Sink struct {
	cfg     Config
	http    *http.Client
	where   string // the address without what may be secret in it
	seed    maphash.Seed
	choice  choice.Choice
	notes   *progress.Notes[note]
	metrics Metrics
}

// note is what became of an alert so far.
type note struct {
	done     bool
	attempts int // that failed in an outage
}

// New returns a Sink for a Config that is valid. It does no I/O.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	client, where := newClient(cfg)
	return &Sink{cfg: cfg, http: client, where: where, seed: maphash.MakeSeed(),
		choice: cfg.choice(), notes: progress.New(func() *note { return &note{} })}, nil
}

// Close gives up idle connections.
func (s *Sink) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Metrics returns the counters of s.
func (s *Sink) Metrics() *Metrics { return &s.metrics }

// Handle delivers the alerts of the batches that are for this sink. When it
// returns without an error, each was delivered or is dead. A *event.RetryError
// says that the receiver is away, a *event.MessageError that it fails at one alert.
func (s *Sink) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	lanes := make([][]*letter, s.cfg.Concurrency)
	var letters []*letter
	for bi, b := range batches {
		for mi := range b.Messages {
			l, err := s.choose(b, uint32(mi))
			switch {
			case err != nil:
				out.Dead = append(out.Dead, event.Dead{Batch: bi, Message: uint32(mi), Err: err})
			case l == nil:
				out.Filtered++
			default:
				l.batch = bi
				letters = append(letters, l)
				lane := maphash.String(s.seed, l.alert.Rule+"\x00"+l.alert.Key) % uint64(len(lanes))
				lanes[lane] = append(lanes[lane], l)
			}
		}
	}
	if len(letters) > 0 {
		dead, err := s.deliver(ctx, lanes)
		if err != nil {
			return event.Outcome{}, err
		}
		out.Dead = append(out.Dead, dead...)
		for _, l := range letters {
			s.notes.Forget(l.at)
		}
	}
	s.metrics.Dead.Add(uint64(len(out.Dead)))
	return out, nil
}

// choose returns the alert that a message is, or nil if it is none for this sink.
func (s *Sink) choose(b *event.Batch, message uint32) (*letter, error) {
	m := &b.Messages[message]
	if m.Record != event.AlertFact {
		return nil, nil
	}
	a, err := choice.Parse(m.Payload)
	if err != nil || !s.choice.Takes(a) {
		return nil, err
	}
	return &letter{
		message: message, at: event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: message}, alert: a,
		payload: slices.Clone(m.Payload), // the transport may read on after the call
		record:  strings.Clone(m.ID),
	}, nil
}

// deliver works through the lanes, each in order, and returns what is dead. A
// lane stops at its first failure; the others go on, so that one alert that the
// receiver chokes on does not hold up the rest.
func (s *Sink) deliver(ctx context.Context, lanes [][]*letter) ([]event.Dead, error) {
	var wg sync.WaitGroup
	dead := make([][]event.Dead, len(lanes))
	errs := make([]error, len(lanes))
	for i, lane := range lanes {
		if len(lane) == 0 {
			continue
		}
		wg.Go(func() { // ends with its requests, which end with ctx or their timeout
			for _, l := range lane {
				d, err := s.send(ctx, l)
				if err != nil {
					errs[i] = err
					return
				}
				if d != nil {
					dead[i] = append(dead[i], event.Dead{Batch: l.batch, Message: l.message, Err: d})
				}
			}
		})
	}
	wg.Wait()
	return slices.Concat(dead...), worst(errs)
}

// worst returns the error that decides what happens next: an outage is waited
// out before a single alert is blamed.
func worst(errs []error) error {
	var blame error
	var outage *event.RetryError
	for _, err := range errs {
		var re *event.RetryError
		if errors.As(err, &re) {
			if outage == nil || re.After > outage.After {
				outage = re
			}
		} else if err != nil && blame == nil {
			blame = err
		}
	}
	if outage != nil {
		return outage
	}
	return blame
}

// send delivers one alert unless a call before did. dead is why it never can be.
func (s *Sink) send(ctx context.Context, l *letter) (dead, err error) {
	p := s.notes.Of(l.at)
	if p.done {
		return nil, nil
	}
	verdict, err := s.post(ctx, l)
	switch verdict {
	case delivered:
		s.metrics.Delivered.Add(1)
		p.done = true
		return nil, nil
	case refused:
		s.metrics.Refused.Add(1)
		return err, nil
	case failed:
		s.metrics.Refused.Add(1)
		return nil, &event.MessageError{Batch: l.batch, Message: l.message, Err: err}
	}
	s.metrics.Outages.Add(1)
	if ctx.Err() == nil {
		p.attempts++
	}
	if s.cfg.MaxAttempts > 0 && p.attempts >= s.cfg.MaxAttempts {
		return fmt.Errorf("given up after %d attempts: %w", p.attempts, err), nil
	}
	return nil, err
}
