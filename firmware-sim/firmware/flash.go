package firmware

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// state is what the device keeps beside its queue.
type state struct {
	Boots    uint64        `json:"boots"`
	Running  bool          `json:"running"`  // false only after an orderly stop
	Interval time.Duration `json:"interval"` // as commanded; 0: as configured
}

// flash is the device's data directory, which one process has at a time.
type flash struct {
	dir  string
	lock *os.File
}

func openFlash(dir string) (*flash, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s is in use by another device: %w", dir, err), lock.Close())
	}
	return &flash{dir: dir, lock: lock}, nil
}

// load reads the state; a device that never ran has none.
func (f *flash) load() (state, error) {
	var s state
	data, err := os.ReadFile(filepath.Join(f.dir, "state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return s, fmt.Errorf("read device state: %w", err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("read device state %s: %w", filepath.Join(f.dir, "state.json"), err)
	}
	return s, nil
}

// save replaces the state, whole or not at all.
func (f *flash) save(s state) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("write device state: %w", err)
	}
	tmp := filepath.Join(f.dir, "state.json.new")
	file, err := os.Create(tmp)
	if err != nil {
		return fmt.Errorf("write device state: %w", err)
	}
	_, err = file.Write(data)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write device state: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(f.dir, "state.json")); err != nil {
		return fmt.Errorf("write device state: %w", err)
	}
	return nil
}

func (f *flash) close() error { return f.lock.Close() }
