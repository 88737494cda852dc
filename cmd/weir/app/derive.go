package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"weir/ingest/event"
	"weir/ingest/eventlog"
	"weir/ingest/ring"
	"weir/rules"
)

// derivation takes what rules derive back into a partition of the log, each
// record once. It is used by one goroutine at a time.
type derivation struct {
	partition *eventlog.Partition
	ring      *ring.Ring
	mark      *eventlog.Committer

	out     []byte
	n       int
	err     error
	pending atomic.Uint64       // ring position of what was derived last
	written map[string]struct{} // ids of records that an earlier run had derived after its state was saved
	broken  atomic.Bool         // the engine is not what the log makes of it: its state must not be saved
}

// errBroken is returned once derived records could not be appended, or the log
// could not be read for new windows, because weir stops: the engine has moved on
// without them, and only a restart from the last snapshot is right.
var errBroken = errors.New("weir stopped while rules were evaluated; a restart evaluates them again")

// resume finds out what an earlier run had derived after a place of the
// partition: evaluating the same records again gives the same ids, which are in
// the log already. each is handed the rule sets that are met. It returns the head
// up to which was read.
func (d *derivation) resume(ctx context.Context, after, records uint64, each func(*rules.Set)) (uint64, error) {
	if err := d.durable(ctx); err != nil { // before a replay: what is on its way counts
		return 0, err
	}
	d.written = map[string]struct{}{}
	until := d.partition.Head().Seq
	r := d.partition.NewReader(after, records)
	defer r.Close()
	for {
		b, err := r.TryNext(ctx)
		var damage *eventlog.Damage
		if errors.As(err, &damage) {
			continue // the runner meets it again and reports it
		}
		if err != nil {
			return 0, fmt.Errorf("read what was derived already: %w", err)
		}
		if b == nil || b.Seq > until {
			if b != nil {
				b.Release()
			}
			return until, nil
		}
		for i := range b.Messages {
			switch m := &b.Messages[i]; m.Record {
			case event.AlertFact, event.Recording:
				d.written[string([]byte(m.ID))] = struct{}{}
			case event.RuleSet:
				if s, err := rules.ParseSet(m.Payload); err == nil {
					each(s)
				}
			}
		}
		b.Release()
	}
}

// emit takes one derived record from the engine.
func (d *derivation) emit(r rules.Derived) {
	if d.broken.Load() {
		return
	}
	if len(d.written) > 0 {
		if _, ok := d.written[r.ID]; ok {
			delete(d.written, r.ID)
			return
		}
	}
	d.out = eventlog.AppendRecord(d.out, &event.Message{Record: r.Record, ID: r.ID, Topic: r.Topic, Payload: r.Payload, Received: r.Time})
	d.n++
	if d.n >= ring.MaxRecords || len(d.out) >= 256<<10 {
		d.err = errors.Join(d.err, d.flush(context.Background()))
	}
}

// flush appends what was derived. The ring is drained by the committer alone,
// so waiting for space here can't wait for who reads the log.
func (d *derivation) flush(ctx context.Context) error {
	if d.broken.Load() {
		return errBroken
	}
	if d.n > 0 {
		pos, err := d.ring.Append(ctx, d.out, d.n)
		d.out, d.n = d.out[:0], 0
		if err != nil {
			d.broken.Store(true)
			return fmt.Errorf("append what the rules derived: %w", err)
		}
		d.pending.Store(pos)
	}
	err := d.err
	d.err = nil
	return err
}

// durable waits until what was derived is durable.
func (d *derivation) durable(ctx context.Context) error {
	return awaitDurable(ctx, d.mark, d.pending.Load())
}
