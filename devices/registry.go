package devices

import (
	"sync"
	"time"
)

// Config bounds a Registry. The zero Config means the defaults.
type Config struct {
	// OfflineAfter is how much log time may pass after a device was last heard
	// until it counts as offline. Default 5 minutes.
	OfflineAfter time.Duration
	// MaxDevices is how many devices are kept; events of further ones are refused
	// and counted. Default 1,000,000, at about 300 bytes each. The bound is
	// shared out evenly over Partitions, so that it too is a function of each
	// partition's own log.
	MaxDevices int
	// Partitions is how many partitions the log has. Default 1.
	Partitions int
}

func (c Config) withDefaults() Config {
	if c.OfflineAfter <= 0 {
		c.OfflineAfter = 5 * time.Minute
	}
	if c.MaxDevices <= 0 {
		c.MaxDevices = 1_000_000
	}
	c.MaxDevices = min(c.MaxDevices, maxSlots)
	c.Partitions = max(c.Partitions, 1)
	return c
}

// Registry is the set of all devices, in one Partition for each of the log's.
// Its methods may be called from any goroutine.
type Registry struct {
	cfg Config // immutable

	mu         sync.Mutex
	partitions []*Partition // by number; nil where none was asked for
}

// NewRegistry returns an empty registry.
func NewRegistry(cfg Config) *Registry { return &Registry{cfg: cfg.withDefaults()} }

// Partition returns the consumer of partition n of the log, the same one each
// time. n must not be negative.
func (r *Registry) Partition(n int) *Partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.partitions) <= n {
		r.partitions = append(r.partitions, nil)
	}
	if r.partitions[n] == nil {
		share := (r.cfg.MaxDevices + r.cfg.Partitions - 1) / r.cfg.Partitions
		r.partitions[n] = newPartition(n, share, int64(r.cfg.OfflineAfter))
	}
	return r.partitions[n]
}

// all returns the partitions there are.
func (r *Registry) all() []*Partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := make([]*Partition, 0, len(r.partitions))
	for _, p := range r.partitions {
		if p != nil {
			parts = append(parts, p)
		}
	}
	return parts
}

// Get returns the device with this id, and whether there is one.
func (r *Registry) Get(id string) (Device, bool) {
	var found Device
	var ok bool
	for _, p := range r.all() {
		d, here := p.get(id)
		switch {
		case here && ok:
			found = merge(found, d)
		case here:
			found, ok = d, true
		}
	}
	return found, ok
}

// Counts returns how many devices are known and how many of them are online. A
// device that is in two partitions counts twice. It visits every device, without
// holding a lock for long: call it for a metric, not for each event.
func (r *Registry) Counts() (known, online int) {
	for _, p := range r.all() {
		k, o := p.counts()
		known, online = known+k, online+o
	}
	return known, online
}

// Refused returns how many events were not recorded because the registry was
// full or the device id was longer than MaxID.
func (r *Registry) Refused() uint64 {
	var n uint64
	for _, p := range r.all() {
		n += p.refusedEvents()
	}
	return n
}
