package child

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// dieWithParent makes the kernel end a process when the test binary is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// Memory returns the resident memory of a process now and at its highest, in bytes.
func (p *Proc) Memory() (now, peak int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		switch {
		case strings.HasPrefix(line, "VmRSS:"):
			fmt.Sscanf(line, "VmRSS: %d kB", &kib)
			now = kib << 10
		case strings.HasPrefix(line, "VmHWM:"):
			fmt.Sscanf(line, "VmHWM: %d kB", &kib)
			peak = kib << 10
		}
	}
	return now, peak, nil
}
