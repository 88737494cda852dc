package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"weir/configs"
	"weir/configs/strict"
	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
)

// LoadRules reads and checks every rule file that the config names, and the
// tables of devices that those name.
func LoadRules(cfg *configs.Config) (*rules.Set, error) {
	set, _, err := loadRules(cfg)
	return set, err
}

// readRules is what loadRules has read, be it right or wrong.
type readRules struct {
	tables []string          // names of the tables of devices
	blank  []string          // names of the rule files in which nothing stands
	sum    [sha256.Size]byte // of the names and the content of all files
}

// loadRules is LoadRules that says what it has read too.
func loadRules(cfg *configs.Config) (set *rules.Set, read readRules, err error) {
	names, err := cfg.RuleFiles()
	if err != nil {
		return nil, read, err
	}
	h := sha256.New()
	defer func() { h.Sum(read.sum[:0]) }()
	readFile := func(name string) ([]byte, error) {
		b, err := cfg.ReadFile(name)
		fmt.Fprintf(h, "%q %d\n%s", name, len(b), b)
		return b, err
	}
	files := make([]rules.File, 0, len(names))
	for _, name := range names {
		b, err := readFile(name)
		if err != nil {
			return nil, read, strict.Errors{{File: name, Msg: fmt.Sprintf("read rules: %v", err)}}
		}
		if len(bytes.TrimSpace(b)) == 0 {
			read.blank = append(read.blank, name)
		}
		files = append(files, rules.File{Name: name, Data: b})
	}
	o := ruleOptions(cfg)
	o.ReadFile = func(name string) ([]byte, error) {
		read.tables = append(read.tables, name)
		return readFile(name)
	}
	set, err = rules.Load(files, o)
	return set, read, err
}

// LoadRuleFiles reads and checks the rule files named. With a config, the names
// of its sources and sinks are the ones that rules may use.
func LoadRuleFiles(names []string, cfg *configs.Config) (*rules.Set, error) {
	var files []rules.File
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, strict.Errors{{File: name, Msg: fmt.Sprintf("read rules: %v", err)}}
		}
		files = append(files, rules.File{Name: name, Data: b})
	}
	var o rules.Options
	if cfg != nil {
		o = ruleOptions(cfg)
	}
	o.ReadFile = os.ReadFile
	return rules.Load(files, o)
}

// ruleOptions says which names rules may use.
func ruleOptions(cfg *configs.Config) rules.Options {
	var o rules.Options
	for i := range cfg.Sinks {
		if cfg.Sinks[i].InfluxDB == nil { // which takes every alert and knows no other way
			o.Sinks = append(o.Sinks, cfg.Sinks[i].Name.Value)
		}
	}
	o.Sinks = append(o.Sinks, cfg.Skipped...)
	for i := range cfg.Sources {
		o.Sources = append(o.Sources, cfg.Sources[i].Name.Value)
	}
	return o
}

// ruleConsumer evaluates the rules on one partition. What they derive goes
// back into the same partition, before the cursor is saved.
type ruleConsumer struct {
	derivation // only Handle's goroutine
	log        *slog.Logger

	mu     sync.Mutex // guards engine: its goroutine holds it for a batch, the API for a look
	engine *rules.Engine

	// only Handle's goroutine:
	ctx     context.Context // of the call
	until   uint64          // head when the consumer started
	inForce string          // hash of the rule set that the log puts in force in the end

	want    atomic.Pointer[rules.Set] // the set that the config says
	started chan struct{}
	once    sync.Once
}

func newRuleConsumer(p *eventlog.Partition, r *ring.Ring, c *eventlog.Committer, want *rules.Set, log *slog.Logger) *ruleConsumer {
	rc := &ruleConsumer{derivation: derivation{partition: p, ring: r, mark: c}, engine: rules.NewEngine(p.ID()), log: log, started: make(chan struct{})}
	rc.want.Store(want)
	rc.engine.SetHistory(rc.history)
	rc.engine.SetStopwatch(monotonic)
	return rc
}

// history reads what came before a new rule set.
func (c *ruleConsumer) history(since int64, until event.Position, each func(b *event.Batch, from, to int)) error {
	began := time.Now()
	err := history(c.ctx, c.log, c.partition, since, until, each)
	if c.ctx.Err() != nil {
		c.broken.Store(true) // the windows are not what they should be: they are filled again after the restart
	}
	if err == nil {
		c.log.Info("windows of new rules are filled from the log", "partition", c.partition.ID(), "since", time.Unix(0, since).UTC(), "took", time.Since(began).Round(time.Millisecond))
	}
	return err
}

