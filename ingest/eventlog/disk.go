package eventlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockDir takes the data directory for this process, waiting a while for
// another to give it back. The lock ends with the process, however that ends.
func lockDir(ctx context.Context, dir string, wait time.Duration) (*os.File, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	deadline := time.Now().Add(wait)
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock the data directory: %w", err)
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			defer f.Close()
			return nil, fmt.Errorf("%s: %w%s", dir, ErrLocked, holder(path))
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	// Who holds it is for people; the lock itself says whether somebody does.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// holder says which process has noted itself in the lock file.
func holder(path string) string {
	b, err := os.ReadFile(path)
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return " (process " + pid + ")"
	}
	return ""
}

// sameOwner gives a file the mode and the owner of another: root may look at a
// log that another user's process is to open again.
func sameOwner(name, as string) error {
	var st unix.Stat_t
	if err := unix.Stat(as, &st); err != nil {
		return &os.PathError{Op: "stat", Path: as, Err: err}
	}
	if err := os.Chmod(name, os.FileMode(st.Mode&0o777)); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Chown(name, int(st.Uid), int(st.Gid))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// freeBytes returns what an unprivileged process may still write to the file
// system that dir is on.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space in %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// defaultPartitions is half the cores: more partitions mean smaller batches
// and more fsyncs.
func defaultPartitions() int { return max(1, runtime.NumCPU()/2) }
