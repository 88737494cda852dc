package alertmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weir/ingest/event"
	"weir/sinks/choice"
)

// maxAlerts is the most that one request holds.
const maxAlerts = 256

// Metrics counts what a Sink did since it was made. All are totals.
type Metrics struct {
	Sent     atomic.Uint64 // transitions that Alertmanager took
	Resent   atomic.Uint64 // alerts that were repeated
	Requests atomic.Uint64 // whatever became of them
	Outages  atomic.Uint64 // deliveries that no member had time for
	Dead     atomic.Uint64 // transitions dead-lettered
}

// Sink tells one Alertmanager, or the members of one cluster.
type Sink struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	http    *http.Client
	members []*member
	metrics Metrics

	mu         sync.Mutex
	partitions map[int]*Partition
}

// New returns a Sink for a Config that is valid. It does no I/O.
func New(cfg Config, deps Deps) (*Sink, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	return &Sink{cfg: cfg, log: deps.Log, now: deps.Now, http: newClient(cfg), members: newMembers(cfg.URLs), partitions: map[int]*Partition{}}, nil
}

// Close gives up idle connections.
func (s *Sink) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// Metrics returns the counters of s.
func (s *Sink) Metrics() *Metrics { return &s.metrics }

// Partition returns the consumer of a partition: always the same one.
func (s *Sink) Partition(n int) *Partition {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[n]
	if p == nil {
		p = &Partition{sink: s, state: newState()}
		s.partitions[n] = p
	}
	return p
}

// Handle hands the batches, which are of one partition, to its consumer.
func (s *Sink) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	if len(batches) == 0 {
		return event.Outcome{}, nil
	}
	return s.Partition(batches[0].Partition).Handle(ctx, batches)
}

// Partition is the consumer of one partition, with the alerts of it that
// Alertmanager is to know. One goroutine uses it.
type Partition struct {
	sink    *Sink
	state   state
	handled uint64    // sequence of the last batch that was dealt with
	sent    time.Time // when everything was sent last
}

// Snapshot returns the alerts that Alertmanager is to know.
func (p *Partition) Snapshot() ([]byte, error) { return p.state.marshal() }

// Restore takes what Snapshot returned. All of it is sent with the next Handle.
func (p *Partition) Restore(b []byte) error {
	s, err := parseState(b)
	if err != nil {
		return err
	}
	p.state, p.sent = s, time.Time{}
	return nil
}

// Resume says that the batch after seq comes next. Batches up to it are
// dead letters that are tried again.
func (p *Partition) Resume(seq uint64) { p.handled = seq }

// step is one transition on its way to Alertmanager.
type step struct {
	batch   int
	message uint32
	entry   *entry
	before  *entry // what Alertmanager knew of the incident; nil if nothing
}

// Handle sends the transitions of the batches that are for this sink, in their
// order, and everything again when that is due. Nothing is remembered of a call
// that fails.
func (p *Partition) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	next, now := p.state, p.sink.now()
	var steps []step
	cloned := false
	for bi, b := range batches {
		for mi := range b.Messages {
			if b.Messages[mi].Record != event.AlertFact {
				out.Filtered++
				continue
			}
			if !cloned {
				next, cloned = next.clone(), true
			}
			a, err := parse(b.Messages[mi].Payload)
			if err != nil {
				out.Dead = append(out.Dead, event.Dead{Batch: bi, Message: uint32(mi), Err: err})
				continue
			}
			st, ok := p.take(next, a, b.Seq <= p.handled, now)
			if !ok {
				out.Filtered++
				continue
			}
			st.batch, st.message = bi, uint32(mi)
			steps = append(steps, st)
		}
	}
	dead, err := p.deliver(ctx, next, steps, now)
	if err != nil {
		return event.Outcome{}, err
	}
	out.Dead = append(out.Dead, dead...)
	if since := now.Sub(p.sent); since < 0 || since >= p.sink.cfg.Resend {
		if !cloned {
			next = next.clone()
		}
		if err := p.resend(ctx, next, now); err != nil {
			return event.Outcome{}, err
		}
		p.sent = now
	}
	p.state = next
	if len(batches) > 0 {
		p.handled = max(p.handled, batches[len(batches)-1].Seq)
	}
	p.sink.metrics.Dead.Add(uint64(len(out.Dead)))
	p.sink.metrics.Sent.Add(uint64(len(steps) - len(dead)))
	return out, nil
}

func parse(payload []byte) (*event.Alert, error) {
	a, err := choice.Parse(payload)
	if err != nil {
		return nil, err
	}
	if a.State == event.Resolved && a.EndsAt == nil {
		return nil, fmt.Errorf("alert %s is resolved but has no ends_at", a.ID)
	}
	return a, nil
}