// Start finds out what an earlier run had derived after its cursor was saved:
// evaluating the same records again gives the same ids, which are in the log
// already. In a replay it also puts the rule set of the config in force if
// another one is; at the start listen does.
func (c *ruleConsumer) Start(ctx context.Context, cur eventlog.Cursor) error {
	c.mu.Lock()
	c.inForce = c.engine.Set().Hash()
	c.mu.Unlock()
	var err error
	if c.until, err = c.resume(ctx, cur.Seq, cur.Records, func(s *rules.Set) { c.inForce = s.Hash() }); err != nil {
		return err
	}
	first := false
	c.once.Do(func() {
		close(c.started)
		first = true
	})
	if first {
		return nil
	}
	return c.enactWanted(ctx, now())
}

// listen is called once, after Start and before weir listens. It writes that
// this is so, before anything else of this run: time passes up to there in the
// light of it. Then it puts the rule set of the config in force if another one is.
// at is the time of both, the same in all partitions where they are quiet: rules
// that miss devices never heard of count from it.
func (c *ruleConsumer) listen(ctx context.Context, at int64) error {
	b := eventlog.AppendRecord(nil, &event.Message{Record: event.Started, Received: at})
	if _, err := c.ring.Append(ctx, b, 1); err != nil {
		return fmt.Errorf("note the start: %w", err)
	}
	return c.enactWanted(ctx, at+1)
}

// enactWanted puts the rule set of the config in force if another one is.
func (c *ruleConsumer) enactWanted(ctx context.Context, at int64) error {
	if want := c.want.Load(); want != nil && want.Hash() != c.inForce {
		return c.enact(ctx, want, at)
	}
	return nil
}

// enact writes a rule set into the partition: it is in force for what comes after it.
func (c *ruleConsumer) enact(ctx context.Context, s *rules.Set, at int64) error {
	b := eventlog.AppendRecord(nil, &event.Message{Record: event.RuleSet, ID: "rules-" + s.Hash(), Received: at, Payload: s.Marshal()})
	if _, err := c.ring.Append(ctx, b, 1); err != nil {
		return fmt.Errorf("put the rule set in force: %w", err)
	}
	return nil
}

// Handle evaluates the rules on the batches.
func (c *ruleConsumer) Handle(ctx context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	c.ctx = ctx
	for _, b := range batches {
		if c.broken.Load() {
			return out, errBroken
		}
		c.mu.Lock()
		c.engine.Process(b, c.emit)
		c.mu.Unlock()
		if err := c.flush(ctx); err != nil {
			return out, err
		}
		for i := range b.Messages {
			if len(b.EventsOf(i)) == 0 {
				out.Filtered++
			}
		}
		if b.Seq >= c.until && len(c.written) > 0 {
			clear(c.written)
		}
	}
	return out, nil
}

// Sync waits until what was derived is durable.
func (c *ruleConsumer) Sync(ctx context.Context) error {
	return c.durable(ctx)
}

// Snapshot returns the engine's state.
func (c *ruleConsumer) Snapshot() ([]byte, error) {
	if c.broken.Load() {
		return nil, errBroken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Snapshot()
}

// BeginSnapshot begins a snapshot of the engine's state.
func (c *ruleConsumer) BeginSnapshot() error {
	if c.broken.Load() {
		return errBroken
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine.BeginSnapshot()
	return nil
}

// NextSnapshot returns the next piece of it.
func (c *ruleConsumer) NextSnapshot(b []byte, size int) ([]byte, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.NextSnapshot(b, size)
}

// Restore sets the engine's state. That of an earlier version of weir is derived
// from the log again.
func (c *ruleConsumer) Restore(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.engine.Restore(b)
	if errors.Is(err, rules.ErrOldSnapshot) {
		err = fmt.Errorf("%w: %w", eventlog.ErrDamagedState, err)
	}
	return err
}

// reset forgets all state, for a replay.
func (c *ruleConsumer) reset() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.engine = anew(c.engine, c.partition.ID())
	c.engine.SetHistory(c.history)
	return nil
}

// anew returns an engine that begins a replay in the place of another: the rules
// in force and the silences stay so until the log says otherwise.
func anew(e *rules.Engine, partition int) *rules.Engine {
	n := rules.NewEngine(partition)
	n.SetScope(e.Scope())
	n.SetOwner(e.Owner())
	n.SetStopwatch(monotonic)
	if set := e.Set(); set.Len() > 0 {
		b := event.NewBatch(nil)
		b.Partition = partition
		b.Messages = append(b.Messages, event.Message{Record: event.RuleSet, Payload: set.Marshal()})
		b.Messages = append(b.Messages, decisions(e)...)
		n.Process(b, func(rules.Derived) {})
	}
	return n
}

func (c *ruleConsumer) rules() []rules.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Set().Rules()
}

func (c *ruleConsumer) stats() rules.Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Stats()
}

func (c *ruleConsumer) active() []rules.Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.Active()
}
