package devices

import (
	"context"
	"strings"
	"sync"

	"weir/ingest/event"
)

// lockedEvents is about how many events Handle takes under one hold of the
// lock: some 100 µs.
const lockedEvents = 2048

// Partition is the registry's consumer of one partition of the log. Handle,
// Snapshot and Restore must not be called at the same time as one another;
// readers of the Registry may run beside them.
type Partition struct {
	number       int   // immutable
	maxDevices   int   // immutable
	offlineAfter int64 // immutable, ns

	mu sync.Mutex
	t  *table // replaced by Restore

	pending []pending // devices with an event that is not stored yet; empty when mu is free
	scratch []byte    // only with mu held

	order struct { // the devices in the order of their ids, brought up to date by readers
		mu    sync.Mutex
		of    *table
		slots []uint32 // immutable once set: readers keep it while a newer one replaces it
	}
}

// pending is the last event of a device in the batches at hand. Storing it
// waits until the device's next event turns out not to replace it.
type pending struct {
	slot      uint32
	late      bool // an earlier event of the device has a later effective time
	effective int64
	e         *event.Event
}

func newPartition(number, maxDevices int, offlineAfter int64) *Partition {
	return &Partition{number: number, maxDevices: maxDevices, offlineAfter: offlineAfter, t: newTable()}
}

// Handle records the devices of the batches. Filtered in the outcome are the
// messages without an event of a device: ticks, recordings, alerts, and what
// could not be decoded. Nothing of the batches is kept. It does not fail, and
// the context is not looked at: there is nothing to wait for.
func (p *Partition) Handle(_ context.Context, batches []*event.Batch) (event.Outcome, error) {
	var out event.Outcome
	p.mu.Lock()
	defer p.mu.Unlock()
	held := 0
	for _, b := range batches {
		if held > lockedEvents {
			p.storePending()
			p.mu.Unlock() // let the readers in
			p.mu.Lock()
			held = 0
		}
		held += len(b.Messages) + len(b.Events)
		out.Filtered += p.handle(b)
	}
	p.storePending()
	return out, nil
}

// handle walks one batch and returns how many messages have no event of a device.
func (p *Partition) handle(b *event.Batch) (filtered int) {
	for m := range b.Messages {
		p.t.logTime = max(p.t.logTime, b.Messages[m].Received)
		events := b.EventsOf(m)
		seen := false
		for i := range events {
			if e := &events[i]; e.Device != "" && e.Rule == "" {
				p.see(e)
				seen = true
			}
		}
		if !seen {
			filtered++
		}
	}
	return filtered
}

// see counts one event and keeps it pending.
func (p *Partition) see(e *event.Event) {
	slot, ok := p.t.slots[e.Device]
	if !ok {
		if len(e.Device) > MaxID || p.t.n >= p.maxDevices {
			p.t.refused++
			return
		}
		slot = p.t.add(strings.Clone(e.Device))
		r := p.t.at(slot)
		r.firstSeen, r.lastSeen, r.newest = e.Received, e.Received, effectiveTime(e)
	}
	r := p.t.at(slot)
	r.events++
	r.lastSeen = max(r.lastSeen, e.Received)
	effective := effectiveTime(e)
	late := effective < r.newest
	r.newest = max(r.newest, effective)
	if r.pending == 0 {
		p.pending = append(p.pending, pending{slot, late, effective, e})
		r.pending = uint32(len(p.pending))
		return
	}
	// Where e replaces every field of the event before it, storing that one would
	// leave no trace.
	w := &p.pending[r.pending-1]
	if w.late || late || !sameNames(w.e.Fields, e.Fields) {
		p.scratch = r.store(w.e, w.effective, p.scratch)
	}
	w.e, w.effective, w.late = e, effective, late
}

// storePending writes the pending events into their devices.
func (p *Partition) storePending() {
	for i := range p.pending {
		w := &p.pending[i]
		r := p.t.at(w.slot)
		p.scratch = r.store(w.e, w.effective, p.scratch)
		r.pending = 0
	}
	clear(p.pending) // the batches are used again
	p.pending = p.pending[:0]
}

func (p *Partition) get(id string) (Device, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slot, ok := p.t.slots[id]
	if !ok {
		return Device{}, false
	}
	return p.t.at(slot).device(p.t.logTime, p.offlineAfter), true
}

func (p *Partition) refusedEvents() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.t.refused
}

// counts takes the lock for one chunk of devices at a time.
func (p *Partition) counts() (known, online int) {
	p.mu.Lock()
	t := p.t
	p.mu.Unlock()
	for from := 0; ; from += chunkSize {
		p.mu.Lock()
		to := min(from+chunkSize, t.n)
		for slot := from; slot < to; slot++ {
			known++
			if t.at(uint32(slot)).online(t.logTime, p.offlineAfter) {
				online++
			}
		}
		done := to == t.n
		p.mu.Unlock()
		if done {
			return known, online
		}
	}
}
