package eventlog

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrDiskFull is wrapped by the error of an append that would leave less than
// the configured space free.
type ErrDiskFull struct {
	Dir             string
	Free, Need, Min int64
}

func (e *ErrDiskFull) Error() string {
	return fmt.Sprintf("disk is nearly full: %d MiB free in %s, and %d MiB must stay free (log.min_free): free some space or lower log.retention", e.Free>>20, e.Dir, e.Min>>20)
}

// free caches the free space: asking costs a system call an append.
type free struct {
	at    atomic.Int64 // when it was asked, ns
	bytes atomic.Int64
}

const freeFor = 200 * time.Millisecond

// roomOnDisk fails when an append of n bytes would leave too little space. The
// embedded server gives up its whole store on a full disk, so it must not meet one.
func (l *Log) roomOnDisk(n int) error {
	if l.cfg.MinFree <= 0 {
		return nil
	}
	now := time.Now().UnixNano()
	left := l.free.bytes.Add(-int64(n))
	if now-l.free.at.Load() > int64(freeFor) || left < 2*l.cfg.MinFree {
		b, err := freeBytes(l.cfg.Dir)
		if err != nil {
			return err
		}
		l.free.bytes.Store(b - int64(n))
		l.free.at.Store(now)
		left = b - int64(n)
	}
	if left < l.cfg.MinFree {
		return &ErrDiskFull{Dir: l.cfg.Dir, Free: (left + int64(n)) >> 0, Need: int64(n), Min: l.cfg.MinFree}
	}
	return nil
}

// revive turns the embedded server's store on again after it gave it up, as it
// does for a write error. What was acknowledged is on disk and is read back.
func (l *Log) revive(cause error) {
	if l.ns == nil || l.ns.JetStreamEnabled() || !l.ns.Running() {
		return
	}
	l.cfg.Log.Error("the log's store was given up after a write error: it is opened again", "err", cause)
	err := l.ns.EnableJetStream(&server.JetStreamConfig{StoreDir: l.storeDir(), MaxStore: 1 << 60, MaxMemory: 256 << 20, SyncAlways: true})
	if err != nil {
		l.cfg.Log.Error("the log's store did not open", "err", err)
	}
}
