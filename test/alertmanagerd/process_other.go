//go:build !linux

package alertmanagerd

import "syscall"

// dieWithParent does nothing here: a test process that is killed leaves its server.
func dieWithParent() *syscall.SysProcAttr { return nil }
