//go:build linux

package fault

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"weir/test/process"
)

// smallDisk mounts a file system of some MiB that is in memory.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if errors.Is(err, syscall.EPERM) {
		t.Skip("mounting a small file system is not permitted here")
	}
	if err != nil {
		t.Fatalf("mount a file system of %d MiB: %v", mib, err)
	}
	t.Cleanup(func() {
		process.Eventually(t, "the file system is unmounted", func() error { return syscall.Unmount(dir, 0) })
	})
	return dir
}

// ballast fills some MiB of a disk.
func ballast(t *testing.T, dir string, mib int) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range mib {
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskHoldsPublishersBackAndFreeSpaceLetsThemGoOn(t *testing.T) {
	for _, tt := range []struct {
		name, log     string
		disk, ballast int // MiB
		says          string
	}{
		{"what min_free keeps free is not touched", "partitions: 1, min_free: 32MiB", 72, 24, "log.min_free"},
		{"the disk is really full", "partitions: 1, min_free: 0", 56, 34, "disk is full"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := smallDisk(t, tt.disk)
			acked := filepath.Join(t.TempDir(), "acked")
			w := process.New(t, process.Setup{Dir: filepath.Join(dir, "data"), Log: tt.log, Rules: map[string]string{"cold.yaml": warmRules}})
			w.Start(t)
			free := ballast(t, dir, tt.ballast)
			load := w.Load(t, "--count", "180000", "--connections", "10", "--window", "200", "--reconnect", "--acked-file", acked)
			line := w.WaitLog(t, tt.says)
			if !strings.Contains(line, w.Data) || !strings.Contains(line, "free some space") {
				t.Errorf("the log does not name the place and the remedy: %s", line)
			}
			process.Eventually(t, "a metric says that publishers are held back", func() error {
				v, err := w.Metric("weir_log_held")
				if err == nil && v == 0 {
					err = errors.New("it does not")
				}
				return err
			})
			if !load.Alive() {
				t.Fatalf("the load came to its end on a full disk: the test tests nothing\n%s", load.Out)
			}
			pid := w.Proc().PID()
			free()
			b := process.Loaded(t, load, 2*process.Patience)
			t.Logf("%d acknowledged, %d reconnects", b.Acked, b.Reconnects)
			if !w.Proc().Alive() || w.Proc().PID() != pid {
				t.Error("weir was restarted")
			}
			w.Settled(t)
			w.Audit(t)
			process.CheckLog(t, w.Events(t), process.ReadAcked(t, acked))
			// And it starts again from what is on the disk.
			w.Kill()
			w.Start(t)
			w.Settled(t)
			w.Audit(t)
			process.CheckLog(t, w.Events(t), process.ReadAcked(t, acked))
		})
	}
}
