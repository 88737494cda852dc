package backtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/ingest/decode"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
	"weir/rules/replay"
)

// Deps is what a backtest works on.
type Deps struct {
	Log *eventlog.Log
	// Consumer is the name under which the rules that run keep their cursor.
	Consumer string
	// Options are the names that rules may use.
	Options rules.Options
	// InForce returns a rule set of a partition that is known to be in force
	// after a batch: the latest that is known. Nil: none is.
	InForce func(ctx context.Context, partition int) (*rules.Set, uint64, error)
	// Gentle is set where others need the machine: partitions are read one
	// after the other, and the work rests while others wait for a core.
	Gentle bool
	// Now resolves relative times; nil is time.Now.
	Now func() time.Time
}

// Run runs a backtest. It returns an *InputError or strict.Errors for a request
// that can't be met. progress, which may be nil, is called twice a second.
func Run(ctx context.Context, d Deps, req Request, progress func(Progress)) (*Report, error) {
	now := time.Now
	if d.Now != nil {
		now = d.Now
	}
	p, err := req.plan(d.Options, now())
	if err != nil {
		return nil, err
	}
	r := &runner{Deps: d, plan: p}
	if progress != nil {
		stop := r.tell(progress)
		defer stop()
	}
	r.stage("rules in force")
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	r.stage("evaluating")
	if err := r.evaluate(ctx); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(r.passes, func(p *pass) bool { return p.begun || len(p.damage) > 0 }) {
		return nil, r.nothing(ctx)
	}
	return r.report(), nil
}

// runner is one backtest.
type runner struct {
	Deps
	*plan
	spans  []span
	old    []*rules.Set // by partition; nil: the old side has no rules
	passes []*pass

	at      atomic.Pointer[string] // stage
	records atomic.Uint64
	events  atomic.Uint64
	clock   atomic.Int64
	total   atomic.Uint64
}

func (r *runner) stage(name string) { r.at.Store(&name) }

// tellEvery is how often progress is told.
const tellEvery = 500 * time.Millisecond

