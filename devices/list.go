package devices

import (
	"slices"
	"sort"
	"strings"
)

// listLocked is how many devices a list looks at under one hold of a
// partition's lock.
const listLocked = 256

// List returns the devices that a query selects, in the order of their ids.
// Fewer than Limit were found only where there are no more.
func (r *Registry) List(q Query) []Device { return r.Page(q).Devices }

// Page returns the devices that a query selects, and where the next page begins.
func (r *Registry) Page(q Query) Page {
	if q.Limit <= 0 {
		q.Limit = DefaultLimit
	}
	q.Limit = min(q.Limit, MaxLimit)
	var walks []*walk
	for _, p := range r.all() {
		walks = append(walks, p.walk(q))
	}
	found := []Device{} // an empty list in JSON, not null
	for {
		var next *walk
		for _, w := range walks {
			if id, ok := w.id(); ok && (next == nil || id < next.ids[0].id) {
				next = w
			}
		}
		if next == nil {
			return Page{Devices: found}
		}
		id := next.ids[0].id
		if len(found) == q.Limit {
			return Page{Devices: found, Next: found[len(found)-1].ID}
		}
		if d, ok := collect(walks, id, q); ok {
			found = append(found, d)
		}
	}
}

// collect takes the device with this id off all walks, and reports whether the
// query selects it.
func collect(walks []*walk, id string, q Query) (Device, bool) {
	online, source := false, false
	var lastSeen int64
	in := make([]*walk, 0, 4)
	for i, w := range walks {
		if here, ok := w.id(); !ok || here != id {
			continue
		}
		s := w.ids[0]
		online = online || s.online
		if len(in) == 0 || s.lastSeen > lastSeen {
			source, lastSeen = s.source, s.lastSeen
		}
		in = append(in, walks[i])
	}
	selected := (q.Online == nil || *q.Online == online) && (q.Source == "" || source)
	var found Device
	for i, w := range in {
		if selected {
			d := w.device()
			if i == 0 {
				found = d
			} else {
				found = merge(found, d)
			}
		}
		w.ids = w.ids[1:]
	}
	return found, selected
}

// walk goes through the devices of one partition in the order of their ids.
type walk struct {
	p     *Partition
	t     *table
	query Query
	slots []uint32 // still to be looked at
	ids   []glance // looked at, still to be taken
}

// glance is what the selection of a device needs.
type glance struct {
	id       string
	slot     uint32
	online   bool
	source   bool // it matches the query's
	lastSeen int64
}

// walk begins after the query's cursor, at its prefix.
func (p *Partition) walk(q Query) *walk {
	t, ids, slots := p.sorted()
	from := max(q.Prefix, q.After)
	i := sort.Search(len(slots), func(i int) bool {
		id := ids.id(slots[i])
		return id >= from && (q.After == "" || id > q.After)
	})
	return &walk{p: p, t: t, query: q, slots: slots[i:]}
}

// id returns the id of the next device, and whether there is one.
func (w *walk) id() (string, bool) {
	if len(w.ids) > 0 {
		return w.ids[0].id, true
	}
	n := min(len(w.slots), listLocked)
	w.ids = w.ids[:0]
	w.p.mu.Lock()
	for _, slot := range w.slots[:n] {
		r := w.t.at(slot)
		if !strings.HasPrefix(r.id, w.query.Prefix) {
			w.slots, n = nil, 0
			break
		}
		w.ids = append(w.ids, glance{
			id: r.id, slot: slot, lastSeen: r.lastSeen,
			online: r.online(w.t.logTime, w.p.offlineAfter),
			source: w.query.Source != "" && r.hasSource(w.query.Source),
		})
	}
	w.p.mu.Unlock()
	w.slots = w.slots[n:]
	if len(w.ids) == 0 {
		return "", false
	}
	return w.ids[0].id, true
}

// device reads the next device in full.
func (w *walk) device() Device {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.t.at(w.ids[0].slot).device(w.t.logTime, w.p.offlineAfter)
}

// chunks is a table's records as they were at one moment. Growth appends to the
// table's own slice, and ids never change, so ids may be read without a lock.
type chunks []*[chunkSize]record

func (c chunks) id(slot uint32) string { return c[slot>>chunkBits][slot%chunkSize].id }

// sorted returns the devices' slots in the order of their ids. It sorts those
// that came since the last call and merges them in, without keeping Handle waiting.
func (p *Partition) sorted() (*table, chunks, []uint32) {
	p.order.mu.Lock()
	defer p.order.mu.Unlock()
	p.mu.Lock()
	t, n, ids := p.t, p.t.n, chunks(p.t.chunks)
	p.mu.Unlock()
	if p.order.of != t {
		p.order.of, p.order.slots = t, nil
	}
	old := p.order.slots
	if len(old) == n {
		return t, ids, old
	}
	fresh := make([]uint32, 0, n-len(old))
	for slot := len(old); slot < n; slot++ {
		fresh = append(fresh, uint32(slot))
	}
	slices.SortFunc(fresh, func(a, b uint32) int { return strings.Compare(ids.id(a), ids.id(b)) })
	merged := make([]uint32, 0, n)
	for _, slot := range fresh {
		at := sort.Search(len(old), func(i int) bool { return ids.id(old[i]) > ids.id(slot) })
		merged = append(append(merged, old[:at]...), slot)
		old = old[at:]
	}
	p.order.slots = append(merged, old...)
	return t, ids, p.order.slots
}
