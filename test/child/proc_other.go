//go:build !linux

package child

import (
	"errors"
	"syscall"
)

func dieWithParent() *syscall.SysProcAttr { return nil }

// Memory is known on Linux only.
func (p *Proc) Memory() (now, peak int64, err error) {
	return 0, 0, errors.New("the memory of a process is read on Linux only")
}
