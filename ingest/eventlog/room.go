package eventlog

import (
	"fmt"
	"sync/atomic"
	"time"
)

// ErrDiskFull is the error of an append that would leave less than the
// configured space free, or that met a full disk.
type ErrDiskFull struct {
	Dir             string
	Free, Need, Min int64 // bytes; Min is 0 where the disk is really full
}

func (e *ErrDiskFull) Error() string {
	if e.Min == 0 {
		return fmt.Sprintf("disk is full: %d KiB free in %s, and %d KiB are needed to go on: free some space; to be held back earlier, set log.min_free", e.Free>>10, e.Dir, e.Need>>10)
	}
	return fmt.Sprintf("disk is nearly full: %d MiB free in %s, and %d MiB must stay free (log.min_free): free some space or lower log.retention", e.Free>>20, e.Dir, e.Min>>20)
}

// free caches the free space: asking costs a system call an append.
type free struct {
	at    atomic.Int64 // when it was asked, ns
	bytes atomic.Int64
}

const freeFor = 200 * time.Millisecond

// roomOnDisk fails when an append of n bytes would leave too little space. A
// stream of the embedded server that meets a full disk must be opened again,
// which takes its time: better that it does not meet one.
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
		return &ErrDiskFull{Dir: l.cfg.Dir, Free: left + int64(n), Need: int64(n), Min: l.cfg.MinFree}
	}
	return nil
}
