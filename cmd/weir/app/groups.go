package app

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weir/console"
	"weir/ingest/consume"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/rules"
)

const (
	// groupsWait is how long a partition waits for the others before its runner
	// may see to something else. Silent ones have a tick a second.
	groupsWait = 2 * time.Second
	// groupsLater is how soon it waits again.
	groupsLater = 10 * time.Millisecond
	// groupsSave is how often the state is saved.
	groupsSave = 5 * time.Second
)

// groups evaluates the rules whose keys have events in more than one partition.
//
// A runner in each partition hands over its batches; whoever brings what was
// missing does the work, for all:
//
//	partition 0 ─▶ groupsIn ─┐
//	partition 1 ─▶ groupsIn ─┼─▶ rules.Merge ─▶ rules.Engine ─▶ partition 0
//	partition 2 ─▶ groupsIn ─┘
//
// The order is a function of the log, so a partition that does not come forward
// holds these rules back, and nothing else: an alert that is late is better
// than one that a replay would not have. What is derived goes into partition 0,
// as all of one key must stand in one order somewhere, and 0 is always there.
//
// The state is shared: engine and places in the log, saved as one, before any
// runner saves its cursor. A cursor is thus never ahead of the state, and what a
// runner reads again is passed over.
type groups struct {
	events *eventlog.Log
	log    *slog.Logger
	saving sync.Mutex // held while the state is saved; taken before mu

	mu sync.Mutex // guards what follows
	derivation
	ctx    context.Context // of the call that does the work
	engine *rules.Engine
	merge  *rules.Merge
	parts  []groupsPart
	moving bool // a replay was begun and not all partitions have moved
	dirty  bool // the state is not the saved one
}

type groupsPart struct {
	ready bool          // its runner knows where it starts
	until uint64        // head when it did
	taken chan struct{} // closed when all that it offered is taken; nil while it offers nothing
}

// groupsIn is groups' consumer in one partition.
type groupsIn struct {
	*groups
	partition int
}

// openGroups restores the state, or begins anew.
func (a *App) openGroups(ctx context.Context) (*groups, error) {
	n := a.events.Partitions()
	g := &groups{events: a.events, log: a.log.With("consumer", consumerGroups), parts: make([]groupsPart, n),
		derivation: derivation{partition: a.events.Partition(0), ring: a.rings[0], mark: a.committers[0]}}
	g.begin(newGroupsEngine())
	_, state, err := a.events.LoadState(ctx, consumerGroups, 0)
	if err == nil {
		err = g.restore(state)
	}
	switch {
	case err == nil:
		return g, nil
	case errors.Is(err, eventlog.ErrDamagedState):
		g.log.Error("the saved state is damaged: it is derived from the log again", "err", err)
	case !errors.Is(err, eventlog.ErrNoCursor):
		return nil, fmt.Errorf("load the state of rules across partitions: %w", err)
	}
	g.begin(newGroupsEngine())
	for i := range n { // cursors without a state are of no use
		if err := a.events.ForgetConsumer(ctx, consumerGroups, i); err != nil {
			return nil, fmt.Errorf("begin rules across partitions anew: %w", err)
		}
	}
	return g, nil
}

// begin puts an engine that knows nothing of the log in the place of what there was.
func (g *groups) begin(e *rules.Engine) {
	g.engine = e
	g.engine.SetHistory(g.history)
	g.merge = rules.NewMerge(len(g.parts))
	for i := range g.parts {
		g.parts[i] = groupsPart{}
	}
}

func newGroupsEngine() *rules.Engine {
	e := rules.NewEngine(0)
	e.SetStopwatch(monotonic)
	e.SetScope(rules.AcrossRules)
	return e
}

// Start implements consume.Starter.
func (c groupsIn) Start(ctx context.Context, cur eventlog.Cursor) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	place := c.merge.Place(c.partition)
	if place.Seq <= cur.Seq {
		place.Seq, place.Message = cur.Seq+1, 0
		c.merge.GoOn(c.partition, place)
	}
	p := &c.parts[c.partition]
	p.until = c.events.Partition(c.partition).Head().Seq
	if c.partition == 0 {
		var err error
		if p.until, err = c.resume(ctx, place.Seq-1, 0, func(*rules.Set) {}); err != nil {
			return err
		}
	}
	p.ready = true
	return nil
}

// Handle offers batches to the merge and waits until they are taken.
func (c groupsIn) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	for _, b := range batches {
		for i := range b.Messages {
			if len(b.EventsOf(i)) == 0 {
				out.Filtered++
			}
		}
	}
	taken, err := c.offer(ctx, batches)
	if err != nil {
		return out, err
	}
	t := time.NewTimer(groupsWait)
	defer t.Stop()
	select {
	case <-taken:
		return out, nil
	case <-t.C:
		err = consume.ErrLater
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-taken: // just now
		return out, nil
	default:
	}
	if c.parts[c.partition].taken == taken { // else a replay has begun
		c.parts[c.partition].taken = nil
		c.merge.Offer(c.partition, nil)
	}
	return out, err
}

// offer hands batches over and takes what can be taken of all partitions. The
// channel is closed when these batches are.
func (c groupsIn) offer(ctx context.Context, batches []*event.Batch) (chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &c.parts[c.partition]
	switch {
	case c.broken.Load():
		return nil, errBroken
	case !p.ready: // a replay moves the partitions one by one
		return nil, consume.ErrLater
	}
	taken := make(chan struct{})
	p.taken = taken
	c.merge.Offer(c.partition, batches)
	c.settle()
	return taken, c.work(ctx)
}

