package email

import (
	"context"
	"errors"
	"fmt"
	"maps"
	netmail "net/mail"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"weir/ingest/event"
	"weir/sinks/choice"
	"weir/sinks/progress"
)

// Metrics counts what a Sink did since it was made. All are totals.
type Metrics struct {
	Delivered atomic.Uint64 // mails that the server took for at least one recipient
	Sessions  atomic.Uint64 // connections that were made
	Outages   atomic.Uint64 // calls that ended as the server was away
	PutOff    atomic.Uint64 // mails that the server put off
	Dead      atomic.Uint64 // alerts dead-lettered
}

// Sink mails alerts. It is safe for concurrent use.
type Sink struct {
	cfg       Config
	server    server
	from      *netmail.Address
	to        []*netmail.Address
	hello     string
	domain    string // of Message-IDs
	templates templates
	choice    choice.Choice
	notes     *progress.Notes[note]
	metrics   Metrics
}

// note is what became of a mail so far.
type note struct {
	done     map[string]bool  // recipients that have it
	refused  map[string]error // recipients that never will
	attempts int              // that the server put off
	last     error            // why the last attempt did not reach everyone
}

// New returns a Sink for a Config that is valid. It does no I/O.
func New(cfg Config) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Sink{cfg: cfg, hello: cfg.Hello, choice: cfg.choice()}
	s.notes = progress.New(func() *note { return &note{done: map[string]bool{}, refused: map[string]error{}} })
	s.server, _ = parseServer(cfg.URL) // Validate has parsed all of these
	s.templates, _ = parseTemplates(cfg.Subject, cfg.Body)
	s.from, _ = netmail.ParseAddress(cfg.From)
	s.domain = domainOf(s.from)
	for _, t := range cfg.To {
		a, _ := netmail.ParseAddress(t)
		s.to = append(s.to, a)
	}
	if s.hello == "" {
		s.hello, _ = os.Hostname()
	}
	if s.hello == "" {
		s.hello = "localhost"
	}
	return s, nil
}

// Close does nothing: there is no connection between calls.
func (s *Sink) Close() error { return nil }

// Metrics returns the counters of s.
func (s *Sink) Metrics() *Metrics { return &s.metrics }

// Handle mails the alerts of the batches that are for this sink. When it
// returns without an error, each was mailed or is dead.
func (s *Sink) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
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
			}
		}
	}
	if len(letters) > 0 {
		dead, err := s.deliver(ctx, letters)
		if err != nil {
			s.metrics.Outages.Add(1)
			return event.Outcome{}, &event.RetryError{Err: fmt.Errorf("mail alerts by %v: %w", s.server, err)}
		}
		out.Dead = append(out.Dead, dead...)
		for _, l := range letters {
			s.notes.Forget(l.at)
		}
	}
	s.metrics.Dead.Add(uint64(len(out.Dead)))
	return out, nil
}

// deliver sends the letters on one connection and returns those that are dead.
// One that is put off holds back the later ones about the same alert only.
func (s *Sink) deliver(ctx context.Context, letters []*letter) ([]event.Dead, error) {
	var dead []event.Dead
	var se *session
	defer func() {
		if se != nil {
			se.quit()
		}
	}()
	var later error
	held := map[string]bool{}
	for _, l := range letters {
		if held[l.order] {
			continue
		}
		p := s.notes.Of(l.at)
		if to := s.pending(p); len(to) > 0 {
			var err error
			if se == nil {
				if se, err = s.open(ctx); err != nil {
					return nil, cause(ctx, err)
				}
				s.metrics.Sessions.Add(1)
			}
			o, err := se.send(s.from.Address, to, l.text)
			s.note(p, to, o, err)
			if err != nil {
				se.drop()
				se = nil
			}
			if to = s.pending(p); len(to) > 0 {
				spent := s.cfg.MaxAttempts > 0 && p.attempts >= s.cfg.MaxAttempts
				switch {
				case ctx.Err() != nil:
					return nil, ctx.Err()
				case spent:
					for _, a := range to {
						p.refused[a] = fmt.Errorf("given up after %d attempts: %w", p.attempts, p.last)
					}
				case err != nil:
					return nil, err
				default:
					held[l.order] = true
					if later == nil {
						later = p.last
					}
					continue
				}
			}
		}
		if len(p.refused) > 0 {
			dead = append(dead, event.Dead{Batch: l.batch, Message: l.message, Err: s.verdict(p)})
		}
	}
	return dead, later
}

// cause says what ended a session: the context's end rather than what it led to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// note keeps what an attempt came to.
func (s *Sink) note(p *note, to []string, o outcome, err error) {
	off, first := o.text, len(p.done) == 0
	p.last = err
	for _, a := range to {
		switch r, rejected := o.rejected[a]; {
		case rejected && r.temp:
			off, p.last = true, fmt.Errorf("mail to %s is put off: %w", a, r.err)
		case rejected:
			p.refused[a] = r.err
		case err == nil:
			p.done[a] = true
		}
	}
	if first && len(p.done) > 0 {
		s.metrics.Delivered.Add(1)
	}
	if off {
		p.attempts++
		s.metrics.PutOff.Add(1)
	}
}

// pending returns who is still to get a mail.
func (s *Sink) pending(p *note) []string {
	var out []string
	for _, a := range s.to {
		if !p.done[a.Address] && p.refused[a.Address] == nil && !slices.Contains(out, a.Address) {
			out = append(out, a.Address)
		}
	}
	return out
}

// verdict says who does not get a mail, and why.
func (s *Sink) verdict(p *note) error {
	var b strings.Builder
	for i, a := range slices.Sorted(maps.Keys(p.refused)) {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "mail to %s by %v: %v", a, s.server, p.refused[a])
	}
	if n := len(p.done); n > 0 {
		fmt.Fprintf(&b, "; %d other recipients have it", n)
	}
	return errors.New(b.String())
}