// tell calls progress until the function that it returns is called.
func (r *runner) tell(progress func(Progress)) (stop func()) {
	r.stage("")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(tellEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				p := Progress{Stage: *r.at.Load(), Records: r.records.Load(), Of: r.total.Load(), Events: r.events.Load()}
				if at := r.clock.Load(); at > 0 {
					p.At = time.Unix(0, at).UTC()
				}
				progress(p)
			case <-done:
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

func (r *runner) fromTime() int64 { return bound(r.from, math.MinInt64) }
func (r *runner) toTime() int64   { return bound(r.to, math.MaxInt64) }

func bound(t time.Time, none int64) int64 {
	if t.IsZero() {
		return none
	}
	return t.UnixNano()
}

// pass evaluates both sides over one stream of batches.
type pass struct {
	r      *runner
	ledger *ledger
	old    *rules.Set
	sides  [sides]*replay.Replay
	topics map[string]*tally // of rules that record, by the topic of their recordings without the key

	begun      bool  // the range has begun
	first, end int64 // receive times of the first record of the range and of the last that was evaluated
	rejected   uint64
	events     uint64
	records    uint64
	batches    uint64
	damage     []*eventlog.Damage
	last       map[uint16]event.Position // of the last message that was evaluated, by partition
	owns       func(device string) bool  // nil: the pass is over all partitions
	waiting    []fact                    // what was decided live on what was not evaluated yet
	badFacts   int
}

func (r *runner) newPass(old *rules.Set, share int) *pass {
	return &pass{
		r: r, old: old, ledger: newLedger(r.fromTime(), r.toTime(), maxKept/max(1, share)),
		first: math.MaxInt64, end: math.MinInt64,
	}
}

// stream gives what a pass evaluates, in order. Its batch is nil at the end;
// the caller releases each.
type stream interface {
	next(ctx context.Context) (section, error)
	close()
	damaged() []*eventlog.Damage
}

// evaluate runs the passes, each in a goroutine, as many at a time as there are
// cores, or one where others need the machine.
func (r *runner) evaluate(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	workers := runtime.GOMAXPROCS(0)
	if r.Gentle {
		workers = 1
	}
	free := make(chan struct{}, workers)
	streams := r.streams()
	errs := make([]error, len(streams))
	var wg sync.WaitGroup
	for i, s := range streams {
		p := r.newPass(r.old[i], len(streams))
		if len(streams) > 1 {
			id := r.spans[i].partition.ID()
			p.owns = func(device string) bool { return decode.Partition(device, r.Log.Partitions()) == id }
		}
		r.passes = append(r.passes, p)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer s.close()
			select {
			case free <- struct{}{}:
			case <-ctx.Done():
				errs[i] = ctx.Err()
				return
			}
			defer func() { <-free }()
			if errs[i] = p.run(ctx, s); errs[i] != nil {
				cancel()
			}
			p.damage = s.damaged()
		}()
	}
	wg.Wait()
	return firstError(errs)
}

// streams returns the partitions one by one or, where a rule looks at devices
// of several partitions, merged.
func (r *runner) streams() []stream {
	sources := make([]*source, len(r.spans))
	list := make([]stream, len(r.spans))
	for i, s := range r.spans {
		sources[i] = newSource(s)
		list[i] = sources[i]
	}
	if len(sources) > 1 && (acrossPartitions(r.rules) || slices.ContainsFunc(r.old, acrossPartitions)) {
		return []stream{newMerge(sources)}
	}
	return list
}

// acrossPartitions reports whether a set has a rule that must be evaluated over
// all partitions.
func acrossPartitions(s *rules.Set) bool { return s != nil && s.AcrossPartitions() }

// firstError returns the error that the others, which are of the end that it
// put to them, came from.
func firstError(errs []error) error {
	var found error
	for _, err := range errs {
		if err != nil && (found == nil || errors.Is(found, context.Canceled)) {
			found = err
		}
	}
	return found
}

// ahead is how many batches are read and decoded while others are evaluated.
const ahead = 4

// run evaluates a stream.
func (p *pass) run(ctx context.Context, in stream) error {
	if p.r.Gentle {
		return p.gently(ctx, in)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := make(chan section, ahead)
	var readErr error // written before read is closed
	go func() {
		defer close(read)
		for {
			s, err := in.next(ctx)
			if err != nil || s.Batch == nil {
				readErr = err
				return
			}
			select {
			case read <- s:
			case <-ctx.Done():
				s.Release()
				readErr = ctx.Err()
				return
			}
		}
	}()
	for s := range read {
		p.take(&s)
		s.Release()
	}
	return readErr
}

// gently evaluates a stream with one goroutine, which rests while others work.
func (p *pass) gently(ctx context.Context, in stream) error {
	rest := resting{}
	for {
		rest.begin()
		s, err := in.next(ctx)
		if err != nil || s.Batch == nil {
			return err
		}
		p.take(&s)
		s.Release()
		if err := rest.end(ctx); err != nil {
			return err
		}
	}
}

// take evaluates a section on both sides.
func (p *pass) take(s *section) {
	p.batches++
	if s.to > s.from {
		b := s.batch()
		until := latest(b.Messages[s.from:])
		if p.sides[newSide] == nil {
			p.start(inForceFrom(b.Messages[s.from:s.to]))
		}
		if !p.begun && until >= p.ledger.from {
			p.begun = true
			p.first = until
			for i := s.from; i < s.to; i++ {
				if t := b.Messages[i].Received; t >= p.ledger.from {
					p.first = min(p.first, t)
				}
			}
		}
		wasBegun := p.end >= p.ledger.from
		for _, side := range p.sides {
			if side != nil {
				side.Process(b)
			}
		}
		p.end = max(p.end, until)
		if p.last == nil {
			p.last = map[uint16]event.Position{}
		}
		p.last[uint16(b.Partition)] = event.Position{Partition: uint16(b.Partition), Seq: b.Seq, Message: uint32(s.to - 1), Event: math.MaxUint32}
		if p.begun && !wasBegun {
			p.ledger.begin()
		}
		p.count(s, b)
		s.done()
	}
	if p.r.against == AgainstLog {
		p.facts(s)
	}
}

func (p *pass) count(s *section, b *event.Batch) {
	n := uint64(0)
	for i := s.from; i < s.to; i++ {
		n += uint64(len(b.EventsOf(i)))
	}
	p.events += n
	p.records += uint64(s.to - s.from)
	for _, x := range b.Rejects {
		if int(x.Message) >= s.from && int(x.Message) < s.to {
			p.rejected++
		}
	}
	p.r.events.Add(n)
	p.r.records.Add(uint64(s.to - s.from))
	p.r.clock.Store(p.end)
}

// inForceFrom returns when the rules of a pass come into force: with its first
// message. A log begins with weir's start and then the rules: there it is their
// record that counts, or devices that were never heard of would be missed from
// another time than live.
func inForceFrom(ms []event.Message) int64 {
	for i := range ms {
		switch ms[i].Record {
		case event.Started:
			if i == len(ms)-1 { // of several partitions each starts before the rules come, a nanosecond later
				return ms[i].Received + 1
			}
			continue
		case event.Tick:
			continue
		case event.RuleSet:
			return ms[i].Received
		}
		break
	}
	return ms[0].Received
}

// start puts the rules of both sides into force at a log time.
func (p *pass) start(at int64) {
	sets := [sides]*rules.Set{newSide: p.r.rules, oldSide: p.old}
	for side, set := range sets {
		if set == nil || set.Len() == 0 {
			continue
		}
		for _, info := range set.Rules() {
			t := p.ledger.rule(info.Rule)
			t.kind = info.Kind
			t.sides[side].has = true
		}
		p.sides[side] = replay.NewOwner(set, at, p.owns, func(d rules.Derived) {
			switch {
			case d.Alert != nil:
				p.ledger.fact(side, d.Alert, d.Time)
			case d.Record == event.Recording && d.Time >= p.ledger.from:
				p.recorder(d.Topic).sides[side].recordings++
			}
		})
	}
}

// recorder returns the tally of the rule whose recordings have a topic,
// weir/recordings/<group>/<name>/<key>.
func (p *pass) recorder(topic string) *tally {
	end := 0
	for slashes := 0; end < len(topic); end++ {
		if topic[end] == '/' {
			if slashes++; slashes == 4 {
				break
			}
		}
	}
	t := p.topics[topic[:end]]
	if t == nil {
		id, err := url.PathUnescape(strings.TrimPrefix(topic[:end], "weir/recordings/"))
		if err != nil {
			id = topic[:end]
		}
		t = p.ledger.rule(id)
		if p.topics == nil {
			p.topics = map[string]*tally{}
		}
		p.topics[topic[:end]] = t
	}
	return t
}

// facts books what was decided live on the records evaluated so far, as it
// stands in the section, or in the whole batch if that is behind the range. In
// merged partitions a fact may come before the event that it was decided on.
func (p *pass) facts(s *section) {
	from, to := s.from, s.to
	if to <= from {
		from, to = 0, len(s.Messages)
	}
	for i := from; i < to; i++ {
		m := &s.Messages[i]
		if m.Record != event.AlertFact || m.Received >= p.ledger.to {
			continue
		}
		f := fact{received: m.Received}
		if err := json.Unmarshal(m.Payload, &f.alert); err != nil {
			p.badFacts++
			continue
		}
		p.waiting = append(p.waiting, f)
	}
	kept := p.waiting[:0]
	for _, f := range p.waiting {
		if f.received > p.end || f.alert.Event != nil && p.last[f.alert.Event.Position.Partition].Less(f.alert.Event.Position) {
			kept = append(kept, f) // decided on what was not evaluated yet
			continue
		}
		p.ledger.fact(oldSide, &f.alert, f.received)
	}
	clear(p.waiting[len(kept):])
	p.waiting = kept
}

// fact is what was decided live, and when.
type fact struct {
	alert    event.Alert
	received int64
}

// resting lets others have the core that they wait for.
type resting struct{ began time.Time }

// patience is how long a core may take to come back that nobody else wants.
const patience = 200 * time.Microsecond

func (r *resting) begin() { r.began = time.Now() }

// end gives the core away. If that took, others wait for it: then it rests for
// twice as long as it worked.
func (r *resting) end(ctx context.Context) error {
	worked := time.Since(r.began)
	asked := time.Now()
	runtime.Gosched()
	if time.Since(asked) < patience {
		return ctx.Err()
	}
	t := time.NewTimer(2 * worked)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("backtest: %w", ctx.Err())
	}
}