// take brings the state up to a transition, and returns what Alertmanager is to
// be told of it; ok is false if nothing. again says that it is a dead letter
// that is tried again: the log has gone on meanwhile.
func (p *Partition) take(s state, a *event.Alert, again bool, now time.Time) (st step, ok bool) {
	chosen := choice.Choice{Name: p.sink.cfg.Name, All: p.sink.cfg.All}.For(a)
	e := &entry{ID: a.ID, Labels: labelsOf(a), Annotations: annotationsOf(a), StartsAt: a.StartsAt}
	e.print = print(e.Labels)
	before := s.ids[a.ID]
	switch a.State {
	case event.Firing:
		if !chosen || again && (before == nil || before.EndsAt != nil) { // it has ended since, or nobody was ever told
			return st, false
		}
		if before != nil && before.EndsAt == nil {
			e.Labels, e.print = before.Labels, before.print // by which Alertmanager knows it
		}
	case event.Resolved:
		if before == nil && (!chosen || s.prints[e.print] != nil) { // a later incident has these labels
			return st, false
		}
		if a.Suppressed == event.SuppressedFlapping { // the log says how it is once it has come to rest
			return st, false
		}
		if before != nil {
			e.Labels, e.print, e.StartsAt = before.Labels, before.print, before.StartsAt
			if before.Refused {
				s.drop(before)
				return st, false
			}
		}
		ends := *a.EndsAt
		e.EndsAt, e.Until = &ends, now.Add(keepResolved)
	default:
		return st, false
	}
	s.set(e)
	return step{entry: e, before: before}, true
}

// deliver sends the steps in their order, and returns those that Alertmanager
// won't have. One label set is in a request only once: the order of the
// transitions of an alert is that of requests.
func (p *Partition) deliver(ctx context.Context, s state, steps []step, now time.Time) ([]event.Dead, error) {
	var dead []event.Dead
	for len(steps) > 0 {
		n, seen := 0, map[string]bool{}
		entries := []*entry{}
		for n < len(steps) && n < maxAlerts && !seen[steps[n].entry.print] {
			seen[steps[n].entry.print] = true
			entries = append(entries, steps[n].entry)
			n++
		}
		refused, err := p.sink.send(ctx, entries, now)
		if err != nil {
			return nil, err
		}
		for _, st := range steps[:n] {
			if err := refused[st.entry]; err != nil {
				dead = append(dead, event.Dead{Batch: st.batch, Message: st.message, Err: err})
				s.refuse(st)
			}
		}
		steps = steps[n:]
	}
	return dead, nil
}

// refuse takes back what a refused step changed. An alert that begins to fire
// stays known as refused, so that its dead letter can be tried again for as
// long as it fires.
func (s state) refuse(st step) {
	if s.ids[st.entry.ID] != st.entry {
		return // a later transition has taken its place
	}
	switch {
	case st.before != nil && st.before.EndsAt == nil && !st.before.Refused && st.entry.EndsAt == nil:
		s.set(st.before)
	case st.entry.EndsAt == nil:
		e := *st.entry
		e.Refused = true
		s.set(&e)
	default:
		s.drop(st.entry)
	}
}

// resend sends everything that fires, and what has ended lately.
func (p *Partition) resend(ctx context.Context, s state, now time.Time) error {
	s.forget(now)
	var all []*entry
	for _, e := range s.sorted() {
		if !e.Refused {
			all = append(all, e)
		}
	}
	for part := range slices.Chunk(all, maxAlerts) {
		refused, err := p.sink.send(ctx, part, now)
		if err != nil {
			return err
		}
		for _, e := range part {
			if err := refused[e]; err != nil {
				p.sink.log.Error("Alertmanager refuses an alert that it took before: it is not repeated", "sink", p.sink.cfg.Name, "alert", e.ID, "err", err)
				s.refuse(step{entry: e})
			}
		}
		p.sink.metrics.Resent.Add(uint64(len(part)))
	}
	return nil
}

// send tells Alertmanager of alerts with different labels, and returns why it
// won't have those that it refuses. If it refuses some, all are sent one by one:
// its answer does not say which.
func (s *Sink) send(ctx context.Context, entries []*entry, now time.Time) (refused map[*entry]error, err error) {
	alerts := make([]wire, len(entries))
	for i, e := range entries {
		alerts[i] = e.wire(&s.cfg, now)
	}
	err = s.post(ctx, alerts)
	if err == nil || !errors.Is(err, errRefused) {
		return nil, err
	}
	refused = map[*entry]error{}
	if len(entries) == 1 {
		refused[entries[0]] = err
		return refused, nil
	}
	for i, e := range entries {
		if err := s.post(ctx, alerts[i:i+1]); errors.Is(err, errRefused) {
			refused[e] = err
		} else if err != nil {
			return nil, err
		}
	}
	return refused, nil
}