// settle tells the partitions of which all was taken.
func (g *groups) settle() {
	done := len(g.written) > 0
	for i := range g.parts {
		p := &g.parts[i]
		if p.taken != nil && g.merge.Empty(i) {
			close(p.taken)
			p.taken = nil
		}
		done = done && p.ready && g.merge.Place(i).Seq > p.until
	}
	if done {
		clear(g.written)
	}
}

// work evaluates the rules as far as every partition has something to offer.
func (g *groups) work(ctx context.Context) error {
	g.ctx = ctx
	for _, p := range g.parts {
		if !p.ready {
			return nil
		}
	}
	for {
		b, from, to, ok := g.merge.Next()
		if !ok {
			return nil
		}
		g.dirty = true
		g.engine.ProcessRange(b, from, to, g.emit)
		if err := g.flush(ctx); err != nil {
			g.broken.Store(true)
			return err
		}
		g.settle()
	}
}

// Sync saves the state, so that it is never behind the cursor that is saved next.
func (c groupsIn) Sync(ctx context.Context) error { return c.save(ctx) }

func (g *groups) save(ctx context.Context) error {
	g.saving.Lock()
	defer g.saving.Unlock()
	state, err := g.snapshot()
	if err != nil || state == nil {
		return err
	}
	if err = g.durable(ctx); err == nil {
		err = g.events.SaveSharedState(ctx, consumerGroups, state)
	}
	if err != nil {
		g.mu.Lock()
		g.dirty = true
		g.mu.Unlock()
	}
	return err
}

// The state is a version, a flag for a replay that was begun, the number of
// partitions, the place of each, and the engine's snapshot.
const groupsVersion = 1

// snapshot returns the state, nil if it is saved already.
func (g *groups) snapshot() ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.broken.Load() {
		return nil, errBroken
	}
	if !g.dirty {
		return nil, nil
	}
	b := []byte{groupsVersion, 0}
	if g.moving {
		b[1] = 1
	}
	b = binary.AppendUvarint(b, uint64(len(g.parts)))
	for i := range g.parts {
		p := g.merge.Place(i)
		b = binary.AppendUvarint(b, p.Seq)
		b = binary.AppendUvarint(b, uint64(p.Message))
		b = binary.AppendVarint(b, p.Time)
	}
	s, err := g.engine.Snapshot()
	if err != nil {
		return nil, fmt.Errorf("take a snapshot of rules across partitions: %w", err)
	}
	g.dirty = false
	return append(b, s...), nil
}

// restore is the other way round. Its errors wrap eventlog.ErrDamagedState.
func (g *groups) restore(b []byte) error {
	damaged := func(what string) error {
		return fmt.Errorf("%w: %s", eventlog.ErrDamagedState, what)
	}
	switch {
	case len(b) < 3:
		return damaged("it is cut off")
	case b[0] != groupsVersion:
		return damaged(fmt.Sprintf("it has version %d, this weir knows %d", b[0], groupsVersion))
	case b[1] != 0:
		return damaged("a replay did not get to move all partitions")
	}
	b = b[2:]
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[max(n, 0):]
		return v
	}
	if n := uvarint(); n != uint64(len(g.parts)) {
		return damaged(fmt.Sprintf("it is of %d partitions, there are %d", n, len(g.parts)))
	}
	for i := range g.parts {
		p := rules.Place{Seq: uvarint(), Message: uint32(uvarint())}
		t, n := binary.Varint(b)
		b = b[max(n, 0):]
		p.Time = t
		g.merge.GoOn(i, p)
	}
	if err := g.engine.Restore(b); err != nil {
		return damaged(err.Error())
	}
	return nil
}

// history reads all partitions for rules that need what came before them, merged
// as they are when they are evaluated: up to where each was taken.
func (g *groups) history(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
	began := time.Now()
	err := g.readHistory(since, until, each)
	if g.ctx.Err() != nil {
		g.broken.Store(true)
	}
	if err == nil {
		g.log.Info("windows of new rules are filled from the log", "since", time.Unix(0, since).UTC(), "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

func (g *groups) readHistory(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
	places := make([]rules.Place, len(g.parts))
	for i := range places {
		places[i] = g.merge.Place(i)
	}
	// The run that is evaluated was taken as a whole; it is of the record's partition.
	places[until.Partition] = rules.Place{Seq: until.Seq, Message: until.Message}
	return mergedHistory(g.ctx, g.log, g.events, since, places, each)
}

// seekGroups makes the rules across partitions read again from a place.
func (a *App) seekGroups(ctx context.Context, from console.From) error {
	g := a.groups
	after := make([]uint64, len(g.parts))
	for i := range after {
		var concerns bool
		var err error
		if after[i], concerns, err = from.After(ctx, a.events.Partition(i)); err != nil {
			return err
		}
		if !concerns {
			return fmt.Errorf("%s reads all partitions together: replay it from all or from a time, not from a position in one", consumerGroups)
		}
	}
	g.mu.Lock()
	g.begin(anew(g.engine, 0))
	g.moving, g.dirty = true, true
	g.mu.Unlock()
	if err := g.save(ctx); err != nil { // a crash from here on must not find cursors and a state that don't fit
		return fmt.Errorf("replay %s: %w", consumerGroups, err)
	}
	for _, r := range a.runners {
		if r.Name() != consumerGroups {
			continue
		}
		if err := r.Seek(ctx, after[r.Partition()]+1, nil); err != nil {
			return fmt.Errorf("%w; %s waits until it is replayed again", err, consumerGroups)
		}
	}
	g.mu.Lock()
	g.moving, g.dirty = false, true
	g.mu.Unlock()
	return g.save(ctx)
}

func (g *groups) stats() rules.Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.engine.Stats()
}

func (g *groups) logTime() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.engine.Now()
}

func (g *groups) active() []rules.Status {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.engine.Active()
}
